//! When to look, and what a look is made of.
//!
//! One operator acts at a time: the chart runs one pod and ends it before the next one begins. Where that does not hold, as
//! when a node that was given up still runs, two do no harm to each other: see "Two operators" in ARCHITECTURE.md.
//!
//! A resource that is deleted leaves the hub as it is: its data, settings, shards. Only shards that were on their way out
//! are called back, for which alone the finalizer is there, and only as long as that is so: at rest a resource goes at
//! once, whether or not an operator runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Client, Resource, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{
        Controller,
        controller::{self, Action as Requeue},
        events::{Event, EventType, Recorder, Reporter},
        reflector::ObjectRef,
        watcher,
    },
};
use model::Timestamp;
use runtime::{DrainToken, Health, Metrics, Part, State};
use serde_json::json;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{
    Config,
    apply::{Applied, apply},
    cluster::{FINALIZER, Kubernetes},
    hub::{HubClient, HubError},
    metrics::OperatorMetrics,
    observe::Observed,
    plan,
    report::Look,
    resource::{Condition, IotHub, IotHubStatus},
    validate::validate,
};

/// Changes that come together are looked at together; also keeps what a look writes from leading to the next one at once.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// After a step.
const SOON: Duration = Duration::from_secs(1);
/// While something moves.
const MOVING: Duration = Duration::from_secs(3);
/// While nothing does: Secrets and hubs change without telling.
const QUIET: Duration = Duration::from_secs(60);
/// The longest time between two tries that fail.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A look that takes longer is given up.
const LOOK_TIMEOUT: Duration = Duration::from_secs(120);

/// Why the operator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the Kubernetes API is not known: {0}")]
    Kubernetes(String),
    #[error("{0}")]
    Metrics(#[from] prometheus::Error),
}

/// Why a look ended early. What was done before stays done.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error("the look took longer than {} s", LOOK_TIMEOUT.as_secs())]
    TooLong,
}

impl LookError {
    /// Whether something was not written because it was not as it was read any more.
    fn is_change(&self) -> bool {
        matches!(self, Self::Kubernetes(kube::Error::Api(status)) if status.code == 409)
    }
}

/// Looks after one hub.
pub struct Operator {
    config: Config,
    kubernetes: Kubernetes,
    recorder: Recorder,
    metrics: OperatorMetrics,
    part: Part,
    /// Made anew when its files change.
    hub: Mutex<Option<Arc<HubClient>>>,
    /// Looks that failed, one after the other.
    failures: AtomicU32,
}

