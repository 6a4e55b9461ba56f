//! How a hub begins: once, by the first of its founders, when it is certain that there is none.

use std::time::Duration;

use futures::future::join_all;
use shard::group::{Founder, Member};
use shard_client::{DescribedNode, Discovery};

const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What one founder knows.
pub struct Founding {
    /// `host:port` of all of them; the same list for each.
    pub founders: Vec<String>,
    /// This one's.
    pub advertised_address: String,
    pub founder: Founder,
    pub discovery: Discovery,
}

/// What the answers of the founders come to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Somebody did not answer: nothing is certain.
    Wait,
    /// There is a hub; an empty disk joins it.
    Founded,
    /// These begin one.
    Found(Vec<Member>),
}

impl Founding {
    /// Until the hub is there. A disk that was lost cannot found a second hub beside the first, because another founder
    /// says that it belongs to one; when all disks are lost, so is the hub.
    pub async fn run(self) {
        if self.founders.first() != Some(&self.advertised_address) {
            return;
        }
        loop {
            match self.verdict().await {
                Verdict::Wait => tokio::time::sleep(ASK_AGAIN).await,
                Verdict::Founded => return,
                Verdict::Found(members) => {
                    tracing::info!(?members, "founds the hub");
                    match self.founder.found(&members).await {
                        Ok(()) => return,
                        Err(error) => tracing::error!(%error, "the hub could not be founded"),
                    }
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        }
    }

    async fn verdict(&self) -> Verdict {
        let answers = join_all(self.founders.iter().map(|address| self.discovery.describe(address))).await;
        let mut described = Vec::new();
        for (address, answer) in self.founders.iter().zip(answers) {
            match answer {
                Ok(node) => described.push((address.clone(), node)),
                Err(error) => tracing::info!(%error, "waits for the other founders"),
            }
        }
        judge(&described, self.founders.len())
    }
}

fn judge(described: &[(String, DescribedNode)], founders: usize) -> Verdict {
    if described.iter().any(|(_, node)| node.is_member) {
        return Verdict::Founded;
    }
    if described.len() < founders {
        return Verdict::Wait;
    }
    let member = |(address, node): &(String, DescribedNode)| Member {
        node_id: node.node_id,
        address: format!("http://{address}"),
    };
    Verdict::Found(described.iter().map(member).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn node(node_id: u64, is_member: bool) -> (String, DescribedNode) {
        let described = DescribedNode { node_id, groups: 4, is_member, nodes: BTreeMap::new(), led_groups: Vec::new() };
        (format!("shard-{node_id}:7600"), described)
    }

    #[test]
    fn a_hub_begins_when_all_founders_are_there_and_empty() {
        assert_eq!(judge(&[node(1, false), node(2, false)], 3), Verdict::Wait);
        let Verdict::Found(members) = judge(&[node(1, false), node(2, false), node(3, false)], 3) else {
            panic!("not founded")
        };
        let ids: Vec<_> = members.iter().map(|member| member.node_id).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(members.first().map(|member| member.address.as_str()), Some("http://shard-1:7600"));
    }

    #[test]
    fn one_member_is_enough_to_know_that_there_is_a_hub() {
        assert_eq!(judge(&[node(1, false), node(2, true)], 3), Verdict::Founded);
    }
}
