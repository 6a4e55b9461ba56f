//! The hub's TLS certificates: made by its own authority, or brought by its owner; replaced while the hub runs.
//!
//! ```text
//!   DIR/certificates/authority.pem      10 years, made once; what clients trust
//!                    authority-key.pem  0600
//!                    server.pem         397 days, P-256; re-issued when host names change or a third of its time is left
//!                    server-key.pem     0600
//! ```

mod authority;
mod brought;
mod cluster;
mod resolver;
mod secrets;
mod server;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use rustls::{server::ResolvesServerCert, sign::CertifiedKey};
use serde::{Deserialize, Serialize};

pub use self::cluster::prepare_cluster;
use self::{authority::Authority, brought::BroughtFiles, resolver::Resolver};

/// How often a running hub looks whether a certificate must be renewed or a file was replaced.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Which certificates the hub shows to its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertificatesConfig {
    /// Certificates brought by the owner. Empty: the hub makes an authority and a P-256 certificate itself. With
    /// several, the first one whose key the client's signature algorithms allow is shown (say P-256 first, then RSA).
    pub server: Vec<ServerCertificateFiles>,
    /// The authority that signed `server`, PEM; named to clients in the banner and in `hub.json`. Without it clients
    /// are assumed to trust the certificate anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority_file: Option<PathBuf>,
}

/// One certificate with its chain, and its private key. Replaced files are picked up within a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerCertificateFiles {
    /// PEM: the server's certificate first, then the intermediate ones.
    pub certificate_file: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key_file: PathBuf,
}

/// The certificates in use.
pub struct Certificates {
    resolver: Arc<Resolver>,
    source: Source,
    authority_file: Option<PathBuf>,
}

enum Source {
    Own { folder: PathBuf, host_names: Vec<String> },
    Brought(BroughtFiles),
}

impl Certificates {
    /// Loads the certificates, making those that are missing or no longer fit the host names.
    pub fn open(config: &CertificatesConfig, folder: &Path, host_names: &[String]) -> anyhow::Result<Self> {
        if !config.server.is_empty() {
            return Self::brought(config);
        }
        let names = server::names(host_names);
        let key = own_certificate(folder, &names)?;
        let source = Source::Own { folder: folder.to_owned(), host_names: names };
        let authority_file = Some(authority::certificate_file(folder));
        Ok(Self { resolver: Arc::new(Resolver::new(vec![key])), source, authority_file })
    }

    /// Loads those that the configuration names.
    pub fn brought(config: &CertificatesConfig) -> anyhow::Result<Self> {
        let mut files = BroughtFiles::new(&config.server);
        let resolver = Arc::new(Resolver::new(files.load()?));
        Ok(Self { resolver, source: Source::Brought(files), authority_file: config.authority_file.clone() })
    }

    /// What the TLS listener asks at every handshake.
    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::<Resolver>::clone(&self.resolver)
    }

    /// The certificate that clients must trust, when it is known.
    pub fn authority_file(&self) -> Option<&Path> {
        self.authority_file.as_deref()
    }

    /// Renews and reloads for as long as the hub runs. Connections that exist keep the certificate they saw.
    pub async fn keep_fresh(mut self) {
        let mut interval = tokio::time::interval(CHECK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            match self.refresh() {
                Ok(true) => tracing::info!("the server certificate was replaced"),
                Ok(false) => {}
                Err(error) => tracing::warn!(error = format!("{error:#}"), "the server certificate stays as it was"),
            }
        }
    }

    fn refresh(&mut self) -> anyhow::Result<bool> {
        match &mut self.source {
            Source::Own { folder, host_names } => {
                if server::is_current(folder, host_names) {
                    return Ok(false);
                }
                self.resolver.replace(vec![own_certificate(folder, host_names)?]);
            }
            Source::Brought(files) => {
                if !files.changed() {
                    return Ok(false);
                }
                self.resolver.replace(files.load()?);
            }
        }
        Ok(true)
    }
}

fn own_certificate(folder: &Path, names: &[String]) -> anyhow::Result<Arc<CertifiedKey>> {
    let authority = Authority::open_or_make(folder)?;
    if !server::is_current(folder, names) {
        server::issue(&authority, folder, names).context("cannot make the server certificate")?;
    }
    server::load(folder)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;

    fn text(folder: &Path, file: &str) -> String {
        std::fs::read_to_string(folder.join(file)).unwrap()
    }

    fn open(folder: &Path, names: &[&str]) -> Certificates {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Certificates::open(&CertificatesConfig::default(), folder, &names).unwrap()
    }

    #[test]
    fn a_restart_keeps_everything_and_new_names_keep_the_authority() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        open(folder, &["127.0.7.1"]);
        let (authority, server) = (text(folder, "authority.pem"), text(folder, "server.pem"));

        open(folder, &["127.0.7.1"]);
        assert_eq!((text(folder, "authority.pem"), text(folder, "server.pem")), (authority.clone(), server.clone()));

        open(folder, &["127.0.7.1", "hub.example.test", "::1"]);
        assert_eq!(text(folder, "authority.pem"), authority);
        assert_ne!(text(folder, "server.pem"), server);
    }

    #[test]
    fn a_certificate_of_another_authority_is_replaced() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        open(one.path(), &["a"]);
        open(other.path(), &["a"]);
        for file in ["authority.pem", "authority-key.pem"] {
            std::fs::copy(other.path().join(file), one.path().join(file)).unwrap();
        }
        let before = text(one.path(), "server.pem");
        open(one.path(), &["a"]);
        assert_ne!(text(one.path(), "server.pem"), before);
    }

    #[test]
    fn private_keys_are_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), &["a"]);
        for file in ["authority-key.pem", "server-key.pem"] {
            let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn an_interrupted_first_start_is_finished_but_a_lost_key_is_not_papered_over() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), &["a"]);
        std::fs::remove_file(folder.path().join("authority.pem")).unwrap();
        open(folder.path(), &["a"]);

        std::fs::remove_file(folder.path().join("authority-key.pem")).unwrap();
        let names = ["b".to_owned()];
        let error = Certificates::open(&CertificatesConfig::default(), folder.path(), &names).err();
        assert!(error.unwrap().to_string().contains("authority-key.pem is gone"));
    }

    #[test]
    fn brought_files_are_loaded_and_reloaded() {
        let (folder, brought) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        open(brought.path(), &["mine.example.test"]);
        let files = ServerCertificateFiles {
            certificate_file: brought.path().join("server.pem"),
            key_file: brought.path().join("server-key.pem"),
        };
        let config = CertificatesConfig { server: vec![files], authority_file: None };
        let mut certificates = Certificates::open(&config, folder.path(), &[]).unwrap();
        assert!(!certificates.refresh().unwrap());
        assert!(!folder.path().join("authority.pem").exists());

        open(brought.path(), &["other.example.test"]);
        assert!(certificates.refresh().unwrap());
    }

    #[test]
    fn a_broken_file_names_itself() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("broken.pem"), "nothing").unwrap();
        let file = folder.path().join("broken.pem");
        let files = ServerCertificateFiles { certificate_file: file.clone(), key_file: file };
        let config = CertificatesConfig { server: vec![files], authority_file: None };
        let error = Certificates::open(&config, folder.path(), &[]).err().map(|error| format!("{error:#}"));
        assert!(error.unwrap().contains("broken.pem"));
    }
}
