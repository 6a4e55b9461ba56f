//! Certificates signed by a registered authority (security §8): from the leaf over what the device presented up to a
//! registered, verified certificate, which may be a root or an intermediate.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest;
use model::{HubSettings, RegisteredCertificate, Timestamp};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Refusal;

/// Certificates of a presented chain beside the leaf.
pub const INTERMEDIATES_MAX: usize = 7;
/// Bytes of a presented chain, the leaf included.
pub const CHAIN_BYTES_MAX: usize = 32 * 1024;
/// Chains that are remembered; then all are forgotten, and the next connections are checked again.
const REMEMBERED_MAX: usize = 16_384;

/// SHA-256 of a certificate.
pub(crate) type CertificateDigest = [u8; 32];

/// A chain that leads to an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedChain {
    /// Which registered certificate it leads to.
    pub anchor: CertificateDigest,
    /// The first moment, seconds since 1970, at which one of its certificates is not valid any more.
    pub valid_until: i64,
}

/// Chains that were verified at one revision of the settings, known by their leaf: whoever proves to have the leaf's key
/// need not send the intermediates to be believed. Bounded.
#[derive(Debug, Default)]
pub struct ChainCache(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    revision: u64,
    chains: HashMap<CertificateDigest, VerifiedChain>,
}

impl ChainCache {
    /// What was remembered, or what `verify` finds.
    pub(crate) fn get_or_verify(
        &self,
        leaf: &[u8],
        revision: u64,
        now: Timestamp,
        verify: impl FnOnce() -> Result<VerifiedChain, Refusal>,
    ) -> Result<VerifiedChain, Refusal> {
        let leaf = digest_of(leaf);
        if let Some(chain) = self.at(revision).chains.get(&leaf)
            && now.unix_seconds() < chain.valid_until
        {
            return Ok(*chain);
        }
        let verified = verify()?;
        let mut remembered = self.at(revision);
        if remembered.chains.len() >= REMEMBERED_MAX {
            remembered.chains.clear();
        }
        remembered.chains.insert(leaf, verified);
        Ok(verified)
    }

    /// What is remembered of that revision: nothing when it was another one so far.
    fn at(&self, revision: u64) -> std::sync::MutexGuard<'_, Remembered> {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.revision != revision {
            *remembered = Remembered { revision, chains: HashMap::new() };
        }
        remembered
    }
}

/// Finds a path from the leaf to one of the hub's registered, verified certificates. The peer's possession of the leaf's
/// key was proved by the handshake.
pub(crate) fn verify_chain(
    leaf: &[u8],
    intermediates: &[Box<[u8]>],
    settings: &HubSettings,
    now: Timestamp,
) -> Result<VerifiedChain, Refusal> {
    let registered: Vec<_> = settings.certificates.iter().filter(|certificate| certificate.is_verified).collect();
    let certificates: Vec<_> = registered.iter().map(|it| CertificateDer::from(it.der.as_ref())).collect();
    // What is no trust anchor is never registered; one that is not understood opens nothing.
    let anchors: Vec<_> =
        registered.iter().zip(&certificates).filter_map(|(it, der)| Some((*it, anchor(der)?))).collect();
    let trusted: Vec<TrustAnchor<'_>> = anchors.iter().map(|(_, anchor)| anchor.clone()).collect();
    let leaf = CertificateDer::from(leaf);
    let intermediates: Vec<_> = intermediates.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
    let leaf = EndEntityCert::try_from(&leaf).map_err(refusal)?;
    let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    let path = leaf
        .verify_for_usage(algorithms, &trusted, &intermediates, time, KeyUsage::client_auth(), None, None)
        .map_err(refusal)?;
    let (certificate, _) =
        anchors.iter().find(|(_, anchor)| anchor == path.anchor()).ok_or(Refusal::UntrustedCertificate)?;
    check_path_length(certificate, &path)?;
    Ok(VerifiedChain { anchor: anchor_digest(certificate), valid_until: valid_until(&path) })
}

fn anchor<'a>(der: &'a CertificateDer<'a>) -> Option<TrustAnchor<'a>> {
    anchor_from_trusted_cert(der).ok()
}

/// How a registered certificate is recognised.
pub(crate) fn anchor_digest(certificate: &RegisteredCertificate) -> CertificateDigest {
    digest_of(&certificate.der)
}

fn digest_of(der: &[u8]) -> CertificateDigest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    bytes
}

/// The path's rules count below the anchor; the anchor's own limit is the owner's word as well.
fn check_path_length(anchor: &RegisteredCertificate, path: &VerifiedPath<'_>) -> Result<(), Refusal> {
    let limit = X509Certificate::from_der(&anchor.der)
        .ok()
        .and_then(|(_, certificate)| certificate.basic_constraints().ok()??.value.path_len_constraint);
    let length = path.intermediate_certificates().count();
    if limit.is_some_and(|limit| length > limit as usize) {
        Err(Refusal::ChainRefused("it is too long"))
    } else {
        Ok(())
    }
}

fn valid_until(path: &VerifiedPath<'_>) -> i64 {
    let leaf = path.end_entity().der();
    let intermediates = path.intermediate_certificates().map(|certificate| certificate.der());
    let ends = std::iter::once(leaf).chain(intermediates).map(|der| {
        X509Certificate::from_der(&der).map_or(0, |(_, certificate)| certificate.validity().not_after.timestamp())
    });
    ends.min().unwrap_or(0)
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } | Error::InvalidCertValidity => {
            Refusal::CertificateExpired
        }
        Error::UnknownIssuer => Refusal::UntrustedCertificate,
        Error::CaUsedAsEndEntity => Refusal::ChainRefused("its leaf is the certificate of an authority"),
        Error::EndEntityUsedAsCa => Refusal::ChainRefused("an intermediate is not the certificate of an authority"),
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => Refusal::ChainRefused("it is too long"),
        Error::InvalidSignatureForPublicKey => Refusal::ChainRefused("a signature in it is wrong"),
        Error::UnsupportedCertVersion => Refusal::ChainRefused("a certificate in it is not X.509 version 3"),
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            Refusal::ChainRefused("its leaf is not for the authentication of clients")
        }
        _ => Refusal::ChainRefused("it is malformed or uses what is not supported"),
    }
}
