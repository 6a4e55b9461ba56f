//! Two gateways of one cluster: what is changed through one holds on the other (security §9).

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use eventlog::{EventLog, Topic, embedded::EmbeddedLog};
use gateway::{Config, Dependencies, Gateway, TicketSecret};
use ironhub_tests::{
    Authority, Cluster, Device, Mqtt, Presented, Received, TestResult, connect_with, eventually, token,
};
use model::{
    Authentication, DeviceIdentity, ETag, HubSettings, Overrides, RegisteredCertificate, Right, Rights,
    SharedAccessPolicy, SymmetricKey, SymmetricKeys, Timestamp,
};
use rustls::{
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::ResolvesServerCert,
    sign::{CertifiedKey, SingleCertAndKey},
};
use shard_client::{Precondition, ShardClient};

const HOST: &str = "127.0.0.1";

/// A gateway in this process, with a client of the cluster and an event log of its own.
struct Running {
    gateway: Gateway,
    client: ShardClient,
    authority: PathBuf,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start(cluster: &Cluster) -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        let key = rcgen::KeyPair::generate()?;
        let server = rcgen::CertificateParams::new([HOST.to_owned()])?.self_signed(&key)?;
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
            ticket_secret: TicketSecret::new([7; 32]),
            metrics: runtime::Metrics::new()?,
        };
        let config = Config { mqtt_port: 0, https_port: 0, ..Config::default() };
        let gateway = Gateway::start(config, dependencies).await?;
        Ok(Self { gateway, client, authority, _folder: folder })
    }

    async fn stream(&self, address: SocketAddr, presented: Option<&Presented>) -> TestResult<Mqtt> {
        Ok(Mqtt::new(connect_with(address, HOST, &self.authority, presented).await?))
    }

    /// A connection that was accepted.
    async fn connect(
        &self,
        device: &Device,
        password: Option<String>,
        presented: Option<&Presented>,
    ) -> TestResult<Mqtt> {
        let connect = mqtt::Connect { password, ..device.connect() };
        let mut connected = None;
        eventually("the device is accepted", async || {
            let mut client = self.stream(self.gateway.mqtt_address(), presented).await?;
            let accepted = matches!(client.connect(&connect).await?, Received::ConnAck { code: 0, .. });
            connected = accepted.then_some(client);
            Ok(accepted)
        })
        .await?;
        Ok(connected.unwrap())
    }
}

fn keys(first: u8) -> SymmetricKeys {
    let key = |byte| SymmetricKey::from_bytes(&[byte; 32]);
    SymmetricKeys { primary: key(first), secondary: key(first + 1) }
}

fn policies(device_keys: u8) -> Vec<SharedAccessPolicy> {
    let all = [Right::RegistryWrite, Right::ServiceConnect, Right::DeviceConnect];
    [("owner", Rights::of(&all), 10), ("device", Rights::of(&[Right::DeviceConnect]), device_keys)]
        .map(|(name, rights, first)| SharedAccessPolicy { name: name.into(), keys: keys(first), rights, etag: ETag(1) })
        .into()
}

async fn new_device(client: &ShardClient, id: &str, authentication: Authentication) -> TestResult<Device> {
    let mut identity = DeviceIdentity::new(id.parse()?, authentication);
    identity.generation_id = "1".into();
    let stored = client.put_device(&identity, Precondition::Absent).await?;
    Ok(Device {
        host_name: HOST.into(),
        device_id: id.into(),
        module_id: None,
        primary_key: keys(1).primary,
        secondary_key: keys(1).secondary,
        etag: stored.etag.to_string(),
        generation_id: stored.generation_id,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_changed_through_one_gateway_end_connections_of_the_other() -> TestResult {
    let cluster = Cluster::start(|config| shard::Config { disk_reserve_bytes: 0, ..config }).await?;
    let (first, second) = (Running::start(&cluster).await?, Running::start(&cluster).await?);
    let settings = HubSettings { groups: 2, policies: policies(20), ..HubSettings::default() };
    let made = first.client.initialize_hub(&settings).await?;
    let root = Authority::root("root")?;
    let registered = RegisteredCertificate {
        name: "factory".into(),
        der: root.der.clone().into(),
        is_verified: true,
        verification_code: None,
        etag: ETag(0),
        created: Timestamp::from_unix_milliseconds(0),
        updated: Timestamp::from_unix_milliseconds(0),
    };
    let made = first.client.put_certificates(made.revision, &[registered]).await?;

    let by_authority = new_device(&first.client, "by-authority", Authentication::CertificateAuthority).await?;
    let by_policy = new_device(&first.client, "by-policy", Authentication::Sas(keys(1))).await?;
    let by_key = new_device(&first.client, "by-key", Authentication::Sas(keys(1))).await?;
    let presented = root.sign("by-authority")?;
    let of_authority = second.connect(&by_authority, None, Some(&presented)).await?;
    let of_policy = token(HOST, &keys(20).primary, Some("device"));
    let of_policy = second.connect(&by_policy, Some(of_policy), None).await?;
    let mut of_key = second.connect(&by_key, Some(by_key.token()), None).await?;

    let without = first.client.put_certificates(made.revision, &[]).await?;
    of_authority.expect_closed().await?;
    let rotated = first.client.put_policies(without.revision, &policies(30)).await?;
    of_policy.expect_closed().await?;
    let overrides = Overrides { subscriptions_max: Some(1), ..Overrides::default() };
    first.client.put_overrides(rotated.revision, &overrides).await?;
    eventually("the other gateway's limit is lower", async || {
        let mut client = second.connect(&by_policy, Some(token(HOST, &keys(30).primary, Some("device"))), None).await?;
        Ok(client.subscribe(1, &[("a", 0), ("b", 0)]).await? == Received::SubAck { packet_id: 1, codes: vec![0, 0x80] })
    })
    .await?;
    of_key.ping().await.map_err(|error| error.context("nothing of it was touched"))?;

    let mut disabled = DeviceIdentity::new("by-key".parse()?, Authentication::Sas(keys(1)));
    disabled.status = model::DeviceStatus::Disabled;
    first.client.put_device(&disabled, Precondition::Present).await?;
    of_key.expect_closed().await
}
