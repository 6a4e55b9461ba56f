//! What a look is made of.
//!
//! A resource that is deleted leaves the hub as it is: its data, settings, shards. Only shards that were on their way out
//! are called back, for which alone the finalizer is there, and only as long as that is so: at rest a resource goes at
//! once, whether or not an operator runs.

use std::{sync::Arc, time::Duration};

use kube::{Client, Resource, ResourceExt};
use model::Timestamp;
use serde_json::json;
use tokio::sync::Mutex;

use crate::{
    Config,
    apply::{Applied, apply},
    cluster::{FINALIZER, Kubernetes},
    events::Events,
    hub::{HubClient, HubError},
    metrics::OperatorMetrics,
    observe::Observed,
    plan,
    report::Report,
    resource::{Condition, IotHub, IotHubStatus},
    validate::validate,
};

/// Until the look after a step,
pub const SOON: Duration = Duration::from_secs(1);
/// while something moves,
const MOVING: Duration = Duration::from_secs(3);
/// and while nothing does: Secrets and hubs change without telling.
const QUIET: Duration = Duration::from_secs(60);

/// When to look again.
pub enum Next {
    /// When something changes.
    None,
    After(Duration),
    /// Soon, later each time.
    Failed(String),
}

/// Makes the hub what its resource says, one look after the other.
pub struct Reconciler {
    pub config: Config,
    pub kubernetes: Kubernetes,
    pub metrics: OperatorMetrics,
    events: Events,
    /// Made anew when its files change.
    hub: Mutex<Option<Arc<HubClient>>>,
}

impl Reconciler {
    /// Nobody is asked yet.
    pub fn new(config: Config, client: Client, metrics: OperatorMetrics) -> Self {
        let kubernetes = Kubernetes::new(client.clone(), &config);
        Self { config, kubernetes, metrics, events: Events::new(client), hub: Mutex::default() }
    }

    /// Everything, once. The resource is read anew: the one that the watch has may be older than what was written last. What
    /// was done before an error stays done.
    pub async fn look(&self) -> Result<Next, kube::Error> {
        let Some(resource) = self.kubernetes.hubs.get_opt(&self.config.name).await? else { return Ok(Next::None) };
        let client = self.client().await;
        let now = Timestamp::from_unix_milliseconds(jiff::Timestamp::now().as_millisecond());
        let asked = client.as_deref().map_err(Clone::clone);
        let observed = Observed::fetch(&self.kubernetes, &resource, asked, now).await?;
        let client = client.ok();
        match resource.meta().deletion_timestamp {
            Some(_) => self.release(&resource, &observed, client.as_deref()).await,
            None => self.keep(resource, &observed, client.as_deref()).await,
        }
    }

    /// Takes the next steps towards what is wanted, and writes down what came of them.
    async fn keep(
        &self,
        resource: IotHub,
        observed: &Observed,
        client: Option<&HubClient>,
    ) -> Result<Next, kube::Error> {
        let owner_policy = &self.config.hub.owner_policy;
        let (wanted, problems) = validate(&resource.spec, &observed.secrets, owner_policy, observed.now);
        let plan = plan::build(observed, &wanted, owner_policy);
        let generation = resource.meta().generation.unwrap_or_default();
        let (wanted, problems, plan) = (&wanted, problems.as_slice(), &plan);
        let report = Report { generation, observed, wanted, problems, plan, owner_policy };
        let resource = self.prepare(resource, &report).await?;
        let applied = self.apply(&resource, plan.actions.clone(), observed, client).await;
        let status = report.status(&applied);
        let resource = match status != observed.status {
            true => self.kubernetes.patch_status(&resource, &json!(status)).await?,
            false => resource,
        };
        self.events.turns(&resource, &observed.status, &status).await;
        self.metrics.show(&status);
        // Nothing is on its way out any more, as far as the hub says.
        let is_settled = observed.hub.is_ok() && !plan.is_shrinking && applied.failed.is_empty();
        if is_settled && has_finalizer(&resource) {
            self.kubernetes.set_finalizer(&resource, false).await?;
        }
        Ok(next(observed, &status, &applied))
    }

    /// What must be written down before the first step: what is deleted later, and which shards are on their way out. Answers
    /// the resource as it is then.
    async fn prepare(&self, mut resource: IotHub, report: &Report<'_>) -> Result<IotHub, kube::Error> {
        if report.plan.is_shrinking && !has_finalizer(&resource) {
            resource = self.kubernetes.set_finalizer(&resource, true).await?;
        }
        let (managed, removing) = (report.managed(), report.removing());
        let before = &report.observed.status;
        if (&managed, &removing) != (&before.managed, &before.shards.removing) {
            let status = json!({ "managed": managed, "shards": { "removing": removing } });
            resource = self.kubernetes.patch_status(&resource, &status).await?;
        }
        Ok(resource)
    }

    /// The resource goes: shards that were on their way out stay, once. A hub that does not answer holds nobody up.
    async fn release(
        &self,
        resource: &IotHub,
        observed: &Observed,
        client: Option<&HubClient>,
    ) -> Result<Next, kube::Error> {
        if has_finalizer(resource) {
            self.apply(resource, plan::release(observed, resource), observed, client).await;
            self.kubernetes.set_finalizer(resource, false).await?;
        }
        tracing::info!(name = self.config.name, "the IotHub goes; the hub stays as it is");
        Ok(Next::None)
    }

    async fn apply(
        &self,
        resource: &IotHub,
        actions: Vec<plan::Action>,
        observed: &Observed,
        client: Option<&HubClient>,
    ) -> Applied {
        let applied = apply(actions, observed, &self.kubernetes, client).await;
        applied.done.iter().for_each(|action| self.metrics.acted(action.reason()));
        self.events.steps(resource, &applied).await;
        applied
    }

    /// A client with what is in the files now.
    async fn client(&self) -> Result<Arc<HubClient>, HubError> {
        let mut kept = self.hub.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| client.is_current(&self.config.hub)) {
            return Ok(client.clone());
        }
        let client = Arc::new(HubClient::open(&self.config.hub)?);
        *kept = Some(client.clone());
        Ok(client)
    }
}

fn next(observed: &Observed, status: &IotHubStatus, applied: &Applied) -> Next {
    if let Err(error) = &observed.hub {
        return Next::Failed(error.to_string());
    }
    if let Some(failure) = applied.failed.first() {
        return Next::Failed(format!("{}: {}", failure.action, failure.why));
    }
    let is_settled = status.condition(Condition::SHARDS_SETTLED).is_some_and(Condition::is_true);
    match (applied.done.is_empty(), is_settled) {
        (false, _) => Next::After(SOON),
        (true, false) => Next::After(MOVING),
        (true, true) => Next::After(QUIET),
    }
}

fn has_finalizer(resource: &IotHub) -> bool {
    resource.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}
