//! The Attach stream to the leader of one group, opened again whenever it ends.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use model::{Credentials, Principal};
use proto::shard::v1::{self, gateway_frame, shard_client::ShardClient as Stub, shard_frame::Body};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::live::{Attachments, Outdated};
use crate::{
    Inner,
    exchange::MESSAGE_BYTES_MAX,
    nodes::KnownNode,
    trying::{Backoff, leader_hint, random_fraction},
};

/// Frames of one message at most; also connections attached again at a time.
const FRAMES_MAX: usize = 256;
/// After a change of leader all connections are attached again within this time, so that leaders are not flooded.
const ATTACH_AGAIN_WITHIN: Duration = Duration::from_secs(2);
/// Few connections need less time: this much for each.
const ATTACH_AGAIN_EACH: Duration = Duration::from_micros(200);
const FLUSH_ACTIVITY_EVERY: Duration = Duration::from_secs(5);
/// How long a leader may take to greet.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps the stream for ever.
pub(crate) async fn run(client: Arc<Inner>, attachments: Arc<Attachments>) {
    let mut backoff = Backoff::new();
    loop {
        let node = client.nodes.leader_of(attachments.group);
        let asked = node.as_ref().map_or(0, |node| node.id);
        let at_once = match AttachStream::open(&client, &attachments, node.as_deref()).await {
            Ok(mut stream) => {
                backoff = Backoff::new();
                let status = stream.serve().await;
                attachments.closed();
                tracing::debug!(group = %attachments.group, %status, "an attach stream ended");
                client.nodes.correct(attachments.group, asked, leader_hint(&status))
            }
            Err(status) => {
                tracing::debug!(group = %attachments.group, %status, "no attach stream");
                client.nodes.correct(attachments.group, asked, leader_hint(&status))
            }
        };
        // Even good hints may chase each other during an election.
        sleep(if at_once { Duration::from_millis(5) } else { backoff.pause() }).await;
    }
}

struct AttachStream<'a> {
    client: &'a Inner,
    attachments: &'a Arc<Attachments>,
    outgoing: mpsc::Sender<v1::GatewayFrames>,
    incoming: Streaming<v1::ShardFrames>,
}

impl<'a> AttachStream<'a> {
    /// A stream whose leader has greeted.
    async fn open(
        client: &'a Inner,
        attachments: &'a Arc<Attachments>,
        node: Option<&KnownNode>,
    ) -> Result<Self, tonic::Status> {
        let unavailable = tonic::Status::unavailable;
        let node = node.ok_or_else(|| unavailable("no node is known"))?;
        let mut stub = Stub::new(node.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (outgoing, receiver) = mpsc::channel(4);
        let hello = v1::Hello { group: attachments.group.0, gateway_id: client.config.gateway_id.clone() };
        let hello = v1::GatewayFrame { body: Some(gateway_frame::Body::Hello(hello)) };
        let hello = v1::GatewayFrames { frames: vec![hello] };
        outgoing.try_send(hello).map_err(|_| unavailable("no room to say hello"))?;
        let greeting = async {
            let mut incoming = stub.attach(ReceiverStream::new(receiver)).await?.into_inner();
            match incoming.message().await? {
                Some(_welcome) => Ok(incoming),
                None => Err(unavailable("the leader did not greet")),
            }
        };
        let incoming = timeout(WELCOME_TIMEOUT, greeting).await.map_err(|_| unavailable("no greeting in time"))??;
        Ok(Self { client, attachments, outgoing, incoming })
    }

    /// Until the stream ends; answers why.
    async fn serve(&mut self) -> tonic::Status {
        let mut again = AttachAgain::new(self.attachments.opened());
        let mut outdated = FuturesUnordered::new();
        let mut flush = interval(FLUSH_ACTIVITY_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.incoming.message() => match message {
                    Ok(Some(frames)) => self.receive(frames, |it| outdated.push(read_again(self.client, it))),
                    Ok(None) => return tonic::Status::unavailable("the leader closed the stream"),
                    Err(status) => return status,
                },
                permit = self.outgoing.reserve(), if self.attachments.has_frames() => match permit {
                    Ok(permit) => permit.send(self.attachments.take_frames(FRAMES_MAX)),
                    Err(_) => return tonic::Status::unavailable("the transport closed the stream"),
                },
                () = self.attachments.changed.notified(), if !self.attachments.has_frames() => {}
                () = sleep_until(again.next_at), if !again.waiting.is_empty() => {
                    self.attachments.attach_again(&again.take());
                }
                Some((it, credentials)) = outdated.next() => {
                    if self.attachments.verify_again(&it.principal, it.connection_id, credentials) {
                        self.attachments.attach_again(&[it.principal]);
                    }
                }
                _ = flush.tick() => self.attachments.flush_activity(FRAMES_MAX),
            }
        }
    }

    fn receive(&self, frames: v1::ShardFrames, mut read_again: impl FnMut(Outdated)) {
        for body in frames.frames.into_iter().filter_map(|frame| frame.body) {
            match body {
                Body::Welcome(_) => {}
                Body::Attached(attached) => self.attachments.attached(attached),
                Body::AttachRefused(refused) => {
                    if let Some(outdated) = self.attachments.refused(&refused) {
                        read_again(outdated);
                    }
                }
                Body::Detached(detached) => self.attachments.detached(&detached),
                Body::IdentityChanged(changed) => self.attachments.identity_changed(changed),
                Body::DesiredUpdated(updated) => self.attachments.desired_updated(updated),
                Body::MethodCalled(called) => self.attachments.method_called(called),
                Body::MessagesWaiting(waiting) => self.attachments.messages_waiting(&waiting),
            }
        }
    }
}

/// What the leader holds of an identity that the gateway knows otherwise.
async fn read_again(client: &Inner, outdated: Outdated) -> (Outdated, Option<Credentials>) {
    loop {
        match client.get_credentials(&outdated.principal).await {
            Ok(credentials) => return (outdated, credentials),
            Err(error) => tracing::debug!(%error, "an identity could not be read again"),
        }
    }
}

/// Connections to attach again, spread over time from a random moment on.
struct AttachAgain {
    waiting: VecDeque<Principal>,
    every: Duration,
    next_at: Instant,
}

impl AttachAgain {
    fn new(live: Vec<Principal>) -> Self {
        let within = ATTACH_AGAIN_WITHIN.min(ATTACH_AGAIN_EACH * u32::try_from(live.len()).unwrap_or(u32::MAX));
        let steps = live.len().div_ceil(FRAMES_MAX).max(1);
        let every = within / u32::try_from(steps).unwrap_or(u32::MAX);
        Self { waiting: live.into(), every, next_at: Instant::now() + every.mul_f64(random_fraction()) }
    }

    fn take(&mut self) -> Vec<Principal> {
        self.next_at += self.every;
        let count = self.waiting.len().min(FRAMES_MAX);
        self.waiting.drain(..count).collect()
    }
}
