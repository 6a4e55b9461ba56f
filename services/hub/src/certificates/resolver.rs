//! Chooses the certificate for a handshake.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The certificates of the hub, replaceable while connections are made.
#[derive(Debug)]
pub struct Resolver {
    keys: ArcSwap<Vec<Arc<CertifiedKey>>>,
}

impl Resolver {
    pub fn new(keys: Vec<Arc<CertifiedKey>>) -> Self {
        Self { keys: ArcSwap::from_pointee(keys) }
    }

    pub fn replace(&self, keys: Vec<Arc<CertifiedKey>>) {
        self.keys.store(Arc::new(keys));
    }
}

impl ResolvesServerCert for Resolver {
    /// The first certificate whose key can sign in a way the client understands; clients that can do neither get the
    /// first one and fail the handshake with an alert that says so.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.load();
        let fitting = keys.iter().find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        fitting.or(keys.first()).cloned()
    }
}
