//! One request until it is answered: finds the leader, waits, tries again, gives up in time.

use model::GroupId;
use proto::shard::v1::{
    self, command::Operation, command_error::Code, command_result::Outcome, read::Query, read_result, refusal::Reason,
    request, response, shard_client::ShardClient as Stub,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout, timeout_at},
};
use tonic::{Response, Status, transport::Channel};

use crate::{
    Inner, ShardClient, Unavailable,
    exchange::{MESSAGE_BYTES_MAX, Outgoing},
    trying::{Backoff, leader_hint},
};

/// How one try ended.
#[expect(clippy::large_enum_variant, reason = "lives on the stack of one request")]
enum Try {
    Answered(response::Body),
    /// Not done here. Ask the node that is believed to lead now; at once when it was named.
    Elsewhere {
        at_once: bool,
    },
    /// No answer: it may be done, now or later.
    Lost,
    Later(Unavailable),
    Never(Unavailable),
}

/// An answer, and whether a try before it may have been done.
struct Answer {
    body: response::Body,
    tried_before: bool,
}

impl Inner {
    /// A command, applied once however often it must be sent.
    pub(crate) async fn command(&self, group: GroupId, operation: Operation) -> Result<Outcome, Unavailable> {
        let deadline = Instant::now() + self.config.request_timeout;
        let ids = self.command_ids.get(group.0 as usize).ok_or(Unavailable::Protocol("no such group"))?;
        let mut backoff = Backoff::new();
        let under_way = loop {
            match ids.begin(self.config.incarnation) {
                Some(under_way) => break under_way,
                None => pause(&mut backoff, deadline, Unavailable::Busy).await?,
            }
        };
        let body =
            || request::Body::Command(v1::Command { id: Some(under_way.id()), operation: Some(operation.clone()) });
        let answer = self.request(group, body, deadline).await?;
        match answer.body {
            // The leader refuses such a connection before it looks whether the command was applied.
            response::Body::Command(v1::CommandResult { outcome: Some(Outcome::Error(error)) })
                if answer.tried_before && error.code() == Code::ConnectionReplaced =>
            {
                Err(Unavailable::OutcomeUnknown)
            }
            response::Body::Command(v1::CommandResult { outcome: Some(outcome) }) => Ok(outcome),
            _ => Err(Unavailable::Protocol("a command's answer is none")),
        }
    }

    /// A linearizable read.
    pub(crate) async fn read(&self, group: GroupId, query: Query) -> Result<read_result::Result, Unavailable> {
        let deadline = Instant::now() + self.config.request_timeout;
        let body = || request::Body::Read(v1::Read { query: Some(query.clone()) });
        match self.request(group, body, deadline).await?.body {
            response::Body::Read(v1::ReadResult { result: Some(result) }) => Ok(result),
            _ => Err(Unavailable::Protocol("a read's answer is none")),
        }
    }

    async fn request(
        &self,
        group: GroupId,
        body: impl Fn() -> request::Body,
        deadline: Instant,
    ) -> Result<Answer, Unavailable> {
        let mut backoff = Backoff::new();
        let mut hops = 0;
        let mut tried_before = false;
        loop {
            let tried = self.try_once(group, body(), deadline).await;
            let known = |error| if tried_before { Unavailable::OutcomeUnknown } else { error };
            match tried {
                Try::Answered(body) => return Ok(Answer { body, tried_before }),
                Try::Never(error) => return Err(known(error)),
                Try::Elsewhere { at_once: true } if hops < self.nodes.known().len() => hops += 1,
                Try::Elsewhere { .. } => pause(&mut backoff, deadline, known(Unavailable::NoLeader)).await?,
                Try::Later(error) => {
                    tried_before |= error == Unavailable::OutcomeUnknown;
                    pause(&mut backoff, deadline, error).await?;
                }
                Try::Lost => {
                    tried_before = true;
                    pause(&mut backoff, deadline, Unavailable::Timeout).await?;
                }
            }
        }
    }

    async fn try_once(&self, group: GroupId, body: request::Body, deadline: Instant) -> Try {
        let Some(node) = self.nodes.leader_of(group) else {
            self.nodes.lost.notify_one();
            return Try::Later(Unavailable::NoLeader);
        };
        let (reply, answer) = oneshot::channel();
        let until = deadline.min(Instant::now() + self.config.attempt_timeout);
        let exchange = async {
            node.queue.send(Outgoing { group: group.0, body, reply }).await.ok()?;
            answer.await.ok()
        };
        match timeout_at(until, exchange).await {
            Ok(None) if self.ended.is_cancelled() => Try::Never(Unavailable::NoLeader),
            Ok(Some(response::Body::Refusal(refusal))) => self.refused(group, node.id, &refusal),
            Ok(Some(body)) => Try::Answered(body),
            Ok(None) | Err(_) => {
                self.nodes.correct(group, node.id, None);
                Try::Lost
            }
        }
    }

    fn refused(&self, group: GroupId, asked: u64, refusal: &v1::Refusal) -> Try {
        match refusal.reason() {
            Reason::NotLeader | Reason::ShuttingDown => {
                let at_once = self.nodes.correct(group, asked, refusal.leader_node_id);
                Try::Elsewhere { at_once }
            }
            reason @ (Reason::Busy | Reason::ClockSkew | Reason::OutcomeUnknown) => {
                Try::Later(Unavailable::from_reason(reason))
            }
            Reason::DiskFull => Try::Never(Unavailable::DiskFull),
            Reason::UnknownGroup => Try::Never(Unavailable::Protocol("the shard does not know the group")),
            Reason::Unspecified => Try::Never(Unavailable::Protocol("a refusal without a reason")),
        }
    }
}

/// Waits before the next try, or gives up with the reason when the time is over.
async fn pause(backoff: &mut Backoff, deadline: Instant, reason: Unavailable) -> Result<(), Unavailable> {
    let pause = backoff.pause();
    if Instant::now() + pause >= deadline {
        return Err(reason);
    }
    sleep(pause).await;
    Ok(())
}

impl ShardClient {
    /// Makes a call that only the group's leader answers: asks who is believed to lead, until one answers or the time is
    /// over.
    pub(crate) async fn ask_leader<A>(
        &self,
        group: GroupId,
        ask: impl AsyncFn(Stub<Channel>) -> Result<Response<A>, Status>,
    ) -> Result<A, Unavailable> {
        let Inner { config, nodes, .. } = &*self.inner;
        let deadline = Instant::now() + config.request_timeout;
        let mut backoff = Backoff::new();
        loop {
            let node = nodes.leader_of(group).ok_or(Unavailable::NoLeader)?;
            let stub = Stub::new(node.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
            let status = match timeout(config.attempt_timeout, ask(stub)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            if Instant::now() >= deadline {
                return Err(Unavailable::NoLeader);
            }
            if !nodes.correct(group, node.id, leader_hint(&status)) {
                sleep(backoff.pause()).await;
            }
        }
    }
}
