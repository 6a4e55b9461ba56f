//! Certificate authorities of device owners, and the certificates of their devices.

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::tls::Presented;

/// What signs devices.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub der: Vec<u8>,
    /// What a device has to send along: this authority, when it is none that is registered, and those above it.
    above: Vec<Vec<u8>>,
}

/// A certificate with that common name.
pub fn certificate_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A certificate that vouches for itself.
pub fn self_signed(name: &str) -> anyhow::Result<Presented> {
    let key = KeyPair::generate()?;
    let leaf = certificate_params(name).self_signed(&key)?.der().to_vec();
    Ok(Presented { chain: vec![leaf], key: key.serialize_der() })
}

impl Presented {
    /// SHA-256 of the leaf, hexadecimal.
    pub fn thumbprint(&self) -> String {
        let leaf = self.chain.first().map(Vec::as_slice).unwrap_or_default();
        digest::digest(&digest::SHA256, leaf).as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
    }
}

impl Authority {
    /// A new root.
    pub fn root(name: &str) -> anyhow::Result<Self> {
        let (params, key) = (authority_params(name), KeyPair::generate()?);
        let der = params.self_signed(&key)?.der().to_vec();
        Ok(Self { issuer: Issuer::new(params, key), der, above: Vec::new() })
    }

    /// An authority that this one has signed.
    pub fn intermediate(&self, name: &str) -> anyhow::Result<Self> {
        let (params, key) = (authority_params(name), KeyPair::generate()?);
        let der = params.signed_by(&key, &self.issuer)?.der().to_vec();
        let above = std::iter::once(der.clone()).chain(self.above.iter().cloned()).collect();
        Ok(Self { issuer: Issuer::new(params, key), der, above })
    }

    /// The certificate of a device or module, with what it sends along.
    pub fn sign(&self, name: &str) -> anyhow::Result<Presented> {
        self.sign_params(&certificate_params(name))
    }

    /// Such a certificate with other properties.
    pub fn sign_params(&self, params: &CertificateParams) -> anyhow::Result<Presented> {
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?.der().to_vec();
        let chain = std::iter::once(leaf).chain(self.above.iter().cloned()).collect();
        Ok(Presented { chain, key: key.serialize_der() })
    }

    /// The certificate as it is uploaded: base64 of DER.
    pub fn base64(&self) -> String {
        BASE64_STANDARD.encode(&self.der)
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = certificate_params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
