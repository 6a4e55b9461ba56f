//! AMQP 1.0 (amqp): what the addresses, messages and errors of the hub look like to its clients.

pub mod event_hubs;
