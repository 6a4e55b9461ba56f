//! Direct methods: for callers, and for the connections that answer them (twins-jobs-query §3).

use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use model::Principal;
use proto::shard::v1::{self, MethodFailure, invoke_method_response::Outcome, shard_client::ShardClient as Stub};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use crate::{
    ShardClient, Unavailable,
    exchange::MESSAGE_BYTES_MAX,
    nodes::KnownNode,
    trying::{Backoff, leader_hint},
};

/// How much later than its own time a shard may answer, before it counts as lost.
const ANSWER_GRACE: Duration = Duration::from_secs(10);

/// A method to invoke.
#[derive(Clone, Debug)]
pub struct MethodRequest {
    pub name: String,
    /// JSON text.
    pub payload: Bytes,
    /// Until the device is connected and subscribed; zero: it must be so already.
    pub connect_timeout: Duration,
    /// From delivery to the answer.
    pub response_timeout: Duration,
}

/// What the device answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodAnswer {
    pub status: i32,
    /// As the device sent it, which need not be JSON.
    pub payload: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    #[error("the identity is not registered, or disabled")]
    NotFound,
    #[error("the device is not connected and subscribed to methods")]
    NotOnline,
    #[error("the device did not answer in time")]
    TimedOut,
    #[error("as many methods as may be are under way for the device")]
    TooMany,
    /// It may have been delivered; it is never sent again.
    #[error("the leader of the device's group was lost meanwhile")]
    LeaderLost,
    /// It was not delivered.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Names a call to the device: `{leadership}-{counter}`, hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodCallId {
    leadership: u64,
    counter: u64,
}

impl MethodCallId {
    /// As 16 bytes, for protocols that carry a UUID.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.leadership) << 64 | u128::from(self.counter)).to_be_bytes()
    }

    /// The other way.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        Self { leadership: (number >> 64) as u64, counter: number as u64 }
    }
}

impl fmt::Display for MethodCallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.leadership, self.counter)
    }
}

impl FromStr for MethodCallId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (leadership, counter) = text.split_once('-').unwrap_or((text, ""));
        Ok(Self { leadership: u64::from_str_radix(leadership, 16)?, counter: u64::from_str_radix(counter, 16)? })
    }
}

impl From<v1::MethodCallId> for MethodCallId {
    fn from(id: v1::MethodCallId) -> Self {
        Self { leadership: id.leadership, counter: id.counter }
    }
}

impl From<MethodCallId> for v1::MethodCallId {
    fn from(id: MethodCallId) -> Self {
        Self { leadership: id.leadership, counter: id.counter }
    }
}

impl ShardClient {
    /// Invokes the method and waits for its answer, however long the caller allows. Sent once: tried again only while
    /// nodes say that they do not lead the group.
    pub async fn invoke_method(
        &self,
        principal: &Principal,
        request: &MethodRequest,
    ) -> Result<MethodAnswer, MethodError> {
        let group = self.inner.group_of(&principal.device_id);
        let deadline = Instant::now() + self.inner.config.request_timeout;
        let mut backoff = Backoff::new();
        loop {
            let Some(node) = self.inner.nodes.leader_of(group) else { return Err(Unavailable::NoLeader.into()) };
            let failed = match self.invoke_at(&node, group.0, principal, request).await {
                Ok(response) => return outcome(response),
                Err(status) => status,
            };
            let at_once = self.inner.nodes.correct(group, node.id, leader_hint(&failed));
            match failed.code() {
                Code::FailedPrecondition => {}
                Code::InvalidArgument | Code::NotFound => {
                    return Err(Unavailable::Protocol("the shard does not understand a method").into());
                }
                _ => return Err(MethodError::LeaderLost),
            }
            if Instant::now() >= deadline {
                return Err(Unavailable::NoLeader.into());
            }
            if !at_once {
                sleep(backoff.pause()).await;
            }
        }
    }

    async fn invoke_at(
        &self,
        node: &KnownNode,
        group: u32,
        principal: &Principal,
        request: &MethodRequest,
    ) -> Result<v1::InvokeMethodResponse, tonic::Status> {
        let mut stub = Stub::new(node.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let milliseconds = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let message = v1::InvokeMethodRequest {
            group,
            principal: Some(principal.into()),
            name: request.name.clone(),
            payload: request.payload.clone(),
            connect_timeout_milliseconds: milliseconds(request.connect_timeout),
            response_timeout_milliseconds: milliseconds(request.response_timeout),
        };
        let within = request.connect_timeout + request.response_timeout + ANSWER_GRACE;
        let answer = timeout(within, stub.invoke_method(message)).await;
        answer.map_err(|_| tonic::Status::deadline_exceeded("no answer in time"))?.map(tonic::Response::into_inner)
    }

    /// Passes on what the device answered. An answer that nobody waits for is dropped.
    pub fn answer_method(&self, principal: &Principal, call_id: MethodCallId, answer: MethodAnswer) {
        if let Some(attachments) = self.inner.attachments_of(principal) {
            attachments.answer_method(v1::MethodAnswered {
                principal: Some(principal.into()),
                call_id: Some(call_id.into()),
                answer: Some(v1::MethodAnswer { status: answer.status, payload: answer.payload }),
            });
        }
    }
}

fn outcome(response: v1::InvokeMethodResponse) -> Result<MethodAnswer, MethodError> {
    match response.outcome {
        Some(Outcome::Answer(answer)) => Ok(MethodAnswer { status: answer.status, payload: answer.payload }),
        Some(Outcome::Failure(failure)) => Err(match MethodFailure::try_from(failure) {
            Ok(MethodFailure::NotFound) => MethodError::NotFound,
            Ok(MethodFailure::NotOnline) => MethodError::NotOnline,
            Ok(MethodFailure::TimedOut) => MethodError::TimedOut,
            Ok(MethodFailure::TooMany) => MethodError::TooMany,
            Ok(MethodFailure::LeaderLost) => MethodError::LeaderLost,
            Ok(MethodFailure::Unspecified) | Err(_) => Unavailable::Protocol("a method failed without a reason").into(),
        }),
        None => Err(Unavailable::Protocol("a method without an outcome").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_ids_are_read_back() {
        let id = MethodCallId { leadership: 0x1f, counter: u64::MAX };
        assert_eq!(id.to_string(), "1f-ffffffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(MethodCallId::from_bytes(id.to_bytes()), id);
        for text in ["", "-", "1", "1-", "x-1", "1-2-3"] {
            assert!(text.parse::<MethodCallId>().is_err(), "{text}");
        }
    }
}
