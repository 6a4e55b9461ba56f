//! What a node says of itself to whoever looks for nodes and leaders.

use std::collections::BTreeMap;

use proto::shard::v1::{KnownNode, NodeDescription};

use super::Groups;
use crate::group::Leadership;

/// As this node knows it; nobody else is asked.
pub fn describe(node_id: u64, groups: &Groups) -> NodeDescription {
    let mut nodes = BTreeMap::new();
    let mut led_groups = Vec::new();
    for leader in &groups.leaders {
        nodes.extend(leader.group.members().into_iter().map(|member| (member.node_id, member.address)));
        if matches!(*leader.group.leadership().borrow(), Leadership::Leading { .. }) {
            led_groups.push(leader.group.id().0);
        }
    }
    let nodes: Vec<_> = nodes.into_iter().map(|(node_id, address)| KnownNode { node_id, address }).collect();
    NodeDescription { node_id, groups: groups.device_groups(), is_member: !nodes.is_empty(), nodes, led_groups }
}
