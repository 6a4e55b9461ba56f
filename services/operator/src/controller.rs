//! When to look.
//!
//! One operator acts at a time: the chart runs one pod and ends it before the next one begins. Where that does not hold, as
//! when a node that was given up still runs, two do no harm to each other: see "Two operators" in ARCHITECTURE.md.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Client,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{
        Controller,
        controller::{self, Action as Requeue},
        reflector::ObjectRef,
        watcher,
    },
};
use runtime::{DrainToken, Health, Metrics, Part, State};
use tokio::time::{Instant, timeout};

use crate::{
    Config,
    metrics::OperatorMetrics,
    reconciler::{Next, Reconciler, SOON},
    resource::IotHub,
};

/// Changes that come together are looked at together; also keeps what a look writes from leading to the next one at once.
const DEBOUNCE: Duration = Duration::from_secs(1);
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

/// Looks after one hub.
pub struct Operator {
    reconciler: Reconciler,
    part: Part,
    /// Looks that failed, one after the other.
    failures: AtomicU32,
}

impl Operator {
    /// Knows how to reach Kubernetes; nobody is asked yet.
    pub async fn new(config: Config, health: &Health, metrics: &Metrics) -> Result<Arc<Self>, StartError> {
        let client = kubernetes_client(&config).await.map_err(|error| StartError::Kubernetes(error.to_string()))?;
        let metrics = OperatorMetrics::register(metrics.registry())?;
        let reconciler = Reconciler::new(config, client, metrics);
        Ok(Arc::new(Self { reconciler, part: health.part("operator"), failures: AtomicU32::new(0) }))
    }

    /// Looks whenever something changes, and now and then, until it drains.
    pub async fn run(self: Arc<Self>, mut drain: DrainToken) {
        tokio::select! {
            () = self.wait_for_definition() => {}
            _ = drain.draining() => return,
        }
        let Reconciler { config, kubernetes, .. } = &self.reconciler;
        let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let resource = ObjectRef::new(&config.name).within(&kubernetes.namespace);
        let controller = Controller::new(kubernetes.hubs.clone(), named(&config.name))
            .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(1))
            .watches(kubernetes.stateful_sets.clone(), named(&config.stateful_set), move |_| Some(resource.clone()))
            .graceful_shutdown_on(async move { _ = drain.draining().await });
        let looks = controller.run(
            |_: Arc<IotHub>, operator: Arc<Self>| async move { operator.look().await },
            |_, error: &LookError, operator: Arc<Self>| operator.failed(error),
            self.clone(),
        );
        looks.for_each(async |looked| watched(looked.err())).await;
    }

    /// Until Kubernetes answers and knows what an `IotHub` is.
    async fn wait_for_definition(&self) {
        let Reconciler { config, kubernetes, .. } = &self.reconciler;
        let named = ListParams::default().fields(&format!("metadata.name={}", config.name));
        loop {
            let reason = match kubernetes.hubs.list(&named).await {
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

    async fn look(&self) -> Result<Requeue, LookError> {
        let begin = Instant::now();
        let looked = match timeout(LOOK_TIMEOUT, self.reconciler.look()).await {
            // Somebody changed the resource since it was read.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Ok(Next::After(SOON)),
            Ok(looked) => looked.map_err(LookError::Kubernetes),
            Err(_) => Err(LookError::TooLong),
        };
        let result = match &looked {
            Ok(Next::Failed(_)) => "problem",
            Ok(_) => "ok",
            Err(_) => "error",
        };
        self.reconciler.metrics.looked(result, begin.elapsed().as_secs_f64());
        Ok(match looked? {
            Next::None => Requeue::await_change(),
            Next::After(delay) => {
                self.failures.store(0, Ordering::Relaxed);
                self.part.set(State::Ready);
                Requeue::requeue(jittered(delay))
            }
            Next::Failed(reason) => {
                self.part.set(State::Degraded(reason));
                Requeue::requeue(self.after_failure())
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
}

/// As the pod that this is, or as the file says.
async fn kubernetes_client(config: &Config) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let config = match config.kubeconfig_file.as_os_str().is_empty() {
        true => kube::Config::incluster()?,
        false => {
            let file = Kubeconfig::read_from(&config.kubeconfig_file)?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
    };
    Ok(Client::try_from(config)?)
}

/// What the watches say; a StatefulSet may change without any `IotHub`.
fn watched(error: Option<controller::Error<LookError, watcher::Error>>) {
    match error {
        Some(controller::Error::QueueError(error)) => tracing::warn!(%error, "a watch ended and begins again"),
        Some(controller::Error::RunnerError(error)) => tracing::error!(%error, "the controller failed"),
        // The latter was told where it happened.
        None | Some(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
    }
}

/// Up to a fifth more, so that operators of many hubs do not act as one.
fn jittered(delay: Duration) -> Duration {
    let mut random = [0];
    // Without randomness it is the delay itself.
    let _ = aws_lc_rs::rand::fill(&mut random);
    delay.mul_f64(1.0 + f64::from(random[0]) / 1275.0)
}
