//! What can be done to a hub, one file each.

pub mod connect;
pub mod events;
pub mod fleet;
pub mod idle;
pub mod messages;
pub mod methods;
pub mod reconnect;
pub mod registry;
pub mod replicated_twins;
pub mod telemetry;
pub mod twins;

mod amqp_connection;
mod amqp_publisher;
mod event_reader;
mod https_publisher;
mod mqtt_connection;
mod mqtt_publisher;
mod pacer;
mod senders;
mod service_calls;
mod silent;
mod subscribed_device;
mod subscriber;
mod window;
