//! Load balancers before a hub: one that says what a test wants it to, and a real haproxy.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use anyhow::Context;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

use crate::{Hub, patience::eventually};

/// Where balancers connect from.
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 31, 9);
/// Where relays listen.
const RELAYS: Ipv4Addr = Ipv4Addr::new(127, 0, 31, 10);
/// Each haproxy listens on an address of its own, on ports that were free: nobody else may take them meanwhile.
static NEXT_HAPROXY: AtomicU8 = AtomicU8::new(20);

/// A busy machine is no reason to call a hub ill.
const DEFAULTS: &str = "
defaults
  mode tcp
  timeout connect 10s
  timeout check 10s
  timeout client 1h
  timeout server 1h
";

/// How the header comes.
#[derive(Clone, Copy, Debug)]
pub enum Delivery {
    /// In one write with the first bytes of the client.
    Together,
    /// Every byte of it in a segment of its own.
    ByteByByte,
    /// A while before the client says anything.
    Ahead,
}

/// Passes connections on, each behind a header.
pub struct Relay {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// To that address, from [`BALANCER`].
    pub async fn start(to: SocketAddr, header: Vec<u8>, delivery: Delivery) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((RELAYS, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let header = header.clone();
                tokio::spawn(async move {
                    // Its end is one of the two others'.
                    let _ = relay(client, to, &header, delivery).await;
                });
            }
        });
        Ok(Self { address, accepting })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(mut client: TcpStream, to: SocketAddr, header: &[u8], delivery: Delivery) -> anyhow::Result<()> {
    let mut hub = connect_as_balancer(to).await?;
    match delivery {
        Delivery::Together => {
            let mut first = vec![0; 16 * 1024];
            let count = client.read(&mut first).await?;
            hub.write_all(&[header, first.get(..count).unwrap_or_default()].concat()).await?;
        }
        Delivery::ByteByByte => {
            for byte in header {
                hub.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Delivery::Ahead => {
            hub.write_all(header).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    copy_bidirectional(&mut client, &mut hub).await?;
    Ok(())
}

/// TCP from [`BALANCER`].
pub async fn connect_as_balancer(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((BALANCER, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A real haproxy before one or several hubs, for each protocol by turns. It is killed when this value goes.
pub struct Haproxy {
    child: Child,
    _folder: TempDir,
    pub mqtt: SocketAddr,
    pub amqp: SocketAddr,
    pub https: SocketAddr,
}

impl Haproxy {
    /// It connects from [`BALANCER`], says whose connections they are, and looks over TLS whether the hubs are well.
    pub async fn start(hubs: &[&Hub]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let front = Ipv4Addr::new(127, 0, 31, NEXT_HAPROXY.fetch_add(1, Ordering::Relaxed));
        let [mqtt, amqp, https] = free_addresses(front)?;
        let mut config = DEFAULTS.to_owned();
        let backs = |port: fn(&Hub) -> SocketAddr| hubs.iter().map(|hub| port(hub)).collect::<Vec<_>>();
        let fronts = [
            ("mqtt", mqtt, backs(|hub| hub.mqtt)),
            ("amqp", amqp, backs(|hub| hub.amqp)),
            ("https", https, backs(|hub| hub.https)),
        ];
        for (name, front, backs) in fronts {
            writeln!(config, "listen {name}\n  bind {front}")?;
            for (number, back) in backs.iter().enumerate() {
                let options = format!("source {BALANCER} send-proxy-v2 check check-ssl verify none inter 200ms");
                writeln!(config, "  server hub{number} {back} {options}")?;
            }
        }
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config)?;
        // In the foreground: it ends with this child.
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(&file).stdin(Stdio::null());
        let child = command.spawn().context("haproxy cannot be run: install the package haproxy")?;
        let mut haproxy = Self { child, _folder: folder, mqtt, amqp, https };
        eventually("haproxy listens", async || {
            anyhow::ensure!(haproxy.child.try_wait()?.is_none(), "haproxy has ended");
            Ok(TcpStream::connect(haproxy.https).await.is_ok())
        })
        .await?;
        Ok(haproxy)
    }

    /// Where its connections come from.
    pub fn source() -> IpAddr {
        BALANCER.into()
    }
}

fn free_addresses(ip: Ipv4Addr) -> anyhow::Result<[SocketAddr; 3]> {
    let listen = || std::net::TcpListener::bind((ip, 0));
    let listeners = [listen()?, listen()?, listen()?];
    let [mqtt, amqp, https] = listeners.each_ref().map(std::net::TcpListener::local_addr);
    Ok([mqtt?, amqp?, https?])
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
