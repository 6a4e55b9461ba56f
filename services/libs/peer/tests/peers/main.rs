//! Who gets a connection, and as what.

mod pki;

use std::{net::SocketAddr, time::Duration};

use peer::{Connector, Credentials, Role, accept};
use pki::Authority;
use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};
use tokio_stream::StreamExt;
use tonic::{
    codegen::Service,
    transport::{Uri, server::Connected},
};

type TestResult = Result<(), Box<dyn std::error::Error>>;

const PATIENCE: Duration = Duration::from_secs(10);

fn uri(address: SocketAddr) -> Result<Uri, tonic::codegen::http::uri::InvalidUri> {
    format!("http://{address}").parse()
}

/// The role that the server sees; an error when the client was not let in.
async fn meet(server: peer::Files, client: peer::Files, to: Role) -> Result<Role, Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut accepted = accept(listener, Credentials::open(server)?);
    let mut connector = Connector::new(Credentials::open(client)?, to);
    let connecting = async {
        let mut connection = connector.call(uri(address)?).await?;
        // With TLS 1.3 a client learns that its certificate was refused only when it reads or writes.
        connection.inner_mut().write_all(b"hello").await?;
        Ok::<_, Box<dyn std::error::Error>>(connection)
    };
    let _connection = connecting.await?;
    let accepted = timeout(Duration::from_secs(1), accepted.next()).await?.ok_or("nobody came")??;
    Ok(accepted.connect_info())
}

#[tokio::test]
async fn a_certificate_says_the_role() -> TestResult {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let shard = authority.issue(folder.path(), Role::Shard)?;
    let gateway = authority.issue(folder.path(), Role::Gateway)?;
    assert_eq!(meet(shard.clone(), gateway.clone(), Role::Shard).await?, Role::Gateway);
    assert_eq!(meet(shard.clone(), shard.clone(), Role::Shard).await?, Role::Shard);
    assert!(meet(gateway, shard, Role::Shard).await.is_err(), "a gateway is no shard, whatever its address");
    Ok(())
}

#[tokio::test]
async fn without_a_role_or_by_another_authority_nobody_gets_in() -> TestResult {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let shard = authority.issue(folder.path(), Role::Shard)?;
    let nobody = authority.issue_named(folder.path(), "somebody.ironhub.internal")?;
    assert!(meet(shard.clone(), nobody, Role::Shard).await.is_err());
    let elsewhere = tempfile::tempdir()?;
    let mut stranger = Authority::new()?.issue(elsewhere.path(), Role::Gateway)?;
    stranger.authority_file.clone_from(&shard.authority_file);
    assert!(meet(shard, stranger, Role::Shard).await.is_err());
    Ok(())
}

#[tokio::test]
async fn without_a_certificate_nobody_gets_in() -> TestResult {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut stream = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
    let mut accepted = accept(listener, Credentials::open(authority.issue(folder.path(), Role::Shard)?)?);
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    assert!(timeout(Duration::from_millis(300), accepted.next()).await.is_err());
    let mut read = Vec::new();
    let ended = timeout(PATIENCE, tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut read)).await?;
    assert!(ended.is_err() || !read.starts_with(b"\0"), "no HTTP/2 settings came back");
    Ok(())
}

#[tokio::test]
async fn replaced_files_are_read_and_broken_ones_are_not_used() -> TestResult {
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let files = authority.issue(folder.path(), Role::Shard)?;
    let credentials = Credentials::open(files.clone())?;
    assert!(!credentials.refresh()?);
    std::fs::write(&files.certificate_file, "nothing")?;
    let error = credentials.refresh().err().ok_or("a broken file was used")?.to_string();
    assert!(error.contains("shard.ironhub.internal.pem"), "{error}");
    authority.issue(folder.path(), Role::Shard)?;
    assert!(credentials.refresh()?);
    assert!(!credentials.refresh()?);
    Ok(())
}
