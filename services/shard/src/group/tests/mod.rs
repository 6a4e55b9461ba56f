//! Groups on real disks, alone and over real gRPC.

mod one_voter;
mod three_voters;

use std::{path::Path, time::Duration};

use model::{DeviceId, GroupId};
use proto::{
    raft::v1::{ProposedCommand, proposed_command::Kind},
    shard::v1::{
        Authentication, Command, CommandId, CommandResult, DeviceIdentity, Empty, Precondition, PutDevice,
        authentication, command::Operation, command_result::Outcome, precondition,
    },
};

use super::{Config, Group, Leadership, Node, Refusal};
use crate::{state, store::Rows};

type TestResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const GROUP: GroupId = GroupId(1);
const PATIENCE: Duration = Duration::from_secs(20);

fn config(folder: &Path) -> Config {
    Config { directory: folder.join("shard"), groups: 2, disk_reserve_bytes: 0, ..Config::default() }
}

/// A command of an incarnation of its own that creates a device.
fn create(device_id: &str, filler_bytes: usize) -> ProposedCommand {
    let identity = DeviceIdentity {
        device_id: device_id.into(),
        authentication: Some(Authentication { kind: Some(authentication::Kind::None(Empty {})) }),
        status_reason: Some("x".repeat(filler_bytes)),
        ..DeviceIdentity::default()
    };
    let precondition = Precondition { kind: Some(precondition::Kind::Absent(Empty {})) };
    let put = PutDevice { identity: Some(identity), precondition: Some(precondition), twin: None };
    let id = CommandId { incarnation: rand_incarnation(), sequence: 0, lowest_unanswered: 0 };
    let command = Command { id: Some(id), operation: Some(Operation::PutDevice(put)) };
    ProposedCommand { kind: Some(Kind::Client(command)) }
}

fn rand_incarnation() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

fn is_created(result: &CommandResult) -> bool {
    matches!(result.outcome, Some(Outcome::Device(_)))
}

fn has_device(rows: &impl Rows, device_id: &str) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let device_id: DeviceId = device_id.parse()?;
    Ok(rows.get(&state::keys::device(&device_id))?.is_some())
}

fn group(node: &Node) -> Result<Group, &'static str> {
    node.group(GROUP).cloned().ok_or("no such group")
}

/// Waits until the node leads the group and answers the fence.
async fn leading(group: &Group) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let mut leadership = group.leadership();
    let wait = leadership.wait_for(|known| matches!(known, Leadership::Leading { .. }));
    match *tokio::time::timeout(PATIENCE, wait).await?? {
        Leadership::Leading { fence } => Ok(fence),
        Leadership::Following { .. } => Err("not leading".into()),
    }
}

fn applied_index(group: &Group) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    Ok(group.view()?.applied()?.log_id.map_or(0, |log_id| log_id.index))
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> TestResult {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        if tokio::time::Instant::now() > deadline {
            return Err(format!("never: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
