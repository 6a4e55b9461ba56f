//! Twin requests of a device (mqtt §7): one after the other, each answered exactly once.
//!
//! ```text
//!   PUBLISH twin/GET, twin/PATCH -> TwinRequests -> shard -> PUBLISH twin/res/{status}
//! ```

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use model::{
    ConnectionId, Principal,
    twin::{InvalidPatch, Patch},
};
use serde_json::json;
use shard_client::{TwinError, Unavailable};

use super::close::Close;
use crate::{Front, metrics::TwinOperation, tracking::tracking_id};

/// Requests that wait for the one before them; then nothing more is read.
const WAITING_MAX: usize = 16;

/// What a device asks of its twin.
#[derive(Debug)]
pub(super) enum TwinRequest {
    Get,
    /// JSON text.
    Patch {
        expected_version: Option<u64>,
        patch: Vec<u8>,
    },
}

impl TwinRequest {
    fn operation(&self) -> TwinOperation {
        match self {
            Self::Get => TwinOperation::Get,
            Self::Patch { .. } => TwinOperation::Report,
        }
    }
}

/// An answer to publish.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TwinAnswer {
    pub topic: String,
    pub payload: Vec<u8>,
}

type Running = Pin<Box<dyn Future<Output = Result<Option<TwinAnswer>, Close>> + Send>>;

/// The twin requests of a connection, oldest first.
#[derive(Default)]
pub(super) struct TwinRequests {
    running: Option<Running>,
    waiting: VecDeque<Running>,
    received: u64,
    answered: u64,
}

impl TwinRequests {
    /// Whether every request is answered.
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    /// Whether as many wait as may.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// How many were answered.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Takes a request; it is answered when [`Self::answered`] is at least the number returned. Without a request id
    /// there is nothing to publish.
    pub fn push(
        &mut self,
        front: &Arc<Front>,
        principal: &Principal,
        connection_id: ConnectionId,
        request_id: Option<&str>,
        request: TwinRequest,
    ) -> u64 {
        let (front, principal, request_id) = (front.clone(), principal.clone(), request_id.map(str::to_owned));
        let received_at = Instant::now();
        self.waiting.push_back(Box::pin(async move {
            let operation = request.operation();
            let outcome = run(&front, &principal, connection_id, request).await?;
            front.metrics.twins.answered(operation, outcome.result(), received_at.elapsed());
            Ok(request_id.map(|request_id| outcome.answer(&request_id)))
        }));
        self.received += 1;
        self.received
    }

    /// The next answer; requests start when the one before is answered. `Pending` when there is nothing to publish.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<TwinAnswer, Close>> {
        loop {
            if self.running.is_none() {
                self.running = self.waiting.pop_front();
            }
            let Some(running) = &mut self.running else {
                self.waiting = VecDeque::new(); // an idle connection keeps no queue
                return Poll::Pending;
            };
            let Poll::Ready(outcome) = running.as_mut().poll(context) else { return Poll::Pending };
            self.running = None;
            self.answered += 1;
            match outcome {
                Ok(Some(answer)) => return Poll::Ready(Ok(answer)),
                Ok(None) => {}
                Err(close) => return Poll::Ready(Err(close)),
            }
        }
    }
}

/// How a request ended; some ends are those of the connection.
enum Outcome {
    Got(Vec<u8>),
    Reported { version: u64 },
    Failed { code: Code, message: String },
}

/// Number and name of an error; the status is the number's first three digits (rest §21.3).
#[derive(Clone, Copy)]
struct Code(u32, &'static str);

const ARGUMENT_INVALID: Code = Code(400_004, "ArgumentInvalid");
const PRECONDITION_FAILED: Code = Code(412_001, "PreconditionFailed");
const SERVER_BUSY: Code = Code(503_005, "ServerBusy");

async fn run(
    front: &Front,
    principal: &Principal,
    connection_id: ConnectionId,
    request: TwinRequest,
) -> Result<Outcome, Close> {
    match request {
        TwinRequest::Get => match front.shard_client.get_twin(principal).await {
            Ok(Some(document)) => Ok(Outcome::Got(document.twin.to_device_json().to_string().into_bytes())),
            Ok(None) => Err(Close::Deleted),
            Err(unavailable) => Ok(unavailable.into()),
        },
        TwinRequest::Patch { expected_version, patch } => {
            let patch = match Patch::parse_text(&patch) {
                Ok(patch) => patch,
                Err(invalid) => return Ok(invalid.into()),
            };
            match front.shard_client.update_reported(principal, connection_id, expected_version, &patch).await {
                Ok(version) => Ok(Outcome::Reported { version }),
                Err(TwinError::NotFound) => Err(Close::Deleted),
                Err(TwinError::ConnectionReplaced) => Err(Close::Replaced),
                Err(error @ TwinError::PreconditionFailed(_)) => {
                    Ok(Outcome::failed(PRECONDITION_FAILED, error.to_string()))
                }
                Err(TwinError::TooLarge(message)) => Ok(Outcome::failed(ARGUMENT_INVALID, message)),
                Err(TwinError::Unavailable(unavailable)) => Ok(unavailable.into()),
            }
        }
    }
}

impl From<InvalidPatch> for Outcome {
    fn from(invalid: InvalidPatch) -> Self {
        Self::failed(ARGUMENT_INVALID, invalid.to_string())
    }
}

impl From<Unavailable> for Outcome {
    fn from(unavailable: Unavailable) -> Self {
        Self::failed(SERVER_BUSY, format!("The registry cannot answer now: {unavailable}"))
    }
}

impl Outcome {
    fn failed(code: Code, message: String) -> Self {
        Self::Failed { code, message }
    }

    /// As it is counted.
    fn result(&self) -> &'static str {
        match self {
            Self::Got(_) | Self::Reported { .. } => "ok",
            Self::Failed { code, .. } => code.1,
        }
    }

    /// As topic and payload: the request id first, the version last, nothing else (mqtt §7.2).
    fn answer(self, request_id: &str) -> TwinAnswer {
        match self {
            Self::Got(payload) => TwinAnswer { topic: format!("$iothub/twin/res/200/?$rid={request_id}"), payload },
            Self::Reported { version } => TwinAnswer {
                topic: format!("$iothub/twin/res/204/?$rid={request_id}&$version={version}"),
                payload: Vec::new(),
            },
            Self::Failed { code: Code(number, _), message } => {
                let body = json!({
                    "errorCode": number,
                    "trackingId": tracking_id(),
                    "message": message,
                    "timestampUtc": crate::front::now().to_string(),
                    "info": null,
                });
                let topic = format!("$iothub/twin/res/{}/?$rid={request_id}", number / 1000);
                TwinAnswer { topic, payload: body.to_string().into_bytes() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_on_the_wire() {
        let got = Outcome::Got(b"{}".to_vec()).answer("7");
        assert_eq!((got.topic.as_str(), got.payload.as_slice()), ("$iothub/twin/res/200/?$rid=7", &b"{}"[..]));
        let reported = Outcome::Reported { version: 10 }.answer("8");
        assert_eq!((reported.topic.as_str(), reported.payload.len()), ("$iothub/twin/res/204/?$rid=8&$version=10", 0));
        let failed = Outcome::failed(PRECONDITION_FAILED, "no".into()).answer("9");
        assert_eq!(failed.topic, "$iothub/twin/res/412/?$rid=9");
        let body: serde_json::Value = serde_json::from_slice(&failed.payload).unwrap_or_default();
        assert_eq!((body["errorCode"].as_u64(), body["message"].as_str()), (Some(412_001), Some("no")));
    }
}
