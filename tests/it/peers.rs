//! Who may call a shard: processes of the cluster, each what its role allows.

use std::{fs, path::Path, sync::Arc};

use ironhub_tests::{Authority, Presented, TestResult, certificate_params, eventually};
use peer::{Connector, Credentials, Files, Role};
use proto::{
    raft::v1::{Requests, raft_client::RaftClient},
    shard::v1::{DescribeNodeRequest, shard_client::ShardClient},
};
use rcgen::SanType;
use shard::{Shard, group::Member};
use shard_client::{Connect, Discovery};
use tokio::net::TcpListener;
use tonic::{Code, Request, transport::Endpoint};

fn pem(tag: &str, der: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", BASE64_STANDARD.encode(der))
}

fn credentials(authority: &Authority, folder: &Path, role: Role) -> TestResult<Arc<Credentials>> {
    let mut params = certificate_params(role.name());
    params.subject_alt_names = vec![SanType::DnsName(role.dns_name().try_into()?)];
    let Presented { chain, key } = authority.sign_params(&params)?;
    let file = |name: &str| folder.join(format!("{role}-{name}"));
    fs::write(file("authority"), pem("CERTIFICATE", &authority.der))?;
    fs::write(file("certificate"), chain.iter().map(|der| pem("CERTIFICATE", der)).collect::<String>())?;
    fs::write(file("key"), pem("PRIVATE KEY", &key))?;
    Ok(Credentials::open(Files {
        authority_file: file("authority"),
        certificate_file: file("certificate"),
        key_file: file("key"),
    })?)
}

fn connect(credentials: Arc<Credentials>) -> Connect {
    let connector = Connector::new(credentials, Role::Shard);
    Arc::new(move |endpoint| connector.channel(endpoint))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_may_call_what_is_for_gateways_and_a_stranger_nothing() -> TestResult {
    let (folder, strangers) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let authority = Authority::root("cluster")?;
    let shard_credentials = credentials(&authority, folder.path(), Role::Shard)?;
    let gateway = connect(credentials(&authority, folder.path(), Role::Gateway)?);
    let stranger = connect(credentials(&Authority::root("cluster")?, strangers.path(), Role::Shard)?);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let directory = folder.path().join("data");
    let config =
        shard::Config { node_id: 0, joins: true, directory, groups: 1, disk_reserve_bytes: 0, ..Default::default() };
    let mut shard = Shard::start_over(config, connect(shard_credentials.clone())).await?;
    shard.serve_peers(listener, shard_credentials.clone());
    let node_id = shard.node().node_id();
    assert_ne!(node_id, 0, "the disk has drawn one");
    assert!(shard.health().is_outside);

    let uri = format!("http://{address}");
    let channel = |connect: &Connect| anyhow::Ok(connect(Endpoint::from_shared(uri.clone())?));
    let described = ShardClient::new(channel(&gateway)?).describe_node(DescribeNodeRequest {}).await?.into_inner();
    assert_eq!((described.node_id, described.is_member, described.groups), (node_id, false, 1));

    // A stream without requests, which ends at once.
    let exchange = async |connect: &Connect, meant: u64| {
        let mut request = Request::new(tokio_stream::empty::<Requests>());
        request.metadata_mut().insert(proto::TO_NODE_ID, meant.into());
        anyhow::Ok(RaftClient::new(channel(connect)?).exchange(request).await.map_err(|status| status.code()).map(drop))
    };
    assert_eq!(exchange(&gateway, node_id).await?, Err(Code::PermissionDenied));
    let other_shard = connect(shard_credentials);
    assert_eq!(exchange(&other_shard, node_id).await?, Ok(()));
    // What is for a node whose disk was lost does not reach the one that came after it.
    assert_eq!(exchange(&other_shard, node_id + 1).await?, Err(Code::Unavailable));

    for nobody in [channel(&stranger)?, Endpoint::from_shared(uri.clone())?.connect_lazy()] {
        let refused = ShardClient::new(nobody).describe_node(DescribeNodeRequest {}).await;
        assert!(refused.is_err(), "{refused:?}");
    }

    let discovery = Discovery { seeds: vec![address.clone()], connect: gateway };
    let member = Member { node_id, address: uri };
    shard.node().founder().found(&[member]).await?;
    eventually("the node leads", async || {
        let described = discovery.describe(&address).await?;
        anyhow::Ok(described.is_member && described.led_groups.len() == 2)
    })
    .await?;
    assert_eq!(discovery.wait_for_groups().await, 1);
    shard.shutdown().await;
    Ok(())
}
