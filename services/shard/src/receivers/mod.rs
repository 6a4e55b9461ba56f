//! Who reads which partition of the events: the memory of the `hub` group's leader, as a sans-IO state machine.
//!
//! ```text
//!   gateways --claim, release--> Receivers --displaced--> gateways
//! ```
//!
//! Receivers with an epoch have a partition of a consumer group to themselves: the newest of the highest epoch. Without
//! one they share it, a few at a time, while there is none with an epoch (amqp §8.4). Nothing outlives its receivers. A
//! change of leader starts an empty one; receivers claim their places again under the ids they had, and lose them only to
//! what would have displaced them anyway.

use std::collections::HashMap;

use proto::shard::v1::{self, receiver_refused::Reason};

#[cfg(test)]
mod tests;

/// Receivers without epoch of one partition and consumer group (amqp §8.4).
pub const SHARED_MAX: usize = 5;
/// Receivers of the hub at the same time: far more than partitions and consumer groups together allow.
pub const RECEIVERS_MAX: usize = 16_384;

/// What a receiver reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// In lower case.
    pub consumer_group: String,
    pub partition: u32,
}

/// Names a claim of one leadership or of one before; the larger one is the newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimId {
    pub leadership: u64,
    pub counter: u64,
}

/// A receiver that wants its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub epoch: Option<i64>,
    /// What people call it.
    pub name: String,
    /// What it held under the leader before.
    pub previous: Option<ClaimId>,
}

/// A receiver that lost its place to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Displaced {
    pub id: ClaimId,
    /// The other one.
    pub by: v1::ReceiverDisplaced,
}

/// Receivers under one leadership.
#[derive(Debug)]
pub struct Receivers {
    leadership: u64,
    counter: u64,
    /// Never an empty list; either one with an epoch, or some without.
    places: HashMap<Place, Vec<Receiver>>,
    count: usize,
    displaced: Vec<Displaced>,
}

#[derive(Clone, Debug)]
struct Receiver {
    id: ClaimId,
    epoch: Option<i64>,
    name: String,
}

impl Receivers {
    /// Nobody reads.
    pub fn new(leadership: u64) -> Self {
        Self { leadership, counter: 0, places: HashMap::new(), count: 0, displaced: Vec::new() }
    }

    /// Gives the receiver its place, or says why not. Who loses a place by it is told by [`Self::take_displaced`].
    pub fn claim(&mut self, place: &Place, claim: Claim) -> Result<ClaimId, Reason> {
        check(self.at(place), &claim)?;
        // Another stream of the same receiver: the old one has ended, whether or not it is known yet.
        if let Some(previous) = claim.previous {
            self.release(place, previous);
        }
        let there = self.at(place);
        // With an epoch it takes the place of those that are there: only at an empty one there are more than before.
        let is_full = self.count >= RECEIVERS_MAX && (claim.epoch.is_none() || there.is_empty());
        if is_full || (claim.epoch.is_none() && there.len() >= SHARED_MAX) {
            let names = there.iter().map(|receiver| receiver.name.clone()).collect();
            return Err(Reason::TooMany(v1::ConnectedReceivers { names }));
        }
        let id = claim.previous.unwrap_or_else(|| {
            self.counter += 1;
            ClaimId { leadership: self.leadership, counter: self.counter }
        });
        let receivers = self.places.entry(place.clone()).or_default();
        if let Some(epoch) = claim.epoch {
            let by = v1::ReceiverDisplaced { name: claim.name.clone(), epoch };
            self.count -= receivers.len();
            self.displaced.extend(receivers.drain(..).map(|receiver| Displaced { id: receiver.id, by: by.clone() }));
        }
        receivers.push(Receiver { id, epoch: claim.epoch, name: claim.name });
        self.count += 1;
        Ok(id)
    }

    fn at(&self, place: &Place) -> &[Receiver] {
        self.places.get(place).map_or(&[], Vec::as_slice)
    }

    /// The receiver is gone. Nothing happens when it had lost its place.
    pub fn release(&mut self, place: &Place, id: ClaimId) {
        let Some(receivers) = self.places.get_mut(place) else { return };
        let before = receivers.len();
        receivers.retain(|receiver| receiver.id != id);
        self.count -= before - receivers.len();
        if receivers.is_empty() {
            self.places.remove(place);
        }
    }

    /// Who lost its place since the last call.
    pub fn take_displaced(&mut self) -> Vec<Displaced> {
        std::mem::take(&mut self.displaced)
    }
}

/// Whether the receiver that holds the place alone, if there is one, gives way.
fn check(there: &[Receiver], claim: &Claim) -> Result<(), Reason> {
    let Some((holder, held)) = there.iter().find_map(|receiver| Some((receiver, receiver.epoch?))) else {
        return Ok(());
    };
    match claim.epoch {
        None => Err(Reason::EpochReceiver(held)),
        Some(epoch) if epoch < held => Err(Reason::HigherEpoch(held)),
        Some(epoch) if epoch == held && claim.previous.is_some_and(|previous| previous < holder.id) => {
            Err(Reason::Newer(holder.id.into()))
        }
        Some(_) => Ok(()),
    }
}

impl From<ClaimId> for v1::ReceiverClaimId {
    fn from(id: ClaimId) -> Self {
        Self { leadership: id.leadership, counter: id.counter }
    }
}

impl From<v1::ReceiverClaimId> for ClaimId {
    fn from(id: v1::ReceiverClaimId) -> Self {
        Self { leadership: id.leadership, counter: id.counter }
    }
}
