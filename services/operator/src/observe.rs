//! The first step: everything that the others look at, fetched as it is now.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, Pod, Secret},
    },
};
use kube::{Api, ResourceExt, api::ListParams};
use model::Timestamp;

use crate::{
    cluster::Kubernetes,
    hub::{HubClient, HubError, HubState},
    resource::{Condition, IotHub, IotHubStatus},
    validate::{Secrets, secret_names},
};

/// A StatefulSet has at most 100 pods here, and as many claims.
const OBJECTS_MAX: u32 = 500;

/// A pod that runs so long and has not registered will not do it by itself.
const REGISTERS_WITHIN_SECONDS: i64 = 120;

/// What there is.
#[derive(Clone, Debug)]
pub struct Observed {
    pub now: Timestamp,
    /// As it was written at the last look.
    pub status: IotHubStatus,
    /// The shards; unset when there is none.
    pub stateful_set: Option<StatefulSetState>,
    pub secrets: Secrets,
    pub hub: Result<HubState, HubError>,
}

/// The StatefulSet of the shards and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatefulSetState {
    pub name: String,
    /// Pods that are asked for.
    pub size: u32,
    pub ready: u32,
    /// A change of the size is about this version only.
    pub resource_version: String,
    /// What claims are called by, before the name of the pod.
    pub claim_template: String,
    /// The claims that are there, by the numbers of their pods: their uids.
    pub claims: BTreeMap<u32, String>,
    /// Since when the containers of each pod run, seconds; pods that do not are left out.
    pub running_seconds: BTreeMap<u32, i64>,
}

impl StatefulSetState {
    /// The number of a pod of that name, or of a node, which is called like its pod.
    pub fn number_of(&self, name: &str) -> Option<u32> {
        let number = name.strip_prefix(&self.name)?.strip_prefix('-')?;
        number.parse().ok().filter(|parsed: &u32| parsed.to_string() == number)
    }

    /// Whether the pod runs and should have registered with the hub by now.
    pub fn has_run_long(&self, number: u32) -> bool {
        self.running_seconds.get(&number).is_some_and(|seconds| *seconds > REGISTERS_WITHIN_SECONDS)
    }

    /// The name of the claim of a pod.
    pub fn claim_name(&self, number: u32) -> String {
        format!("{}-{}-{number}", self.claim_template, self.name)
    }
}

impl Observed {
    /// For how long nothing was heard of the hub, as far as the status says.
    pub fn silent_seconds(&self) -> i64 {
        let silence = self.status.condition(Condition::SETTINGS_APPLIED).filter(|it| it.status == "Unknown");
        let since = silence.and_then(|condition| condition.last_transition_time.parse::<jiff::Timestamp>().ok());
        since.map_or(0, |since| self.now.unix_seconds() - since.as_second())
    }

    /// Looks at everything. The hub may not answer; Kubernetes has to.
    ///
    /// Claims, then the size, then the hub, for others may act meanwhile: a claim that is there before no pod has it, and whose
    /// number the hub does not know after that, is that of a shard that was removed; a size that is as it was when the hub said
    /// that a shard is gone may be lowered.
    pub async fn fetch(
        kubernetes: &Kubernetes,
        resource: &IotHub,
        client: Result<&HubClient, HubError>,
        now: Timestamp,
    ) -> Result<Self, kube::Error> {
        let secrets = secrets(&kubernetes.secrets, resource).await?;
        let stateful_set = stateful_set(kubernetes, now).await?;
        let hub = match client {
            Ok(client) => client.state().await,
            Err(error) => Err(error),
        };
        let status = resource.status.clone().unwrap_or_default();
        Ok(Self { now, status, stateful_set, secrets, hub })
    }
}

async fn stateful_set(kubernetes: &Kubernetes, now: Timestamp) -> Result<Option<StatefulSetState>, kube::Error> {
    let Some(set) = kubernetes.stateful_sets.get_opt(&kubernetes.stateful_set).await? else { return Ok(None) };
    let labels = labels(&set);
    let of_set = ListParams::default().labels(&labels).limit(OBJECTS_MAX);
    let claims = kubernetes.claims.list(&of_set).await?.items;
    let Some(set) = kubernetes.stateful_sets.get_opt(&kubernetes.stateful_set).await? else { return Ok(None) };
    let pods = kubernetes.pods.list(&of_set).await?.items;
    let mut state = described(&set);
    let numbered = claims.iter().filter_map(|claim| Some((number_of_claim(&state, claim)?, claim.uid()?)));
    state.claims = numbered.collect();
    let running = pods.iter().filter_map(|pod| Some((state.number_of(&pod.name_any())?, running_seconds(pod, now)?)));
    state.running_seconds = running.collect();
    Ok(Some(state))
}

fn described(set: &StatefulSet) -> StatefulSetState {
    let count = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let spec = set.spec.as_ref();
    let templates = spec.and_then(|spec| spec.volume_claim_templates.as_ref());
    let template = templates.and_then(|templates| templates.first());
    StatefulSetState {
        name: set.name_any(),
        // Kubernetes fills in 1 when nobody says.
        size: spec.and_then(|spec| count(spec.replicas)).unwrap_or(1),
        ready: set.status.as_ref().and_then(|status| count(status.ready_replicas)).unwrap_or(0),
        resource_version: set.resource_version().unwrap_or_default(),
        claim_template: template.map(ResourceExt::name_any).unwrap_or_default(),
        ..StatefulSetState::default()
    }
}

fn labels(set: &StatefulSet) -> String {
    let labels = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.as_ref());
    let pairs = labels.into_iter().flatten().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

fn number_of_claim(set: &StatefulSetState, claim: &PersistentVolumeClaim) -> Option<u32> {
    let name = claim.name_any();
    set.number_of(name.strip_prefix(&set.claim_template)?.strip_prefix('-')?)
}

/// Of the container that began last.
fn running_seconds(pod: &Pod, now: Timestamp) -> Option<i64> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let begun = statuses.iter().map(|status| status.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let begun: Option<Vec<i64>> = begun.map(|time| Some(time?.0.as_second())).collect();
    Some(now.unix_seconds() - begun?.into_iter().max()?)
}

async fn secrets(api: &Api<Secret>, resource: &IotHub) -> Result<Secrets, kube::Error> {
    let mut secrets = Secrets::new();
    for name in secret_names(&resource.spec) {
        if let Some(secret) = api.get_opt(name).await? {
            let text = |(entry, value): (String, ByteString)| Some((entry, String::from_utf8(value.0).ok()?));
            let entries = secret.data.unwrap_or_default().into_iter().filter_map(text).collect();
            secrets.insert(name.to_owned(), entries);
        }
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_claims_and_nodes_are_numbered() {
        let name = "hub-shard".to_owned();
        let set = StatefulSetState { name, claim_template: "data".to_owned(), ..StatefulSetState::default() };
        assert_eq!(set.number_of("hub-shard-12"), Some(12));
        for other in ["hub-shard", "hub-shard-", "hub-shard-01", "hub-shard-x", "other-shard-1", "17", "hub-shards-1"] {
            assert_eq!(set.number_of(other), None, "{other}");
        }
        assert_eq!(set.claim_name(4), "data-hub-shard-4");
        let mut claim = PersistentVolumeClaim::default();
        claim.metadata.name = Some("data-hub-shard-4".to_owned());
        assert_eq!(number_of_claim(&set, &claim), Some(4));
    }
}
