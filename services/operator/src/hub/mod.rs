//! The hub, as its settings API (`/ironhub/v1`) shows it and changes it.

mod client;
mod config;
mod connect;
mod error;
mod settings;
mod state;

pub use client::HubClient;
pub use config::HubConfig;
pub use error::HubError;
pub use settings::settings_to_json;
pub use state::{
    CertificateProperties, Cluster, Group, HubCertificate, HubConsumerGroup, HubPolicy, HubState, Node, NodeState,
};
