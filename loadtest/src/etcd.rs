//! An etcd cluster of three members of our own to compare with, and its Put.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use http::uri::PathAndQuery;
use tempfile::TempDir;
use tonic::{client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

const MEMBERS: usize = 3;
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Running members; they end with this value.
pub struct Etcd {
    processes: Vec<Child>,
    clients: Vec<u16>,
    _folder: TempDir,
}

/// Of `etcdserverpb.KV/Put`, as far as it is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

impl Etcd {
    /// Starts the members and waits until they have a leader.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut ports = free_ports(2 * MEMBERS)?;
        let clients = ports.split_off(MEMBERS);
        let peers = ports;
        let members: Vec<_> =
            peers.iter().enumerate().map(|(n, port)| format!("m{n}=http://127.0.0.1:{port}")).collect();
        let mut etcd = Self { processes: Vec::new(), clients, _folder: folder };
        for (number, (peer, client)) in peers.iter().zip(etcd.clients.clone()).enumerate() {
            let (peer, client) = (format!("http://127.0.0.1:{peer}"), format!("http://127.0.0.1:{client}"));
            let process = Command::new("etcd")
                .args(["--name", &format!("m{number}"), "--log-level", "error", "--logger", "zap"])
                .arg("--data-dir")
                .arg(etcd._folder.path().join(number.to_string()))
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--initial-cluster", &members.join(","), "--initial-cluster-state", "new"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("cannot start etcd; is it installed (apt-get install etcd-server)?")?;
            etcd.processes.push(process);
        }
        etcd.wait_until_it_serves().await?;
        Ok(etcd)
    }

    async fn wait_until_it_serves(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let listens = self.clients.iter().all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok());
            if listens && self.client(0).await?.put(b"ready", b"yes").await.is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("etcd does not start");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A connection to one of the members.
    pub async fn client(&self, number: usize) -> anyhow::Result<EtcdClient> {
        let port = self.clients.get(number % MEMBERS).context("no member")?;
        let channel = Channel::from_shared(format!("http://127.0.0.1:{port}"))?.connect().await?;
        Ok(EtcdClient { grpc: Grpc::new(channel) })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may be gone already; either way there is nothing left to do about it.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Cheap to clone: one connection for many writers.
#[derive(Clone)]
pub struct EtcdClient {
    grpc: Grpc<Channel>,
}

impl EtcdClient {
    /// Durable on a majority once it returns.
    pub async fn put(&mut self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        self.grpc.ready().await?;
        let request = tonic::Request::new(PutRequest { key: key.to_vec(), value: value.to_vec() });
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let codec: ProstCodec<PutRequest, PutResponse> = ProstCodec::default();
        self.grpc.unary(request, path, codec).await?;
        Ok(())
    }
}

fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let listeners: Vec<_> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    Ok(listeners.iter().map(|listener| listener.local_addr().map(|it| it.port())).collect::<Result<_, _>>()?)
}
