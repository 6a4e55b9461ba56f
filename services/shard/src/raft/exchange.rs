//! Our end of the one stream to a peer, for all groups: requests that wait go out in one frame, answers come in any order.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use proto::raft::v1::{self, request, response};
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::peers::Client;

/// Requests to one peer that wait to be taken; each group has few under way, so this is reached only when the peer takes
/// none.
const QUEUED_MAX: usize = 4096;
/// Requests of one stream that wait for the transport, and as many for their answers.
const WAITING_MAX: usize = 4096;
/// Requests of one frame.
const FRAME_REQUESTS_MAX: usize = 512;
/// A frame takes no more entries once it has so many bytes of them: heartbeats do not wait for more than that.
const FRAME_BYTES: usize = 256 << 10;
/// Frames that wait for the transport. What is in one is not overtaken.
const FRAMES_MAX: usize = 1;
/// Until the peer has accepted the stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// Who cannot be reached is not tried again before; requests are refused meanwhile.
const RETRY: Duration = Duration::from_millis(50);

/// Why a request has no answer. It may have been done all the same, unless the peer refused it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("the node cannot be reached, or the stream to it was lost")]
    Lost,
    #[error("too many requests wait for the node")]
    Full,
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the node refused: {0}")]
    Refused(String),
    #[error("an answer that is none to the request: {0}")]
    Odd(&'static str),
}

/// The way to one peer. The stream is opened when there is something to ask, and again after it was lost. Cheap to clone.
#[derive(Clone)]
pub struct Exchange {
    queue: mpsc::Sender<Outgoing>,
}

struct Outgoing {
    body: request::Body,
    /// Dropped when the stream is lost. Whoever does not wait any more has closed it.
    answer: oneshot::Sender<response::Body>,
}

impl Exchange {
    /// Starts the task that keeps the stream, for as long as there is a clone of this.
    pub fn start(client: Client) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUED_MAX);
        tokio::spawn(run(client, receiver));
        Self { queue }
    }

    /// Asks, and waits for the answer no longer than that.
    pub async fn ask(&self, body: request::Body, wait: Duration) -> Result<response::Body, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Outgoing { body, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Full,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Lost,
        })?;
        match timeout(wait, answered).await {
            Err(_) => Err(Unanswered::TimedOut(wait)),
            Ok(Err(_)) => Err(Unanswered::Lost),
            Ok(Ok(response::Body::Refusal(refusal))) => Err(Unanswered::Refused(refusal.reason)),
            Ok(Ok(body)) => Ok(body),
        }
    }
}

async fn run(client: Client, mut queue: mpsc::Receiver<Outgoing>) {
    while let Some(first) = queue.recv().await {
        match timeout(OPEN_TIMEOUT, Stream::open(client.clone())).await {
            Ok(Ok(mut stream)) => {
                stream.waiting.add(first);
                match stream.serve(&mut queue).await {
                    Some(status) => tracing::debug!(%status, "a Raft stream ended"),
                    None => return,
                }
            }
            Ok(Err(status)) => tracing::debug!(%status, "no Raft stream"),
            Err(_) => tracing::debug!("no Raft stream in time"),
        }
        // Dropped requests are lost, and say so at once.
        let refuse = async { while queue.recv().await.is_some() {} };
        if timeout(RETRY, refuse).await.is_ok() {
            return;
        }
    }
}

struct Stream {
    frames: mpsc::Sender<v1::Requests>,
    responses: Streaming<v1::Responses>,
    waiting: Waiting,
    pending: Pending,
}

impl Stream {
    async fn open(mut client: Client) -> Result<Self, Status> {
        let (frames, receiver) = mpsc::channel(FRAMES_MAX);
        let responses = client.exchange(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { frames, responses, waiting: Waiting::default(), pending: Pending::default() })
    }

    /// Answers requests until the stream is lost, or nobody asks any more: then there is no status. Never waits for room to
    /// send without reading answers, so the two sides cannot block each other.
    async fn serve(&mut self, queue: &mut mpsc::Receiver<Outgoing>) -> Option<Status> {
        let Self { frames, responses, waiting, pending } = self;
        let mut taken = Vec::new();
        loop {
            let may_take = waiting.len() < WAITING_MAX && pending.has_room();
            tokio::select! {
                message = responses.message() => match message {
                    Ok(Some(message)) => pending.answer(message),
                    Ok(None) => return Some(Status::cancelled("the node closed the stream")),
                    Err(status) => return Some(status),
                },
                permit = frames.reserve(), if !waiting.is_empty() => match permit {
                    Ok(permit) => {
                        let requests = waiting.frame(pending);
                        if !requests.is_empty() {
                            permit.send(v1::Requests { requests });
                        }
                    }
                    Err(_) => return Some(Status::cancelled("the transport closed the stream")),
                },
                count = queue.recv_many(&mut taken, FRAME_REQUESTS_MAX), if may_take => {
                    if count == 0 {
                        return None;
                    }
                    // The groups beat together: what the others are about to ask goes into the same frame.
                    yield_now().await;
                    taken.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(FRAME_REQUESTS_MAX));
                    taken.drain(..).for_each(|outgoing| waiting.add(outgoing));
                },
            }
        }
    }
}

