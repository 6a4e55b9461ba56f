//! Durable device creates per second through the client: `device_creates [CALLERS] [SECONDS] [tcp]`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use model::{Authentication, DeviceIdentity, DeviceStatus, ETag, SymmetricKey, SymmetricKeys};
use shard::{Config, Shard};
use shard_client::{Node, Precondition, ShardClient};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn device(device_id: &str) -> Result<DeviceIdentity, Failure> {
    let key = || SymmetricKey::from_bytes(&[7; 32]);
    Ok(DeviceIdentity {
        device_id: device_id.parse()?,
        generation_id: "638000000000000000".into(),
        etag: ETag(0),
        status: DeviceStatus::Enabled,
        status_reason: None,
        status_updated_time: None,
        authentication: Authentication::Sas(SymmetricKeys { primary: key(), secondary: key() }),
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
        cloud_to_device_message_count: 0,
    })
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let callers: u64 = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let over_tcp = arguments.next().is_some_and(|text| text == "tcp");
    let directory = tempfile::tempdir_in(".")?;
    let groups = 4;
    let mut shard = Shard::start(Config { directory: directory.path().into(), groups, ..Config::default() }).await?;
    let node = if over_tcp {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        shard.serve_tcp(listener);
        Node::remote(1, format!("http://{address}").parse()?)
    } else {
        Node::in_process(1, shard.serve_in_process())
    };
    let client = ShardClient::connect(shard_client::Config::new(vec![node], groups)).await;
    client.statistics().await?;

    let created = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);
    let mut work = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let (client, created) = (client.clone(), created.clone());
        work.spawn(async move {
            let mut slowest = Duration::ZERO;
            for number in 0.. {
                if Instant::now() >= until {
                    break;
                }
                let began = Instant::now();
                client.put_device(&device(&format!("device-{caller}-{number}"))?, Precondition::Absent).await?;
                slowest = slowest.max(began.elapsed());
                created.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Failure>(slowest)
        });
    }
    let mut slowest = Duration::ZERO;
    while let Some(caller) = work.join_next().await {
        slowest = slowest.max(caller??);
    }
    let rate = created.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    let statistics = client.statistics().await?;
    println!("{rate:.0} creates/s by {callers} callers, slowest {slowest:?}, {} stored", statistics.total_device_count);
    shard.shutdown().await;
    Ok(())
}
