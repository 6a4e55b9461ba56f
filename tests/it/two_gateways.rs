//! Two gateways of one cluster: what is changed through one holds on the other (security §9).

use ironhub_tests::{
    Authority, CLUSTER_HOST, Cluster, ClusterGateway, Received, TestResult, cluster_keys, eventually,
    new_cluster_device, token,
};
use model::{
    Authentication, DeviceIdentity, ETag, HubSettings, Overrides, RegisteredCertificate, Right, Rights,
    SharedAccessPolicy, Timestamp,
};
use shard_client::Precondition;

fn policies(device_keys: u8) -> Vec<SharedAccessPolicy> {
    let all = [Right::RegistryWrite, Right::ServiceConnect, Right::DeviceConnect];
    [("owner", Rights::of(&all), 10), ("device", Rights::of(&[Right::DeviceConnect]), device_keys)]
        .map(|(name, rights, first)| SharedAccessPolicy {
            name: name.into(),
            keys: cluster_keys(first),
            rights,
            etag: ETag(1),
        })
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_changed_through_one_gateway_end_connections_of_the_other() -> TestResult {
    let cluster = Cluster::start(|config| shard::Config { disk_reserve_bytes: 0, ..config }).await?;
    let (first, second) = (ClusterGateway::start(&cluster).await?, ClusterGateway::start(&cluster).await?);
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

    let by_authority = new_cluster_device(&first.client, "by-authority", Authentication::CertificateAuthority).await?;
    let by_policy = new_cluster_device(&first.client, "by-policy", Authentication::Sas(cluster_keys(1))).await?;
    let by_key = new_cluster_device(&first.client, "by-key", Authentication::Sas(cluster_keys(1))).await?;
    let presented = root.sign("by-authority")?;
    let of_authority = second.connect(&by_authority, None, Some(&presented)).await?;
    let of_policy = token(CLUSTER_HOST, &cluster_keys(20).primary, Some("device"));
    let of_policy = second.connect(&by_policy, Some(of_policy), None).await?;
    let mut of_key = second.connect(&by_key, Some(by_key.token()), None).await?;

    let without = first.client.put_certificates(made.revision, &[]).await?;
    of_authority.expect_closed().await?;
    let rotated = first.client.put_policies(without.revision, &policies(30)).await?;
    of_policy.expect_closed().await?;
    let overrides = Overrides { subscriptions_max: Some(1), ..Overrides::default() };
    first.client.put_overrides(rotated.revision, &overrides).await?;
    eventually("the other gateway's limit is lower", async || {
        let mut client = second
            .connect(&by_policy, Some(token(CLUSTER_HOST, &cluster_keys(30).primary, Some("device"))), None)
            .await?;
        Ok(client.subscribe(1, &[("a", 0), ("b", 0)]).await? == Received::SubAck { packet_id: 1, codes: vec![0, 0x80] })
    })
    .await?;
    of_key.ping().await.map_err(|error| error.context("nothing of it was touched"))?;

    let mut disabled = DeviceIdentity::new("by-key".parse()?, Authentication::Sas(cluster_keys(1)));
    disabled.status = model::DeviceStatus::Disabled;
    first.client.put_device(&disabled, Precondition::Present).await?;
    of_key.expect_closed().await
}
