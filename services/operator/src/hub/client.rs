//! A client of the hub's HTTPS API that acts as its owner.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use model::{SymmetricKey, Timestamp};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::state::HubState;

const API_VERSION: &str = "2021-04-12";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Shorter than gateways keep them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A token is made for every request; it must outlive clocks that differ.
const TOKEN_SECONDS: i64 = 3600;

/// How the operator reaches the hub, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubConfig {
    /// `host:port` of the gateways' HTTPS, such as that of their Service.
    pub address: String,
    /// Name of the hub that its server certificate has. Empty: the host of `address`.
    pub host_name: String,
    /// The authority of the server certificate, PEM. Read again at every look.
    pub authority_file: PathBuf,
    /// A policy of the hub with all four rights.
    pub owner_policy: String,
    /// Folder with the keys of the policy in base64: `primaryKey`, `secondaryKey`, or both; one that opens is enough. A mounted
    /// Secret; read again at every look.
    pub owner_keys_directory: PathBuf,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            address: String::new(),
            host_name: String::new(),
            authority_file: "/etc/ssl/certs/ca-certificates.crt".into(),
            owner_policy: "iothubowner".to_owned(),
            owner_keys_directory: PathBuf::new(),
        }
    }
}

impl HubConfig {
    /// The name in the certificate and in tokens.
    fn name(&self) -> &str {
        let host = || self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        if self.host_name.is_empty() { host().trim_matches(['[', ']']) } else { &self.host_name }
    }
}

/// Why the hub could not be asked, or did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// A file that is missing or holds something else.
    #[error("{0}")]
    Files(String),
    #[error("the hub does not answer at {address}: {cause}")]
    Unreachable { address: String, cause: String },
    /// None of the keys opens the hub.
    #[error("the hub refuses the keys of the policy {policy}: {text}")]
    Unauthorized { policy: String, text: String },
    /// Somebody else changed it meanwhile.
    #[error("{what} was changed by others meanwhile")]
    Changed { what: String },
    /// In the words of the hub.
    #[error("{what}: {text}")]
    Refused { what: String, status: u16, text: String },
    #[error("the hub's answer to {what} is not understood: {cause}")]
    Answer { what: String, cause: String },
}

impl HubError {
    /// Whether the hub is not there, or says that it cannot answer now: gateways or shards are away.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { status: 500.., .. })
    }
}

/// Speaks to one hub with what was in the files when it was made.
pub struct HubClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    address: String,
    host_name: String,
    policy: String,
    keys: Vec<SymmetricKey>,
    /// Which of them opened last.
    key: AtomicUsize,
    files: Files,
}

/// What was read.
#[derive(PartialEq, Eq)]
struct Files {
    authority: Vec<u8>,
    keys: Vec<String>,
}

impl HubClient {
    /// Reads the files. Nobody is asked yet.
    pub fn open(config: &HubConfig) -> Result<Self, HubError> {
        let files = Files::read(config)?;
        let keys: Vec<SymmetricKey> = files.keys.iter().filter_map(|key| key.parse().ok()).collect();
        if keys.is_empty() {
            let folder = config.owner_keys_directory.display();
            return Err(HubError::Files(format!(
                "{folder} has neither `primaryKey` nor `secondaryKey` with 16 to 64 bytes in base64: the Secret with the keys \
                 of the policy {}",
                config.owner_policy
            )));
        }
        Ok(Self {
            http: http_client(config, &files.authority)?,
            address: config.address.clone(),
            host_name: config.name().to_owned(),
            policy: config.owner_policy.clone(),
            keys,
            key: AtomicUsize::new(0),
            files,
        })
    }

    /// Whether the files still hold what this was made of.
    pub fn is_current(&self, config: &HubConfig) -> bool {
        Files::read(config).is_ok_and(|files| files == self.files)
    }

    /// Everything that an `IotHub` can name.
    pub async fn state(&self) -> Result<HubState, HubError> {
        HubState::read(self).await
    }

    /// Reads an object.
    pub async fn get<T: for<'de> Deserialize<'de>>(&self, path: &[&str]) -> Result<T, HubError> {
        let answer = self.call(Method::GET, path, None, None).await?;
        serde_json::from_value(answer)
            .map_err(|error| HubError::Answer { what: path.join("/"), cause: error.to_string() })
    }

