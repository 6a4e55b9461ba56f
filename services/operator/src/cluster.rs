//! What the operator touches in Kubernetes: one namespace, one resource, one StatefulSet.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use crate::{Config, observe::StatefulSetState, resource::IotHub};

/// As whom fields are written.
const MANAGER: &str = "ironhub-operator";
/// Says that shards are on their way out, see [`crate::reconciler`].
pub const FINALIZER: &str = "ironhub.dev/shards-leave";

/// The APIs of the namespace.
#[derive(Clone)]
pub struct Kubernetes {
    pub namespace: String,
    pub hubs: Api<IotHub>,
    pub stateful_sets: Api<StatefulSet>,
    pub pods: Api<Pod>,
    pub claims: Api<PersistentVolumeClaim>,
    pub secrets: Api<Secret>,
    /// The name of the shards' StatefulSet.
    pub stateful_set: String,
}

impl Kubernetes {
    /// Of the namespace that the configuration names, or the client's.
    pub fn new(client: Client, config: &Config) -> Self {
        let namespace = match config.namespace.as_str() {
            "" => client.default_namespace().to_owned(),
            namespace => namespace.to_owned(),
        };
        Self {
            hubs: Api::namespaced(client.clone(), &namespace),
            stateful_sets: Api::namespaced(client.clone(), &namespace),
            pods: Api::namespaced(client.clone(), &namespace),
            claims: Api::namespaced(client.clone(), &namespace),
            secrets: Api::namespaced(client, &namespace),
            stateful_set: config.stateful_set.clone(),
            namespace,
        }
    }

    /// Changes the size of the StatefulSet, unless it was changed since it was looked at.
    pub async fn resize(&self, set: &StatefulSetState, to: u32) -> Result<(), kube::Error> {
        let scale = json!({
            "metadata": { "resourceVersion": set.resource_version },
            "spec": { "replicas": to },
        });
        self.stateful_sets.patch_scale(&set.name, &params(), &Patch::Merge(scale)).await.map(drop)
    }

    /// Deletes a claim, unless another one has its name by now; one that is gone already is well.
    pub async fn delete_claim(&self, name: &str, uid: &str) -> Result<(), kube::Error> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.claims.delete(name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Writes what is given over the status, unless the resource was changed since it was read. Answers it as it is then.
    pub async fn patch_status(&self, hub: &IotHub, status: &Value) -> Result<IotHub, kube::Error> {
        let metadata = json!({ "resourceVersion": hub.metadata.resource_version });
        let patch = json!({ "metadata": metadata, "status": status });
        self.hubs.patch_status(&hub.name_any(), &params(), &Patch::Merge(patch)).await
    }

    /// Adds the finalizer or takes it away, unless the resource was changed since it was read. Answers it as it is then.
    pub async fn set_finalizer(&self, hub: &IotHub, is_wanted: bool) -> Result<IotHub, kube::Error> {
        let mut finalizers = hub.metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if is_wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        let metadata = json!({ "finalizers": finalizers, "resourceVersion": hub.metadata.resource_version });
        self.hubs.patch(&hub.name_any(), &params(), &Patch::Merge(json!({ "metadata": metadata }))).await
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}
