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

use model::{ConnectionId, Principal};

use super::close::Close;
use crate::{
    Front,
    twin_requests::{self, TwinOutcome, TwinRequest},
};

/// Requests that wait for the one before them; then nothing more is read.
const WAITING_MAX: usize = 16;

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
            let outcome = twin_requests::run(&front, &principal, connection_id, request).await?;
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

impl TwinOutcome {
    /// As topic and payload: the request id first, the version last, nothing else (mqtt §7.2).
    fn answer(self, request_id: &str) -> TwinAnswer {
        match self {
            Self::Got(payload) => TwinAnswer { topic: format!("$iothub/twin/res/200/?$rid={request_id}"), payload },
            Self::Reported { version } => TwinAnswer {
                topic: format!("$iothub/twin/res/204/?$rid={request_id}&$version={version}"),
                payload: Vec::new(),
            },
            Self::Failed(failure) => TwinAnswer {
                topic: format!("$iothub/twin/res/{}/?$rid={request_id}", failure.status()),
                payload: failure.body(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twin_requests::TwinFailure;

    #[test]
    fn answers_on_the_wire() {
        let got = TwinOutcome::Got(b"{}".to_vec()).answer("7");
        assert_eq!((got.topic.as_str(), got.payload.as_slice()), ("$iothub/twin/res/200/?$rid=7", &b"{}"[..]));
        let reported = TwinOutcome::Reported { version: 10 }.answer("8");
        assert_eq!((reported.topic.as_str(), reported.payload.len()), ("$iothub/twin/res/204/?$rid=8&$version=10", 0));
        let failed = TwinOutcome::Failed(TwinFailure::precondition_failed("no")).answer("9");
        assert_eq!(failed.topic, "$iothub/twin/res/412/?$rid=9");
        let body: serde_json::Value = serde_json::from_slice(&failed.payload).unwrap_or_default();
        assert_eq!((body["errorCode"].as_u64(), body["message"].as_str()), (Some(412_001), Some("no")));
    }
}
