//! Starting the binary under test, and what it says of itself.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{HubOptions, patience::PATIENCE};

/// The command that starts a hub in that folder on free ports.
pub(crate) fn command(folder: &Path, options: &HubOptions) -> anyhow::Result<Command> {
    let config = folder.join("config.toml");
    fs::write(&config, &options.config)?;
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    let mut words = options.wrapper.iter().map(PathBuf::from).chain([binary()?]);
    let mut command = Command::new(words.next().context("no program")?);
    command.args(words).arg("all").arg("--data-dir").arg(folder.join("data")).arg("--config").arg(config);
    if !options.arguments.iter().any(|argument| argument.ends_with("-port")) {
        command.args(["--mqtt-port", "0", "--amqp-port", "0", "--https-port", "0"]);
    }
    command.args(["--admin-port", "0"]).args(&options.arguments);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

/// The binary under test.
pub fn binary() -> anyhow::Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the harness is told which binary to judge")]
    let given = std::env::var_os("IRONHUB_BINARY");
    if let Some(path) = given {
        return Ok(path.into());
    }
    // target/PROFILE/deps/it-HASH stands beside target/PROFILE/ironhub.
    let test = std::env::current_exe()?;
    let path = test.ancestors().nth(2).context("no target folder")?.join("ironhub");
    anyhow::ensure!(path.exists(), "{} is missing: build it with `cargo build --package hub`", path.display());
    Ok(path)
}

pub(crate) async fn wait_until_ready(child: &mut Child, folder: &Path) -> anyhow::Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            bail!("the hub ended with {status}");
        }
        if let Ok(text) = fs::read_to_string(folder.join("data/hub.json"))
            && let Ok(json) = serde_json::from_str::<Value>(&text)
            && is_ready(&json).await.unwrap_or(false)
        {
            return Ok(json);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the hub does not become ready")
}

async fn is_ready(json: &Value) -> anyhow::Result<bool> {
    let address: IpAddr = json.pointer("/address").and_then(Value::as_str).context("no address")?.parse()?;
    let port = json.pointer("/ports/admin").and_then(Value::as_u64).context("no admin port")?;
    Ok(admin((address, u16::try_from(port)?).into(), "/readyz").await?.0 == 200)
}

pub(crate) async fn admin(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

pub(crate) fn read_log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}
