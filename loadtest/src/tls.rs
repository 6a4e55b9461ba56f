//! TLS 1.3 to a server, or to several in turn, from one of many source addresses.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, ensure};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Unless somebody says otherwise, connections to loopback leave from this many loopback addresses in turn, so that the
/// client ports of one (28,000, each unusable for a minute after its connection) do not run out.
const LOOPBACK_SOURCES: u8 = 16;

/// Where the connections of one protocol go, and where they come from.
#[derive(Clone, Debug)]
pub struct Endpoint {
    servers: Vec<SocketAddr>,
    sources: Vec<IpAddr>,
}

impl Endpoint {
    /// Connections go to these addresses in turn, and leave from those in turn; without any the system chooses. All of
    /// one family: a socket does not go from one to the other.
    pub fn new(servers: Vec<SocketAddr>, mut sources: Vec<IpAddr>) -> anyhow::Result<Self> {
        let is_loopback = |server: &SocketAddr| matches!(server.ip(), IpAddr::V4(address) if address.is_loopback());
        if sources.is_empty() && servers.iter().all(is_loopback) {
            sources = (1..=LOOPBACK_SOURCES).map(|last| Ipv4Addr::new(127, 0, 90, last).into()).collect();
        }
        for (server, source) in servers.iter().flat_map(|server| sources.iter().map(move |source| (server, source))) {
            ensure!(server.is_ipv4() == source.is_ipv4(), "there is no way from {source} to {server}");
        }
        ensure!(!servers.is_empty(), "there is no address to connect to");
        Ok(Self { servers, sources })
    }

    /// The way of connection number `index`: neighbours go to different servers, then leave from different addresses.
    fn way(&self, index: u32) -> (Option<SocketAddr>, Option<IpAddr>) {
        let (index, servers) = (index as usize, self.servers.len().max(1));
        let source = self.sources.get(index / servers % self.sources.len().max(1));
        (self.servers.get(index % servers).copied(), source.copied())
    }
}

/// What a device proves itself with in the handshake; certificate and key are DER.
pub struct ClientCertificate {
    pub der: Vec<u8>,
    pub key: Vec<u8>,
}

/// Opens verified connections to one hub.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    endpoint: Endpoint,
    name: ServerName<'static>,
}

impl Connector {
    /// Trusts the authority in the file; `resume` allows session tickets.
    pub fn new(endpoint: &Endpoint, name: &str, authority: &Path, resume: bool) -> anyhow::Result<Self> {
        Self::with_certificate(endpoint, name, authority, resume, None)
    }

    /// The same with a certificate of the client's.
    pub fn with_certificate(
        endpoint: &Endpoint,
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
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), endpoint: endpoint.clone(), name })
    }

    /// The same with a memory of its own for TLS sessions: what it resumes are those of one device.
    pub fn with_own_sessions(&self) -> Self {
        let mut config = ClientConfig::clone(self.tls.config());
        config.resumption = Resumption::in_memory_sessions(1);
        Self { tls: TlsConnector::from(Arc::new(config)), ..self.clone() }
    }

    /// The connection number `index`: TCP and the whole handshake.
    pub async fn connect(&self, index: u32) -> anyhow::Result<TlsStream> {
        let stream = self.connect_tcp(index).await?;
        stream.set_nodelay(true)?;
        Ok(self.tls.connect(self.name.clone(), stream).await?)
    }

    /// The same without a word.
    pub async fn connect_tcp(&self, index: u32) -> anyhow::Result<TcpStream> {
        let (server, source) = self.endpoint.way(index);
        let server = server.context("there is no address to connect to")?;
        let Some(source) = source else { return Ok(TcpStream::connect(server).await?) };
        let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((source, 0).into())?;
        Ok(socket.connect(server).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(servers: &[&str], sources: &[&str]) -> anyhow::Result<Endpoint> {
        let servers = servers.iter().map(|server| server.parse()).collect::<Result<_, _>>()?;
        Endpoint::new(servers, sources.iter().map(|source| source.parse()).collect::<Result<_, _>>()?)
    }

    #[test]
    fn neighbours_go_different_ways() -> anyhow::Result<()> {
        let endpoint = endpoint(&["10.0.0.1:1", "10.0.0.2:1"], &["10.0.1.1", "10.0.1.2", "10.0.1.3"])?;
        let mut ways: Vec<_> = (0..6).map(|index| endpoint.way(index)).collect();
        ways.sort();
        ways.dedup();
        assert_eq!(ways.len(), 6);
        assert_eq!(endpoint.way(6), endpoint.way(0));
        Ok(())
    }

    #[test]
    fn loopback_has_sources_of_its_own() -> anyhow::Result<()> {
        assert_eq!(endpoint(&["127.0.0.1:1"], &[])?.way(17).1, Some(IpAddr::from([127, 0, 90, 2])));
        assert_eq!(endpoint(&["10.0.0.1:1"], &[])?.way(17).1, None);
        assert_eq!(endpoint(&["127.0.0.1:1"], &["127.0.3.1"])?.way(17).1, Some(IpAddr::from([127, 0, 3, 1])));
        assert!(endpoint(&["127.0.0.1:1"], &["::1"]).is_err());
        assert!(endpoint(&[], &[]).is_err());
        Ok(())
    }
}
