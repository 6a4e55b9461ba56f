//! TLS 1.3 to the server, optionally from one of many loopback addresses.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Connections to one address leave from this many loopback addresses in turn, so that the client ports of one
/// (28,000, each unusable for a minute after its connection) do not run out.
const SOURCE_ADDRESSES: u32 = 16;

/// What a device proves itself with in the handshake; certificate and key are DER.
pub struct ClientCertificate {
    pub der: Vec<u8>,
    pub key: Vec<u8>,
}

/// Opens verified connections to one server.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    server: SocketAddr,
    name: ServerName<'static>,
}

impl Connector {
    /// Trusts the authority in the file; `resume` allows session tickets.
    pub fn new(server: SocketAddr, name: &str, authority: &Path, resume: bool) -> anyhow::Result<Self> {
        Self::with_certificate(server, name, authority, resume, None)
    }

    /// The same with a certificate of the client's.
    pub fn with_certificate(
        server: SocketAddr,
        name: &str,
        authority: &Path,
        resume: bool,
        certificate: Option<ClientCertificate>,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        let unreadable = || format!("cannot read certificates from {}", authority.display());
        for certificate in CertificateDer::pem_file_iter(authority).with_context(unreadable)? {
            roots.add(certificate.with_context(unreadable)?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => config.with_no_client_auth(),
            Some(ClientCertificate { der, key }) => {
                let key = PrivatePkcs8KeyDer::from(key);
                config.with_client_auth_cert(vec![CertificateDer::from(der)], key.into())?
            }
        };
        if !resume {
            config.resumption = Resumption::disabled();
        }
        let name = ServerName::try_from(name.to_owned()).with_context(|| format!("{name} is no server name"))?;
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), server, name })
    }

    /// The connection number `index`: TCP and the whole handshake.
    pub async fn connect(&self, index: u32) -> anyhow::Result<TlsStream> {
        let stream = self.connect_tcp(index).await?;
        stream.set_nodelay(true)?;
        Ok(self.tls.connect(self.name.clone(), stream).await?)
    }

    /// The same without a word.
    pub async fn connect_tcp(&self, index: u32) -> anyhow::Result<TcpStream> {
        Ok(match self.source_address(index) {
            Some(source) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind((source, 0).into())?;
                socket.connect(self.server).await?
            }
            None => TcpStream::connect(self.server).await?,
        })
    }

    fn source_address(&self, index: u32) -> Option<IpAddr> {
        let loopback = matches!(self.server.ip(), IpAddr::V4(address) if address.is_loopback());
        let last = (index % SOURCE_ADDRESSES) as u8 + 1;
        loopback.then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 90, last)))
    }
}