/// Requests that were sent and are not answered.
#[derive(Default)]
struct Pending {
    answers: HashMap<u64, oneshot::Sender<response::Body>>,
    last_request_id: u64,
}

impl Pending {
    /// Whether more may be sent. Those that nobody waits for any more are forgotten before there is none.
    fn has_room(&mut self) -> bool {
        if self.answers.len() >= WAITING_MAX {
            self.answers.retain(|_, answer| !answer.is_closed());
        }
        self.answers.len() < WAITING_MAX
    }

    fn send(&mut self, outgoing: Outgoing) -> v1::Request {
        self.last_request_id += 1;
        self.answers.insert(self.last_request_id, outgoing.answer);
        v1::Request { request_id: self.last_request_id, body: Some(outgoing.body) }
    }

    fn answer(&mut self, responses: v1::Responses) {
        for response in responses.responses {
            if let (Some(answer), Some(body)) = (self.answers.remove(&response.request_id), response.body) {
                // Who gave up does not listen.
                let _ = answer.send(body);
            }
        }
    }
}

/// Requests that are not in a frame yet. Those with entries let the others pass.
#[derive(Default)]
struct Waiting {
    small: VecDeque<Outgoing>,
    with_entries: VecDeque<Outgoing>,
}

impl Waiting {
    fn add(&mut self, outgoing: Outgoing) {
        if entry_bytes(&outgoing.body) == 0 {
            self.small.push_back(outgoing);
        } else {
            self.with_entries.push_back(outgoing);
        }
    }

    fn len(&self) -> usize {
        self.small.len() + self.with_entries.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next frame. Those that nobody waits for any more are left out.
    fn frame(&mut self, pending: &mut Pending) -> Vec<v1::Request> {
        let (mut requests, mut bytes) = (Vec::new(), 0);
        while requests.len() < FRAME_REQUESTS_MAX && bytes < FRAME_BYTES {
            let Some(outgoing) = self.small.pop_front().or_else(|| self.with_entries.pop_front()) else { break };
            if !outgoing.answer.is_closed() {
                bytes += entry_bytes(&outgoing.body);
                requests.push(pending.send(outgoing));
            }
        }
        requests
    }
}

/// Of the commands in it, which is nearly all there is.
fn entry_bytes(body: &request::Body) -> usize {
    let request::Body::AppendEntries(append) = body else { return 0 };
    let of_entry = |entry: &v1::Entry| match &entry.payload {
        Some(v1::entry::Payload::Proposal(proposal)) => proposal.len().max(1),
        _ => 1,
    };
    append.entries.iter().map(of_entry).sum()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn with_entries(group: u32, bytes: usize) -> request::Body {
        let payload = v1::entry::Payload::Proposal(Bytes::from(vec![0; bytes]));
        let entries = vec![v1::Entry { log_id: None, payload: Some(payload) }];
        request::Body::AppendEntries(v1::AppendEntriesRequest { group, entries, ..Default::default() })
    }

    fn heartbeat(group: u32) -> request::Body {
        request::Body::AppendEntries(v1::AppendEntriesRequest { group, ..Default::default() })
    }

    fn groups(frame: &[v1::Request]) -> Vec<u32> {
        let group = |request: &v1::Request| match &request.body {
            Some(request::Body::AppendEntries(append)) => append.group,
            _ => 0,
        };
        frame.iter().map(group).collect()
    }

    #[test]
    fn heartbeats_pass_entries_and_frames_of_entries_are_bounded() {
        let (mut waiting, mut pending) = (Waiting::default(), Pending::default());
        let mut callers = Vec::new();
        let half = FRAME_BYTES / 2;
        for body in [with_entries(1, half), with_entries(2, 8 * half), with_entries(3, 1), heartbeat(4), heartbeat(5)] {
            let (answer, caller) = oneshot::channel();
            waiting.add(Outgoing { body, answer });
            callers.push(caller);
        }
        assert_eq!(groups(&waiting.frame(&mut pending)), [4, 5, 1, 2], "one more than fits, so that all come to go");
        // Who has given up is not sent.
        drop(callers);
        assert_eq!(groups(&waiting.frame(&mut pending)), [0; 0]);
        assert!(waiting.is_empty());
        assert_eq!(pending.answers.len(), 4);
    }

    #[test]
    fn requests_that_nobody_waits_for_make_room() {
        let mut pending = Pending::default();
        let mut callers = Vec::new();
        for number in 0..WAITING_MAX {
            let (answer, caller) = oneshot::channel();
            pending.send(Outgoing { body: heartbeat(1), answer });
            callers.extend((number % 2 == 0).then_some(caller));
        }
        assert!(pending.has_room());
        assert_eq!(pending.answers.len(), callers.len());
    }
}
