//! What people are told: the status, from what was seen, wanted and done. Pure.

mod conditions;

use crate::{
    apply::Applied,
    hub::{Cluster, HubState},
    observe::Observed,
    plan::{Plan, next_managed},
    resource::{CertificateStatus, GroupsStatus, IotHubStatus, Managed, NodeStatus, ShardsStatus},
    validate::Wanted,
};

/// A look, as far as it has come before the first step.
#[derive(Clone, Copy)]
pub struct Report<'l> {
    pub generation: i64,
    pub observed: &'l Observed,
    pub wanted: &'l Wanted,
    /// What is wrong with the spec.
    pub problems: &'l [String],
    pub plan: &'l Plan,
    pub owner_policy: &'l str,
}

impl Report<'_> {
    /// The status to write after the steps. Without an answer of the hub, what was known of it stays.
    pub fn status(&self, applied: &Applied) -> IotHubStatus {
        let before = &self.observed.status;
        let hub = self.observed.hub.as_ref().ok();
        let set = self.observed.stateful_set.as_ref();
        IotHubStatus {
            observed_generation: self.generation,
            conditions: conditions::conditions(self, applied),
            shards: ShardsStatus {
                running: set.map_or(0, |set| set.size),
                ready: set.map_or(0, |set| set.ready),
                removing: self.removing(),
                nodes: hub.map_or_else(|| before.shards.nodes.clone(), |hub| nodes(&hub.cluster)),
            },
            groups: hub.map_or_else(|| before.groups.clone(), |hub| groups(&hub.cluster)),
            certificates: hub.map_or_else(|| before.certificates.clone(), |hub| self.certificates(hub, applied)),
            managed: self.managed(),
        }
    }

    /// What is deleted when it is taken off the spec.
    pub fn managed(&self) -> Managed {
        let before = &self.observed.status.managed;
        match &self.observed.hub {
            Ok(hub) => next_managed(&self.wanted.named, before, hub, self.owner_policy),
            Err(_) => before.clone(),
        }
    }

    /// Shards whose pods must end.
    pub fn removing(&self) -> Vec<u32> {
        match &self.observed.hub {
            Ok(_) => self.plan.removing.clone(),
            Err(_) => self.observed.status.shards.removing.clone(),
        }
    }

    /// Those of the spec that the hub has. A code that was just drawn is the one that counts.
    fn certificates(&self, hub: &HubState, applied: &Applied) -> Vec<CertificateStatus> {
        let is_named = |name: &String| self.wanted.named.certificates.iter().any(|it| it.eq_ignore_ascii_case(name));
        let named = hub.certificates.iter().filter(|certificate| is_named(&certificate.name));
        let described = named.map(|certificate| {
            let properties = &certificate.properties;
            let thumbprint = properties.thumbprint.clone().unwrap_or_default();
            let drawn = applied.codes.iter().find(|(name, _)| *name == certificate.name).map(|(_, code)| code);
            let known = self.observed.status.certificates.iter();
            let known = known.filter(|it| it.name == certificate.name && it.thumbprint == thumbprint);
            let known = known.filter_map(|it| it.verification_code.as_ref()).next();
            CertificateStatus {
                name: certificate.name.clone(),
                subject: properties.subject.clone().unwrap_or_default(),
                thumbprint,
                expiry: properties.expiry.clone().unwrap_or_default(),
                is_verified: properties.is_verified,
                verification_code: drawn.or(known).filter(|_| !properties.is_verified).cloned(),
            }
        });
        described.collect()
    }
}

/// What the status says of the nodes.
fn nodes(cluster: &Cluster) -> Vec<NodeStatus> {
    let mut nodes: Vec<_> = cluster.nodes.iter().collect();
    // Names with longer numbers come later.
    nodes.sort_by_key(|node| (node.name.len(), &node.name, &node.registered));
    let described = nodes.into_iter().map(|node| NodeStatus {
        name: node.name.clone(),
        node_id: node.node_id.clone(),
        state: node.state.name().to_owned(),
        is_reachable: node.is_reachable,
        replicas: node.replicas,
    });
    described.collect()
}

fn groups(cluster: &Cluster) -> GroupsStatus {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let moving = cluster.groups.iter().filter(|group| !group.doing.is_empty()).count();
    GroupsStatus {
        total: count(cluster.groups.len()),
        settled: count(cluster.groups.len() - moving),
        moving: count(moving),
        leaderless: count(cluster.groups.iter().filter(|group| group.leader.is_none()).count()),
    }
}

#[cfg(test)]
mod tests;
