//! The devices of a run: made over the hub's HTTPS API before it, deleted after it.

use std::{
    cell::Cell,
    fs::{self, File},
    io::{ErrorKind, Read},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use futures::future::try_join_all;
use model::{SymmetricKey, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    console,
    http::{HttpConnection, Request},
    target::Target,
    tls::Connector,
};

pub const API_VERSION: &str = "2021-04-12";
/// Requests at a time while devices are made or deleted.
const CLIENTS: u32 = 32;
/// How often a device is asked for while the hub is busy, and how long between.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);
const TOKEN_SECONDS: i64 = 24 * 3600;

/// Devices `loadtest-RUN-0`, `loadtest-RUN-1`, ...: their ids are new, so no run meets what another one left. All share
/// one key that is drawn for the run.
#[derive(Clone)]
pub struct Devices {
    host_name: String,
    prefix: String,
    key: SymmetricKey,
    count: u32,
}

/// Devices in a file.
#[derive(Deserialize, Serialize)]
struct Saved {
    prefix: String,
    key: String,
    count: u32,
}

impl Devices {
    /// Names for devices that do not exist yet.
    pub fn none(target: &Target) -> anyhow::Result<Self> {
        let run: String = random_bytes::<4>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let prefix = format!("loadtest-{run}-");
        let key = SymmetricKey::from_bytes(&random_bytes::<32>()?);
        Ok(Self { host_name: target.host_name.clone(), prefix, key, count: 0 })
    }

    /// Says how many there are, when somebody else made them.
    pub fn with_count(self, count: u32) -> Self {
        Self { count, ..self }
    }

    /// Makes them.
    pub async fn create(target: &Target, count: u32) -> anyhow::Result<Self> {
        let devices = Self::none(target)?.with_count(count);
        let body = creation(&devices.key);
        devices.make(target, &body).await
    }

    /// Makes them without keys: an authority vouches for them.
    pub async fn create_by_authority(target: &Target, count: u32) -> anyhow::Result<Self> {
        let devices = Self::none(target)?.with_count(count);
        devices.make(target, br#"{"authentication":{"type":"certificateAuthority"}}"#).await
    }

    async fn make(self, target: &Target, body: &[u8]) -> anyhow::Result<Self> {
        console::progress(&format!("creating {} devices {}0 ...", self.count, self.prefix));
        self.each(target, "PUT", "", body, 200).await.context("cannot create devices")?;
        Ok(self)
    }

    /// The devices that a file names; `None` when there is no such file.
    pub fn load(target: &Target, file: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", file.display()))?,
        };
        let Saved { prefix, key, count } = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what --devices-file writes", file.display()))?;
        Ok(Some(Self { host_name: target.host_name.clone(), prefix, key: key.parse()?, count }))
    }

    /// Writes what [`load`](Self::load) reads.
    pub fn save(&self, file: &Path) -> anyhow::Result<()> {
        let saved = Saved { prefix: self.prefix.clone(), key: self.key.as_base64().to_owned(), count: self.count };
        fs::write(file, serde_json::to_vec(&saved)?).with_context(|| format!("cannot write {}", file.display()))
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Deletes them, with whatever else belongs to them.
    pub async fn delete(self, target: &Target) -> anyhow::Result<()> {
        self.each(target, "DELETE", "If-Match: *\r\n", &[], 204).await.context("cannot delete devices")
    }

    pub fn id(&self, index: u32) -> String {
        format!("{}{index}", self.prefix)
    }

    /// What its addresses on AMQP begin with.
    pub fn node(&self, index: u32) -> String {
        format!("/devices/{}", self.id(index))
    }

    /// A token of that device's own key.
    pub fn token(&self, index: u32) -> String {
        let resource = format!("{}/devices/{}", self.host_name, self.id(index));
        auth::sign(&resource, &self.key, None, expires())
    }

    /// What that device says in its CONNECT.
    pub fn connect(&self, index: u32) -> mqtt::Connect {
        connect(self.id(index), Some((self.user_name(index), self.token(index))))
    }

    /// The same of a device that has proved itself in the TLS handshake.
    pub fn connect_by_certificate(&self, index: u32) -> mqtt::Connect {
        mqtt::Connect { username: Some(self.user_name(index)), ..connect(self.id(index), None) }
    }

    fn user_name(&self, index: u32) -> String {
        let (host, id) = (&self.host_name, self.id(index));
        format!("{host}/{id}/?api-version={API_VERSION}&DeviceClientType=ironhub-loadtest")
    }

    async fn each(
        &self,
        target: &Target,
        method: &str,
        headers: &str,
        body: &[u8],
        success: u16,
    ) -> anyhow::Result<()> {
        let connector = https_connector(target)?;
        let token = service_token(target);
        let next = &Cell::new(0);
        let (connector, token) = (&connector, &token);
        let clients = (0..CLIENTS.min(self.count)).map(async |client| {
            let mut connection = HttpConnection::new(connector.connect(client).await?);
            loop {
                let index = next.get();
                if index >= self.count {
                    return Ok(());
                }
                next.set(index + 1);
                let path = format!("/devices/{}?api-version={API_VERSION}", self.id(index));
                let host = &self.host_name;
                let request = Request { method, target: &path, host, token, headers, body };
                let (status, answer) = send_until_taken(&mut connection, &request).await?;
                if status != success {
                    bail!("{method} {path}: the hub answered {status} {}", String::from_utf8_lossy(&answer));
                }
            }
        });
        try_join_all(clients).await.map(drop)
    }
}

/// Sends it again as long as the hub says that it is busy, which may mean that it was done.
async fn send_until_taken(connection: &mut HttpConnection, request: &Request<'_>) -> anyhow::Result<(u16, Vec<u8>)> {
    let (bytes, mut attempt) = (request.encode(), 1);
    loop {
        let (status, answer) = connection.send(&bytes).await?;
        match (request.method, status) {
            (_, 429 | 503) if attempt < ATTEMPTS => {}
            ("PUT", 409) if attempt > 1 => return Ok((200, answer)),
            ("DELETE", 404) if attempt > 1 => return Ok((204, answer)),
            _ => return Ok((status, answer)),
        }
        attempt += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// A clean session. Devices stay silent as long as the server allows (mqtt §2.5), which outlasts a run.
pub fn connect(client_id: String, credentials: Option<(String, String)>) -> mqtt::Connect {
    let (username, password) = credentials.unzip();
    mqtt::Connect { client_id, username, password, clean_session: true, keep_alive_seconds: 1177, will: None }
}

/// The body that creates a device with that key in both places.
fn creation(key: &SymmetricKey) -> Vec<u8> {
    let key = key.as_base64();
    let keys = serde_json::json!({ "primaryKey": key, "secondaryKey": key });
    serde_json::json!({ "authentication": { "type": "sas", "symmetricKey": keys } }).to_string().into_bytes()
}

/// A token of the target's policy.
pub fn service_token(target: &Target) -> String {
    auth::sign(&target.host_name, &target.key, Some(&target.policy), expires())
}

/// Connects to the target's HTTPS port.
pub fn https_connector(target: &Target) -> anyhow::Result<Connector> {
    Connector::new(&target.https, &target.host_name, &target.certificate_authority_file, false)
}

/// Bytes that nobody can guess.
fn random_bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn expires() -> Timestamp {
    Timestamp::from_unix_milliseconds((jiff::Timestamp::now().as_second() + TOKEN_SECONDS) * 1000)
}
