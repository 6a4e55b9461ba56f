//! A certificate authority for one run: registered before it, removed after it.

use anyhow::ensure;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::{
    devices::{https_connector, service_token},
    http::{HttpConnection, Request},
    target::Target,
    tls::ClientCertificate,
};

/// Signs the devices of the run.
pub struct Authority {
    name: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one and registers it under that name, on the owner's word.
    pub async fn register(target: &Target, name: String) -> anyhow::Result<Self> {
        let (mut params, key) = (named(&name), KeyPair::generate()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key)?;
        let properties = json!({ "certificate": certificate.pem(), "isVerified": true });
        let body = json!({ "properties": properties }).to_string();
        let authority = Self { name, issuer: Issuer::new(params, key) };
        authority.call(target, "PUT", "", body.as_bytes()).await?;
        Ok(authority)
    }

    /// The certificate of a device of that id.
    pub fn sign(&self, device_id: &str) -> anyhow::Result<ClientCertificate> {
        let key = KeyPair::generate()?;
        let der = named(device_id).signed_by(&key, &self.issuer)?.der().to_vec();
        Ok(ClientCertificate { der, key: key.serialize_der() })
    }

    /// Removes it from the hub.
    pub async fn remove(self, target: &Target) -> anyhow::Result<()> {
        self.call(target, "DELETE", "If-Match: *\r\n", &[]).await
    }

    async fn call(&self, target: &Target, method: &str, headers: &str, body: &[u8]) -> anyhow::Result<()> {
        let path = format!("/ironhub/v1/certificates/{}", self.name);
        let (host, token) = (target.host_name.as_str(), service_token(target));
        let request = Request { method, target: &path, host, token: &token, headers, body };
        let mut connection = HttpConnection::new(https_connector(target)?.connect(0).await?);
        let (status, answer) = connection.send(&request.encode()).await?;
        ensure!(status < 300, "{method} {path}: the hub answered {status} {}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
