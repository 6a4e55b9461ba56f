//! An authority of a cluster, and files as processes have them.

use std::{fs, path::Path};

use peer::{Files, Role};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub fn new() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(parameters, key), pem })
    }

    /// Writes what a process of the role is given.
    pub fn issue(&self, folder: &Path, role: Role) -> Result<Files, Box<dyn std::error::Error>> {
        self.issue_named(folder, role.dns_name())
    }

    /// The same for any name.
    pub fn issue_named(&self, folder: &Path, name: &str) -> Result<Files, Box<dyn std::error::Error>> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, &self.issuer)?;
        let files = Files {
            authority_file: folder.join(format!("{name}-authority.pem")),
            certificate_file: folder.join(format!("{name}.pem")),
            key_file: folder.join(format!("{name}-key.pem")),
        };
        fs::write(&files.authority_file, &self.pem)?;
        fs::write(&files.certificate_file, certificate.pem())?;
        fs::write(&files.key_file, key.serialize_pem())?;
        Ok(files)
    }
}