impl Operator {
    /// Knows how to reach Kubernetes; nobody is asked yet.
    pub async fn new(config: Config, health: &Health, metrics: &Metrics) -> Result<Arc<Self>, StartError> {
        let unknown = |error: &dyn std::fmt::Display| StartError::Kubernetes(error.to_string());
        let client = match config.kubeconfig_file.as_os_str().is_empty() {
            true => kube::Config::incluster().map_err(|error| unknown(&error))?,
            false => {
                let file = Kubeconfig::read_from(&config.kubeconfig_file).map_err(|error| unknown(&error))?;
                let options = KubeConfigOptions::default();
                kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unknown(&error))?
            }
        };
        let client = Client::try_from(client).map_err(|error| unknown(&error))?;
        let reporter = Reporter { controller: "ironhub-operator".to_owned(), instance: None };
        Ok(Arc::new(Self {
            kubernetes: Kubernetes::new(client.clone(), &config),
            recorder: Recorder::new(client, reporter),
            metrics: OperatorMetrics::register(metrics.registry())?,
            part: health.part("operator"),
            hub: Mutex::default(),
            failures: AtomicU32::new(0),
            config,
        }))
    }

    /// Looks whenever something changes, and now and then, until it drains.
    pub async fn run(self: Arc<Self>, mut drain: DrainToken) {
        tokio::select! {
            () = self.wait_for_definition() => {}
            _ = drain.draining() => return,
        }
        let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let resource = ObjectRef::new(&self.config.name).within(&self.namespace());
        let controller = Controller::new(self.kubernetes.hubs.clone(), named(&self.config.name))
            .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(1))
            .watches(self.kubernetes.stateful_sets.clone(), named(&self.config.stateful_set), move |_| {
                Some(resource.clone())
            })
            .graceful_shutdown_on(async move { _ = drain.draining().await });
        let looks = controller.run(
            Self::reconcile,
            |_, error: &LookError, operator: Arc<Self>| operator.failed(error),
            self.clone(),
        );
        looks
            .for_each(|looked| {
                self.watched(looked.err());
                std::future::ready(())
            })
            .await;
    }

    fn namespace(&self) -> String {
        match self.config.namespace.as_str() {
            "" => self.kubernetes.client.default_namespace().to_owned(),
            namespace => namespace.to_owned(),
        }
    }

    /// Until Kubernetes answers and knows what an `IotHub` is.
    async fn wait_for_definition(&self) {
        let named = ListParams::default().fields(&format!("metadata.name={}", self.config.name));
        loop {
            let reason = match self.kubernetes.hubs.list(&named).await {
                Ok(_) => return self.part.set(State::Ready),
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    "Kubernetes does not know IotHub: apply helm/ironhub/crds/iothub.yaml".to_owned()
                }
                Err(error) => format!("Kubernetes does not answer: {error}"),
            };
            self.part.set(State::Starting(reason));
            tokio::time::sleep(self.after_failure()).await;
        }
    }

    /// What the watches say; a StatefulSet may change without any `IotHub`.
    fn watched(&self, error: Option<controller::Error<LookError, watcher::Error>>) {
        match error {
            Some(controller::Error::QueueError(error)) => {
                tracing::warn!(%error, "a watch ended and begins again");
            }
            Some(controller::Error::RunnerError(error)) => tracing::error!(%error, "the controller failed"),
            // The latter was told where it happened.
            None | Some(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
        }
    }

    async fn reconcile(_: Arc<IotHub>, operator: Arc<Self>) -> Result<Requeue, LookError> {
        let begin = Instant::now();
        let looked = timeout(LOOK_TIMEOUT, operator.look()).await.unwrap_or(Err(LookError::TooLong));
        // Whoever changed the resource meanwhile is right.
        let looked = looked.or_else(|error| if error.is_change() { Ok(Next::After(SOON)) } else { Err(error) });
        let result = match &looked {
            Ok(Next::Failed(_)) => "problem",
            Ok(_) => "ok",
            Err(_) => "error",
        };
        operator.metrics.looked(result, begin.elapsed().as_secs_f64());
        Ok(match looked? {
            Next::None => Requeue::await_change(),
            Next::After(delay) => {
                operator.failures.store(0, Ordering::Relaxed);
                operator.part.set(State::Ready);
                Requeue::requeue(jittered(delay))
            }
            Next::Failed(reason) => {
                operator.part.set(State::Degraded(reason));
                Requeue::requeue(operator.after_failure())
            }
        })
    }

    fn failed(&self, error: &LookError) -> Requeue {
        tracing::warn!(%error, "a look failed");
        self.part.set(State::Degraded(error.to_string()));
        Requeue::requeue(self.after_failure())
    }

    /// 1 s, 2 s, 4 s, up to a minute.
    fn after_failure(&self) -> Duration {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(16);
        jittered(RETRY_MAX.min(SOON.saturating_mul(1 << failures)))
    }

    /// Everything, once. The resource is read anew: the one that the watch has may be older than what was written last.
    async fn look(&self) -> Result<Next, LookError> {
        let Some(resource) = self.kubernetes.hubs.get_opt(&self.config.name).await? else { return Ok(Next::None) };
        let client = self.client().await;
        let now = Timestamp::from_unix_milliseconds(jiff::Timestamp::now().as_millisecond());
        let asked = client.as_deref().map_err(Clone::clone);
        let observed = Observed::fetch(&self.kubernetes, &resource, asked, now).await?;
        let client = client.ok();
        if resource.meta().deletion_timestamp.is_some() {
            return self.release(&resource, &observed, client.as_deref()).await;
        }
        let owner_policy = &self.config.hub.owner_policy;
        let (wanted, problems) = validate(&resource.spec, &observed.secrets, owner_policy, now);
        let plan = plan::build(&observed, &wanted, owner_policy);
        let generation = resource.meta().generation.unwrap_or_default();
        let nothing = Applied::default();
        let mut look = Look {
            generation,
            observed: &observed,
            wanted: &wanted,
            problems: &problems,
            plan: &plan,
            applied: &nothing,
            owner_policy,
        };
        let resource = self.prepare(resource, &look).await?;
        let applied = apply(plan.actions.clone(), &observed, &self.kubernetes, client.as_deref()).await;
        look.applied = &applied;
        let status = look.status();
        self.tell(&resource, &observed.status, &status, &applied).await;
        self.metrics.show(&status);
        let resource = match status != observed.status {
            true => self.kubernetes.patch_status(&resource, &json!(status)).await?,
            false => resource,
        };
        self.settle(&resource, &look).await?;
        Ok(next(&observed, &status, &applied))
    }

    /// What must be written down before the first step: what is deleted later, and which shards are on their way out. Answers
    /// the resource as it is then.
    async fn prepare(&self, mut resource: IotHub, look: &Look<'_>) -> Result<IotHub, kube::Error> {
        if look.plan.is_shrinking && !has_finalizer(&resource) {
            resource = self.kubernetes.set_finalizer(&resource, true).await?;
        }
        let (managed, removing) = (look.managed(), look.removing());
        let before = &look.observed.status;
        if (&managed, &removing) != (&before.managed, &before.shards.removing) {
            let status = json!({ "managed": managed, "shards": { "removing": removing } });
            resource = self.kubernetes.patch_status(&resource, &status).await?;
        }
        Ok(resource)
    }

    /// Nothing is on its way out any more, as far as the hub says.
    async fn settle(&self, resource: &IotHub, look: &Look<'_>) -> Result<(), kube::Error> {
        let is_settled = look.observed.hub.is_ok() && !look.plan.is_shrinking && look.applied.failed.is_empty();
        if is_settled && has_finalizer(resource) {
            self.kubernetes.set_finalizer(resource, false).await?;
        }
        Ok(())
    }

    /// The resource goes: shards that were on their way out stay, once. A hub that does not answer holds nobody up.
    async fn release(
        &self,
        resource: &IotHub,
        observed: &Observed,
        client: Option<&HubClient>,
    ) -> Result<Next, LookError> {
        if has_finalizer(resource) {
            let actions = plan::release(observed, resource);
            let applied = apply(actions, observed, &self.kubernetes, client).await;
            for failure in &applied.failed {
                tracing::warn!(action = %failure.action, error = %failure.why, "not done before the IotHub went");
            }
            self.tell(resource, &observed.status, &observed.status, &applied).await;
            self.kubernetes.set_finalizer(resource, false).await?;
        }
        tracing::info!(name = self.config.name, "the IotHub goes; the hub stays as it is");
        Ok(Next::None)
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

    /// Steps and turns, in the log and as events. An event that cannot be written is not worth an error.
    async fn tell(&self, resource: &IotHub, before: &IotHubStatus, after: &IotHubStatus, applied: &Applied) {
        for action in &applied.done {
            tracing::info!(reason = action.reason(), "{action}");
            self.metrics.acted(action.reason());
            self.publish(resource, EventType::Normal, action.reason(), action.to_string()).await;
        }
        for failure in &applied.failed {
            tracing::warn!(action = %failure.action, error = %failure.why, "a step was not taken");
        }
        for condition in after.conditions.iter().filter(|condition| has_turned(condition, before)) {
            let is_good = (condition.status == "True") != (condition.type_ == "Degraded");
            let kind = if is_good || condition.status == "Unknown" { EventType::Normal } else { EventType::Warning };
            let note = format!("{} is {}: {}", condition.type_, condition.status, condition.message);
            tracing::info!(reason = condition.reason, "{note}");
            self.publish(resource, kind, &condition.reason, note).await;
        }
    }

    async fn publish(&self, resource: &IotHub, type_: EventType, reason: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            // Kubernetes takes a kilobyte.
            note: Some(note.chars().take(900).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &resource.object_ref(&())).await {
            tracing::debug!(%error, "an event was not written");
        }
    }
}

/// When to look again.
enum Next {
    /// When something changes.
    None,
    After(Duration),
    /// Soon, later each time.
    Failed(String),
}

fn next(observed: &Observed, status: &IotHubStatus, applied: &Applied) -> Next {
    if let Err(error) = &observed.hub {
        return Next::Failed(error.to_string());
    }
    if let Some(failure) = applied.failed.first() {
        return Next::Failed(format!("{}: {}", failure.action, failure.why));
    }
    let is_settled = status.conditions.iter().any(|it| it.type_ == "ShardsSettled" && it.status == "True");
    match (applied.done.is_empty(), is_settled) {
        (false, _) => Next::After(SOON),
        (true, false) => Next::After(MOVING),
        (true, true) => Next::After(QUIET),
    }
}

fn has_turned(condition: &Condition, before: &IotHubStatus) -> bool {
    let before = before.conditions.iter().find(|before| before.type_ == condition.type_);
    before.is_none_or(|before| (&before.status, &before.reason) != (&condition.status, &condition.reason))
}

fn has_finalizer(resource: &IotHub) -> bool {
    resource.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Up to a fifth more, so that operators of many hubs do not act as one.
fn jittered(delay: Duration) -> Duration {
    let mut random = [0];
    // Without randomness it is the delay itself.
    let _ = aws_lc_rs::rand::fill(&mut random);
    delay.mul_f64(1.0 + f64::from(random[0]) / 1275.0)
}
