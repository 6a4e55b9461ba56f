//! A client certificate as it was presented in the TLS handshake (security §7, §8).

use std::sync::Arc;

use aws_lc_rs::digest;
use model::{HubSettings, Principal, Thumbprint, Thumbprints, Timestamp};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{
    Refusal,
    chain::{CHAIN_BYTES_MAX, ChainCache, INTERMEDIATES_MAX, VerifiedChain, verify_chain},
};

/// The leaf certificate, DER, and what came with it; possession of the leaf's key was proved by the handshake.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    der: Box<[u8]>,
    /// `None` when the peer sent more than is looked at.
    intermediates: Option<Box<[Box<[u8]>]>>,
    cache: Arc<ChainCache>,
}

impl ClientCertificate {
    /// Of the leaf's DER bytes.
    pub fn new(der: &[u8]) -> Self {
        Self { der: der.into(), intermediates: Some(Box::default()), cache: Arc::default() }
    }

    /// Of a presented chain, leaf first; `None` when it is empty. What was verified is remembered in the cache.
    pub fn of_chain<'a>(chain: impl IntoIterator<Item = &'a [u8]>, cache: &Arc<ChainCache>) -> Option<Self> {
        let mut chain = chain.into_iter();
        let der: Box<[u8]> = chain.next()?.into();
        let mut bytes = der.len();
        let mut intermediates = Vec::new();
        let fits = chain.all(|certificate| {
            bytes += certificate.len();
            let fits = bytes <= CHAIN_BYTES_MAX && intermediates.len() < INTERMEDIATES_MAX;
            if fits {
                intermediates.push(certificate.into());
            }
            fits
        });
        Some(Self { der, intermediates: fits.then(|| intermediates.into()), cache: cache.clone() })
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

    /// Which authority the chain leads to, when the certificate is the principal's. The name is looked at first: it costs
    /// nothing.
    pub(crate) fn check_chain(
        &self,
        principal: &Principal,
        settings: &HubSettings,
        now: Timestamp,
    ) -> Result<VerifiedChain, Refusal> {
        let intermediates = self.intermediates.as_ref().ok_or(Refusal::ChainRefused("it is too long"))?;
        let (_, leaf) = X509Certificate::from_der(&self.der).map_err(|_| Refusal::ChainRefused("it is malformed"))?;
        if !has_common_name(&leaf, &principal.to_string()) {
            return Err(Refusal::WrongCommonName);
        }
        self.cache.get_or_verify(&self.der, settings.revision, now, || {
            self.check_validity(now)?;
            verify_chain(&self.der, intermediates, settings, now)
        })
    }

    fn thumbprints(&self) -> Vec<Thumbprint> {
        [&digest::SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA256]
            .into_iter()
            .filter_map(|algorithm| thumbprint(algorithm, &self.der).parse().ok())
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

/// Whether the subject has exactly one common name, and it is that one, letter by letter.
pub(crate) fn has_common_name(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let mut names = certificate.subject().iter_common_name();
    let only = names.next().filter(|_| names.next().is_none());
    only.is_some_and(|only| only.as_str() == Ok(name))
}

/// Hexadecimal, upper case.
pub(crate) fn thumbprint(algorithm: &'static digest::Algorithm, der: &[u8]) -> String {
    digest::digest(algorithm, der).as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}
