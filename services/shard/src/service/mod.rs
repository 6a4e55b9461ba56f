//! The gRPC service for gateways, and the tasks of leaders.
//!
//! ```text
//!   Exchange (one per gateway and node)     requests -> group: propose / read -> responses, batched
//!   Attach (one per gateway and leader)     attach, detach, activity -> sessions -> attached, detached, changed
//!   InvokeMethod (one per call)             -> sessions -> called; answered -> its caller
//!   WatchSettings (hub group)               settings after every change
//!   ClaimReceiver (hub group, one for each  -> receivers -> granted, displaced
//!     reader of the events)
//!   ExportGroup (one per backup and group)  what a backup keeps of the group
//!   DescribeNode (every node)               which nodes and which leaders there are
//!   DescribeCluster, BalanceLeaders (hub)   what the driver of the membership sees, and a word to it
//!   leader.rs (one task per group)          effects -> sessions; connection states -> RecordPresence
//! ```
//!
//! It knows nothing of protocols, and holds nothing that a change of leader may not take away.

mod access;
mod attach;
mod backup;
mod cluster;
mod describe;
mod exchange;
mod leader;
mod methods;
mod receivers;
mod settings;
mod shard;

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use model::GroupId;
use proto::shard::v1::{self, refusal::Reason, shard_server};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};

use crate::{
    group::{Leadership, Refusal},
    membership::Driver,
};
pub use leader::Leader;
pub use shard::Shard;

/// Frames of an Exchange stream that wait for the transport.
const EXCHANGE_FRAMES_MAX: usize = 4;

/// The groups of this node.
pub struct Groups {
    /// The hub group, then the device groups in order.
    leaders: Vec<Arc<Leader>>,
}

impl Groups {
    /// The hub group first, then the device groups in order.
    pub fn new(leaders: Vec<Arc<Leader>>) -> Self {
        Self { leaders }
    }

    /// The hub group first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Leader>> {
        self.leaders.iter()
    }

    pub(crate) fn get(&self, group: u32) -> Option<&Arc<Leader>> {
        self.leaders.get(group as usize)
    }

    pub(crate) fn hub(&self) -> Option<&Arc<Leader>> {
        self.get(GroupId::HUB.0)
    }

    fn device_groups(&self) -> u32 {
        (self.leaders.len() as u32).saturating_sub(1)
    }
}

/// What gateways call.
pub struct ShardService {
    node_id: u64,
    groups: Arc<Groups>,
    driver: Arc<Driver>,
    stopping: CancellationToken,
}

impl ShardService {
    /// The service over those groups of the node, until the token is cancelled.
    pub fn new(node_id: u64, groups: Arc<Groups>, driver: Arc<Driver>, stopping: CancellationToken) -> Self {
        Self { node_id, groups, driver, stopping }
    }
}

type BoxedStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl shard_server::Shard for ShardService {
    type ExchangeStream = ReceiverStream<Result<v1::Responses, Status>>;
    type AttachStream = BoxedStream<v1::ShardFrames>;
    type WatchSettingsStream = BoxedStream<v1::HubSettings>;
    type ExportGroupStream = BoxedStream<v1::BackupRows>;
    type ClaimReceiverStream = BoxedStream<v1::ReceiverClaimNews>;

    async fn exchange(
        &self,
        request: Request<Streaming<v1::Requests>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (frames, receiver) = mpsc::channel(EXCHANGE_FRAMES_MAX);
        let (groups, stopping) = (self.groups.clone(), self.stopping.clone());
        tokio::spawn(async move { exchange::serve(&groups, request.into_inner(), frames, stopping).await });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn attach(
        &self,
        request: Request<Streaming<v1::GatewayFrames>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let frames = attach::open(&self.groups, request.into_inner()).await?;
        Ok(Response::new(Box::pin(frames)))
    }

    async fn invoke_method(
        &self,
        request: Request<v1::InvokeMethodRequest>,
    ) -> Result<Response<v1::InvokeMethodResponse>, Status> {
        let request = request.into_inner();
        let leader = self.groups.get(request.group).ok_or_else(|| Status::not_found("no such group"))?;
        methods::invoke(leader, request).await.map(Response::new)
    }

    async fn watch_settings(
        &self,
        _: Request<v1::WatchSettingsRequest>,
    ) -> Result<Response<Self::WatchSettingsStream>, Status> {
        let settings = settings::watch(&self.groups).await?;
        Ok(Response::new(Box::pin(settings)))
    }

    async fn claim_receiver(
        &self,
        request: Request<v1::ClaimReceiverRequest>,
    ) -> Result<Response<Self::ClaimReceiverStream>, Status> {
        let news = receivers::claim(&self.groups, request.into_inner()).await?;
        Ok(Response::new(Box::pin(news)))
    }

    async fn export_group(
        &self,
        request: Request<v1::ExportGroupRequest>,
    ) -> Result<Response<Self::ExportGroupStream>, Status> {
        let group = request.into_inner().group;
        let leader = self.groups.get(group).ok_or_else(|| Status::not_found("no such group"))?;
        let rows = backup::export(leader).await?;
        Ok(Response::new(Box::pin(rows)))
    }

    async fn describe_node(
        &self,
        _: Request<v1::DescribeNodeRequest>,
    ) -> Result<Response<v1::NodeDescription>, Status> {
        Ok(Response::new(describe::describe(self.node_id, &self.groups)))
    }

    async fn describe_cluster(
        &self,
        _: Request<v1::DescribeClusterRequest>,
    ) -> Result<Response<v1::ClusterDescription>, Status> {
        cluster::describe(&self.groups, &self.driver).await.map(Response::new)
    }

    async fn balance_leaders(
        &self,
        _: Request<v1::BalanceLeadersRequest>,
    ) -> Result<Response<v1::BalanceLeadersResponse>, Status> {
        cluster::balance(&self.groups, &self.driver).await?;
        Ok(Response::new(v1::BalanceLeadersResponse {}))
    }
}

impl Leader {
    /// The refusal of a node that does not lead the group, with the leader it knows.
    fn not_leader(&self) -> Refusal {
        Refusal::NotLeader { leader: self.known_leader() }
    }

    fn known_leader(&self) -> Option<u64> {
        match *self.group.leadership().borrow() {
            Leadership::Following { leader } => leader,
            Leadership::Leading { .. } => None,
        }
    }
}

/// The same for a stream.
fn not_leader_status(leader: &Leader) -> Status {
    let mut status = Status::failed_precondition("this node does not lead the group");
    if let Some(node_id) = leader.known_leader() {
        status.metadata_mut().insert(proto::LEADER_NODE_ID, MetadataValue::from(node_id));
    }
    status
}

fn refusal_message(refusal: Refusal) -> v1::Refusal {
    let (reason, leader_node_id) = match &refusal {
        Refusal::NotLeader { leader } => (Reason::NotLeader, *leader),
        Refusal::Busy => (Reason::Busy, None),
        Refusal::ClockSkew => (Reason::ClockSkew, None),
        Refusal::DiskFull => (Reason::DiskFull, None),
        Refusal::ShuttingDown => (Reason::ShuttingDown, None),
        Refusal::OutcomeUnknown => (Reason::OutcomeUnknown, None),
    };
    v1::Refusal { reason: reason as i32, leader_node_id, detail: String::new() }
}
