//! One Exchange stream to one node: many callers, one task, requests batched into frames.

use std::collections::HashMap;

use proto::shard::v1::{self, request, response, shard_client::ShardClient as Stub};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Streaming, transport::Channel};

use crate::trying::Backoff;

/// Requests of one frame at most.
const FRAME_REQUESTS_MAX: usize = 512;
/// Frames that wait for the transport.
const FRAMES_MAX: usize = 4;
/// Requests of one stream without an answer at most; over it they wait in the queue.
const PENDING_MAX: usize = 8192;
/// Largest message in either direction, bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A request on its way to a node.
pub struct Outgoing {
    pub group: u32,
    pub body: request::Body,
    /// Dropped without an answer when the stream is lost: the outcome is unknown then.
    pub reply: oneshot::Sender<response::Body>,
}

/// Keeps a stream to the node until the token is cancelled, and answers the queue's requests through it.
pub async fn run(channel: Channel, mut queue: mpsc::Receiver<Outgoing>, cancelled: CancellationToken) {
    let mut backoff = Backoff::new();
    let work = async {
        loop {
            match Exchange::open(channel.clone()).await {
                Ok(mut exchange) => {
                    backoff = Backoff::new();
                    let error = exchange.serve(&mut queue).await;
                    tracing::debug!(%error, "an exchange stream ended");
                }
                Err(error) => tracing::debug!(%error, "no exchange stream"),
            }
            // Who waits here had better ask another node.
            let refuse = async { while queue.recv().await.is_some() {} };
            if tokio::time::timeout(backoff.pause(), refuse).await.is_ok() {
                return;
            }
        }
    };
    cancelled.run_until_cancelled(work).await;
}

struct Exchange {
    frames: mpsc::Sender<v1::Requests>,
    responses: Streaming<v1::Responses>,
    pending: Pending,
    next_request_id: u64,
}

impl Exchange {
    async fn open(channel: Channel) -> Result<Self, tonic::Status> {
        let (frames, receiver) = mpsc::channel(FRAMES_MAX);
        let mut stub = Stub::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let responses = stub.exchange(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { frames, responses, pending: HashMap::new(), next_request_id: 0 })
    }

    /// Never waits for room to send without reading answers, so the two sides cannot block each other.
    async fn serve(&mut self, queue: &mut mpsc::Receiver<Outgoing>) -> tonic::Status {
        let Self { frames, responses, pending, next_request_id } = self;
        let mut batch: Vec<Outgoing> = Vec::new();
        loop {
            let may_take = batch.is_empty() && pending.len() < PENDING_MAX;
            tokio::select! {
                message = responses.message() => match message {
                    Ok(Some(message)) => answer(pending, message),
                    Ok(None) => return tonic::Status::cancelled("the node closed the stream"),
                    Err(status) => return status,
                },
                permit = frames.reserve(), if !batch.is_empty() => match permit {
                    Ok(permit) => permit.send(frame(pending, next_request_id, &mut batch)),
                    Err(_) => return tonic::Status::cancelled("the transport closed the stream"),
                },
                taken = queue.recv_many(&mut batch, FRAME_REQUESTS_MAX), if may_take => if taken == 0 {
                    return tonic::Status::cancelled("the client is gone");
                },
            }
        }
    }
}

type Pending = HashMap<u64, oneshot::Sender<response::Body>>;

fn answer(pending: &mut Pending, responses: v1::Responses) {
    for response in responses.responses {
        if let Some(reply) = pending.remove(&response.request_id)
            && let Some(body) = response.body
        {
            // Callers that gave up do not listen.
            let _ = reply.send(body);
        }
    }
}

fn frame(pending: &mut Pending, next_request_id: &mut u64, batch: &mut Vec<Outgoing>) -> v1::Requests {
    let still_wanted = batch.drain(..).filter(|outgoing| !outgoing.reply.is_closed());
    let requests = still_wanted.map(|outgoing| {
        *next_request_id += 1;
        pending.insert(*next_request_id, outgoing.reply);
        v1::Request { request_id: *next_request_id, group: outgoing.group, body: Some(outgoing.body) }
    });
    v1::Requests { requests: requests.collect() }
}
