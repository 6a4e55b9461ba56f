//! TLS to a hub, with its authority trusted and its name checked.

use std::{net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// A client's certificates, leaf first, and the leaf's key.
#[derive(Clone, Debug)]
pub struct Presented {
    pub chain: Vec<Vec<u8>>,
    pub key: Vec<u8>,
}

/// Connects and shakes hands.
pub async fn connect(address: SocketAddr, name: &str, authority: &Path) -> anyhow::Result<TlsStream> {
    connect_with(address, name, authority, None).await
}

/// The same with a certificate of the client's.
pub async fn connect_with(
    address: SocketAddr,
    name: &str,
    authority: &Path,
    presented: Option<&Presented>,
) -> anyhow::Result<TlsStream> {
    connect_as(&client_config(authority, presented)?, address, name).await
}

/// The same as a client that may have been there before: it resumes its session.
pub async fn connect_as(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> anyhow::Result<TlsStream> {
    handshake(config, TcpStream::connect(address).await?, name).await
}

/// Shakes hands on a connection that is there.
pub async fn handshake(config: &Arc<ClientConfig>, stream: TcpStream, name: &str) -> anyhow::Result<TlsStream> {
    stream.set_nodelay(true)?;
    Ok(TlsConnector::from(config.clone()).connect(ServerName::try_from(name.to_owned())?, stream).await?)
}

/// A client that trusts the authority.
pub fn client_config(authority: &Path, presented: Option<&Presented>) -> anyhow::Result<Arc<ClientConfig>> {
    client_config_of(authority, presented, ALL_VERSIONS)
}

/// The same for these versions of TLS only.
pub fn client_config_of(
    authority: &Path,
    presented: Option<&Presented>,
    versions: &[&'static SupportedProtocolVersion],
) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_root_certificates(roots(authority)?);
    Ok(Arc::new(match presented {
        None => config.with_no_client_auth(),
        Some(Presented { chain, key }) => {
            let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
            config.with_client_auth_cert(chain, PrivatePkcs8KeyDer::from(key.clone()).into())?
        }
    }))
}

/// What a client trusts.
pub(crate) fn roots(authority: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    Ok(roots)
}
