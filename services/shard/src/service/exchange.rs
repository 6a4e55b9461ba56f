//! Commands and reads of one gateway: many in flight, answered in any order, batched into frames.

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use model::{ConnectionId, DeviceId, GroupId, Interests, Principal, group_of};
use proto::{
    raft::v1::{ProposedCommand, proposed_command::Kind},
    shard::v1::{
        self, CommandResult, ReadResult, command::Operation, command_error::Code, command_result::Outcome,
        identity_change::Operation as Change, read_result::Result as Answer, refusal::Reason, request, response,
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{Groups, Leader, leader::now};
use crate::{group::Refusal, sessions::Sessions, state};

/// Requests of one stream under way; over it the stream is not read.
const IN_FLIGHT_MAX: usize = 4096;
/// Responses of one frame at most.
const FRAME_RESPONSES_MAX: usize = 512;

/// Answers requests until the gateway closes the stream, an error ends it, or the node stops; then what was read is
/// still answered. Reading never waits for writing, so the
/// two sides cannot block each other.
pub async fn serve(
    groups: &Groups,
    mut requests: Streaming<v1::Requests>,
    frames: mpsc::Sender<Result<v1::Responses, Status>>,
    stopping: CancellationToken,
) {
    let mut in_flight = FuturesUnordered::new();
    let mut answered: Vec<v1::Response> = Vec::new();
    while !stopping.is_cancelled() || !in_flight.is_empty() || !answered.is_empty() {
        let may_read = !stopping.is_cancelled() && in_flight.len() < IN_FLIGHT_MAX;
        tokio::select! {
            () = stopping.cancelled(), if !stopping.is_cancelled() => {}
            message = requests.message(), if may_read => match message {
                Ok(Some(frame)) => in_flight.extend(frame.requests.into_iter().map(|it| answer(groups, it))),
                Ok(None) | Err(_) => return,
            },
            Some(response) = in_flight.next(), if answered.len() < FRAME_RESPONSES_MAX => {
                answered.push(response);
                // One synced batch answers many at once.
                while answered.len() < FRAME_RESPONSES_MAX
                    && let Some(Some(response)) = in_flight.next().now_or_never()
                {
                    answered.push(response);
                }
            }
            permit = frames.reserve(), if !answered.is_empty() => match permit {
                Ok(permit) => permit.send(Ok(v1::Responses { responses: std::mem::take(&mut answered) })),
                Err(_) => return,
            },
        }
    }
}

async fn answer(groups: &Groups, request: v1::Request) -> v1::Response {
    let body = match groups.get(request.group) {
        None => response::Body::Refusal(refusal(Reason::UnknownGroup, None)),
        Some(leader) => {
            let body = match request.body {
                Some(request::Body::Command(command)) => {
                    command_result(groups, leader, command).await.map(response::Body::Command)
                }
                Some(request::Body::Read(read)) => read_result(leader, read).await.map(response::Body::Read),
                None => Ok(response::Body::Command(refused(Code::Invalid, "a request of a newer version"))),
            };
            body.unwrap_or_else(|error| response::Body::Refusal(super::refusal_message(error)))
        }
    };
    v1::Response { request_id: request.request_id, body: Some(body) }
}

async fn command_result(groups: &Groups, leader: &Leader, command: v1::Command) -> Result<CommandResult, Refusal> {
    let Some(operation) = &command.operation else {
        return Ok(refused(Code::Invalid, "an operation of a newer version"));
    };
    if !belongs(operation, leader.group_id, groups.device_groups()) {
        return Ok(refused(Code::Invalid, "the command belongs to another group"));
    }
    let connection = connection_of(operation);
    if let Some((principal, connection_id)) = &connection
        && leader.is_replaced(principal, *connection_id).ok_or_else(|| leader.not_leader())?
    {
        return Ok(refused(Code::ConnectionReplaced, ""));
    }
    let (interests, reader) = (interests_of(operation), Reader::of(operation));
    let time = now().time.unix_microseconds();
    let result =
        if may_change_nothing(operation) && state::changes_nothing(&leader.group.read().await?, operation, time)? {
            CommandResult { outcome: Some(Outcome::Done(v1::Empty {})) }
        } else {
            leader.group.propose(ProposedCommand { kind: Some(Kind::Client(command)) }).await?
        };
    let is_done = matches!(result.outcome, Some(Outcome::Done(_)));
    if let (Some((principal, connection_id)), Some(interests), true) = (connection, interests, is_done) {
        leader.change(|sessions, _| sessions.interested(&principal, connection_id, interests));
    }
    match reader {
        Some(reader) => reader.complete(leader, result),
        None => Ok(with_presence(leader, result)),
    }
}

/// What the leader puts into the answer to a command: it is read now, so that it need not be remembered.
enum Reader {
    /// The twin as the write has left it, or a later one.
    Twin(Principal),
    /// The messages that were locked.
    Messages { principal: Principal, token: u64 },
    /// The batch that was locked.
    Feedback { token: u64 },
    /// The file notification that was locked.
    FileNotification { token: u64 },
}

impl Reader {
    fn of(operation: &Operation) -> Option<Self> {
        let principal = |principal: &Option<v1::Principal>| Principal::try_from(principal.as_ref()?).ok();
        Some(match operation {
            Operation::UpdateTwin(command) => Self::Twin(principal(&command.principal)?),
            Operation::ReceiveMessages(command) => {
                Self::Messages { principal: principal(&command.principal)?, token: command.token }
            }
            Operation::ReceiveFeedback(command) => Self::Feedback { token: command.token },
            Operation::ReceiveFileNotification(command) => Self::FileNotification { token: command.token },
            _ => return None,
        })
    }

    fn complete(self, leader: &Leader, result: CommandResult) -> Result<CommandResult, Refusal> {
        let outcome = match (self, result.outcome) {
            (Self::Twin(principal), Some(Outcome::Done(_))) => return twin_result(leader, &principal),
            (Self::Messages { principal, token }, Some(Outcome::Messages(mut received))) => {
                received.messages = state::received(&leader.group.view()?, &principal, &received.sequences, token)?;
                Some(Outcome::Messages(received))
            }
            (Self::Feedback { token }, Some(Outcome::Feedback(batch))) => {
                // A batch that is gone meanwhile is as if there had been none.
                let batch = state::feedback_batch(&leader.group.view()?, batch.number, token)?;
                Some(batch.map_or(Outcome::Done(v1::Empty {}), Outcome::Feedback))
            }
            (Self::FileNotification { token }, Some(Outcome::FileNotification(locked))) => {
                let locked = state::file_notification(&leader.group.view()?, locked.number, token)?;
                Some(locked.map_or(Outcome::Done(v1::Empty {}), Outcome::FileNotification))
            }
            (_, outcome) => outcome,
        };
        Ok(CommandResult { outcome })
    }
}

/// Identities are answered with the connection states that the leader knows.
fn with_presence(leader: &Leader, mut result: CommandResult) -> CommandResult {
    leader.with_sessions(|sessions| match &mut result.outcome {
        Some(Outcome::Device(device)) => sessions.overlay_device(device),
        Some(Outcome::Module(module)) => sessions.overlay_module(module),
        _ => {}
    });
    result
}

fn twin_result(leader: &Leader, principal: &Principal) -> Result<CommandResult, Refusal> {
    let Some(mut twin) = state::twin_document(&leader.group.view()?, principal)? else {
        return Ok(refused(Code::DeviceNotFound, "")); // deleted since
    };
    leader.with_sessions(|sessions| overlay_twin(sessions, &mut twin));
    Ok(CommandResult { outcome: Some(Outcome::Twin(twin)) })
}

/// Whether the group is the one that holds what the operation is about. A gateway with another number of groups must
/// not write anything.
fn belongs(operation: &Operation, group: GroupId, device_groups: u32) -> bool {
    let principal = |principal: &Option<v1::Principal>| principal.as_ref().map(|it| it.device_id.clone());
    let device_id = match operation {
        Operation::ChangeIdentities(command) => {
            let mut changes = command.changes.iter();
            return changes.all(|change| is_in(changed_device(change), group, device_groups));
        }
        Operation::RestoreRows(command) => {
            return command.rows.iter().all(|row| is_in(Some(&row.device_id), group, device_groups));
        }
        Operation::InitializeHub(_)
        | Operation::RestoreSettings(_)
        | Operation::PutPolicies(_)
        | Operation::PutCertificates(_)
        | Operation::PutConsumerGroups(_)
        | Operation::PutOverrides(_)
        | Operation::ChangeNode(_)
        | Operation::SetReplication(_) => return group == GroupId::HUB,
        Operation::PutDevice(command) => command.identity.as_ref().map(|it| it.device_id.clone()),
        Operation::DeleteDevice(command) => Some(command.device_id.clone()),
        Operation::PutModule(command) => command.identity.as_ref().map(|it| it.device_id.clone()),
        Operation::DeleteModule(command) => Some(command.device_id.clone()),
        Operation::Subscribe(command) => principal(&command.principal),
        Operation::Unsubscribe(command) => principal(&command.principal),
        Operation::ClearSession(command) => principal(&command.principal),
        Operation::UpdateTwin(command) => principal(&command.principal),
        Operation::UpdateReported(command) => principal(&command.principal),
        Operation::AnnounceModel(command) => principal(&command.principal),
        Operation::EnqueueMessage(command) => principal(&command.principal),
        Operation::ReceiveMessages(command) => principal(&command.principal),
        Operation::SettleMessages(command) => principal(&command.principal),
        Operation::PurgeMessages(command) => principal(&command.principal),
        // Every device group has its own.
        Operation::ReceiveFeedback(_)
        | Operation::SettleFeedback(_)
        | Operation::ReceiveFileNotification(_)
        | Operation::SettleFileNotification(_) => return group != GroupId::HUB,
        Operation::AddFileNotification(command) => {
            let device_id = command.notification.as_ref().map(|notification| notification.device_id.clone());
            return is_in(device_id.as_deref(), group, device_groups);
        }
    };
    is_in(device_id.as_deref(), group, device_groups)
}

fn is_in(device_id: Option<&str>, group: GroupId, device_groups: u32) -> bool {
    let device_id = device_id.and_then(|device_id| device_id.parse::<DeviceId>().ok());
    device_id.is_some_and(|device_id| group_of(&device_id, device_groups) == group)
}

fn changed_device(change: &v1::IdentityChange) -> Option<&str> {
    Some(match change.operation.as_ref()? {
        Change::PutDevice(command) => &command.identity.as_ref()?.device_id,
        Change::DeleteDevice(command) => &command.device_id,
        Change::PutModule(command) => &command.identity.as_ref()?.device_id,
        Change::DeleteModule(command) => &command.device_id,
        Change::RegenerateKeys(command) => &command.principal.as_ref()?.device_id,
        Change::UpdateTwin(command) => &command.principal.as_ref()?.device_id,
    })
}

/// Whether the operation needs no entry when the state is already as it wants it.
fn may_change_nothing(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Subscribe(_)
            | Operation::Unsubscribe(_)
            | Operation::ClearSession(_)
            | Operation::AnnounceModel(_)
            | Operation::ReceiveFeedback(_)
            | Operation::ReceiveFileNotification(_)
    )
}

/// What a connection does about itself: one that is not the principal's newest does so no more.
fn connection_of(operation: &Operation) -> Option<(Principal, ConnectionId)> {
    let (principal, connection_id) = match operation {
        Operation::Subscribe(command) => (&command.principal, command.connection_id),
        Operation::Unsubscribe(command) => (&command.principal, command.connection_id),
        Operation::UpdateReported(command) => (&command.principal, command.connection_id),
        Operation::ReceiveMessages(command) => (&command.principal, command.connection_id),
        _ => return None,
    };
    Some((principal.as_ref()?.try_into().ok()?, connection_id?.into()))
}

fn interests_of(operation: &Operation) -> Option<Interests> {
    match operation {
        Operation::Subscribe(command) => Some(Interests::from_bits(command.interests)),
        Operation::Unsubscribe(command) => Some(Interests::from_bits(command.interests)),
        _ => None,
    }
}

async fn read_result(leader: &Leader, read: v1::Read) -> Result<ReadResult, Refusal> {
    let Some(query) = read.query else { return Ok(ReadResult { result: Some(Answer::NotFound(v1::Empty {})) }) };
    let mut result = state::read(&leader.group.read().await?, &query)?;
    if let Some(answer) = &mut result.result {
        leader.with_sessions(|sessions| overlay(sessions, answer)).ok_or_else(|| leader.not_leader())?;
    }
    Ok(result)
}

/// Shows the connection states that the leader knows.
fn overlay(sessions: &Sessions, answer: &mut Answer) {
    match answer {
        Answer::Device(device) => sessions.overlay_device(device),
        Answer::Module(module) => sessions.overlay_module(module),
        Answer::Devices(devices) => devices.devices.iter_mut().for_each(|device| sessions.overlay_device(device)),
        Answer::Modules(modules) => modules.modules.iter_mut().for_each(|module| sessions.overlay_module(module)),
        Answer::Statistics(statistics) => statistics.connected_device_count = sessions.connected_device_count(),
        Answer::Twin(twin) => overlay_twin(sessions, twin),
        Answer::NotFound(_) | Answer::Credentials(_) | Answer::Settings(_) => {}
    }
}

fn overlay_twin(sessions: &Sessions, twin: &mut v1::Twin) {
    twin.device.iter_mut().for_each(|device| sessions.overlay_device(device));
    twin.module.iter_mut().for_each(|module| sessions.overlay_module(module));
}

fn refused(code: Code, detail: &str) -> CommandResult {
    let error = v1::CommandError { code: code as i32, detail: detail.into() };
    CommandResult { outcome: Some(Outcome::Error(error)) }
}

fn refusal(reason: Reason, leader_node_id: Option<u64>) -> v1::Refusal {
    v1::Refusal { reason: reason as i32, leader_node_id, detail: String::new() }
}
