//! SUBSCRIBE and UNSUBSCRIBE (mqtt §2.6, §3.1).
//!
//! Every filter that MQTT allows is granted, with at most quality of service 1. A session that outlives its connection
//! is stored in the shard before the answer.

use std::sync::Arc;

use model::{ConnectionId, Interests, Principal, Subscription};
use mqtt::{QualityOfService, ServerConnection, Subscribe, Unsubscribe};
use shard_client::SessionError;

use super::{
    close::Close,
    filter::{interests, is_valid_filter},
};
use crate::Front;

/// The session of a connection: what it is subscribed to, and where that is kept.
pub(super) struct Session {
    pub principal: Principal,
    pub connection_id: ConnectionId,
    /// CleanSession 1: nothing is stored.
    pub clean: bool,
    pub subscriptions: Vec<Subscription>,
}

/// A change of the stored session, and the answer that follows it.
pub(super) struct Change {
    packet_id: u16,
    answer: Answer,
}

enum Answer {
    Subscribed(Vec<Option<QualityOfService>>),
    Unsubscribed,
}

impl Change {
    pub fn answer(&self, protocol: &ServerConnection, out: &mut Vec<u8>) {
        match &self.answer {
            Answer::Subscribed(granted) => protocol.suback(self.packet_id, granted, out),
            Answer::Unsubscribed => protocol.unsuback(self.packet_id, out),
        }
    }
}

/// Resolves once the change is durable.
pub(super) type Changing = std::pin::Pin<Box<dyn Future<Output = Result<Change, Close>> + Send>>;

impl Session {
    /// Grants the filters; those beyond the limit are refused one by one.
    pub fn subscribe(&mut self, front: &Arc<Front>, subscribe: Subscribe) -> Result<Changing, Close> {
        let mut granted = Vec::with_capacity(subscribe.filters.len());
        let mut added = Vec::new();
        for (filter, requested) in subscribe.filters {
            if !is_valid_filter(&filter) {
                return Err(Close::Filter);
            }
            let quality = requested.min(QualityOfService::AtLeastOnce);
            let interests = interests(&filter, &self.principal);
            let subscription = Subscription { filter, quality_of_service: stored(quality), interests };
            granted.push(self.grant(subscription, front.limits.subscriptions_max(), &mut added).then_some(quality));
        }
        let change = Change { packet_id: subscribe.packet_id, answer: Answer::Subscribed(granted) };
        let interests = self.interests();
        let tells_nothing_new = added.is_empty() || (self.clean && interests == Interests::default());
        if tells_nothing_new {
            return Ok(Box::pin(std::future::ready(Ok(change))));
        }
        let stored = if self.clean { Vec::new() } else { added };
        let (front, principal, connection_id) = (front.clone(), self.principal.clone(), self.connection_id);
        Ok(Box::pin(async move {
            front.shard_client.subscribe(&principal, connection_id, &stored, interests).await.map_err(close)?;
            Ok(change)
        }))
    }

    /// What all subscriptions together make the hub send.
    pub fn interests(&self) -> Interests {
        self.subscriptions.iter().map(|subscription| subscription.interests).collect()
    }

    /// Whether the filter is granted; `added` collects what is new.
    fn grant(&mut self, subscription: Subscription, max: usize, added: &mut Vec<Subscription>) -> bool {
        let count = self.subscriptions.len();
        let existing = self.subscriptions.iter_mut().find(|existing| existing.filter == subscription.filter);
        match existing {
            Some(existing) if *existing == subscription => return true,
            Some(existing) => *existing = subscription.clone(),
            None if count >= max => return false,
            None => self.subscriptions.push(subscription.clone()),
        }
        added.push(subscription);
        true
    }

    /// How messages for the device are delivered; `None`: it is not subscribed to them.
    pub fn device_bound_quality(&self) -> Option<model::QualityOfService> {
        let wanted = self.subscriptions.iter().filter(|subscription| subscription.interests.device_bound_messages);
        wanted.map(|subscription| subscription.quality_of_service).max()
    }

    /// Removes the filters.
    pub fn unsubscribe(&mut self, front: &Arc<Front>, unsubscribe: Unsubscribe) -> Changing {
        let change = Change { packet_id: unsubscribe.packet_id, answer: Answer::Unsubscribed };
        let filters = unsubscribe.filters;
        let before = (self.subscriptions.len(), self.interests());
        self.subscriptions.retain(|subscription| !filters.contains(&subscription.filter));
        let interests = self.interests();
        let is_told = if self.clean { before.1 != interests } else { before.0 != self.subscriptions.len() };
        if !is_told {
            return Box::pin(std::future::ready(Ok(change)));
        }
        let filters = if self.clean { Vec::new() } else { filters };
        let (front, principal, connection_id) = (front.clone(), self.principal.clone(), self.connection_id);
        Box::pin(async move {
            front.shard_client.unsubscribe(&principal, connection_id, &filters, interests).await.map_err(close)?;
            Ok(change)
        })
    }
}

fn stored(quality: QualityOfService) -> model::QualityOfService {
    match quality {
        QualityOfService::AtMostOnce => model::QualityOfService::AtMostOnce,
        _ => model::QualityOfService::AtLeastOnce,
    }
}

/// The limit is kept here already, so a shard that refuses for it means another connection changed the session.
fn close(error: SessionError) -> Close {
    match error {
        SessionError::ConnectionReplaced | SessionError::TooManySubscriptions => Close::Replaced,
        SessionError::NotFound => Close::Deleted,
        SessionError::Unavailable(error) => Close::Shard(error),
    }
}
