//! What the integration tests need: a real hub, and clients that show every byte.
//!
//! ```text
//!   Hub      the real binary, `ironhub all`, as a child process on ports of its own and a folder that vanishes
//!   Https    raw HTTP/1.1 over TLS: heads as they came over the wire
//!   Hub::curl  the same in the eyes of the real curl
//!   Mqtt     raw MQTT 3.1.1 over TLS: packets one by one, and the end of the connection
//!   Amqp     AMQP 1.0 over TLS or WebSocket, step by step
//!   AmqpScript  AMQP 1.0 frame by frame, as a text says
//!   WebSocket  raw frames on the HTTPS port, and a stream that MQTT runs over
//!   Http2    raw frames of HTTP/2
//!   Tls12    raw records of TLS 1.2, behind a handshake
//!   Kafka    real brokers as child processes (`deploy/kafka`)
//!   Relay, Haproxy  load balancers before it
//!   Cluster  three shard nodes over real gRPC with disks of their own, in this process
//! ```
//!
//! The tests judge from outside: what they know of the hub is its `hub.json` and its protocols. The binary is the one
//! that was built beside them, or `$IRONHUB_BINARY`.

mod amqp_client;
mod amqp_script;
mod attack;
mod balancer;
mod cluster;
mod cluster_gateway;
mod curl;
mod device;
mod http2;
mod https;
mod hub;
mod kafka;
mod mqtt_client;
mod patience;
mod pki;
mod start;
mod tls;
mod tls12;
mod websocket;

pub use amqp_client::{Amqp, login, plain, put_token_request};
pub use amqp_script::{AmqpScript, Frames, as_binary, bytes_of, encoded};
pub use attack::{connect_deaf, connect_from, send_until_blocked, survives};
pub use balancer::{BALANCER, Delivery, Haproxy, Relay, connect_as_balancer};
pub use cluster::{Cluster, ClusterNode};
pub use cluster_gateway::{CLUSTER_HOST, ClusterGateway, cluster_keys, new_cluster_device};
pub use curl::Transfer;
pub use device::{Device, token, token_that_expires};
pub use http2::{Http2, Http2Frame, Said, headers_frame, http2_frame, http2_kind};
pub use https::{Https, Response};
pub use hub::{Hub, HubOptions};
pub use kafka::Kafka;
pub use mqtt_client::{Mqtt, Received};
pub use patience::{PATIENCE, eventually};
pub use pki::{Authority, certificate_params, self_signed};
pub use start::binary;
pub use tls::{Presented, TlsStream, client_config, client_config_of, connect_as, connect_with, handshake};
pub use tls12::Tls12;
pub use websocket::{Frame, WEBSOCKET_PATH, WebSocket, frame, handshake_headers};

/// What every test returns: the first thing that went wrong.
pub type TestResult<T = ()> = anyhow::Result<T>;

/// Another key than the hub would draw.
pub const OTHER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
