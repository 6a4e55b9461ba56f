#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::collections::BTreeMap;

use model::Timestamp;

use super::{conditions::MESSAGE_CHARS_MAX, *};
use crate::{
    apply::{ApplyError, Failure},
    hub::{Group, HubCertificate, HubError, Node, NodeState},
    observe::StatefulSetState,
    plan::Action,
    resource::Condition,
};

/// A look at a hub of three shards that is as it is wanted.
struct Seen {
    observed: Observed,
    wanted: Wanted,
    problems: Vec<String>,
    plan: Plan,
    applied: Applied,
}

impl Seen {
    fn new() -> Self {
        let node = |number: u32| Node {
            node_id: (11 + number).to_string(),
            name: format!("hub-shard-{number}"),
            state: NodeState::Active,
            registered: "2026-01-01T00:00:00Z".to_owned(),
            is_reachable: true,
            leaders: 1,
            replicas: 2,
            learners: 0,
        };
        let group = |name: &str| Group { group: name.to_owned(), leader: Some("11".to_owned()), doing: String::new() };
        let groups = vec![group("hub"), group("1"), group("2")];
        let cluster = Cluster { replication: 3, is_settled: true, nodes: (0..3).map(node).collect(), groups };
        let stateful_set = StatefulSetState {
            name: "hub-shard".to_owned(),
            size: 3,
            ready: 3,
            claim_template: "data".to_owned(),
            ..StatefulSetState::default()
        };
        Self {
            observed: Observed {
                now: Timestamp::from_unix_milliseconds(1_767_225_600_000),
                status: IotHubStatus::default(),
                stateful_set: Some(stateful_set),
                secrets: BTreeMap::new(),
                hub: Ok(HubState { cluster, ..HubState::default() }),
            },
            wanted: Wanted { shards: Some(3), ..Wanted::default() },
            problems: Vec::new(),
            plan: Plan::default(),
            applied: Applied::default(),
        }
    }

    fn cluster(&mut self) -> &mut Cluster {
        &mut self.observed.hub.as_mut().unwrap().cluster
    }

    fn set(&mut self) -> &mut StatefulSetState {
        self.observed.stateful_set.as_mut().unwrap()
    }

    fn status(&self) -> IotHubStatus {
        let Self { observed, wanted, problems, plan, applied } = self;
        Report { generation: 4, observed, wanted, problems, plan, owner_policy: "iothubowner" }.status(applied)
    }

    /// `Ready=True AsWanted` and so on.
    fn conditions(&self) -> Vec<String> {
        let text = |it: &Condition| format!("{}={} {}", it.type_, it.status, it.reason);
        self.status().conditions.iter().map(text).collect()
    }

    fn message(&self, type_: &str) -> String {
        self.status().conditions.iter().find(|it| it.type_ == type_).unwrap().message.clone()
    }
}

const WELL: [&str; 4] =
    ["Ready=True AsWanted", "SettingsApplied=True Applied", "ShardsSettled=True Settled", "Degraded=False AllWell"];

#[test]
fn all_is_well() {
    let seen = Seen::new();
    assert_eq!(seen.conditions(), WELL);
    let status = seen.status();
    assert_eq!(status.observed_generation, 4);
    assert_eq!((status.shards.running, status.shards.ready, status.shards.nodes.len()), (3, 3, 3));
    let GroupsStatus { total, settled, moving, leaderless } = status.groups;
    assert_eq!((total, settled, moving, leaderless), (3, 3, 0, 0));
    assert_eq!(status.conditions[0].last_transition_time, "2026-01-01T00:00:00Z");
}

#[test]
fn a_condition_keeps_its_time_until_it_turns() {
    let mut seen = Seen::new();
    seen.observed.status = seen.status();
    seen.observed.now = Timestamp::from_unix_milliseconds(1_767_225_660_000);
    assert_eq!(seen.status(), seen.observed.status, "nothing to write");
    seen.set().ready = 2;
    let since: Vec<_> = seen.status().conditions.iter().map(|it| it.last_transition_time.clone()).collect();
    let [before, after] = ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"];
    assert_eq!(since, [before, before, before, after]);
}

#[test]
fn a_hub_that_is_silent() {
    let mut seen = Seen::new();
    seen.observed.status = seen.status();
    let known = seen.observed.status.clone();
    seen.observed.hub = Err(HubError::Unreachable { address: "hub:443".to_owned(), cause: "refused".to_owned() });
    assert_eq!(
        seen.conditions(),
        [
            "Ready=False HubUnreachable",
            "SettingsApplied=Unknown HubUnreachable",
            "ShardsSettled=Unknown HubUnreachable",
            "Degraded=True HubUnreachable"
        ]
    );
    assert_eq!(seen.message("Ready"), "the hub does not answer at hub:443: refused");
    let status = seen.status();
    assert_eq!((status.shards.nodes, status.groups, status.managed), (known.shards.nodes, known.groups, known.managed));
}

#[test]
fn shards_that_were_left_behind_are_named() {
    let mut seen = Seen::new();
    seen.plan.left_behind = vec![3, 4];
    seen.cluster().groups[1].leader = None;
    let which =
        "it may be waiting for shards whose disks are there and that do not run (data-hub-shard-3, data-hub-shard-4)";
    let message = seen.message("Ready");
    assert!(message.starts_with("1 groups have no leader") && message.contains(which), "{message}");
    assert!(message.ends_with("they are called back, and hand over what they have before they end"), "{message}");
    seen.observed.hub = Err(HubError::Unreachable { address: "hub:443".to_owned(), cause: "refused".to_owned() });
    seen.wanted.shards = None;
    let message = seen.message("Ready");
    assert!(message.starts_with("the hub does not answer") && message.contains(which), "{message}");
    assert!(message.ends_with("let `shards` be 5 to call them back"), "{message}");
}

