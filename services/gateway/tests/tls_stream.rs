//! The TLS stream driven by hand, against an ordinary TLS client, for both versions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failed test")]

use std::{future::poll_fn, io, sync::Arc};

use gateway::{
    TicketSecret,
    tls::{Protocols, ReadOutcome, TlsSocket, server_config},
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::ResolvesServerCertUsingSni,
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const NAME: &str = "hub.example.test";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn identity(name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    Identity { certificate: certificate.der().clone(), key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
}

/// Both ends' settings, trusting each other.
struct Ends {
    server: Arc<ServerConfig>,
    client: ClientConfig,
}

fn ends(version: &'static SupportedProtocolVersion, device: Option<Identity>) -> Ends {
    let server = identity(NAME);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(server.certificate.clone()).unwrap();
    let signing = aws_lc_rs::sign::any_supported_type(&server.key).unwrap();
    let mut resolver = ResolvesServerCertUsingSni::new();
    resolver.add(NAME, CertifiedKey::new(vec![server.certificate], signing)).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let client = client.with_root_certificates(roots);
    Ends {
        server: server_config(Arc::new(resolver), TicketSecret::new([7; 32]), Protocols::MqttOrAmqp).unwrap(),
        client: match device {
            Some(device) => client.with_client_auth_cert(vec![device.certificate], device.key).unwrap(),
            None => client.with_no_client_auth(),
        },
    }
}

impl Ends {
    /// A connection on which the client's bytes arrive in pieces of that size.
    async fn connect(&self, piece_bytes: usize) -> (TlsSocket, TlsStream<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (server, through) = (listener.local_addr().unwrap(), relay.local_addr().unwrap());
        tokio::spawn(async move {
            let (outer, _) = relay.accept().await.unwrap();
            let inner = TcpStream::connect(server).await.unwrap();
            relay_in_pieces(outer, inner, piece_bytes).await
        });
        let connector = TlsConnector::from(Arc::new(self.client.clone()));
        let name = ServerName::try_from(NAME).unwrap();
        let client = async { connector.connect(name, TcpStream::connect(through).await.unwrap()).await.unwrap() };
        let accept = async {
            let mut socket = TlsSocket::new(listener.accept().await.unwrap().0, self.server.clone()).unwrap();
            let mut plain = Vec::new();
            socket.handshake(&mut plain).await.unwrap();
            assert!(plain.is_empty());
            socket
        };
        tokio::join!(accept, client)
    }
}

async fn relay_in_pieces(outer: TcpStream, inner: TcpStream, piece_bytes: usize) -> io::Result<()> {
    inner.set_nodelay(true)?;
    let (mut from_client, mut to_client) = outer.into_split();
    let (mut from_server, mut to_server) = inner.into_split();
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        to_client.shutdown().await
    });
    let mut piece = vec![0; piece_bytes];
    loop {
        let count = from_client.read(&mut piece).await?;
        if count == 0 {
            return to_server.shutdown().await;
        }
        to_server.write_all(piece.get(..count).unwrap_or_default()).await?;
        tokio::task::yield_now().await;
    }
}

/// Reads until so many bytes came, or the end.
async fn read(socket: &mut TlsSocket, bytes: usize) -> Vec<u8> {
    let mut plain = Vec::new();
    while plain.len() < bytes {
        if poll_fn(|context| socket.poll_read(context, &mut plain)).await.unwrap() == ReadOutcome::End {
            break;
        }
    }
    plain
}

async fn write(socket: &mut TlsSocket, plain: &[u8]) {
    poll_fn(|context| std::task::Poll::Ready(socket.write(context, plain))).await.unwrap();
    poll_fn(|context| socket.poll_flush(context)).await.unwrap();
}

/// Bytes that show any loss, doubling or change of order.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|position| (position % 251) as u8).collect()
}

/// Sends to the server and back, both at once: neither socket holds it all.
async fn echo(socket: &mut TlsSocket, client: &mut TlsStream<TcpStream>, text: &[u8]) {
    let mut back = vec![0; text.len()];
    let server = async {
        let plain = read(socket, text.len()).await;
        assert!(plain == text, "the server read something else");
        write(socket, &plain).await;
    };
    let (mut client_reads, mut client_writes) = tokio::io::split(client);
    let writes = async {
        client_writes.write_all(text).await.unwrap();
        client_writes.flush().await.unwrap();
    };
    let reads = async { client_reads.read_exact(&mut back).await.unwrap() };
    tokio::join!(server, writes, reads);
    assert!(back == text, "the client read something else");
}

