//! The places of receivers: who reads which partition of the events (amqp §8.4).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use model::{EventPartition, GroupId};
use proto::shard::v1::{self, receiver_claim_news::News, receiver_refused::Reason, shard_client::ShardClient as Stub};
use tokio::{
    sync::oneshot,
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use tonic::Streaming;

use crate::{
    Inner, ShardClient, Unavailable,
    nodes::KnownNode,
    trying::{Backoff, leader_hint},
};

/// How much longer than usual an answer may take: a new leader lets those of before come first.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// A receiver that wants its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReceiver {
    /// In lower case.
    pub consumer_group: String,
    pub partition: EventPartition,
    /// Owner level, 0 or more: the newest receiver of the highest one reads alone. `None`: a few share.
    pub epoch: Option<i64>,
    /// What people call it; at most 256 bytes.
    pub name: String,
}

/// Why a receiver gets no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error("a receiver of the higher epoch {0} is there")]
    HigherEpoch(i64),
    #[error("a receiver of the epoch {0} is there")]
    EpochReceiver(i64),
    #[error("as many receivers as may be are there")]
    TooMany {
        /// What they are called.
        names: Vec<String>,
    },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The place went to another receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displaced {
    /// The other one, when it is known.
    pub by: Option<Displacer>,
}

/// A receiver that took a place from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displacer {
    pub name: String,
    pub epoch: i64,
}

/// A place that a receiver has; resolves when it is lost to another receiver. A change of leader is no loss: the place is
/// claimed again, and read on from meanwhile. Dropping it gives the place back.
#[derive(Debug)]
pub struct ClaimedReceiver {
    displaced: oneshot::Receiver<Displaced>,
    keeper: AbortHandle,
}

impl Future for ClaimedReceiver {
    type Output = Displaced;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Displaced> {
        // Without a word: the client was shut down.
        Pin::new(&mut self.displaced).poll(context).map(|lost| lost.unwrap_or(Displaced { by: None }))
    }
}

impl Drop for ClaimedReceiver {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl ShardClient {
    /// Claims the place of a receiver. Right after a change of leader this takes as long as receivers of before have to
    /// come back.
    pub async fn claim_receiver(&self, receiver: &NewReceiver) -> Result<ClaimedReceiver, ClaimError> {
        let request = v1::ClaimReceiverRequest {
            consumer_group: receiver.consumer_group.clone(),
            partition: receiver.partition,
            epoch: receiver.epoch,
            name: receiver.name.clone(),
            previous: None,
        };
        let deadline = Instant::now() + self.inner.config.request_timeout + WAIT_MAX;
        let (id, stream) = match claim(&self.inner, &request, Some(deadline)).await? {
            (News::Granted(id), stream) => (id, stream),
            (News::Refused(refused), _) => return Err(refused.into()),
            (News::Displaced(_), _) => {
                return Err(Unavailable::Protocol("a place was lost before it was granted").into());
            }
        };
        let (sender, displaced) = oneshot::channel();
        let request = v1::ClaimReceiverRequest { previous: Some(id), ..request };
        let (inner, cancelled) = (self.inner.clone(), self.running.token().clone());
        let keep = async move {
            if let Some(lost) = cancelled.run_until_cancelled(keep(&inner, request, stream)).await {
                let _ = sender.send(lost);
            }
        };
        Ok(ClaimedReceiver { displaced, keeper: tokio::spawn(keep).abort_handle() })
    }
}

/// Holds the place, and claims it again whenever its stream ends.
async fn keep(
    inner: &Arc<Inner>,
    request: v1::ClaimReceiverRequest,
    mut stream: Streaming<v1::ReceiverClaimNews>,
) -> Displaced {
    let mut backoff = Backoff::new();
    loop {
        let last_word = stream.message().await;
        if let Ok(Some(v1::ReceiverClaimNews { news: Some(News::Displaced(by)) })) = last_word {
            return Displaced { by: Some(Displacer { name: by.name, epoch: by.epoch }) };
        }
        sleep(backoff.pause()).await;
        stream = match claim(inner, &request, None).await {
            Ok((News::Granted(_), stream)) => stream,
            Ok(_) | Err(_) => return Displaced { by: None },
        };
    }
}

/// Asks the leaders that are believed in, one after the other, until one answers or the time is over.
async fn claim(
    inner: &Inner,
    request: &v1::ClaimReceiverRequest,
    deadline: Option<Instant>,
) -> Result<(News, Streaming<v1::ReceiverClaimNews>), Unavailable> {
    let mut backoff = Backoff::new();
    loop {
        let node = inner.nodes.leader_of(GroupId::HUB);
        let asked = node.as_ref().map_or(0, |node| node.id);
        let answer = claim_at(node.as_deref(), request);
        let status = match timeout(inner.config.attempt_timeout + WAIT_MAX, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => status,
            Err(_) => tonic::Status::deadline_exceeded("no answer in time"),
        };
        if status.code() == tonic::Code::InvalidArgument {
            return Err(Unavailable::Protocol("the shard does not understand a receiver"));
        }
        let at_once = inner.nodes.correct(GroupId::HUB, asked, leader_hint(&status));
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Unavailable::NoLeader);
        }
        if !at_once {
            sleep(backoff.pause()).await;
        }
    }
}

async fn claim_at(
    node: Option<&KnownNode>,
    request: &v1::ClaimReceiverRequest,
) -> Result<(News, Streaming<v1::ReceiverClaimNews>), tonic::Status> {
    let node = node.ok_or_else(|| tonic::Status::unavailable("no node is known"))?;
    let mut stream = Stub::new(node.channel.clone()).claim_receiver(request.clone()).await?.into_inner();
    match stream.message().await?.and_then(|first| first.news) {
        Some(news) => Ok((news, stream)),
        None => Err(tonic::Status::unavailable("the leader said nothing")),
    }
}

impl From<v1::ReceiverRefused> for ClaimError {
    fn from(refused: v1::ReceiverRefused) -> Self {
        match refused.reason {
            Some(Reason::HigherEpoch(epoch)) => Self::HigherEpoch(epoch),
            Some(Reason::EpochReceiver(epoch)) => Self::EpochReceiver(epoch),
            Some(Reason::TooMany(connected)) => Self::TooMany { names: connected.names },
            Some(Reason::Newer(_)) | None => Unavailable::Protocol("a receiver was refused without a reason").into(),
        }
    }
}