    /// Asks below `/ironhub/v1`; `Null` when there is no body. The second key is tried when the first one does not open.
    pub async fn call(
        &self,
        method: Method,
        path: &[&str],
        if_match: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, HubError> {
        let what = format!("{method} {}", path.join("/"));
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut refusal = String::new();
        for attempt in 0..self.keys.len() {
            let index = (self.key.load(Ordering::Relaxed) + attempt) % self.keys.len();
            let Some(key) = self.keys.get(index) else { continue };
            let request = self.request(&method, path, if_match, &body, key)?;
            let exchange = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
            let (status, answer) =
                exchange.unwrap_or_else(|_| Err(self.unreachable("it takes too long".to_owned())))?;
            match status {
                StatusCode::UNAUTHORIZED => refusal = text_of(&answer),
                StatusCode::PRECONDITION_FAILED => return Err(HubError::Changed { what }),
                status if status.is_success() => {
                    self.key.store(index, Ordering::Relaxed);
                    return parsed(what, &answer);
                }
                status => return Err(HubError::Refused { what, status: status.as_u16(), text: text_of(&answer) }),
            }
        }
        Err(HubError::Unauthorized { policy: self.policy.clone(), text: refusal })
    }

    fn request(
        &self,
        method: &Method,
        path: &[&str],
        if_match: Option<&str>,
        body: &str,
        key: &SymmetricKey,
    ) -> Result<Request<Full<Bytes>>, HubError> {
        let path: String = path.iter().map(|segment| format!("/{}", encode(segment))).collect();
        let expires = Timestamp::from_unix_milliseconds((jiff::Timestamp::now().as_second() + TOKEN_SECONDS) * 1000);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{}/ironhub/v1{path}?api-version={API_VERSION}", self.address))
            .header(header::HOST, &self.host_name)
            .header(header::AUTHORIZATION, auth::sign(&self.host_name, key, Some(&self.policy), expires))
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header(header::USER_AGENT, concat!("ironhub-operator/", env!("CARGO_PKG_VERSION")));
        if let Some(etag) = if_match {
            request = request.header(header::IF_MATCH, format!("\"{etag}\""));
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        request.map_err(|error| HubError::Files(format!("{:?} is no address: {error}", self.address)))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), HubError> {
        let response = self.http.request(request).await.map_err(|error| self.unreachable(causes(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| self.unreachable(causes(error.as_ref())))?.to_bytes()))
    }

    fn unreachable(&self, cause: String) -> HubError {
        HubError::Unreachable { address: self.address.clone(), cause }
    }
}

impl Files {
    fn read(config: &HubConfig) -> Result<Self, HubError> {
        let authority = fs::read(&config.authority_file);
        let authority =
            authority.map_err(|error| unreadable("the authority of the hub", &config.authority_file, &error))?;
        let key = |name| fs::read_to_string(config.owner_keys_directory.join(name)).ok();
        let keys = ["primaryKey", "secondaryKey"].into_iter().filter_map(key).map(|key| key.trim().to_owned());
        Ok(Self { authority, keys: keys.collect() })
    }
}

fn unreadable(what: &str, file: &Path, error: &dyn std::fmt::Display) -> HubError {
    HubError::Files(format!("cannot read {what} from {}: {error}", file.display()))
}

fn http_client(
    config: &HubConfig,
    authority: &[u8],
) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, HubError> {
    let unusable = |error: &dyn std::fmt::Display| unreadable("certificates", &config.authority_file, error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        // Bundles of systems contain certificates that are of no use here.
        let _ = roots.add(certificate.map_err(|error| unusable(&error))?);
    }
    if roots.is_empty() {
        return Err(unusable(&"it holds none"));
    }
    let name = ServerName::try_from(config.name().to_owned())
        .map_err(|_| HubError::Files(format!("hub.host_name {:?} is no name of a server", config.name())))?;
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(|error| unusable(&error))?.with_root_certificates(roots).with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .with_server_name_resolver(FixedServerNameResolver::new(name))
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(1)
        .build(connector))
}

fn parsed(what: String, answer: &[u8]) -> Result<Value, HubError> {
    if answer.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(answer).map_err(|error| HubError::Answer { what, cause: error.to_string() })
}

/// The text of the error envelope, `{"Message": "ErrorCode:NAME;TEXT"}` (rest §21.1), else the body.
fn text_of(answer: &[u8]) -> String {
    let envelope: Option<Value> = serde_json::from_slice(answer).ok();
    let message = envelope.as_ref().and_then(|envelope| envelope.get("Message")?.as_str());
    match message {
        Some(message) => message.split_once(';').map_or(message, |(_, text)| text).to_owned(),
        None => String::from_utf8_lossy(answer).chars().take(200).collect(),
    }
}

/// An error and what is behind it, in one line.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Percent-encoding of all but unreserved characters.
fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_address_unless_it_is_given() {
        let name = |address: &str, host_name: &str| {
            let (address, host_name) = (address.to_owned(), host_name.to_owned());
            HubConfig { address, host_name, ..HubConfig::default() }.name().to_owned()
        };
        assert_eq!(name("hub-gateway.iot.svc:443", ""), "hub-gateway.iot.svc");
        assert_eq!(name("hub-gateway.iot.svc:443", "hub.example.test"), "hub.example.test");
        assert_eq!(name("[::1]:8443", ""), "::1");
    }

    #[test]
    fn the_envelope_yields_its_text() {
        let body = br#"{"Message":"ErrorCode:GenericConflict;the last active node stays","ExceptionMessage":""}"#;
        assert_eq!(text_of(body), "the last active node stays");
        assert_eq!(text_of(b"<html>"), "<html>");
        assert_eq!(encode("a#b?c%d@e"), "a%23b%3Fc%25d%40e");
    }

    #[test]
    fn without_keys_or_authority_nobody_is_asked() {
        let config = HubConfig { authority_file: "nowhere.pem".into(), ..HubConfig::default() };
        let error = HubClient::open(&config).err().unwrap();
        assert!(error.to_string().contains("nowhere.pem"), "{error}");
    }
}
