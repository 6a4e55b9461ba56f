//! Client commands: they talk to a running hub's public HTTPS API, like any other program.

mod api_client;
pub mod backup;
pub mod certificate;
pub mod cluster;
pub mod consumer_group;
pub mod device;
pub mod events;
pub mod explain;
mod identity;
mod import;
pub mod messages;
pub mod method;
pub mod module;
mod output;
pub mod policy;
pub mod settings;
mod simulate;
pub mod statistics;
mod target;
pub mod twin;
