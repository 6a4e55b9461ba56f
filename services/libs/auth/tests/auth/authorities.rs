//! A small PKI: authorities that sign, leaves, and a hub that has some of them registered.

use auth::{ChainCache, ClientCertificate};
use model::{ETag, HubSettings, RegisteredCertificate, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::fixture::{EXPIRY_SECONDS, settings};

/// What signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub der: Vec<u8>,
}

/// Valid during the year 2029, named like that.
pub fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = time::OffsetDateTime::from_unix_timestamp(EXPIRY_SECONDS - 365 * 86_400).unwrap();
    params.not_after = time::OffsetDateTime::from_unix_timestamp(EXPIRY_SECONDS).unwrap();
    params
}

/// Params of an authority; below it at most so many others.
pub fn authority_params(name: &str, path_length: Option<u8>) -> CertificateParams {
    let constraints = path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained);
    let mut params = params(name);
    params.is_ca = IsCa::Ca(constraints);
    params
}

impl Authority {
    pub fn root(name: &str, path_length: Option<u8>) -> Self {
        let (params, key) = (authority_params(name, path_length), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// An authority that this one has signed.
    pub fn intermediate(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    pub fn sign(&self, params: &CertificateParams) -> Vec<u8> {
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().to_vec()
    }

    /// A leaf of that name.
    pub fn leaf(&self, name: &str) -> Vec<u8> {
        self.sign(&params(name))
    }
}

/// The hub of the fixture, these authorities registered and verified.
pub fn trusting(authorities: &[&Authority]) -> HubSettings {
    let registered = |authority: &&Authority| RegisteredCertificate {
        name: "ca".into(),
        der: authority.der.clone().into(),
        is_verified: true,
        verification_code: None,
        etag: ETag(1),
        created: Timestamp::from_unix_milliseconds(0),
        updated: Timestamp::from_unix_milliseconds(0),
    };
    HubSettings { certificates: authorities.iter().map(registered).collect(), ..settings() }
}

/// What a peer presented.
pub fn chain(chain: &[&[u8]]) -> ClientCertificate {
    ClientCertificate::of_chain(chain.iter().copied(), &ChainCache::default().into()).unwrap()
}
