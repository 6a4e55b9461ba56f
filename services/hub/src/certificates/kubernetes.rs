//! The few requests to the Kubernetes API that a Job of the chart makes, as the service account of its pod.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{configuration::Environment, files};

/// Where every pod finds who it is.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TIMEOUT: Duration = Duration::from_secs(30);
/// A Secret has at most 1 MiB.
const RESPONSE_BYTES_MAX: usize = 4 << 20;

/// Speaks to the API server of the cluster that this process is a pod of.
pub struct KubernetesApi {
    host: String,
    port: u16,
    secrets_path: String,
    token: String,
    tls: TlsConnector,
}

impl KubernetesApi {
    /// From what the kubelet gives to every pod.
    pub fn of_this_pod(environment: &Environment) -> anyhow::Result<Self> {
        let variable = |name| environment.variable(name).with_context(|| format!("{name} is not set: this is no pod"));
        let account = Path::new(SERVICE_ACCOUNT);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(account.join("ca.crt"))? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        Ok(Self {
            host: variable("KUBERNETES_SERVICE_HOST")?.to_owned(),
            port: variable("KUBERNETES_SERVICE_PORT")?.parse()?,
            secrets_path: format!(
                "/api/v1/namespaces/{}/secrets",
                files::read_text(&account.join("namespace"))?.trim()
            ),
            token: files::read_text(&account.join("token"))?.trim().to_owned(),
            tls: TlsConnector::from(Arc::new(tls)),
        })
    }

    /// `None` when there is none of that name.
    pub async fn get_secret(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let path = format!("{}/{name}", self.secrets_path);
        let (status, answer) = self.ask(Method::GET, &path, None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(successful(&path, status, answer)?))
    }

    /// Fails when there is one of that name.
    pub async fn create_secret(&self, secret: &Value) -> anyhow::Result<()> {
        let (status, answer) = self.ask(Method::POST, &self.secrets_path, Some(secret)).await?;
        successful(&self.secrets_path, status, answer).map(drop)
    }

    /// Fails when it is not as it was read any more.
    pub async fn replace_secret(&self, name: &str, secret: &Value) -> anyhow::Result<()> {
        let path = format!("{}/{name}", self.secrets_path);
        let (status, answer) = self.ask(Method::PUT, &path, Some(secret)).await?;
        successful(&path, status, answer).map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<(StatusCode, Value)> {
        let exchange = tokio::time::timeout(TIMEOUT, self.exchange(method, path, body)).await;
        let answered = exchange.context("it takes too long").flatten();
        answered.with_context(|| format!("the Kubernetes API at {}:{} does not answer", self.host, self.port))
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<(StatusCode, Value)> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let tls = self.tls.connect(ServerName::try_from(self.host.clone())?, tcp).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        // Ends when the sender is gone.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        Ok((status, serde_json::from_slice(&body)?))
    }
}

/// The refusals of the API server say what was wrong.
fn successful(path: &str, status: StatusCode, answer: Value) -> anyhow::Result<Value> {
    let message = answer.get("message").and_then(Value::as_str).unwrap_or_default();
    anyhow::ensure!(status.is_success(), "the Kubernetes API refused {path}: {status} {message}");
    Ok(answer)
}
