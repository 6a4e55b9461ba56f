//! A TLS connection driven by hand: an idle one owns neither a read nor a write buffer.
//!
//! ```text
//!   socket --poll_read--> the thread's buffer --decrypt in place--> plain text of the caller
//!                              |
//!                              rest of an incomplete record: kept until the next read, freed afterwards
//! ```

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    ServerConfig,
    pki_types::CertificateDer,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

use crate::unsent::Unsent;

/// One read takes up to so much: two full records.
const READ_BYTES: usize = 32 * 1024;
/// The largest TLS record with its header.
const RECORD_BYTES_MAX: usize = 16 * 1024 + 2048 + 5;
/// What a record needs beyond its content.
const RECORD_OVERHEAD_BYTES: usize = 64;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Plain text may have been appended; there may be more.
    Some,
    /// The peer will send nothing more.
    End,
}

/// A TLS connection on a TCP stream.
pub struct TlsSocket {
    stream: TcpStream,
    tls: Box<UnbufferedServerConnection>,
    /// Encrypted: an incomplete record.
    undecrypted: Vec<u8>,
    /// Encrypted: not yet taken by the socket.
    unsent: Unsent,
    handshaking: bool,
}

impl TlsSocket {
    /// A connection that begins with the handshake.
    pub fn new(stream: TcpStream, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let tls = Box::new(UnbufferedServerConnection::new(config)?);
        Ok(Self { stream, tls, undecrypted: Vec::new(), unsent: Unsent::default(), handshaking: true })
    }

    /// Completes the handshake. Plain text that came with it is appended to `plain`.
    pub async fn handshake(&mut self, plain: &mut Vec<u8>) -> io::Result<()> {
        std::future::poll_fn(|context| {
            while self.handshaking {
                ready!(self.poll_flush(context))?;
                if ready!(self.poll_read(context, plain))? == ReadOutcome::End {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            self.poll_flush(context)
        })
        .await
    }

    /// What the client presented, leaf first; `None` when it presented nothing.
    pub fn client_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    /// Reads once and decrypts; appends to `plain`. Answers of the TLS layer go to the unsent bytes.
    pub fn poll_read(&mut self, context: &mut Context<'_>, plain: &mut Vec<u8>) -> Poll<io::Result<ReadOutcome>> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(RECORD_BYTES_MAX + READ_BYTES, 0);
            self.poll_read_through(context, buffer, plain)
        })
    }

    fn poll_read_through(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> Poll<io::Result<ReadOutcome>> {
        let kept = self.undecrypted.len();
        let Some((head, tail)) = buffer.split_at_mut_checked(kept) else {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a TLS record is too long")));
        };
        let mut read = ReadBuf::new(tail);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        let count = read.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(ReadOutcome::End));
        }
        head.copy_from_slice(&self.undecrypted);
        self.undecrypted = Vec::new();
        let records = buffer.get_mut(..kept + count).unwrap_or_default();
        let (used, outcome) = self.decrypt(records, plain).map_err(io::Error::other)?;
        self.undecrypted.extend_from_slice(records.get(used..).unwrap_or_default());
        Poll::Ready(Ok(outcome))
    }

    /// Works through complete records; returns how many bytes they took.
    fn decrypt(&mut self, records: &mut [u8], plain: &mut Vec<u8>) -> Result<(usize, ReadOutcome), rustls::Error> {
        let mut used = 0;
        let mut outcome = ReadOutcome::Some;
        loop {
            let rest = records.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state, .. } = self.tls.process_tls_records(rest);
            let goes_on = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append_encoded(&mut self.unsent.0, |space| data.encode(space).map_err(encode_space))?;
                    true
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done(); // what is unsent goes out in order before anything else
                    true
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    outcome = ReadOutcome::End;
                    false
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.handshaking = false;
                    false
                }
                Ok(_) => false,
                Err(error) => {
                    self.queue_alert();
                    return Err(error);
                }
            };
            used += discard;
            if !goes_on {
                return Ok((used, outcome));
            }
        }
    }

    /// After an error the TLS layer has an alert to say; best effort.
    fn queue_alert(&mut self) {
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = self.tls.process_tls_records(&mut []).state {
            let _ = append_encoded(&mut self.unsent.0, |space| data.encode(space).map_err(encode_space));
        }
    }

    /// Encrypts and sends what the socket takes now; the rest waits for [`poll_flush`](Self::poll_flush).
    pub fn write(&mut self, context: &mut Context<'_>, plain: &[u8]) -> io::Result<()> {
        if !plain.is_empty() {
            self.encrypt(|traffic, space| traffic.encrypt(plain, space), plain.len())?;
        }
        let flushed = self.poll_flush(context);
        self.unsent.bound(flushed)
    }

    /// Says that nothing more is said; it goes out with the next flush.
    pub fn queue_close(&mut self) {
        let _ = self.encrypt(|traffic, space| traffic.queue_close_notify(space), 0);
    }

    fn encrypt(
        &mut self,
        encrypt: impl Fn(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
        plain_bytes: usize,
    ) -> io::Result<()> {
        loop {
            let status = self.tls.process_tls_records(&mut []);
            match status.state.map_err(io::Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let records = plain_bytes / (16 * 1024) + 1;
                    let start = self.unsent.0.len();
                    self.unsent.0.reserve_exact(plain_bytes + records * RECORD_OVERHEAD_BYTES);
                    self.unsent.0.resize(start + plain_bytes + records * RECORD_OVERHEAD_BYTES, 0);
                    let space = self.unsent.0.get_mut(start..).unwrap_or_default();
                    let length = encrypt(&mut traffic, space).map_err(io::Error::other);
                    self.unsent.0.truncate(start + length.as_ref().copied().unwrap_or(0));
                    return length.map(drop);
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append_encoded(&mut self.unsent.0, |space| data.encode(space).map_err(encode_space))
                        .map_err(io::Error::other)?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(io::ErrorKind::NotConnected.into()),
            }
        }
    }

    /// Whether encrypted bytes wait for the peer.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends what waits; ready once nothing does.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unsent.poll_write(&mut self.stream, context)
    }

    /// What it is spoken over: encrypted bytes.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

enum Space {
    Needed(usize),
    Broken,
}

fn encode_space(error: EncodeError) -> Space {
    match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Space::Needed(required_size),
        EncodeError::AlreadyEncoded => Space::Broken,
    }
}

/// Appends what `encode` writes, with as much space as it asks for.
fn append_encoded(
    out: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, Space>,
) -> Result<(), rustls::Error> {
    let start = out.len();
    let mut bytes = 512;
    for _ in 0..2 {
        out.resize(start + bytes, 0);
        match encode(out.get_mut(start..).unwrap_or_default()) {
            Ok(length) => {
                out.truncate(start + length);
                return Ok(());
            }
            Err(Space::Needed(needed)) => bytes = needed,
            Err(Space::Broken) => break,
        }
    }
    out.truncate(start);
    Err(rustls::Error::General("the TLS layer cannot encode its own data".to_owned()))
}