#[test]
fn settings_that_are_wrong_or_refused() {
    let mut seen = Seen::new();
    seen.problems = vec!["policy p: the Secret s is not there".to_owned()];
    assert_eq!(seen.conditions()[..2], ["Ready=False Invalid", "SettingsApplied=False Invalid"]);
    assert_eq!(seen.message("SettingsApplied"), "policy p: the Secret s is not there");
    assert_eq!(seen.conditions()[2..], WELL[2..], "the shards are well all the same");

    let mut seen = Seen::new();
    let why = HubError::Refused { what: "PUT policies/p".to_owned(), status: 403, text: "at most 16".to_owned() };
    let action = Action::PutConsumerGroup { name: "g".to_owned() };
    seen.applied.failed.push(Failure { action, why: ApplyError::Hub(why) });
    assert_eq!(seen.conditions()[..2], ["Ready=False Failed", "SettingsApplied=False Failed"]);
    assert_eq!(seen.message("Ready"), "creates the consumer group g: PUT policies/p: at most 16");
}

#[test]
fn shards_come_and_go() {
    let mut seen = Seen::new();
    seen.wanted.shards = Some(4);
    seen.applied.done.push(Action::Resize { from: 3, to: 4 });
    assert_eq!(seen.conditions()[2], "ShardsSettled=False Growing");
    let message = "waits for hub-shard-3; changes the StatefulSet from 3 to 4 shards";
    assert_eq!(seen.message("ShardsSettled"), message);
    assert_eq!(seen.conditions()[0], WELL[0], "the hub serves meanwhile");

    let mut seen = Seen::new();
    seen.wanted.shards = Some(2);
    seen.plan.is_shrinking = true;
    for group in seen.cluster().groups.iter_mut().take(2) {
        group.doing = "waits for other groups".to_owned();
    }
    assert_eq!(seen.conditions()[2], "ShardsSettled=False Shrinking");
    assert_eq!(seen.message("ShardsSettled"), "from 3 to 2 shards: 2 groups: waits for other groups");
    assert_eq!((seen.status().groups.moving, seen.status().groups.settled), (2, 1));

    let mut seen = Seen::new();
    seen.cluster().is_settled = false;
    seen.cluster().groups[2].doing = "copies to 13".to_owned();
    assert_eq!(seen.conditions()[2], "ShardsSettled=False Moving");
    assert_eq!(seen.message("ShardsSettled"), "a group copies to 13");

    let mut seen = Seen::new();
    seen.plan.shards_problem = Some("shards: 2 are too few".to_owned());
    assert_eq!(seen.conditions()[..3], [WELL[0], WELL[1], "ShardsSettled=False Invalid"]);
}

#[test]
fn shards_that_are_away() {
    let mut seen = Seen::new();
    seen.cluster().nodes[1].is_reachable = false;
    seen.set().ready = 2;
    assert_eq!(seen.conditions()[3], "Degraded=True ShardsMissing");
    assert_eq!(seen.message("Degraded"), "hub-shard-1 (12) is not reachable; 2 of 3 pods are ready");
    seen.cluster().groups[1].leader = None;
    assert_eq!(seen.conditions()[0], "Ready=False GroupsWithoutLeader");
    assert!(seen.message("Ready").starts_with("1 groups have no leader"));
}

#[test]
fn a_pod_that_takes_no_part_is_named() {
    let mut seen = Seen::new();
    seen.cluster().nodes.pop();
    seen.set().running_seconds = [(2, 60)].into();
    assert_eq!(seen.conditions()[3], WELL[3], "it has just begun");
    seen.set().running_seconds = [(2, 600)].into();
    assert!(seen.message("Degraded").contains("delete the claim data-hub-shard-2"), "{}", seen.message("Degraded"));
}

#[test]
fn verification_codes_are_shown_until_they_are_used() {
    let certificate = |is_verified| HubCertificate {
        name: "factory".to_owned(),
        etag: "MQ==".to_owned(),
        properties: crate::hub::CertificateProperties {
            thumbprint: Some("AB".to_owned()),
            is_verified,
            ..Default::default()
        },
    };
    let mut seen = Seen::new();
    seen.wanted.named.certificates = vec!["Factory".to_owned()];
    seen.observed.hub.as_mut().unwrap().certificates = vec![certificate(false)];
    seen.applied.codes = vec![("factory".to_owned(), "C0DE".to_owned())];
    let code = |seen: &Seen| seen.status().certificates[0].verification_code.clone();
    assert_eq!(code(&seen).as_deref(), Some("C0DE"));
    seen.observed.status = seen.status();
    seen.applied.codes.clear();
    assert_eq!(code(&seen).as_deref(), Some("C0DE"), "kept");
    seen.observed.hub.as_mut().unwrap().certificates = vec![certificate(true)];
    assert_eq!(code(&seen), None);
    seen.wanted.named.certificates.clear();
    assert!(seen.status().certificates.is_empty(), "those of the spec only");
}

#[test]
fn messages_are_bounded() {
    let mut seen = Seen::new();
    seen.problems = vec!["x".repeat(5000)];
    assert_eq!(seen.message("Ready").len(), MESSAGE_CHARS_MAX);
}
