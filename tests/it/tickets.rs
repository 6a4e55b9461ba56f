//! TLS sessions are resumed at every gateway of a hub, and who a device is by its certificate is judged anew each time
//! (security §11).

use ironhub_tests::{
    Authority, CLUSTER_HOST, Cluster, ClusterGateway, Device, Mqtt, Received, TestResult, client_config_of, connect_as,
    eventually, new_cluster_device, self_signed,
};
use model::{
    Authentication, DeviceIdentity, ETag, HubSettings, RegisteredCertificate, Thumbprint, Thumbprints, Timestamp,
};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion,
    version::{TLS12, TLS13},
};
use shard_client::Precondition;

/// One visit at a gateway: how hands were shaken, and what CONNECT was answered.
async fn visit(gateway: &ClusterGateway, config: &std::sync::Arc<ClientConfig>, device: &Device) -> TestResult<Visit> {
    let stream = connect_as(config, gateway.gateway.mqtt_address(), CLUSTER_HOST).await?;
    let (version, kind) = (stream.get_ref().1.protocol_version(), stream.get_ref().1.handshake_kind());
    let mut client = Mqtt::new(stream);
    let answer = client.connect(&mqtt::Connect { password: None, ..device.connect() }).await?;
    let Received::ConnAck { code, .. } = answer else { anyhow::bail!("{answer:?}") };
    if code == 0 {
        client.publish_acknowledged(&device.events_topic(), b"x").await?;
        client.disconnect().await?;
    }
    Ok(Visit { version, kind, code })
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Visit {
    version: Option<ProtocolVersion>,
    kind: Option<HandshakeKind>,
    code: u8,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_resumed_at_every_gateway_and_certificates_judged_at_each() -> TestResult {
    let cluster = Cluster::start(|config| shard::Config { disk_reserve_bytes: 0, ..config }).await?;
    let (first, second) = (ClusterGateway::start(&cluster).await?, ClusterGateway::start(&cluster).await?);
    let stranger = ClusterGateway::start_with_secret(&cluster, [8; 32]).await?;
    let settings = HubSettings { groups: 2, ..HubSettings::default() };
    let made = first.client.initialize_hub(&settings).await?;
    let root = Authority::root("root")?;
    let made = first.client.put_certificates(made.revision, &[registered(&root)]).await?;

    let by_authority = new_cluster_device(&first.client, "by-authority", Authentication::CertificateAuthority).await?;
    let presented = root.sign("by-authority")?;
    let own = self_signed("by-thumbprint")?;
    let by_thumbprint = new_cluster_device(&first.client, "by-thumbprint", known_by(&own.thumbprint())?).await?;

    let all_authorities = tempfile::NamedTempFile::new()?;
    let files = [&first, &second, &stranger].map(|gateway| std::fs::read_to_string(&gateway.authority));
    std::fs::write(&all_authorities, files.into_iter().collect::<Result<String, _>>()?)?;
    for (device, presented) in [(&by_authority, &presented), (&by_thumbprint, &own)] {
        for version in [&TLS12, &TLS13] {
            let client = client_config_of(all_authorities.path(), Some(presented), &[version])?;
            let visit = async |gateway, kind| {
                let expected = Visit { version: Some(version.version), kind: Some(kind), code: 0 };
                assert_eq!(visit(gateway, &client, device).await?, expected, "{}", device.device_id);
                anyhow::Ok(())
            };
            // Where the settings arrived, they stay; a client of its own finds that out.
            for gateway in [&first, &second, &stranger] {
                let other = client_config_of(all_authorities.path(), Some(presented), &[version])?;
                eventually("the certificate opens", async || Ok(self::visit(gateway, &other, device).await?.code == 0))
                    .await?;
            }
            visit(&first, HandshakeKind::Full).await?;
            visit(&second, HandshakeKind::Resumed).await?;
            visit(&first, HandshakeKind::Resumed).await?;
            visit(&stranger, HandshakeKind::Full).await?;
            visit(&second, HandshakeKind::Full).await?;
        }
    }

    let clients = |presented| {
        [&TLS12, &TLS13].map(|version| client_config_of(all_authorities.path(), Some(presented), &[version]))
    };
    let cases = [(&by_authority, clients(&presented)), (&by_thumbprint, clients(&own))];
    for (device, clients) in &cases {
        for client in clients.iter().flatten() {
            assert_eq!(visit(&first, client, device).await?.code, 0);
        }
    }
    first.client.put_certificates(made.revision, &[]).await?;
    let replaced = DeviceIdentity::new("by-thumbprint".parse()?, known_by(&self_signed("other")?.thumbprint())?);
    first.client.put_device(&replaced, Precondition::Present).await?;
    for (device, clients) in &cases {
        for client in clients.iter().flatten() {
            // The session that was made at the first gateway, while the certificate was good.
            eventually("it is judged anew", async || {
                let Visit { kind, code, .. } = visit(&second, client, device).await?;
                assert_eq!(kind, Some(HandshakeKind::Resumed));
                Ok(code == 5)
            })
            .await?;
        }
    }
    Ok(())
}

fn registered(authority: &Authority) -> RegisteredCertificate {
    RegisteredCertificate {
        name: "factory".into(),
        der: authority.der.clone().into(),
        is_verified: true,
        verification_code: None,
        etag: ETag(0),
        created: Timestamp::from_unix_milliseconds(0),
        updated: Timestamp::from_unix_milliseconds(0),
    }
}

fn known_by(thumbprint: &str) -> TestResult<Authentication> {
    let primary: Thumbprint = thumbprint.parse()?;
    Ok(Authentication::SelfSigned(Thumbprints { primary: Some(primary), secondary: None }))
}
