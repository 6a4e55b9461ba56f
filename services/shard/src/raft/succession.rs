//! A leader whose stream has ended has most likely died. It is followed as soon as the others may vote again, one voter
//! trying after the other, not when it has been silent for long enough: nobody then asks for votes at the same moment.
//!
//! Nothing depends on it. Whoever is mistaken, or wins no votes, is where it would have been: an election timeout decides.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{NodeId, Raft, Vote};

/// What the last sign of the leader may have come later to other voters than to this one.
const SLACK: Duration = Duration::from_millis(50);
/// Between the attempts of two voters: each is over by then, and the next one's log may go further.
const STAGGER: Duration = Duration::from_millis(300);
/// A second try makes up for a vote of the same term that the first one met.
const TRIES: u32 = 2;

/// Waits and asks for votes, unless somebody leads by then. `leader` is the node whose stream has ended. The answer is
/// nothing when this node did not succeed it.
pub async fn succeed(raft: &Raft, group: u32, leader: NodeId) -> Option<()> {
    let (last_vote, last_sign) = last_sign(raft).await?;
    if !last_vote.is_committed() || last_vote.leader_id().voted_for() != Some(leader) {
        return None;
    }
    let place = place(raft, group, leader)?;
    let lease = Duration::from_millis(raft.config().election_timeout_max);
    sleep(lease + SLACK + STAGGER * place).await;
    if self::last_sign(raft).await? != (last_vote, last_sign) {
        return None;
    }
    for _ in 0..TRIES {
        tracing::debug!(leader, place, "asks for votes in place of a leader whose stream has ended");
        raft.trigger().elect().await.ok()?;
        sleep(STAGGER / TRIES).await;
        if self::last_sign(raft).await?.0.is_committed() {
            return Some(());
        }
    }
    None
}

/// The vote that counts here, and when its owner was last heard of.
async fn last_sign(raft: &Raft) -> Option<(Vote, Option<Instant>)> {
    raft.with_raft_state(|state| (*state.vote_ref(), state.vote_last_modified())).await.ok()
}

/// How many voters come before this node; nothing when it is none.
fn place(raft: &Raft, group: u32, leader: NodeId) -> Option<u32> {
    let metrics = raft.server_metrics().borrow().clone();
    let voters: Vec<NodeId> = metrics.membership_config.voter_ids().collect();
    voters.contains(&metrics.id).then(|| before(metrics.id, leader, &voters, group))
}

/// The order is another one in each group, so that one node does not come to lead all of a dead one's.
fn before(node_id: NodeId, leader: NodeId, voters: &[NodeId], group: u32) -> u32 {
    let rank = |node_id| (BuildHasherDefault::<DefaultHasher>::new().hash_one((group, node_id)), node_id);
    let others = voters.iter().filter(|voter| **voter != leader && rank(**voter) < rank(node_id));
    others.count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_come_one_after_the_other_in_an_order_of_each_group() {
        let mut firsts = [0; 4];
        for group in 0..64 {
            let places = [11, 12, 14, 15].map(|node_id| before(node_id, 13, &[11, 12, 13, 14, 15], group));
            let mut sorted = places;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3], "{group}");
            firsts.iter_mut().zip(places).for_each(|(firsts, place)| *firsts += u32::from(place == 0));
        }
        assert!(firsts.iter().all(|count| *count > 5), "{firsts:?}");
    }
}
