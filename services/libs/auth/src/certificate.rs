//! A client certificate as it was presented in the TLS handshake (security §7).

use aws_lc_rs::digest;
use model::{Thumbprint, Thumbprints, Timestamp};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Refusal;

/// The leaf certificate, DER; possession of its key was proved by the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    der: Box<[u8]>,
}

impl ClientCertificate {
    /// Of the leaf's DER bytes.
    pub fn new(der: &[u8]) -> Self {
        Self { der: der.into() }
    }

    /// Which of the identity's thumbprints the certificate has, when it has one and is valid now.
    pub(crate) fn check(&self, thumbprints: &Thumbprints, now: Timestamp) -> Result<Thumbprint, Refusal> {
        let named = [&thumbprints.primary, &thumbprints.secondary].into_iter().flatten();
        let own = self.thumbprints();
        let found =
            named.into_iter().find(|thumbprint| own.contains(thumbprint)).cloned().ok_or(Refusal::WrongThumbprint)?;
        self.check_validity(now)?;
        Ok(found)
    }

    fn thumbprints(&self) -> Vec<Thumbprint> {
        [&digest::SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA256]
            .into_iter()
            .filter_map(|algorithm| {
                let digest = digest::digest(algorithm, &self.der);
                digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<String>().parse().ok()
            })
            .collect()
    }

    fn check_validity(&self, now: Timestamp) -> Result<(), Refusal> {
        let (_, certificate) = X509Certificate::from_der(&self.der).map_err(|_| Refusal::CertificateExpired)?;
        let validity = certificate.validity();
        let valid = validity.not_before.timestamp() <= now.unix_seconds()
            && now.unix_seconds() <= validity.not_after.timestamp();
        if valid { Ok(()) } else { Err(Refusal::CertificateExpired) }
    }
}
