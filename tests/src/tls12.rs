//! TLS 1.2 records by hand: rustls shakes hands, then its keys are taken over. So a test can say inside a connection
//! what no library says.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, bail};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ProtocolVersion,
    crypto::aws_lc_rs::{cipher_suite, default_provider},
    pki_types::ServerName,
    version::TLS12,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    patience::PATIENCE,
    tls::{connect_as, roots},
};

const VERSION: [u8; 2] = [3, 3];
/// Type, version and length of a record.
const HEADER_BYTES: usize = 5;
const TAG_BYTES: usize = 16;

/// A connection behind its handshake.
pub struct Tls12 {
    stream: TcpStream,
    ours: Direction,
    hubs: Direction,
    config: Arc<ClientConfig>,
    name: String,
}

/// Key and position of one direction.
struct Direction {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Direction {
    /// The only cipher that is offered: its nonces need nothing in the record (RFC 7905).
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> anyhow::Result<Self> {
        let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else { bail!("another cipher") };
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).ok().context("no key")?;
        Ok(Self { key: LessSafeKey::new(key), iv: iv.as_ref().try_into()?, sequence })
    }

    /// Nonce and authenticated data of the next record.
    fn next(&mut self, kind: u8, length: usize) -> anyhow::Result<(Nonce, Aad<Vec<u8>>)> {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        let mut nonce = self.iv;
        nonce.iter_mut().rev().zip(sequence.iter().rev()).for_each(|(byte, other)| *byte ^= other);
        let length = u16::try_from(length)?.to_be_bytes();
        let authenticated = [&sequence[..], &[kind], &VERSION, &length].concat();
        Ok((Nonce::assume_unique_for_key(nonce), Aad::from(authenticated)))
    }
}

impl Tls12 {
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;

    /// Connects and shakes hands.
    pub async fn connect(address: SocketAddr, name: &str, authority: &Path) -> anyhow::Result<Self> {
        let config = config(authority)?;
        let stream = connect_as(&config, address, name).await?;
        let (stream, connection) = stream.into_inner();
        anyhow::ensure!(connection.protocol_version() == Some(ProtocolVersion::TLSv1_2), "not TLS 1.2");
        let secrets = connection.dangerous_extract_secrets()?;
        let (ours, hubs) = (Direction::new(secrets.tx)?, Direction::new(secrets.rx)?);
        Ok(Self { stream, ours, hubs, config, name: name.to_owned() })
    }

    /// A ClientHello that begins a handshake of the same kind: the message without its record.
    pub fn client_hello(&self) -> anyhow::Result<Vec<u8>> {
        let name = ServerName::try_from(self.name.clone())?;
        let mut record = Vec::new();
        ClientConnection::new(self.config.clone(), name)?.write_tls(&mut record)?;
        Ok(record.split_off(HEADER_BYTES))
    }

    /// Encrypts one record; records must be sent in the order in which they were sealed.
    pub fn seal(&mut self, kind: u8, content: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (nonce, authenticated) = self.ours.next(kind, content.len())?;
        let mut sealed = content.to_vec();
        self.ours.key.seal_in_place_append_tag(nonce, authenticated, &mut sealed).ok().context("cannot seal")?;
        let length = u16::try_from(sealed.len())?.to_be_bytes();
        Ok([&[kind], &VERSION[..], &length, &sealed].concat())
    }

    /// Sends the bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// The hub's next record, decrypted: type and content; `None` when it has closed the connection.
    pub async fn receive(&mut self) -> anyhow::Result<Option<(u8, Vec<u8>)>> {
        timeout(PATIENCE, self.read()).await.context("the hub says nothing")?
    }

    async fn read(&mut self) -> anyhow::Result<Option<(u8, Vec<u8>)>> {
        let mut header = [0; HEADER_BYTES];
        if self.stream.read_exact(&mut header).await.is_err() {
            return Ok(None);
        }
        let [kind, _, _, high, low] = header;
        let mut content = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        self.stream.read_exact(&mut content).await?;
        let (nonce, authenticated) = self.hubs.next(kind, content.len().saturating_sub(TAG_BYTES))?;
        let length = self.hubs.key.open_in_place(nonce, authenticated, &mut content).ok().context("cannot open")?.len();
        content.truncate(length);
        Ok(Some((kind, content)))
    }
}

fn config(authority: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let mut provider = default_provider();
    provider.cipher_suites = vec![
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS12])?
        .with_root_certificates(roots(authority)?)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}
