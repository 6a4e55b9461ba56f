use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};

/// How often a running process looks whether its files were replaced.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// With what this process shows the others who it is. Replaced files are read again within a minute; connections that
/// exist go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// The authority of the cluster, PEM; several certificates while one authority takes over from another.
    pub authority_file: PathBuf,
    /// This process's certificate, PEM, with `ROLE.ironhub.internal` among its names: `gateway` or `shard`.
    pub certificate_file: PathBuf,
    /// Its private key, PEM: PKCS#8, PKCS#1 or SEC1.
    pub key_file: PathBuf,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file that is missing, or that holds something else.
    #[error("cannot read {what} from {}: {cause}", file.display())]
    File { what: &'static str, file: PathBuf, cause: rustls_pki_types::pem::Error },
    /// A file without any certificate.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// Files that do not fit together, or certificates that are not any.
    #[error("the certificates of the cluster cannot be used: {0}")]
    Unusable(String),
}

/// Both sides of mutual TLS, as of the last look at the files.
pub struct Credentials {
    files: Files,
    current: ArcSwap<Current>,
}

pub(crate) struct Current {
    pub server: Arc<ServerConfig>,
    pub client: Arc<ClientConfig>,
    times: [Option<SystemTime>; 3],
}

impl Credentials {
    /// Reads the files.
    pub fn open(files: Files) -> Result<Arc<Self>, CredentialsError> {
        let current = ArcSwap::from_pointee(Current::read(&files)?);
        Ok(Arc::new(Self { files, current }))
    }

    /// Reads the files again whenever one was replaced, for as long as the process runs.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut interval = tokio::time::interval(CHECK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            match self.refresh() {
                Ok(true) => tracing::info!("the certificates of the cluster were read again"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the certificates of the cluster stay as they were"),
            }
        }
    }

    /// Whether files were replaced and read. On an error the old ones stay in use, and it is tried again.
    pub fn refresh(&self) -> Result<bool, CredentialsError> {
        if times(&self.files) == self.current.load().times {
            return Ok(false);
        }
        self.current.store(Arc::new(Current::read(&self.files)?));
        Ok(true)
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }
}

impl Current {
    fn read(files: &Files) -> Result<Self, CredentialsError> {
        // Before the files, so that what is written meanwhile is read once more.
        let times = times(files);
        let mut roots = RootCertStore::empty();
        for authority in certificates("an authority", &files.authority_file)? {
            roots.add(authority).map_err(unusable)?;
        }
        let roots = Arc::new(roots);
        let chain = certificates("a certificate", &files.certificate_file)?;
        let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(|cause| CredentialsError::File {
            what: "a private key",
            file: files.key_file.clone(),
            cause,
        })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = server_config(provider.clone(), roots.clone(), chain.clone(), key.clone_key())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(unusable)?;
        Ok(Self { server: Arc::new(server), client: Arc::new(client), times })
    }
}

/// Every connection shows its certificate: there is nothing to resume.
fn server_config(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, CredentialsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().map_err(unusable)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn certificates(what: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let read = read.map_err(|cause| CredentialsError::File { what, file: file.to_owned(), cause })?;
    if read.is_empty() { Err(CredentialsError::Empty(file.to_owned())) } else { Ok(read) }
}

fn times(files: &Files) -> [Option<SystemTime>; 3] {
    [&files.authority_file, &files.certificate_file, &files.key_file]
        .map(|file| std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok())
}

fn unusable(error: impl std::fmt::Display) -> CredentialsError {
    CredentialsError::Unusable(error.to_string())
}
