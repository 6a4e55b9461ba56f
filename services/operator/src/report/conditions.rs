//! The four conditions, and their words.

use model::Timestamp;

use super::{Report, groups};
use crate::{
    apply::Applied,
    hub::{Cluster, NodeState},
    observe::StatefulSetState,
    resource::{Condition, IotHubStatus},
};

/// Longest message of a condition, characters.
pub(super) const MESSAGE_CHARS_MAX: usize = 1000;

/// All of them, in the order that people read them in.
pub fn conditions(report: &Report<'_>, applied: &Applied) -> Vec<Condition> {
    let settings_applied = settings_applied(report, applied);
    let verdicts =
        [ready(report, &settings_applied), settings_applied, shards_settled(report, applied), degraded(report)];
    let condition = |verdict: Verdict| verdict.since(&report.observed.status, report.observed.now, report.generation);
    verdicts.into_iter().map(condition).collect()
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

    /// The time stays as long as the status does.
    fn since(self, before: &IotHubStatus, now: Timestamp, observed_generation: i64) -> Condition {
        let since = before.condition(self.type_).filter(|before| before.status == self.status);
        Condition {
            type_: self.type_.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message.chars().take(MESSAGE_CHARS_MAX).collect(),
            last_transition_time: since.map_or_else(|| time(now), |it| it.last_transition_time.clone()),
            observed_generation,
        }
    }
}

fn ready(report: &Report<'_>, applied: &Verdict) -> Verdict {
    let hub = match &report.observed.hub {
        Err(error) => {
            return Verdict::new(Condition::READY, false, "HubUnreachable", format!("{error}{}", left_behind(report)));
        }
        Ok(hub) => hub,
    };
    let leaderless = groups(&hub.cluster).leaderless;
    if hub.cluster.groups.is_empty() || leaderless > 0 {
        let left_behind = left_behind(report);
        let message = format!("{leaderless} groups have no leader: a majority of their shards is away{left_behind}");
        return Verdict::new(Condition::READY, false, "GroupsWithoutLeader", message);
    }
    if applied.status != "True" {
        return Verdict::new(Condition::READY, false, applied.reason, applied.message.clone());
    }
    Verdict::new(Condition::READY, true, "AsWanted", "the hub answers and has the settings that are written here")
}

/// What helps a hub that waits for shards without pods; empty when there are none.
fn left_behind(report: &Report<'_>) -> String {
    let (Some(set), Some(highest)) = (&report.observed.stateful_set, report.plan.left_behind.last()) else {
        return String::new();
    };
    let claims: Vec<_> = report.plan.left_behind.iter().map(|number| set.claim_name(*number)).collect();
    let remedy = match report.wanted.shards {
        Some(_) => "they are called back, and hand over what they have before they end".to_owned(),
        None => format!("let `shards` be {} to call them back", highest + 1),
    };
    format!(
        "; it may be waiting for shards whose disks are there and that do not run ({}): {remedy}",
        claims.join(", ")
    )
}

fn settings_applied(report: &Report<'_>, applied: &Applied) -> Verdict {
    const TYPE: &str = Condition::SETTINGS_APPLIED;
    if let Err(error) = &report.observed.hub {
        return Verdict::unknown(TYPE, error.to_string());
    }
    let failed = || applied.failed.iter().filter(|failure| !failure.action.is_of_shards());
    let mut problems: Vec<String> = report.problems.iter().chain(&report.plan.problems).cloned().collect();
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

fn shards_settled(report: &Report<'_>, applied: &Applied) -> Verdict {
    const TYPE: &str = Condition::SHARDS_SETTLED;
    let Some(set) = &report.observed.stateful_set else {
        return Verdict::new(TYPE, false, "NoStatefulSet", "the StatefulSet of the shards is not there");
    };
    let hub = match &report.observed.hub {
        Err(error) => return Verdict::unknown(TYPE, error.to_string()),
        Ok(hub) => hub,
    };
    if let Some(problem) = &report.plan.shards_problem {
        return Verdict::new(TYPE, false, "Invalid", problem.clone());
    }
    if let Some(failure) = applied.failed.iter().find(|failure| failure.action.is_of_shards()) {
        let message = format!("{}: {}", failure.action, failure.why);
        return Verdict::new(TYPE, false, "Failed", message);
    }
    let doing: Vec<String> =
        applied.done.iter().filter(|action| action.is_of_shards()).map(ToString::to_string).collect();
    let moving = moving(&hub.cluster);
    let message = [doing, moving.clone()].concat().join("; ");
    let wanted = report.wanted.shards.unwrap_or(set.size);
    if report.plan.is_shrinking || set.size > wanted {
        return Verdict::new(TYPE, false, "Shrinking", format!("from {} to {wanted} shards: {message}", set.size));
    }
    let missing = missing(&hub.cluster, set, wanted);
    if set.size < wanted || !missing.is_empty() {
        let waits = format!("waits for {}", if missing.is_empty() { "pods".to_owned() } else { missing.join(", ") });
        return Verdict::new(TYPE, false, "Growing", [waits, message].join("; "));
    }
    if !message.is_empty() || !hub.cluster.is_settled {
        let message = if message.is_empty() { "the hub looks at its groups".to_owned() } else { message };
        return Verdict::new(TYPE, false, "Moving", message);
    }
    Verdict::new(TYPE, true, "Settled", format!("{} shards, nothing is left to move", set.size))
}

fn degraded(report: &Report<'_>) -> Verdict {
    const TYPE: &str = Condition::DEGRADED;
    let Ok(hub) = &report.observed.hub else {
        return Verdict::new(TYPE, true, "HubUnreachable", "how the shards are is not known");
    };
    let away = hub.cluster.nodes.iter().filter(|node| node.state != NodeState::Removed && !node.is_reachable);
    let mut reasons: Vec<String> =
        away.map(|node| format!("{} ({}) is not reachable", node.name, node.node_id)).collect();
    if let Some(set) = &report.observed.stateful_set {
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
    let runs_long = |name: &&String| set.number_of(name).is_some_and(|number| set.has_run_long(number));
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
