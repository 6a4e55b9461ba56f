//! Integration tests: a real hub judged from outside, one module for each promise.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failed test")]

mod architecture;
mod bounds;
mod certificates;
mod client_quirks;
mod cluster;
mod connect;
mod disk_full;
mod drain;
mod durability;
mod explain;
mod hostile;
mod import;
mod keep_alive;
mod live_credentials;
mod permissions;
mod persistent_session;
mod properties;
mod raw_client;
mod registry;
mod registry_bulk;
mod registry_rules;
mod settings;
mod syscalls;
mod take_over;
mod telemetry;
mod telemetry_https;
mod two_gateways;
mod websocket;
mod will;
mod wire_examples;
