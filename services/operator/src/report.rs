//! What people are told: the status, from what was seen, wanted and done. Pure.

use model::Timestamp;

use crate::{
    apply::Applied,
    hub::{Cluster, HubState, NodeState},
    observe::{Observed, StatefulSetState},
    plan::{Plan, next_managed},
    resource::{CertificateStatus, Condition, GroupsStatus, IotHubStatus, Managed, NodeStatus, ShardsStatus},
    validate::Wanted,
};

/// Longest message of a condition, characters.
const MESSAGE_CHARS_MAX: usize = 1000;
/// A pod that runs so long and has not registered will not do it by itself.
const REGISTERS_WITHIN_SECONDS: i64 = 120;

/// One look, from its beginning to its end.
pub struct Look<'l> {
    pub generation: i64,
    pub observed: &'l Observed,
    pub wanted: &'l Wanted,
    /// What is wrong with the spec.
    pub problems: &'l [String],
    pub plan: &'l Plan,
    pub applied: &'l Applied,
    pub owner_policy: &'l str,
}

/// A condition before it is compared with the one before.
struct Verdict {
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn new(type_: &'static str, status: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: if status { "True" } else { "False" }, reason, message: message.into() }
    }

    fn unknown(type_: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: "Unknown", reason: "HubUnreachable", message: message.into() }
    }
}

