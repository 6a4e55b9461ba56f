//! What the operator is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::hub::HubConfig;

/// One operator looks after one hub: one release of the chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where hub and resource are. Empty: the namespace of this pod.
    pub namespace: String,
    /// The name of the `IotHub` that this operator acts on; others are not looked at.
    pub name: String,
    /// The StatefulSet of the shards, whose size the operator changes.
    pub stateful_set: String,
    /// How to reach the Kubernetes API from outside of a pod. Empty: as the pod that this is.
    pub kubeconfig_file: PathBuf,
    pub hub: HubConfig,
}

impl Config {
    /// Names what is missing.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.name.is_empty() {
            return Err("operator.name must name the IotHub");
        }
        if self.stateful_set.is_empty() {
            return Err("operator.stateful_set must name the StatefulSet of the shards");
        }
        if self.hub.address.is_empty() {
            return Err("operator.hub.address must be host:port of the gateways' HTTPS");
        }
        if self.hub.owner_keys_directory.as_os_str().is_empty() {
            return Err("operator.hub.owner_keys_directory must be the folder with the keys of the owner's policy");
        }
        Ok(())
    }
}
