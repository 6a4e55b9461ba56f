//! A mosquitto of our own to compare with: TLS, a free loopback port, a folder that vanishes, no accounts.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::server_process::ServerProcess;

const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A running mosquitto; it ends with this value.
pub struct Mosquitto {
    process: Child,
    folder: TempDir,
    pub address: SocketAddr,
}

impl Mosquitto {
    /// Starts it and waits until it listens.
    pub fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        write_certificates(folder.path())?;
        let config = folder.path().join("mosquitto.conf");
        fs::write(&config, configuration(folder.path(), address))?;
        let log = fs::File::create(folder.path().join("log"))?;
        let process = Command::new(program())
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start mosquitto; is it installed (apt-get install mosquitto)?")?;
        let mut mosquitto = Self { process, folder, address };
        mosquitto.wait_until_it_listens()?;
        Ok(mosquitto)
    }

    pub fn authority_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn server(&self) -> anyhow::Result<ServerProcess> {
        ServerProcess::new(self.process.id())
    }

    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(self.address).is_err() {
            if self.process.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("mosquitto does not start:\n{log}");
            }
            #[expect(clippy::disallowed_methods, reason = "before the runtime's work begins")]
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may be gone already; either way there is nothing left to do about it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Debian puts it where only root's search path looks.
fn program() -> &'static Path {
    let path = Path::new("/usr/sbin/mosquitto");
    if path.exists() { path } else { Path::new("mosquitto") }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Its limits are lifted, so that it drops nothing and refuses nothing under load.
fn configuration(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "listener {} {}\ncafile {folder}/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\n\
         allow_anonymous true\npersistence false\nlog_type error\nmax_inflight_messages 0\nmax_queued_messages 0\n\
         set_tcp_nodelay true\nuser root\n",
        address.port(),
        address.ip()
    )
}

fn write_certificates(folder: &Path) -> anyhow::Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &authority)?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    fs::write(folder.join("server.pem"), server.pem())?;
    fs::write(folder.join("server.key"), key.serialize_pem())?;
    Ok(())
}