impl Look<'_> {
    /// The status to write. Without an answer of the hub, what was known of it stays.
    pub fn status(&self) -> IotHubStatus {
        let before = &self.observed.status;
        let hub = self.observed.hub.as_ref().ok();
        let (applied, settled, degraded) = (self.settings_applied(), self.shards_settled(), self.degraded());
        let verdicts = [self.ready(&applied), applied, settled, degraded];
        let nodes = hub.map_or_else(|| before.shards.nodes.clone(), |hub| nodes(&hub.cluster));
        let set = self.observed.stateful_set.as_ref();
        IotHubStatus {
            observed_generation: self.generation,
            conditions: verdicts.into_iter().map(|verdict| self.condition(verdict)).collect(),
            shards: ShardsStatus {
                running: set.map_or(0, |set| set.size),
                ready: set.map_or(0, |set| set.ready),
                removing: self.removing(),
                nodes,
            },
            groups: hub.map_or_else(|| before.groups.clone(), |hub| groups(&hub.cluster)),
            certificates: hub.map_or_else(|| before.certificates.clone(), |hub| self.certificates(hub)),
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

    fn ready(&self, applied: &Verdict) -> Verdict {
        let hub = match &self.observed.hub {
            Err(error) => {
                return Verdict::new("Ready", false, "HubUnreachable", format!("{error}{}", self.left_behind()));
            }
            Ok(hub) => hub,
        };
        let leaderless = groups(&hub.cluster).leaderless;
        if hub.cluster.groups.is_empty() || leaderless > 0 {
            let left_behind = self.left_behind();
            let message = format!("{leaderless} groups have no leader: a majority of their shards is away{left_behind}");
            return Verdict::new("Ready", false, "GroupsWithoutLeader", message);
        }
        if applied.status != "True" {
            return Verdict::new("Ready", false, applied.reason, applied.message.clone());
        }
        Verdict::new("Ready", true, "AsWanted", "the hub answers and has the settings that are written here")
    }

    /// What helps a hub that waits for shards without pods; empty when there are none.
    fn left_behind(&self) -> String {
        let (Some(set), Some(highest)) = (&self.observed.stateful_set, self.plan.left_behind.last()) else {
            return String::new();
        };
        let claims: Vec<_> = self.plan.left_behind.iter().map(|number| set.claim_name(*number)).collect();
        let remedy = match self.wanted.shards {
            Some(_) => "they are called back, and hand over what they have before they end".to_owned(),
            None => format!("let `shards` be {} to call them back", highest + 1),
        };
        format!("; it may be waiting for shards whose disks are there and that do not run ({}): {remedy}", claims.join(", "))
    }

    fn settings_applied(&self) -> Verdict {
        const TYPE: &str = "SettingsApplied";
        if let Err(error) = &self.observed.hub {
            return Verdict::unknown(TYPE, error.to_string());
        }
        let failed = || self.applied.failed.iter().filter(|failure| !failure.action.is_of_shards());
        let is_of_settings = |problem: &&String| !problem.starts_with("shards:");
        let mut problems: Vec<String> =
            self.problems.iter().chain(&self.plan.problems).filter(is_of_settings).cloned().collect();
        if !problems.is_empty() {
            problems.extend(failed().map(|failure| failure.why.to_string()));
            return Verdict::new(TYPE, false, "Invalid", problems.join("; "));
        }
        let failures: Vec<String> = failed().map(|failure| format!("{}: {}", failure.action, failure.why)).collect();
        if !failures.is_empty() {
            return Verdict::new(TYPE, false, "Failed", failures.join("; "));
        }
        Verdict::new(TYPE, true, "Applied", "the hub has the settings that are written here")
    }

    fn shards_settled(&self) -> Verdict {
        const TYPE: &str = "ShardsSettled";
        let Some(set) = &self.observed.stateful_set else {
            return Verdict::new(TYPE, false, "NoStatefulSet", "the StatefulSet of the shards is not there");
        };
        let hub = match &self.observed.hub {
            Err(error) => return Verdict::unknown(TYPE, error.to_string()),
            Ok(hub) => hub,
        };
        if let Some(problem) = self.plan.problems.iter().find(|problem| problem.starts_with("shards:")) {
            return Verdict::new(TYPE, false, "Invalid", problem.clone());
        }
        if let Some(failure) = self.applied.failed.iter().find(|failure| failure.action.is_of_shards()) {
            let message = format!("{}: {}", failure.action, failure.why);
            return Verdict::new(TYPE, false, "Failed", message);
        }
        let doing: Vec<String> =
            self.applied.done.iter().filter(|action| action.is_of_shards()).map(ToString::to_string).collect();
        let moving = moving(&hub.cluster);
        let message = [doing, moving.clone()].concat().join("; ");
        let wanted = self.wanted.shards.unwrap_or(set.size);
        if self.plan.is_shrinking || set.size > wanted {
            return Verdict::new(TYPE, false, "Shrinking", format!("from {} to {wanted} shards: {message}", set.size));
        }
        let missing = missing(&hub.cluster, set, wanted);
        if set.size < wanted || !missing.is_empty() {
            let waits =
                format!("waits for {}", if missing.is_empty() { "pods".to_owned() } else { missing.join(", ") });
            return Verdict::new(TYPE, false, "Growing", [waits, message].join("; "));
        }
        if !message.is_empty() || !hub.cluster.is_settled {
            let message = if message.is_empty() { "the hub looks at its groups".to_owned() } else { message };
            return Verdict::new(TYPE, false, "Moving", message);
        }
        Verdict::new(TYPE, true, "Settled", format!("{} shards, nothing is left to move", set.size))
    }

    fn degraded(&self) -> Verdict {
        const TYPE: &str = "Degraded";
        let Ok(hub) = &self.observed.hub else {
            return Verdict::new(TYPE, true, "HubUnreachable", "how the shards are is not known");
        };
        let away = hub.cluster.nodes.iter().filter(|node| node.state != NodeState::Removed && !node.is_reachable);
        let mut reasons: Vec<String> =
            away.map(|node| format!("{} ({}) is not reachable", node.name, node.node_id)).collect();
        if let Some(set) = &self.observed.stateful_set {
            if set.ready < set.size {
                reasons.push(format!("{} of {} pods are ready", set.ready, set.size));
            }
            reasons.extend(strangers(&hub.cluster, set));
        }
        match reasons.is_empty() {
            true => Verdict::new(TYPE, false, "AllWell", "every shard takes part"),
            false => Verdict::new(TYPE, true, "ShardsMissing", reasons.join("; ")),
        }
    }

    /// The time stays as long as the status does.
    fn condition(&self, verdict: Verdict) -> Condition {
        let before = self.observed.status.conditions.iter().find(|before| before.type_ == verdict.type_);
        let since = before.filter(|before| before.status == verdict.status);
        Condition {
            type_: verdict.type_.to_owned(),
            status: verdict.status.to_owned(),
            reason: verdict.reason.to_owned(),
            message: verdict.message.chars().take(MESSAGE_CHARS_MAX).collect(),
            last_transition_time: since.map_or_else(|| time(self.observed.now), |it| it.last_transition_time.clone()),
            observed_generation: self.generation,
        }
    }

    /// Those of the spec that the hub has. A code that was just drawn is the one that counts.
    fn certificates(&self, hub: &HubState) -> Vec<CertificateStatus> {
        let is_named = |name: &String| self.wanted.named.certificates.iter().any(|it| it.eq_ignore_ascii_case(name));
        let named = hub.certificates.iter().filter(|certificate| is_named(&certificate.name));
        let described = named.map(|certificate| {
            let properties = &certificate.properties;
            let thumbprint = properties.thumbprint.clone().unwrap_or_default();
            let drawn = self.applied.codes.iter().find(|(name, _)| *name == certificate.name).map(|(_, code)| code);
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
pub fn nodes(cluster: &Cluster) -> Vec<NodeStatus> {
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

/// What the groups do, each thing once.
fn moving(cluster: &Cluster) -> Vec<String> {
    let mut doing: Vec<(&str, usize)> = Vec::new();
    for group in cluster.groups.iter().filter(|group| !group.doing.is_empty()) {
        match doing.iter_mut().find(|(it, _)| *it == group.doing) {
            Some((_, count)) => *count += 1,
            None => doing.push((&group.doing, 1)),
        }
    }
    let text = |(doing, count): (&str, usize)| match count {
        1 => format!("a group {doing}"),
        count => format!("{count} groups: {doing}"),
    };
    doing.into_iter().map(text).collect()
}

/// Wanted shards that have no node.
fn missing(cluster: &Cluster, set: &StatefulSetState, wanted: u32) -> Vec<String> {
    let is_there = |number: &u32| {
        let mut nodes = cluster.nodes.iter().filter(|node| node.state != NodeState::Removed);
        nodes.any(|node| set.number_of(&node.name) == Some(*number))
    };
    (0..wanted).filter(|number| !is_there(number)).map(|number| format!("{}-{number}", set.name)).collect()
}

/// Pods that run and take no part.
fn strangers(cluster: &Cluster, set: &StatefulSetState) -> Vec<String> {
    let missing = missing(cluster, set, set.size);
    let runs_long = |name: &&String| {
        let seconds = set.number_of(name).and_then(|number| set.running_seconds.get(&number));
        seconds.is_some_and(|seconds| *seconds > REGISTERS_WITHIN_SECONDS)
    };
    let text = |name: &String| {
        let claim = set.number_of(name).map(|number| set.claim_name(number)).unwrap_or_default();
        format!(
            "{name} runs and takes no part; when its log says that it was removed from the hub, delete the claim {claim} and \
             the pod"
        )
    };
    missing.iter().filter(runs_long).map(text).collect()
}

/// As Kubernetes spells times.
fn time(now: Timestamp) -> String {
    jiff::Timestamp::from_second(now.unix_seconds()).unwrap_or_default().to_string()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
