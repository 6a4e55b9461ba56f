//! One receiver's place from its gateway's side: granted, then held until one of them ends it (amqp §8.4).

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use proto::shard::v1::{self, receiver_claim_news::News, receiver_refused::Reason};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Groups, Leader, not_leader_status};
use crate::{
    group::Refusal,
    receivers::{Claim, ClaimId, Place, Receivers},
};

/// New receivers wait so long at the start of a leadership, while those of before claim their places again. Gateways find
/// a new leader sooner.
const CLAIM_AGAIN_WITHIN: Duration = Duration::from_secs(2);
/// Longest name of a receiver or consumer group, bytes; gateways send less.
const NAME_BYTES_MAX: usize = 256;

/// The receivers of one leadership, and the streams that they hold their places by.
pub struct Claims {
    receivers: Receivers,
    began: Instant,
    streams: HashMap<ClaimId, oneshot::Sender<v1::ReceiverDisplaced>>,
}

/// A place that was granted. It is given back when this is dropped.
struct Held {
    leader: Arc<Leader>,
    place: Place,
    id: ClaimId,
    /// Closes without a word when the leadership ends, or when the same receiver comes on another stream.
    displaced: oneshot::Receiver<v1::ReceiverDisplaced>,
}

impl Claims {
    /// Nobody reads under the leadership of that fence yet.
    pub fn new(fence: u64) -> Self {
        Self { receivers: Receivers::new(fence), began: Instant::now(), streams: HashMap::new() }
    }

    fn claim(
        &mut self,
        place: &Place,
        claim: Claim,
    ) -> Result<(ClaimId, oneshot::Receiver<v1::ReceiverDisplaced>), Reason> {
        let id = self.receivers.claim(place, claim)?;
        for lost in self.receivers.take_displaced() {
            self.streams.remove(&lost.id).map(|displaced| displaced.send(lost.by));
        }
        let (displaced, is_displaced) = oneshot::channel();
        self.streams.insert(id, displaced);
        Ok((id, is_displaced))
    }

    /// A stream of the receiver ended. Unless it is the last one, that means nothing.
    fn release(&mut self, place: &Place, id: ClaimId) {
        if self.streams.get(&id).is_some_and(oneshot::Sender::is_closed) {
            self.streams.remove(&id);
            self.receivers.release(place, id);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.displaced.close();
        self.leader.change_claims(|claims, _| claims.release(&self.place, self.id));
    }
}

/// Claims a place for as long as the stream lasts.
pub async fn claim(
    groups: &Groups,
    request: v1::ClaimReceiverRequest,
) -> Result<impl Stream<Item = Result<v1::ReceiverClaimNews, Status>> + Send + use<>, Status> {
    let leader = groups.hub().ok_or_else(|| Status::not_found("no hub group"))?.clone();
    let (place, claim) = read(request)?;
    let not_leader = || not_leader_status(&leader);
    if claim.previous.is_none() {
        sleep_until(leader.change_claims(|claims, _| claims.began + CLAIM_AGAIN_WITHIN).ok_or_else(not_leader)?).await;
    }
    // Who claims from an old leader would read beside those of the new one.
    leader.group.read().await.map_err(|refusal| match refusal {
        Refusal::NotLeader { .. } => not_leader(),
        _ => Status::unavailable("the group cannot be read now"),
    })?;
    let claimed = leader.change_claims(|claims, ended| (claims.claim(&place, claim), ended.clone()));
    let (claimed, ended) = claimed.ok_or_else(not_leader)?;
    Ok(match claimed {
        Err(reason) => {
            let refused = News::Refused(v1::ReceiverRefused { reason: Some(reason) });
            stream::iter([Ok(message(refused))]).boxed()
        }
        Ok((id, displaced)) => {
            let held = Held { leader, place, id, displaced };
            let granted = stream::iter([Ok(message(News::Granted(id.into())))]);
            granted.chain(stream::once(held.end(ended))).boxed()
        }
    })
}

impl Held {
    /// Until the place is lost.
    async fn end(mut self, ended: CancellationToken) -> Result<v1::ReceiverClaimNews, Status> {
        match ended.run_until_cancelled(&mut self.displaced).await {
            Some(Ok(displaced)) => Ok(message(News::Displaced(displaced))),
            Some(Err(_)) | None => Err(not_leader_status(&self.leader)),
        }
    }
}

fn message(news: News) -> v1::ReceiverClaimNews {
    v1::ReceiverClaimNews { news: Some(news) }
}

fn read(request: v1::ClaimReceiverRequest) -> Result<(Place, Claim), Status> {
    if request.consumer_group.len().max(request.name.len()) > NAME_BYTES_MAX {
        return Err(Status::invalid_argument(format!("names have at most {NAME_BYTES_MAX} bytes")));
    }
    let place = Place { consumer_group: request.consumer_group, partition: request.partition };
    let previous = request.previous.map(Into::into);
    Ok((place, Claim { epoch: request.epoch, name: request.name, previous }))
}
