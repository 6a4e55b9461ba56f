//! A real hub: `ironhub all` as a child process.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use model::SymmetricKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    amqp_client::Amqp,
    device::{Device, token},
    https::{Https, Response},
    mqtt_client::{Mqtt, Received},
    patience::{PATIENCE, eventually},
    start::{admin, command, read_log, wait_until_ready},
    tls::{self, Presented, TlsStream},
    websocket::{WEBSOCKET_PATH, WebSocket},
};

pub const API_VERSION: &str = "2021-04-12";

/// How a hub is started.
#[derive(Clone, Debug, Default)]
pub struct HubOptions {
    /// Configuration file, TOML.
    pub config: String,
    /// More flags of `ironhub all`; later ones win over the harness's.
    pub arguments: Vec<String>,
    /// A program and its arguments to run the hub under, such as strace.
    pub wrapper: Vec<String>,
}

/// A running hub. It is killed when this value goes.
pub struct Hub {
    child: Child,
    folder: Folder,
    options: HubOptions,
    pub address: IpAddr,
    pub mqtt: SocketAddr,
    pub amqp: SocketAddr,
    pub https: SocketAddr,
    pub admin: SocketAddr,
    pub host_name: String,
    pub authority: PathBuf,
    /// The whole `hub.json`.
    pub json: Value,
}

/// Where a hub keeps its data.
enum Folder {
    Own(TempDir),
    Given(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Given(path) => path,
        }
    }
}

impl Hub {
    /// A hub that tests which change nothing but their own devices may share: while one of them runs, it runs.
    pub async fn shared() -> anyhow::Result<Arc<Self>> {
        static SHARED: tokio::sync::Mutex<Weak<Hub>> = tokio::sync::Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(hub) = shared.upgrade() {
            return Ok(hub);
        }
        let hub = Arc::new(Self::start().await?);
        *shared = Arc::downgrade(&hub);
        Ok(hub)
    }

