//! A small client of the hub's HTTPS API: HTTP/1.1, TLS verified, one connection per request.

use std::{fmt::Write, io, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
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

/// Speaks to one hub.
pub struct ApiClient {
    target: Target,
    tls: TlsConnector,
}

/// What is asked.
pub struct Call<'a> {
    pub method: Method,
    /// Path segments; each is percent-encoded.
    pub path: &'a [&'a str],
    /// Query parameters beside the API version.
    pub query: &'a [(&'a str, &'a str)],
    pub if_match: Option<&'a str>,
    pub body: Option<Value>,
}

impl<'a> Call<'a> {
    /// A call without parameters or body.
    pub fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: &[], if_match: None, body: None }
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
        Ok(Self { target, tls: TlsConnector::from(Arc::new(config)) })
    }

    /// The hub's name as it stands in connection strings.
    pub fn host_name(&self) -> &str {
        &self.target.host_name
    }

    /// Asks and reads the whole answer; `Null` when it has no body.
    pub async fn call(&self, call: Call<'_>) -> anyhow::Result<Value> {
        let response = self.send(call).await?;
        let body =
            tokio::time::timeout(RESPONSE_TIMEOUT, Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect());
        let body = body.await.context("the hub's answer does not end")?;
        let body = body.map_err(anyhow::Error::from_boxed).context("the hub's answer broke off")?.to_bytes();
        if body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&body)?) }
    }

    /// Asks and returns the successful answer as it begins to arrive.
    pub async fn send(&self, call: Call<'_>) -> anyhow::Result<Response<Incoming>> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the response was read or dropped.
        tokio::spawn(connection);
        let request = self.request(call)?;
        let response = tokio::time::timeout(RESPONSE_TIMEOUT, sender.send_request(request));
        let response = response.await.context("the hub does not answer")?.context("the hub broke off")?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await.into()) }
    }

    async fn connect(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let Target { address, port, .. } = &self.target;
        let connect = async {
            let tcp = TcpStream::connect((address.as_str(), *port)).await.map_err(|error| unreachable(&error, self))?;
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
        let body = match call.body {
            None => Bytes::new(),
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

fn unreachable(error: &io::Error, client: &ApiClient) -> anyhow::Error {
    let Target { address, port, .. } = &client.target;
    anyhow::anyhow!("no hub answers at {address} port {port} ({error}); is `ironhub all` running there?")
}

fn untrusted(error: io::Error, client: &ApiClient) -> anyhow::Error {
    let name = client.target.server_name();
    anyhow::Error::from(error).context(format!(
        "the server at {} port {} does not prove to be {name}; name its authority with --certificate-authority-file",
        client.target.address, client.target.port
    ))
}

async fn refused(response: Response<Incoming>) -> Refused {
    let status = response.status();
    let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect();
    let body = tokio::time::timeout(RESPONSE_TIMEOUT, body).await.ok().and_then(Result::ok);
    let message = body.and_then(|body| message(&body.to_bytes()));
    let mut text = message.unwrap_or_else(|| format!("the hub answered {status}"));
    if status == StatusCode::UNAUTHORIZED {
        text.push_str(" (the connection string's key was rotated, its policy lacks the right, or the clocks differ)");
    }
    Refused { status, text }
}

/// The text of the error envelope `{"Message": "ErrorCode:NAME;TEXT", ...}` (rest §21.1).
fn message(body: &[u8]) -> Option<String> {
    let envelope: Value = serde_json::from_slice(body).ok()?;
    let message = envelope.get("Message")?.as_str()?;
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
        assert_eq!(message(b"<html>"), None);
    }
}
