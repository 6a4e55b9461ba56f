//! Gateways in this process over the shard nodes of a [`Cluster`](crate::Cluster).

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use eventlog::{EventLog, Topic, embedded::EmbeddedLog};
use gateway::{Config, Dependencies, Gateway, TicketSecret};
use model::{Authentication, DeviceIdentity, SymmetricKey, SymmetricKeys};
use rustls::{
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::ResolvesServerCert,
    sign::{CertifiedKey, SingleCertAndKey},
};
use shard_client::{Precondition, ShardClient};

use crate::{Amqp, Cluster, Device, Mqtt, Presented, Received, TestResult, connect_with, eventually};

/// The name in their certificates and tokens.
pub const CLUSTER_HOST: &str = "127.0.0.1";

/// A gateway in this process, with a client of the cluster and an event log of its own.
pub struct ClusterGateway {
    pub gateway: Gateway,
    pub client: ShardClient,
    /// Its certificate.
    pub authority: PathBuf,
    _folder: tempfile::TempDir,
}

impl ClusterGateway {
    /// Starts it on ports of its own.
    pub async fn start(cluster: &Cluster) -> TestResult<Self> {
        Self::start_with_secret(cluster, [7; 32]).await
    }

    /// The same with another secret for the tickets of TLS.
    pub async fn start_with_secret(cluster: &Cluster, ticket_secret: [u8; 32]) -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        let key = rcgen::KeyPair::generate()?;
        let server = rcgen::CertificateParams::new([CLUSTER_HOST.to_owned()])?.self_signed(&key)?;
        let authority = folder.path().join("authority.pem");
        std::fs::write(&authority, server.pem())?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let key = CertifiedKey::from_der(vec![CertificateDer::from(server.der().to_vec())], key, &default_provider())?;
        let certificates: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(key));
        let directory = folder.path().join("events");
        std::fs::create_dir_all(&directory)?;
        let log = EmbeddedLog::open(eventlog::embedded::Config { directory, ..Default::default() })?;
        log.create_topic(&Topic::new("events"), 2).await?;
        let client = cluster.client().await?;
        let dependencies = Dependencies {
            shard_client: client.clone(),
            event_log: Arc::new(log),
            events: Topic::new("events"),
            certificates,
            ticket_secret: TicketSecret::new(ticket_secret),
            metrics: runtime::Metrics::new()?,
        };
        let config = Config { mqtt_port: 0, amqp_port: 0, https_port: 0, ..Config::default() };
        let gateway = Gateway::start(config, dependencies).await?;
        Ok(Self { gateway, client, authority, _folder: folder })
    }

    /// A TLS connection to one of its ports.
    pub async fn stream(&self, address: SocketAddr, presented: Option<&Presented>) -> TestResult<Mqtt> {
        Ok(Mqtt::new(connect_with(address, CLUSTER_HOST, &self.authority, presented).await?))
    }

    /// An AMQP connection on which nothing was attached yet.
    pub async fn amqp(&self) -> TestResult<Amqp> {
        let address = self.gateway.amqp_address();
        let mut client = Amqp::new(connect_with(address, CLUSTER_HOST, &self.authority, None).await?, None);
        client.open(false).await?;
        Ok(client)
    }

    /// A connection that was accepted.
    pub async fn connect(
        &self,
        device: &Device,
        password: Option<String>,
        presented: Option<&Presented>,
    ) -> TestResult<Mqtt> {
        self.connect_as(&mqtt::Connect { password, ..device.connect() }, presented).await.map(|(client, _)| client)
    }

    /// The same with any CONNECT, and whether a session was present. Tried again until it is accepted.
    pub async fn connect_as(&self, connect: &mqtt::Connect, presented: Option<&Presented>) -> TestResult<(Mqtt, bool)> {
        let mut connected = None;
        eventually("the device is accepted", async || {
            let mut client = self.stream(self.gateway.mqtt_address(), presented).await?;
            if let Received::ConnAck { code: 0, session_present } = client.connect(connect).await? {
                connected = Some((client, session_present));
            }
            Ok(connected.is_some())
        })
        .await?;
        connected.ok_or_else(|| anyhow::anyhow!("not connected"))
    }
}

/// Two keys that follow from a number.
pub fn cluster_keys(first: u8) -> SymmetricKeys {
    let key = |byte| SymmetricKey::from_bytes(&[byte; 32]);
    SymmetricKeys { primary: key(first), secondary: key(first + 1) }
}

/// Registers a device whose keys are [`cluster_keys`] from 1 on, when it proves itself by one.
pub async fn new_cluster_device(client: &ShardClient, id: &str, authentication: Authentication) -> TestResult<Device> {
    let mut identity = DeviceIdentity::new(id.parse()?, authentication);
    identity.generation_id = "1".into();
    let stored = client.put_device(&identity, Precondition::Absent).await?;
    Ok(Device {
        host_name: CLUSTER_HOST.into(),
        device_id: id.into(),
        module_id: None,
        primary_key: cluster_keys(1).primary,
        secondary_key: cluster_keys(1).secondary,
        etag: stored.etag.to_string(),
        generation_id: stored.generation_id,
    })
}
