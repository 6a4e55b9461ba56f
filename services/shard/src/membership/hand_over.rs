//! Before a node ends: what it leads is led by others, so that nobody has to find out that it is gone.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::timeout;

use super::MembershipService;
use crate::{group::Group, raft::NodeId};

/// All groups together. One usually takes some milliseconds, or a second when it has been led only just now.
const WITHIN: Duration = Duration::from_secs(3);

impl MembershipService {
    /// Gives away every leadership that can be. What is left then is followed like that of a node that died.
    pub async fn hand_over(self: &Arc<Self>) {
        let all = join_all(self.groups().map(|group| self.hand_over_group(group)));
        if timeout(WITHIN, all).await.is_err() {
            tracing::warn!("not every group could be handed over before the end");
        }
    }

    async fn hand_over_group(self: &Arc<Self>, group: &Group) {
        for to in self.successors(group).await {
            match self.transfer(group, to).await {
                Ok(gap) => return tracing::info!(group = %group.id(), to, ?gap, "handed over"),
                Err(reason) => tracing::debug!(group = %group.id(), to, reason, "not handed over"),
            }
        }
    }

    /// The other voters, the one whose log goes furthest first; none when this node does not lead.
    async fn successors(&self, group: &Group) -> Vec<NodeId> {
        let described = group.describe().await;
        let Some(leading) = described.leading else { return Vec::new() };
        let voters = described.membership.voter_ids().filter(|voter| *voter != self.node_id());
        let mut voters: Vec<NodeId> = voters.collect();
        // Of those that go as far as each other, another one for each group.
        let turn = |voter: NodeId| voter.rotate_right(group.id().0 % 48);
        voters.sort_by_key(|voter| (Reverse(leading.matched_index.get(voter).copied()), turn(*voter)));
        voters
    }
}
