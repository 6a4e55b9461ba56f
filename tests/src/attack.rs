//! What every test of hostile peers asks: are others served meanwhile, and is memory bounded?

use std::{
    cell::Cell,
    fs,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use crate::{Device, Hub};

/// What an attack may add to the memory of the process.
const RESIDENT_GROWTH_BYTES_MAX: u64 = 96 << 20;
/// A good device is served within this on a busy machine.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
/// Between two visits of the good device while the attack goes on.
const VISITS: Duration = Duration::from_millis(100);
/// A peer whose bytes are not taken for so long is not read any more.
const BLOCKED: Duration = Duration::from_secs(1);
/// More than all buffers between the two hold.
const DEAF_BYTES_MAX: usize = 32 << 20;
/// Room for answers that never are read, so that they pile up at the hub and not in the kernel.
const DEAF_BUFFER_BYTES: u32 = 4096;

/// Runs the attack. A device must be served all the while, and once more while what the attack returns is still there;
/// at no time may the hub have held more than it may.
pub async fn survives<T>(hub: &Hub, what: &str, attack: impl AsyncFnOnce() -> anyhow::Result<T>) -> anyhow::Result<()> {
    let (device, before) = (hub.new_device().await?, memory_bytes(hub, "VmRSS:")?);
    let is_over = Cell::new(false);
    let attack = async {
        let held = attack().await.with_context(|| format!("the attack: {what}"))?;
        is_over.set(true);
        anyhow::Ok(held)
    };
    // Its last visit is finished: a CONNECT left behind could still replace the next one.
    let visits = async {
        while !is_over.get() {
            serve(hub, &device).await.with_context(|| format!("while attacked: {what}"))?;
            sleep(VISITS).await;
        }
        Ok(())
    };
    let (held, ()) = tokio::try_join!(attack, visits)?;
    serve(hub, &device).await.with_context(|| format!("after the attack: {what}"))?;
    let grown = memory_bytes(hub, "VmHWM:")?.saturating_sub(before);
    anyhow::ensure!(grown < RESIDENT_GROWTH_BYTES_MAX, "{what}: {} MiB more", grown >> 20);
    drop(held);
    Ok(())
}

/// Over MQTT and over HTTPS.
async fn serve(hub: &Hub, device: &Device) -> anyhow::Result<()> {
    let served = async {
        let mut client = hub.connect(device).await?;
        client.publish_acknowledged(&device.events_topic(), b"served").await?;
        hub.call("GET", &format!("/devices/{}", device.device_id), &[], &().into()).await?.expect(200)
    };
    timeout(SERVED_WITHIN, served).await.context("a good device is not served")?.map(drop)
}

/// A line of the process's status: what is resident now, or was at most.
fn memory_bytes(hub: &Hub, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", hub.process_id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Sends so many bytes again and again, as a peer that does not read, until the hub takes no more of them or hangs up.
pub async fn send_until_blocked(bytes: usize, mut send: impl AsyncFnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut taken = 0;
    while let Ok(Ok(())) = timeout(BLOCKED, send()).await {
        taken += bytes;
        anyhow::ensure!(taken < DEAF_BYTES_MAX, "the hub reads without end what it cannot answer");
    }
    Ok(())
}

/// TCP from one of a few loopback addresses.
pub async fn connect_from(source: u8, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 90, source), 0).into())?;
    Ok(socket.connect(to).await?)
}

/// TCP of a peer that will not read much.
pub async fn connect_deaf(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(DEAF_BUFFER_BYTES)?;
    Ok(socket.connect(to).await?)
}
