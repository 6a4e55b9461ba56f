//! How the hub speaks TLS (security §11).

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{NoServerSessionStorage, ResolvesServerCert},
    version::{TLS12, TLS13},
};

use super::{TicketSecret, tickets::Tickets, verifier::AnyCertificate};

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// Neither is named in the handshake.
    MqttOrAmqp,
    Http,
}

/// TLS 1.2 and 1.3; a client certificate is requested in the handshake and not required. Resumption by tickets only,
/// one of them: gateways keep no sessions.
pub fn server_config(
    certificates: Arc<dyn ResolvesServerCert>,
    tickets: TicketSecret,
    protocols: Protocols,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(Arc::new(AnyCertificate::new(provider)))
        .with_cert_resolver(certificates);
    config.ticketer = Arc::new(Tickets(tickets));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    if protocols == Protocols::Http {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    Ok(Arc::new(config))
}
