//! The hub, as its settings API (`/ironhub/v1`) shows it and changes it.

mod client;
mod settings;
mod state;

pub use client::{HubClient, HubConfig, HubError};
pub use settings::settings_to_json;
pub use state::{
    CertificateProperties, Cluster, Group, HubCertificate, HubConsumerGroup, HubPolicy, HubState, Node, NodeState,
};
