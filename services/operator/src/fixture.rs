//! Certificates for the tests of the pure steps.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use auth::AuthorityCertificate;
use base64::{Engine, prelude::BASE64_STANDARD};
use model::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::validate::WantedCertificate;

pub fn now() -> Timestamp {
    Timestamp::from_unix_milliseconds(jiff::Timestamp::now().as_millisecond())
}

/// An authority with its key.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Factory");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    pub fn wanted(&self, name: &str) -> WantedCertificate {
        let authority = AuthorityCertificate::parse(&self.pem).unwrap();
        WantedCertificate {
            name: name.to_owned(),
            text: BASE64_STANDARD.encode(&authority.der),
            authority,
            is_verified: false,
            proof: None,
        }
    }

    /// Shows possession of the key.
    pub fn proof(&self, code: &str) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, code);
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().pem()
    }
}
