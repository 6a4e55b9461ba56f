//! The shard nodes that are known now, and which of them is believed to lead each group.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use model::GroupId;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

use crate::{
    Node,
    exchange::{self, Outgoing},
};

/// Nobody is believed to lead: node ids begin at 1.
const NOBODY: u64 = 0;

/// A node and the stream of requests to it, which ends when the node is forgotten.
pub struct KnownNode {
    pub id: u64,
    pub channel: Channel,
    pub queue: mpsc::Sender<Outgoing>,
    _exchange: DropGuard,
}

/// A wrong belief costs a refusal that tells the right one.
pub struct Nodes {
    /// In the order of their ids.
    known: ArcSwap<Vec<Arc<KnownNode>>>,
    /// A node id for each group, the hub group first.
    believed: Vec<AtomicU64>,
    /// Somebody does not know whom to ask.
    pub lost: Notify,
    queue_length_max: usize,
}

impl Nodes {
    /// Nobody known yet. So many requests may wait for one node.
    pub fn new(groups: u32, queue_length_max: usize) -> Self {
        let believed = (0..=groups).map(|_| AtomicU64::new(NOBODY)).collect();
        Self { known: ArcSwap::default(), believed, lost: Notify::new(), queue_length_max }
    }

    /// Takes a node in, in the place of one with the same id.
    pub fn put(&self, node: Node, client: &CancellationToken) {
        let (queue, receiver) = mpsc::channel(self.queue_length_max);
        let ends = client.child_token();
        tokio::spawn(exchange::run(node.channel.clone(), receiver, ends.clone()));
        let known = KnownNode { id: node.id, channel: node.channel, queue, _exchange: ends.drop_guard() };
        let known = Arc::new(known);
        self.known.rcu(|all| {
            let mut all: Vec<_> = all.iter().filter(|other| other.id != known.id).cloned().collect();
            all.push(known.clone());
            all.sort_by_key(|node| node.id);
            all
        });
    }

    /// Forgets a node.
    pub fn remove(&self, id: u64) {
        self.known.rcu(|all| all.iter().filter(|node| node.id != id).cloned().collect::<Vec<_>>());
    }

    /// All of them.
    pub fn known(&self) -> Arc<Vec<Arc<KnownNode>>> {
        self.known.load_full()
    }

    /// The node to ask: the one that is believed to lead, else any. `None` while no node is known.
    pub fn leader_of(&self, group: GroupId) -> Option<Arc<KnownNode>> {
        let known = self.known.load();
        let believed = self.believed.get(group.0 as usize)?.load(Ordering::Relaxed);
        known.iter().find(|node| node.id == believed).or(known.first()).cloned()
    }

    /// The node says that it leads the group.
    pub fn believe(&self, group: GroupId, id: u64) {
        if let Some(believed) = self.believed.get(group.0 as usize) {
            believed.store(id, Ordering::Relaxed);
        }
    }

    /// The node `asked` did not help. Follows its hint, or goes on to the next node. True when the hint is news, so that
    /// it may be followed at once.
    pub fn correct(&self, group: GroupId, asked: u64, hint: Option<u64>) -> bool {
        let known = self.known.load();
        let hinted = hint.filter(|hint| *hint != asked && known.iter().any(|node| node.id == *hint));
        if hinted.is_none() {
            self.lost.notify_one();
        }
        let after = || known.iter().map(|node| node.id).find(|id| *id > asked);
        let next = hinted.or_else(after).or(known.first().map(|node| node.id)).unwrap_or(NOBODY);
        let Some(believed) = self.believed.get(group.0 as usize) else { return false };
        // Someone else may have learnt better meanwhile; who asked without a belief has none to lose.
        let held = believed.load(Ordering::Relaxed);
        let is_outdated = held == asked || !known.iter().any(|node| node.id == held);
        let corrected =
            is_outdated && believed.compare_exchange(held, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        !corrected || hinted.is_some()
    }
}

#[cfg(test)]
mod tests {
    use tonic::transport::Endpoint;

    use super::*;

    fn nodes(ids: &[u64]) -> Nodes {
        let nodes = Nodes::new(1, 1);
        for id in ids {
            let channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
            nodes.put(Node { id: *id, channel }, &CancellationToken::new());
        }
        nodes
    }

    fn asked(nodes: &Nodes) -> Option<u64> {
        nodes.leader_of(GroupId(1)).map(|node| node.id)
    }

    #[tokio::test]
    async fn hints_are_followed_and_without_one_the_next_node_is_asked() {
        let nodes = nodes(&[13, 11, 12]);
        let group = GroupId(1);
        assert_eq!(asked(&nodes), Some(11));
        assert!(nodes.correct(group, 11, Some(13)));
        assert_eq!(asked(&nodes), Some(13));
        assert!(!nodes.correct(group, 13, None));
        assert_eq!(asked(&nodes), Some(11));
        // A node that names itself, or one that nobody knows, does not help either.
        assert!(!nodes.correct(group, 11, Some(11)));
        assert!(!nodes.correct(group, 12, Some(99)));
        assert_eq!(asked(&nodes), Some(13));
        // Old news change nothing.
        assert!(nodes.correct(group, 11, Some(12)));
        assert_eq!(asked(&nodes), Some(13));
    }

    #[tokio::test]
    async fn a_node_that_is_forgotten_is_not_asked() {
        let nodes = nodes(&[1, 2]);
        nodes.believe(GroupId(1), 2);
        assert_eq!(asked(&nodes), Some(2));
        nodes.remove(2);
        assert_eq!(asked(&nodes), Some(1));
        nodes.remove(1);
        assert_eq!(asked(&nodes), None);
        assert!(!nodes.correct(GroupId(1), 2, None));
    }
}
