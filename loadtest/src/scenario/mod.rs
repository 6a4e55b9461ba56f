//! What can be done to a hub, one file each.

pub mod connect;
pub mod idle;
pub mod registry;
pub mod telemetry;

mod https_publisher;
mod mqtt_connection;
mod mqtt_publisher;
mod pacer;
mod silent;
mod subscriber;
