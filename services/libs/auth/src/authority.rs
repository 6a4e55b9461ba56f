//! Certificates that an owner registers, and the proof that their keys are the owner's (security §8.1).

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use model::{CERTIFICATE_BYTES_MAX, Timestamp};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use webpki::{EndEntityCert, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::{has_common_name, thumbprint};

/// Why a certificate is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    #[error("it is neither PEM nor base64 of DER")]
    Text,
    #[error("the text holds more than one certificate; register one at a time")]
    Several,
    #[error("it has more than {CERTIFICATE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("it is not an X.509 certificate of version 3")]
    Malformed,
    #[error("it is not the certificate of an authority (basic constraints: CA), so it cannot have signed devices")]
    NotAnAuthority,
    #[error("it has expired")]
    Expired,
    #[error("the certificate that is to prove possession was not signed by the registered one")]
    NotSigned,
    #[error("the common name of the certificate that is to prove possession is not the verification code")]
    WrongCode,
}

/// The certificate of an authority, for those who look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityCertificate {
    pub der: Vec<u8>,
    /// Such as `CN=Factory root, O=Example`.
    pub subject: String,
    pub expires: Timestamp,
    /// SHA-1, hexadecimal, upper case.
    pub thumbprint: String,
}

impl AuthorityCertificate {
    /// Reads PEM, base64 of PEM, or base64 of DER; takes certificates of authorities only.
    pub fn parse(text: &str) -> Result<Self, InvalidCertificate> {
        Self::of_der(&der_of(text)?)
    }

    /// Describes a certificate that is, or could be, registered.
    pub fn of_der(der: &[u8]) -> Result<Self, InvalidCertificate> {
        let certificate = parse(der)?;
        let constraints = certificate.basic_constraints().map_err(|_| InvalidCertificate::Malformed)?;
        let signs = certificate.key_usage().map_err(|_| InvalidCertificate::Malformed)?;
        let is_authority = constraints.is_some_and(|constraints| constraints.value.ca)
            && signs.is_none_or(|usage| usage.value.key_cert_sign());
        if !is_authority {
            return Err(InvalidCertificate::NotAnAuthority);
        }
        anchor_from_trusted_cert(&CertificateDer::from(der)).map_err(|_| InvalidCertificate::Malformed)?;
        Ok(Self {
            subject: certificate.subject().to_string(),
            expires: expiry(&certificate),
            thumbprint: thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY, der),
            der: der.to_vec(),
        })
    }

    /// Checks a certificate that was made to show that somebody has the key of this one: signed by it, valid now, its
    /// common name the code.
    pub fn verify_possession(&self, proof: &str, code: &str, now: Timestamp) -> Result<(), InvalidCertificate> {
        let der = der_of(proof)?;
        let proof = parse(&der)?;
        if !has_common_name(&proof, code) {
            return Err(InvalidCertificate::WrongCode);
        }
        if expiry(&proof) < now {
            return Err(InvalidCertificate::Expired);
        }
        let authority = CertificateDer::from(self.der.as_slice());
        let authority = EndEntityCert::try_from(&authority).map_err(|_| InvalidCertificate::Malformed)?;
        let (signed, signature) = (proof.tbs_certificate.as_ref(), &proof.signature_value.data);
        let is_signed = webpki::ALL_VERIFICATION_ALGS
            .iter()
            .any(|algorithm| authority.verify_signature(*algorithm, signed, signature).is_ok());
        if is_signed { Ok(()) } else { Err(InvalidCertificate::NotSigned) }
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, InvalidCertificate> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(InvalidCertificate::TooLarge);
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| InvalidCertificate::Malformed)?;
    if rest.is_empty() { Ok(certificate) } else { Err(InvalidCertificate::Malformed) }
}

fn expiry(certificate: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_unix_milliseconds(certificate.validity().not_after.timestamp().saturating_mul(1000))
}

/// PEM, base64 of PEM, or base64 of DER; white space between the letters is allowed.
fn der_of(text: &str) -> Result<Vec<u8>, InvalidCertificate> {
    const BEGIN: &[u8] = b"-----BEGIN";
    let text = text.trim();
    if text.as_bytes().starts_with(BEGIN) {
        return of_pem(text.as_bytes());
    }
    let letters: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = BASE64_STANDARD.decode(letters).map_err(|_| InvalidCertificate::Text)?;
    if bytes.trim_ascii_start().starts_with(BEGIN) { of_pem(&bytes) } else { Ok(bytes) }
}

fn of_pem(pem: &[u8]) -> Result<Vec<u8>, InvalidCertificate> {
    let mut certificates = CertificateDer::pem_slice_iter(pem);
    let first = certificates.next().and_then(Result::ok).ok_or(InvalidCertificate::Text)?;
    if certificates.next().is_some() { Err(InvalidCertificate::Several) } else { Ok(first.to_vec()) }
}
