//! Connections to the hub.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{HubConfig, HubError, config::unreadable};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than gateways keep them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// TLS 1.2 or newer to a server that shows the hub's name under its authority.
pub(super) fn http_client(config: &HubConfig, authority: &[u8]) -> Result<HttpClient, HubError> {
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
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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
