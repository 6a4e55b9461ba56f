//! TLS to a hub, with its authority trusted and its name checked.

use std::{net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// A self-signed certificate with its key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A new one.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])?.self_signed(&key)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        Ok(Self { certificate: certificate.der().clone(), key })
    }

    /// The SHA-256 of the certificate, hexadecimal.
    pub fn thumbprint(&self) -> String {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.certificate);
        hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
    }
}

/// Connects and shakes hands; with an identity, a certificate is presented.
pub async fn connect(
    address: SocketAddr,
    name: &str,
    authority: &Path,
    identity: Option<&Identity>,
) -> anyhow::Result<TlsStream> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match identity {
        Some(Identity { certificate, key }) => {
            config.with_client_auth_cert(vec![certificate.clone()], key.clone_key())?
        }
        None => config.with_no_client_auth(),
    };
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned())?, stream).await?)
}
