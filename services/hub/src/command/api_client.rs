//! A small client of the hub's HTTPS API: HTTP/1.1, TLS verified, connections kept for the next request.

use std::{
    fmt::Write,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use model::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::target::Target;

const API_VERSION: &str = "2021-04-12";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A token is made for every request, so it need not live long; it must outlive clocks that differ.
const TOKEN_SECONDS: i64 = 3600;
/// Where systems keep the certificates they trust.
const SYSTEM_CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Connections that are kept while nobody uses them.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// Speaks to one hub.
pub struct ApiClient {
    target: Target,
    tls: TlsConnector,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// A whole answer, whatever its status.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body, of a refusal too when it says what became of each part of the request (rest §4, §5).
    pub fn result(self) -> anyhow::Result<Value> {
        let json = serde_json::from_slice::<Value>(&self.body).ok();
        match json {
            Some(json) if json.get("errors").is_some_and(Value::is_array) => Ok(json),
            _ => self.success(),
        }
    }

    /// The body; `Null` when there is none.
    fn success(self) -> anyhow::Result<Value> {
        if !self.status.is_success() {
            return Err(self.refused().into());
        }
        if self.body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&self.body)?) }
    }

    fn refused(&self) -> Refused {
        let text = message(&self.body).unwrap_or_else(|| format!("the hub answered {}", self.status));
        let hint = match self.status {
            StatusCode::UNAUTHORIZED => {
                " (the connection string's key was rotated, its policy lacks the right, or the clocks differ)"
            }
            _ => "",
        };
        Refused { status: self.status, text: text + hint }
    }
}

/// What is asked.
pub struct Call<'a> {
    pub method: Method,
    /// Path segments; each is percent-encoded.
    pub path: &'a [&'a str],
    /// Query parameters beside the API version.
    pub query: &'a [(&'a str, &'a str)],
    pub if_match: Option<&'a str>,
    /// JSON.
    pub body: Option<Value>,
    /// A body that is no JSON.
    pub bytes: Option<Bytes>,
    pub headers: &'a [(String, String)],
    /// How long the answer may take.
    pub within: Duration,
}

impl<'a> Call<'a> {
    /// A call without parameters or body.
    pub fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self {
            method,
            path,
            query: &[],
            if_match: None,
            body: None,
            bytes: None,
            headers: &[],
            within: RESPONSE_TIMEOUT,
        }
    }
}

/// A refusal of the hub in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    pub status: StatusCode,
    text: String,
}

impl ApiClient {
    pub fn new(target: Target) -> anyhow::Result<Self> {
        let roots = trusted(target.certificate_authority_file.as_deref())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { target, tls: TlsConnector::from(Arc::new(config)), idle: Mutex::default() })
    }

    /// The hub's name as it stands in connection strings.
    pub fn host_name(&self) -> &str {
        &self.target.host_name
    }

    /// Asks and reads the whole answer; `Null` when it has no body.
    pub async fn call(&self, call: Call<'_>) -> anyhow::Result<Value> {
        self.answer(call).await?.success()
    }

    /// Asks and reads the whole answer; a refusal is an error.
    pub async fn successful(&self, call: Call<'_>) -> anyhow::Result<Answer> {
        let answer = self.answer(call).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(answer.refused().into()) }
    }

    /// Asks and reads the whole answer, refusals too. The connection is kept.
    pub async fn answer(&self, call: Call<'_>) -> anyhow::Result<Answer> {
        let (response, connection) = self.exchange(call).await?;
        let answer = read(response).await?;
        self.keep(connection);
        Ok(answer)
    }

    /// Asks and returns the successful answer as it begins to arrive.
    pub async fn send(&self, call: Call<'_>) -> anyhow::Result<Response<Incoming>> {
        let (response, _) = self.exchange(call).await?;
        if response.status().is_success() { Ok(response) } else { Err(read(response).await?.refused().into()) }
    }

    async fn exchange(&self, call: Call<'_>) -> anyhow::Result<(Response<Incoming>, SendRequest<Full<Bytes>>)> {
        let within = call.within;
        let request = self.request(call)?;
        let mut connection = match self.kept().await {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let response = tokio::time::timeout(within, connection.send_request(request));
        let response = response.await.context("the hub does not answer")?.context("the hub broke off")?;
        Ok((response, connection))
    }

    /// A connection of an earlier request that still lives.
    async fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        loop {
            let mut connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    fn keep(&self, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX && !connection.is_closed() {
            idle.push(connection);
        }
    }

    async fn open(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.connect(self.target.port).await?)).await?;
        // Ends when the sender and the last response are gone.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A connection to the hub's port for MQTT.
    pub async fn connect_mqtt(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        self.connect(self.target.mqtt_port).await
    }

    async fn connect(&self, port: u16) -> anyhow::Result<TlsStream<TcpStream>> {
        let address = &self.target.address;
        let connect = async {
            let tcp = TcpStream::connect((address.as_str(), port)).await;
            let tcp = tcp.map_err(|error| unreachable(&error, address, port))?;
            let name = ServerName::try_from(self.target.server_name())?;
            self.tls.connect(name, tcp).await.map_err(|error| untrusted(error, self))
        };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
        connected.with_context(|| format!("{address} port {port} does not answer"))?
    }

    fn request(&self, call: Call<'_>) -> anyhow::Result<Request<Full<Bytes>>> {
        let expires = Timestamp::from_unix_milliseconds((jiff::Timestamp::now().as_second() + TOKEN_SECONDS) * 1000);
        let token = auth::sign(&self.target.host_name, &self.target.key, Some(&self.target.policy), expires);
        let mut request = Request::builder()
            .method(call.method)
            .uri(path_and_query(call.path, call.query))
            .header(header::HOST, &self.target.host_name)
            .header(header::AUTHORIZATION, token)
            .header(header::USER_AGENT, concat!("ironhub/", env!("CARGO_PKG_VERSION")));
        if let Some(etag) = call.if_match {
            request = request.header(header::IF_MATCH, etag);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let body = match call.body {
            None => call.bytes.unwrap_or_default(),
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
                serde_json::to_vec(&json)?.into()
            }
        };
        Ok(request.body(Full::new(body))?)
    }
}

