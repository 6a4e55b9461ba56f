//! Starting and ending a gateway.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use auth::HostNames;
use bytes::Bytes;
use eventlog::{EventLog, Topic};
use runtime::Metrics;
use rustls::server::ResolvesServerCert;
use shard_client::ShardClient;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::{
    Config, Front, GatewayMetrics, TicketSecret,
    admission::Admission,
    amqp,
    arrival::Arrived,
    connections::Connections,
    effective_limits::EffectiveLimits,
    history::{History, IDENTITIES_MAX},
    https, listener, mqtt, proxy_protocol,
    quota::Quota,
    tls::{Protocols, server_config},
    websocket::{ByteStream, WebSocket},
};

/// Of the time for a drain, what the last connections to be told may take for their goodbye.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What a gateway stands on.
pub struct Dependencies {
    pub shard_client: ShardClient,
    pub event_log: Arc<dyn EventLog>,
    /// Topic of the built-in endpoint; it exists.
    pub events: Topic,
    /// Chooses the server certificate for each handshake; may change its mind while the gateway runs.
    pub certificates: Arc<dyn ResolvesServerCert>,
    pub ticket_secret: TicketSecret,
    pub metrics: Metrics,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address} for {protocol}: {error}")]
    Bind { protocol: &'static str, address: SocketAddr, error: io::Error },
    #[error("the TLS configuration is not valid: {0}")]
    Tls(#[from] rustls::Error),
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the event log has no topic {0}")]
    NoTopic(String),
}

/// A running gateway.
pub struct Gateway {
    front: Arc<Front>,
    mqtt: mqtt::Head,
    amqp: amqp::Head,
    https: https::Head,
    mqtt_address: SocketAddr,
    amqp_address: SocketAddr,
    https_address: SocketAddr,
    emulator_address: Option<SocketAddr>,
    listeners: Vec<JoinHandle<()>>,
    /// Follows the hub's settings.
    settings: JoinHandle<()>,
}

impl Gateway {
    /// Binds and serves. Must be called within a tokio runtime.
    pub async fn start(config: Config, dependencies: Dependencies) -> Result<Self, StartError> {
        let mqtt_listener = bind("MQTT", &config, config.mqtt_port)?;
        let amqp_listener = bind("AMQP", &config, config.amqp_port)?;
        let https_listener = bind("HTTPS", &config, config.https_port)?;
        let emulator_listener =
            config.emulator_port.map(|port| bind_emulator(config.listen_address, port)).transpose()?;
        let mut gateway = Self::without_listeners(config, dependencies)?;
        gateway.mqtt_address = address(&mqtt_listener)?;
        gateway.amqp_address = address(&amqp_listener)?;
        gateway.https_address = address(&https_listener)?;
        let (front, mqtt, https) = (&gateway.front, gateway.mqtt.clone(), gateway.https.clone());
        let amqp = gateway.amqp.clone();
        let proxies = || front.config.proxy_protocol.clone();
        let mqtt =
            listener::accept(mqtt_listener, front.clone(), proxies(), move |accepted| mqtt.clone().serve(accepted));
        let amqp =
            listener::accept(amqp_listener, front.clone(), proxies(), move |accepted| amqp.clone().serve(accepted));
        let https =
            listener::accept(https_listener, front.clone(), proxies(), move |accepted| https.clone().serve(accepted));
        gateway.listeners = vec![tokio::spawn(mqtt), tokio::spawn(amqp), tokio::spawn(https)];
        if let Some(listener) = emulator_listener {
            gateway.emulator_address = Some(address(&listener)?);
            let (front, amqp, local) = (gateway.front.clone(), gateway.amqp.clone(), proxy_protocol::Config::default());
            let emulator = listener::accept(listener, front, local, move |accepted| amqp.clone().serve_plain(accepted));
            gateway.listeners.push(tokio::spawn(emulator));
        }
        Ok(gateway)
    }

    /// Listens nowhere, for whoever accepts connections himself. Must be called within a tokio runtime.
    pub fn without_listeners(config: Config, dependencies: Dependencies) -> Result<Self, StartError> {
        let tls =
            |protocols| server_config(dependencies.certificates.clone(), dependencies.ticket_secret.clone(), protocols);
        let (plain_tls, https_tls) = (tls(Protocols::MqttOrAmqp)?, tls(Protocols::Http)?);
        let front = Arc::new(front(config, dependencies)?);
        let mqtt = mqtt::Head::new(front.clone(), plain_tls.clone());
        let amqp = amqp::Head::new(front.clone(), plain_tls);
        let https = https::Head::new(front.clone(), https_tls, mqtt.clone(), amqp.clone());
        let settings = tokio::spawn(front.clone().follow_settings());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let listeners = Vec::new();
        let (mqtt_address, amqp_address, https_address) = (nowhere, nowhere, nowhere);
        Ok(Self {
            front,
            mqtt,
            amqp,
            https,
            mqtt_address,
            amqp_address,
            https_address,
            emulator_address: None,
            listeners,
            settings,
        })
    }

    /// Serves MQTT on a stream that is a WebSocket already, to its end. False: there is no room for it.
    pub async fn serve_websocket(&self, stream: Box<dyn ByteStream>, peer: SocketAddr) -> bool {
        let Some(place) = self.front.connections.enter() else { return false };
        let socket = WebSocket::new(stream, Bytes::new());
        let Some(arrived) = Arrived::by_websocket(&self.front, socket, None, peer, place).await else { return false };
        self.mqtt.clone().serve_websocket(arrived).await;
        true
    }

    /// Where MQTT listens; port 0 when nowhere.
    pub fn mqtt_address(&self) -> SocketAddr {
        self.mqtt_address
    }

    /// Where AMQP listens; port 0 when nowhere.
    pub fn amqp_address(&self) -> SocketAddr {
        self.amqp_address
    }

    /// Where HTTPS listens; port 0 when nowhere.
    pub fn https_address(&self) -> SocketAddr {
        self.https_address
    }

    /// Where AMQP without TLS listens, if it does.
    pub fn emulator_address(&self) -> Option<SocketAddr> {
        self.emulator_address
    }

    /// What its heads share.
    pub fn front(&self) -> &Arc<Front> {
        &self.front
    }

    /// Whether devices can be authenticated: the hub's settings have arrived.
    pub fn is_ready(&self) -> bool {
        self.front.settings().is_some()
    }

    /// Stops accepting, then ends the connections, spread over `drain_spread_seconds`: stops reading, answers what was read,
    /// says goodbye, and closes. Those whose turn has not come are served as ever. Cuts off what is left at the deadline.
    /// Returns how many connections had to be cut off.
    pub async fn drain(self, deadline: Instant) -> usize {
        for listener in &self.listeners {
            listener.abort();
        }
        let connections = &self.front.connections;
        let time = deadline.saturating_duration_since(Instant::now()).saturating_sub(LAST_WORDS);
        let spread = Duration::from_secs(self.front.config.drain_spread_seconds).min(time);
        let all_gone = async {
            while connections.count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Who is late is counted below.
        let _ = timeout_at(deadline, async { tokio::join!(connections.drain_over(spread), all_gone) }).await;
        connections.count()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.listeners.iter().for_each(JoinHandle::abort);
        self.settings.abort();
        self.front.connections.drain();
    }
}

fn bind(protocol: &'static str, config: &Config, port: u16) -> Result<tokio::net::TcpListener, StartError> {
    let address = SocketAddr::new(config.listen_address, port);
    listener::bind(config.listen_address, port).map_err(|error| StartError::Bind { protocol, address, error })
}

/// What is not encrypted stays on this machine.
fn bind_emulator(listen_address: IpAddr, port: u16) -> Result<tokio::net::TcpListener, StartError> {
    let ip = if listen_address.is_loopback() { listen_address } else { Ipv4Addr::LOCALHOST.into() };
    let address = SocketAddr::new(ip, port);
    listener::bind(ip, port).map_err(|error| StartError::Bind { protocol: "AMQP without TLS", address, error })
}

fn address(listener: &tokio::net::TcpListener) -> Result<SocketAddr, StartError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    listener.local_addr().map_err(|error| StartError::Bind { protocol: "TCP", address: unknown, error })
}

fn front(config: Config, dependencies: Dependencies) -> Result<Front, StartError> {
    let event_partitions = dependencies.event_log.partitions(&dependencies.events);
    if event_partitions == 0 {
        return Err(StartError::NoTopic(dependencies.events.as_str().to_owned()));
    }
    let metrics = GatewayMetrics::new(dependencies.metrics.registry())?;
    let evicted = metrics.refused_connections.with_label_values(&["evicted"]);
    Ok(Front {
        host_names: HostNames::new(&config.host_names),
        settings: dependencies.shard_client.settings(),
        quota: Quota::new(config.limits.identities_max, dependencies.shard_client.clone()),
        shard_client: dependencies.shard_client,
        event_log: dependencies.event_log,
        events: dependencies.events,
        event_partitions,
        metrics,
        connections: Connections::new(config.limits.connections_max),
        admission: Admission::new(config.limits.admission(), evicted),
        history: History::new(crate::front::now(), IDENTITIES_MAX),
        unacknowledged_bytes: 0.into(),
        limits: EffectiveLimits::new(&config.limits),
        chains: Arc::default(),
        config,
    })
}
