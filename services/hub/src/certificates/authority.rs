//! The hub's own certificate authority.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

use crate::files;

const VALIDITY: Duration = Duration::days(3652);

/// Signs server certificates. The key never leaves its file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

/// Where the authority's certificate lies.
pub fn certificate_file(folder: &Path) -> PathBuf {
    folder.join("authority.pem")
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("authority-key.pem")
}

impl Authority {
    /// The authority in the folder; what is missing is made. Only a certificate without its key is an error: a new
    /// authority would lock out every client that trusts the old one.
    pub fn open_or_make(folder: &Path) -> anyhow::Result<Self> {
        let (certificate_file, key_file) = (certificate_file(folder), key_file(folder));
        if !certificate_file.exists() {
            make(&certificate_file, &key_file).context("cannot make the certificate authority")?;
        }
        anyhow::ensure!(
            key_file.exists(),
            "{} is gone. Put it back, or delete {} to get a new authority, which all clients must then be given",
            key_file.display(),
            certificate_file.display()
        );
        let certificate = files::read_text(&certificate_file)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, read_key(&key_file)?)
            .with_context(|| format!("{} holds no certificate", certificate_file.display()))?;
        Ok(Self { issuer })
    }

    /// Signs a certificate for the key.
    pub fn sign(&self, parameters: &CertificateParams, key: &KeyPair) -> Result<rcgen::Certificate, rcgen::Error> {
        parameters.signed_by(key, &self.issuer)
    }
}

/// The key comes first, so that a start which was interrupted is finished by the next one.
fn make(certificate_file: &Path, key_file: &Path) -> anyhow::Result<()> {
    if !key_file.exists() {
        files::write_secret(key_file, &KeyPair::generate()?.serialize_pem())?;
    }
    let key = read_key(key_file)?;
    let certificate = parameters(OffsetDateTime::now_utc()).self_signed(&key)?;
    files::write_public(certificate_file, &certificate.pem())
}

fn read_key(file: &Path) -> anyhow::Result<KeyPair> {
    KeyPair::from_pem(&files::read_text(file)?).with_context(|| format!("{} holds no private key", file.display()))
}

fn parameters(now: OffsetDateTime) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    // Two hubs on one machine must not look the same to a client that trusts both.
    let name = format!("IronHub authority {}", uuid::Uuid::new_v4().simple());
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    // A day back, for clients whose clocks are behind.
    parameters.not_before = now - Duration::DAY;
    parameters.not_after = now + VALIDITY;
    parameters
}
