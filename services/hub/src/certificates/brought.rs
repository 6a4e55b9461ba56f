//! Certificates and keys from files that someone else maintains.

use std::{path::Path, sync::Arc, time::SystemTime};

use anyhow::Context;
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::ServerCertificateFiles;

/// Certificate files and when they were last changed.
pub struct BroughtFiles {
    files: Vec<ServerCertificateFiles>,
    loaded: Vec<Option<SystemTime>>,
}

impl BroughtFiles {
    pub fn new(files: &[ServerCertificateFiles]) -> Self {
        Self { files: files.to_vec(), loaded: Vec::new() }
    }

    /// Reads all files. On an error nothing is remembered, so that the next check tries again.
    pub fn load(&mut self) -> anyhow::Result<Vec<Arc<CertifiedKey>>> {
        let changed = self.times();
        let keys = self.files.iter().map(load).collect::<anyhow::Result<Vec<_>>>()?;
        self.loaded = changed;
        Ok(keys)
    }

    /// Whether a file was written since it was loaded.
    pub fn changed(&self) -> bool {
        self.times() != self.loaded
    }

    fn times(&self) -> Vec<Option<SystemTime>> {
        let paths = self.files.iter().flat_map(|files| [&files.certificate_file, &files.key_file]);
        paths.map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()).collect()
    }
}

/// Reads a certificate chain and its key, and checks that they belong together.
pub fn load(files: &ServerCertificateFiles) -> anyhow::Result<Arc<CertifiedKey>> {
    let chain = chain(&files.certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .with_context(|| format!("cannot read a private key from {}", files.key_file.display()))?;
    let signing = any_supported_type(&key)
        .with_context(|| format!("{} holds a key of an unsupported kind", files.key_file.display()))?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().with_context(|| {
        format!("{} is not the key of {}", files.key_file.display(), files.certificate_file.display())
    })?;
    Ok(Arc::new(certified))
}

fn chain(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let unreadable = || format!("cannot read a certificate from {}", file.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect).with_context(unreadable)?;
    anyhow::ensure!(!chain.is_empty(), unreadable());
    Ok(chain)
}