    /// A new hub with the default settings.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(HubOptions::default()).await
    }

    /// A new hub.
    pub async fn start_with(options: HubOptions) -> anyhow::Result<Self> {
        Self::start_in(Folder::Own(tempfile::tempdir()?), options).await
    }

    /// A hub on a folder that exists already, or will.
    pub async fn start_on(folder: &Path, options: HubOptions) -> anyhow::Result<Self> {
        Self::start_in(Folder::Given(folder.to_owned()), options).await
    }

    async fn start_in(folder: Folder, options: HubOptions) -> anyhow::Result<Self> {
        fs::create_dir_all(folder.path())?;
        // It says which ports were taken; the one of an earlier run is of no use.
        let _ = fs::remove_file(folder.path().join("data/hub.json"));
        let mut child = command(folder.path(), &options)?.spawn().context("cannot start the hub")?;
        match wait_until_ready(&mut child, folder.path()).await {
            Ok(json) => Self::connectable(child, folder, options, json),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.context(format!("the hub's log:\n{}", read_log(folder.path()))))
            }
        }
    }

    fn connectable(child: Child, folder: Folder, options: HubOptions, json: Value) -> anyhow::Result<Self> {
        let text = |pointer: &str| {
            json.pointer(pointer).and_then(Value::as_str).with_context(|| format!("{pointer} in {json}"))
        };
        let port = |name: &str| {
            let port = json.pointer(&format!("/ports/{name}")).and_then(Value::as_u64);
            port.and_then(|port| u16::try_from(port).ok()).with_context(|| format!("port {name} in {json}"))
        };
        let address: IpAddr = text("/address")?.parse()?;
        Ok(Self {
            address,
            mqtt: (address, port("mqtt")?).into(),
            amqp: (address, port("amqp")?).into(),
            https: (address, port("https")?).into(),
            admin: (address, port("admin")?).into(),
            host_name: text("/hostName")?.to_owned(),
            authority: text("/certificateAuthorityFile")?.into(),
            child,
            folder,
            options,
            json,
        })
    }

    /// The process: the hub, or what it runs under.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// The folder given with `--data-dir`.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything that the hub printed.
    pub fn log(&self) -> String {
        read_log(self.folder.path())
    }

    /// Kills it without warning and starts it again on the same data.
    pub async fn kill_and_restart(mut self) -> anyhow::Result<Self> {
        self.kill()?;
        self.restart().await
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again, when it has ended, with the same data and options.
    pub async fn restart(mut self) -> anyhow::Result<Self> {
        anyhow::ensure!(self.child.try_wait()?.is_some(), "it still runs");
        let folder = std::mem::replace(&mut self.folder, Folder::Given(PathBuf::new()));
        let options = std::mem::take(&mut self.options);
        drop(self);
        Self::start_in(folder, options).await
    }

    /// SIGTERM.
    pub fn terminate(&self) -> anyhow::Result<()> {
        let status = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        anyhow::ensure!(status.success(), "cannot send SIGTERM");
        Ok(())
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("the hub does not end");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Name and key of a built-in policy.
    pub fn policy(&self, name: &str) -> anyhow::Result<(String, SymmetricKey)> {
        let text = self
            .json
            .pointer(&format!("/connectionStrings/{name}"))
            .and_then(Value::as_str)
            .context("no such policy")?;
        let parsed: auth::ConnectionString = text.parse()?;
        let name = parsed.shared_access_key_name.context("no policy name")?;
        Ok((name, parsed.shared_access_key.context("no key")?))
    }

    /// A token of a built-in policy for the whole hub.
    pub fn policy_token(&self, name: &str) -> anyhow::Result<String> {
        let (name, key) = self.policy(name)?;
        Ok(token(&self.host_name, &key, Some(&name)))
    }

    /// A TLS connection to the MQTT port.
    pub async fn mqtt_stream(&self) -> anyhow::Result<TlsStream> {
        tls::connect(self.mqtt, &self.host_name, &self.authority).await
    }

    /// An MQTT connection on which nothing was said yet.
    pub async fn mqtt(&self) -> anyhow::Result<Mqtt> {
        Ok(Mqtt::new(self.mqtt_stream().await?))
    }

    /// An MQTT connection of that device, accepted.
    pub async fn connect(&self, device: &Device) -> anyhow::Result<Mqtt> {
        self.connect_as(&device.connect()).await
    }

    /// An MQTT connection, accepted.
    pub async fn connect_as(&self, connect: &mqtt::Connect) -> anyhow::Result<Mqtt> {
        let mut client = self.mqtt().await?;
        match client.connect(connect).await? {
            Received::ConnAck { code: 0, .. } => Ok(client),
            other => bail!("the hub answered CONNECT with {other:?}"),
        }
    }

    /// What the hub answers to a CONNECT: its code.
    pub async fn connect_code(&self, connect: &mqtt::Connect) -> anyhow::Result<u8> {
        let mut client = self.mqtt().await?;
        match client.connect(connect).await? {
            Received::ConnAck { code: 0, .. } => Ok(0),
            Received::ConnAck { code, .. } => client.expect_closed().await.map(|()| code),
            other => bail!("the hub answered CONNECT with {other:?}"),
        }
    }

    /// An MQTT connection of a peer with a certificate, on which nothing was said yet.
    pub async fn mqtt_with(&self, presented: &Presented) -> anyhow::Result<Mqtt> {
        Ok(Mqtt::new(tls::connect_with(self.mqtt, &self.host_name, &self.authority, Some(presented)).await?))
    }

    /// An MQTT connection by certificate, and what the hub answered to its CONNECT.
    pub async fn connect_with(&self, device: &Device, presented: &Presented) -> anyhow::Result<(Mqtt, u8)> {
        let mut client = self.mqtt_with(presented).await?;
        match client.connect(&mqtt::Connect { password: None, ..device.connect() }).await? {
            Received::ConnAck { code, .. } => Ok((client, code)),
            other => bail!("the hub answered CONNECT with {other:?}"),
        }
    }

    /// An HTTPS connection of a peer with a certificate.
    pub async fn https_with(&self, presented: &Presented) -> anyhow::Result<Https> {
        Ok(Https::new(tls::connect_with(self.https, &self.host_name, &self.authority, Some(presented)).await?))
    }

    /// An HTTPS connection.
    pub async fn https(&self) -> anyhow::Result<Https> {
        Ok(Https::new(tls::connect(self.https, &self.host_name, &self.authority).await?))
    }

    /// A WebSocket for MQTT on which nothing was said yet.
    pub async fn websocket(&self) -> anyhow::Result<WebSocket> {
        Ok(WebSocket::open(self.https().await?, WEBSOCKET_PATH, "mqtt").await?.0)
    }

    /// An MQTT connection over WebSocket on which nothing was said yet.
    pub async fn mqtt_websocket(&self) -> anyhow::Result<Mqtt> {
        Ok(Mqtt::new(self.websocket().await?.into_stream()))
    }

    /// An AMQP connection, open, whose peer has not said who it is.
    pub async fn amqp(&self) -> anyhow::Result<Amqp> {
        let mut client = Amqp::new(tls::connect(self.amqp, &self.host_name, &self.authority).await?, None);
        client.open(false).await?;
        Ok(client)
    }

    /// An AMQP connection of somebody with that token.
    pub async fn amqp_as(&self, token: &str) -> anyhow::Result<Amqp> {
        let mut client = self.amqp().await?;
        client.authenticate(token).await?;
        Ok(client)
    }

    /// An AMQP connection with SASL, and how that ended.
    pub async fn amqp_with(
        &self,
        login: amqp::SaslLogin,
        presented: Option<&Presented>,
    ) -> anyhow::Result<(Amqp, amqp::SaslCode)> {
        let stream = tls::connect_with(self.amqp, &self.host_name, &self.authority, presented).await?;
        let mut client = Amqp::new(stream, Some(login));
        let code = client.open(true).await?;
        Ok((client, code))
    }

    /// An AMQP connection over WebSocket.
    pub async fn amqp_websocket(&self, path: &str) -> anyhow::Result<Amqp> {
        let socket = WebSocket::open(self.https().await?, path, "AMQPWSB10").await?.0;
        let mut client = Amqp::new(socket.into_stream(), None);
        client.open(false).await?;
        Ok(client)
    }

    /// One request with that Authorization; the API version is added to the path.
    pub async fn call_as(
        &self,
        authorization: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let target = format!("{path}{separator}api-version={API_VERSION}");
        let headers = [&[("Authorization", authorization)], headers].concat();
        self.https().await?.request(method, &target, &headers, body).await
    }

    /// One request as the owner of the hub.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> anyhow::Result<Response> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.call_as(&self.policy_token("iothubowner")?, method, path, headers, &body).await
    }

    /// An id that nobody else uses.
    pub fn new_id(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        format!("device-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// A new device with keys of the hub's choice.
    pub async fn new_device(&self) -> anyhow::Result<Device> {
        self.create_device(&self.new_id()).await
    }

    pub async fn create_device(&self, id: &str) -> anyhow::Result<Device> {
        let identity =
            self.call("PUT", &format!("/devices/{id}"), &[], &json!({ "deviceId": id })).await?.expect(200)?;
        Device::from_identity(&self.host_name, &identity.json()?)
    }

    /// A new module of the device.
    pub async fn new_module(&self, device: &Device, module_id: &str) -> anyhow::Result<Device> {
        let path = format!("/devices/{}/modules/{module_id}", device.device_id);
        let identity = self.call("PUT", &path, &[], &json!({ "moduleId": module_id })).await?.expect(200)?;
        Device::from_identity(&self.host_name, &identity.json()?)
    }

    /// Replaces the device's identity, whatever its version; keys stay unless the body has others.
    pub async fn update_device(&self, device: &Device, change: Value) -> anyhow::Result<Response> {
        let keys =
            json!({ "primaryKey": device.primary_key.as_base64(), "secondaryKey": device.secondary_key.as_base64() });
        let mut body =
            json!({ "deviceId": device.device_id, "authentication": { "type": "sas", "symmetricKey": keys } });
        if let (Some(body), Value::Object(change)) = (body.as_object_mut(), change) {
            body.extend(change);
        }
        self.call("PUT", &format!("/devices/{}", device.device_id), &[("If-Match", "\"*\"")], &body).await
    }

    pub async fn delete_device(&self, device: &Device) -> anyhow::Result<Response> {
        self.call("DELETE", &format!("/devices/{}", device.device_id), &[("If-Match", "*")], &Value::Null).await
    }

    /// All events of the device, oldest first.
    pub async fn events(&self, device_id: &str) -> anyhow::Result<Vec<Value>> {
        self.read_events(&format!("/ironhub/v1/events?since=earliest&device={}", percent_encode(device_id))).await
    }

    /// All events of the hub, each partition's in order.
    pub async fn all_events(&self) -> anyhow::Result<Vec<Value>> {
        self.read_events("/ironhub/v1/events?since=earliest").await
    }

    async fn read_events(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let response = self.call("GET", path, &[], &Value::Null).await?.expect(200)?;
        let lines = response.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
    }

    /// Waits until the device has sent so many events; returns all of them.
    pub async fn wait_for_events(&self, device_id: &str, count: usize) -> anyhow::Result<Vec<Value>> {
        let mut events = Vec::new();
        eventually("events", async || {
            events = self.events(device_id).await?;
            Ok(events.len() >= count)
        })
        .await?;
        Ok(events)
    }

    /// What the admin listener answers: status and body.
    pub async fn admin(&self, path: &str) -> anyhow::Result<(u16, String)> {
        admin(self.admin, path).await
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the hub's log:\n{}", self.log());
        }
    }
}

/// All but unreserved characters.
fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encode).collect()
}