fn trusted(file: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let system = || SYSTEM_CERTIFICATES.iter().map(Path::new).find(|path| path.exists());
    let file = file.or_else(system).context("say which certificate to trust with --certificate-authority-file")?;
    let unreadable = || format!("cannot read certificates from {}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).with_context(unreadable)? {
        // Bundles of systems contain certificates that are of no use here.
        let _ = roots.add(certificate.with_context(unreadable)?);
    }
    anyhow::ensure!(!roots.is_empty(), unreadable());
    Ok(roots)
}

fn unreachable(error: &io::Error, address: &str, port: u16) -> anyhow::Error {
    anyhow::anyhow!("no hub answers at {address} port {port} ({error}); is `ironhub all` running there?")
}

fn untrusted(error: io::Error, client: &ApiClient) -> anyhow::Error {
    let name = client.target.server_name();
    anyhow::Error::from(error).context(format!(
        "the server at {} port {} does not prove to be {name}; name its authority with --certificate-authority-file",
        client.target.address, client.target.port
    ))
}

async fn read(response: Response<Incoming>) -> anyhow::Result<Answer> {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect();
    let body = tokio::time::timeout(RESPONSE_TIMEOUT, body).await.context("the hub's answer does not end")?;
    let body = body.map_err(anyhow::Error::from_boxed).context("the hub's answer broke off")?.to_bytes();
    Ok(Answer { status, headers, body })
}

/// The text of the error envelope: `{"Message": "ErrorCode:NAME;TEXT", ...}`, or JSON in the text (rest §21.1).
fn message(body: &[u8]) -> Option<String> {
    let envelope: Value = serde_json::from_slice(body).ok()?;
    let message = envelope.get("Message")?.as_str()?;
    if let Ok(inner) = serde_json::from_str::<Value>(message)
        && let Some(text) = inner.get("message").and_then(Value::as_str)
    {
        return Some(text.to_owned());
    }
    Some(message.split_once(';').map_or(message, |(_, text)| text).to_owned())
}

fn path_and_query(path: &[&str], query: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for segment in path {
        text.push('/');
        text.push_str(&encode(segment));
    }
    // Writing into a string cannot fail.
    let _ = write!(text, "?api-version={API_VERSION}");
    for (name, value) in query {
        let _ = write!(text, "&{name}={}", encode(value));
    }
    text
}

/// Percent-encoding of all but unreserved characters.
fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_with_reserved_characters_survive_the_path() {
        let path = path_and_query(&["devices", "a#b?c%d"], &[("since", "2026-01-01T00:00:00Z")]);
        assert_eq!(path, "/devices/a%23b%3Fc%25d?api-version=2021-04-12&since=2026-01-01T00%3A00%3A00Z");
    }

    #[test]
    fn the_envelope_yields_its_text() {
        let body =
            br#"{"Message":"ErrorCode:DeviceNotFound;A device with ID 'x' was not found.","ExceptionMessage":""}"#;
        assert_eq!(message(body).as_deref(), Some("A device with ID 'x' was not found."));
        let body = br#"{"Message":"{\"errorCode\":404103,\"message\":\"not online; sorry\"}","ExceptionMessage":""}"#;
        assert_eq!(message(body).as_deref(), Some("not online; sorry"));
        assert_eq!(message(b"<html>"), None);
    }
}