#[tokio::test]
async fn text_of_any_length_arrives_whole_both_ways() {
    for version in VERSIONS {
        let (mut socket, mut client) = ends(version, None).connect(64 * 1024).await;
        for bytes in [1, 2, 1000, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 500_000] {
            echo(&mut socket, &mut client, &pattern(bytes)).await;
            assert!(!socket.has_unsent());
        }
    }
}

#[tokio::test]
async fn records_may_come_in_any_pieces() {
    for version in VERSIONS {
        for piece_bytes in [1, 7, 1500] {
            let (mut socket, mut client) = ends(version, None).connect(piece_bytes).await;
            for bytes in [1, 100, 20_000] {
                echo(&mut socket, &mut client, &pattern(bytes)).await;
            }
        }
    }
}

#[tokio::test]
async fn many_small_records_in_one_read_come_in_order() {
    for version in VERSIONS {
        let (mut socket, mut client) = ends(version, None).connect(64 * 1024).await;
        let text = pattern(600);
        for byte in &text {
            client.write_all(&[*byte]).await.unwrap();
        }
        client.flush().await.unwrap();
        assert_eq!(read(&mut socket, text.len()).await, text);
    }
}

#[tokio::test]
async fn either_end_says_goodbye_and_the_other_understands() {
    for version in VERSIONS {
        let (mut socket, mut client) = ends(version, None).connect(64 * 1024).await;
        client.write_all(b"last words").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read(&mut socket, usize::MAX).await, b"last words");

        let (mut socket, mut client) = ends(version, None).connect(64 * 1024).await;
        write(&mut socket, b"last words").await;
        socket.queue_close();
        poll_fn(|context| socket.poll_flush(context)).await.unwrap();
        drop(socket);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.expect("a goodbye, not a broken connection");
        assert_eq!(heard, b"last words");
    }
}

#[tokio::test]
async fn a_client_certificate_is_seen_also_after_resumption() {
    for version in VERSIONS {
        let device = identity("device");
        let certificate = device.certificate.clone();
        let ends = ends(version, Some(device));
        for attempt in ["first", "resumed"] {
            let (mut socket, mut client) = ends.connect(64 * 1024).await;
            assert_eq!(
                socket.client_certificates().and_then(<[_]>::first),
                Some(&certificate),
                "{version:?}, {attempt}"
            );
            echo(&mut socket, &mut client, b"so that the ticket of TLS 1.3 is read").await;
            let kind = client.get_ref().1.handshake_kind();
            assert_eq!(kind == Some(rustls::HandshakeKind::Resumed), attempt == "resumed", "{version:?}, {attempt}");
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_welcome() {
    for version in VERSIONS {
        let (socket, _client) = ends(version, None).connect(64 * 1024).await;
        assert_eq!(socket.client_certificates(), None);
    }
}

#[tokio::test]
async fn garbage_is_an_error() {
    for garbage in [&b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3], &[0; 64]] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = listener.accept().await.unwrap().0;
        let mut socket = TlsSocket::new(stream, ends(&TLS13, None).server).unwrap();
        client.write_all(garbage).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(socket.handshake(&mut Vec::new()).await.is_err(), "{garbage:?}");
    }
}

#[tokio::test]
async fn a_forged_record_ends_the_connection() {
    for version in VERSIONS {
        let ends = ends(version, None);
        let (mut socket, client) = ends.connect(64 * 1024).await;
        let (mut raw, _) = client.into_inner();
        let mut record = [0x5a; 37];
        record[..5].copy_from_slice(&[0x17, 3, 3, 0, 32]);
        raw.write_all(&record).await.unwrap();
        let mut plain = Vec::new();
        let read = async {
            while poll_fn(|context| socket.poll_read(context, &mut plain)).await? == ReadOutcome::Some {}
            io::Result::Ok(())
        };
        assert!(read.await.is_err(), "{version:?}");
        assert!(plain.is_empty());
    }
}
