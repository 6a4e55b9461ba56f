//! A hub behind a load balancer: clients keep their addresses (PROXY protocol, version 2).

use std::{net::SocketAddr, time::Duration};

use ironhub_tests::{
    Delivery, Device, Haproxy, Hub, HubOptions, OTHER_KEY, Relay, TestResult, connect_as_balancer, eventually, token,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A connection that is still there after it is kept.
const KEPT: Duration = Duration::from_millis(300);
/// A header that must have come by now.
const SECOND: Duration = Duration::from_secs(1);
const CLIENT: &str = "203.0.113.7:4711";

/// A hub that trusts where the tests' balancers connect from.
async fn hub(limits: &str) -> TestResult<Hub> {
    let config = format!("[gateway.proxy_protocol]\ntrusted_sources = ['127.0.31.8/31']\n[gateway.limits]\n{limits}");
    Hub::start_with(HubOptions { config, ..HubOptions::default() }).await
}

/// A header of a proxy that speaks for that client.
fn header(client: &str) -> TestResult<Vec<u8>> {
    let (family, block) = match client.parse()? {
        SocketAddr::V4(client) => {
            (0x11, [&client.ip().octets()[..], &[10, 0, 0, 1], &client.port().to_be_bytes(), &[0, 1]].concat())
        }
        SocketAddr::V6(client) => {
            (0x21, [&client.ip().octets()[..], &[0; 16], &client.port().to_be_bytes(), &[0, 1]].concat())
        }
    };
    Ok(v2(0x21, family, &block))
}

fn local() -> Vec<u8> {
    v2(0x20, 0, &[])
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = (block.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, block].concat()
}

/// Where from the device was last refused, as an operator is told.
async fn refused_peer(hub: &Hub, device: &Device, protocol: &str) -> TestResult<String> {
    let path = format!("/ironhub/v1/explain/{}", device.device_id);
    let refusal = &hub.call("GET", &path, &[], &Value::Null).await?.expect(200)?.json()?["lastRefusal"];
    assert_eq!(refusal["protocol"], protocol, "{refusal}");
    Ok(refusal["peer"].as_str().unwrap_or_default().to_owned())
}

/// A credential that is refused by each protocol; what peers that leaves.
async fn refused_peers(hub: &Hub, device: &Device) -> TestResult<[String; 3]> {
    let wrong = token(&device.resource(), &OTHER_KEY.parse()?, None);
    assert_eq!(hub.connect_code(&mqtt::Connect { password: Some(wrong.clone()), ..device.connect() }).await?, 5);
    let by_mqtt = refused_peer(hub, device, "MQTT").await?;
    assert_eq!(hub.amqp().await?.put_token(&wrong, &amqp::Value::String("m")).await?.0, 401);
    let by_amqp = refused_peer(hub, device, "AMQP").await?;
    let path = format!("/devices/{}/messages/events", device.device_id);
    hub.call_as(&wrong, "POST", &path, &[], b"x").await?.expect(401)?;
    Ok([by_mqtt, by_amqp, refused_peer(hub, device, "HTTPS").await?])
}

#[tokio::test]
async fn the_address_in_the_header_counts_however_it_comes() -> TestResult {
    let mut hub = hub("").await?;
    let (mqtt, amqp, https) = (hub.mqtt, hub.amqp, hub.https);
    for delivery in [Delivery::Together, Delivery::ByteByByte, Delivery::Ahead] {
        for client in [CLIENT, "[2001:db8::7]:4711"] {
            let header = header(client)?;
            let before_mqtt = Relay::start(mqtt, header.clone(), delivery).await?;
            let before_amqp = Relay::start(amqp, header.clone(), delivery).await?;
            let before_https = Relay::start(https, header, delivery).await?;
            (hub.mqtt, hub.amqp, hub.https) = (before_mqtt.address, before_amqp.address, before_https.address);
            let device = hub.new_device().await?;
            assert_eq!(refused_peers(&hub, &device).await?, [client, client, client], "{delivery:?}");
            hub.connect(&device).await?.publish_acknowledged(&device.events_topic(), b"x").await?;
        }
    }
    assert!(hub.log().contains(CLIENT), "it is the one that is logged:\n{}", hub.log());
    assert!(!hub.log().contains("127.0.31.9"), "{}", hub.log());
    Ok(())
}

#[tokio::test]
async fn a_real_haproxy_keeps_the_addresses_of_its_clients() -> TestResult {
    let mut hub = hub("").await?;
    let haproxy = Haproxy::start(&[&hub]).await?;
    (hub.mqtt, hub.amqp, hub.https) = (haproxy.mqtt, haproxy.amqp, haproxy.https);
    let device = hub.new_device().await?;
    for peer in refused_peers(&hub, &device).await? {
        let peer: SocketAddr = peer.parse()?;
        assert!(peer.ip().is_loopback() && peer.ip() != Haproxy::source(), "{peer}");
    }
    let mut client = hub.connect(&device).await?;
    client.publish_acknowledged(&device.events_topic(), b"through haproxy").await?;
    hub.wait_for_events(&device.device_id, 1).await?;
    // Its own looks at the hub's health come with LOCAL, and then shake hands.
    let handshakes = async || {
        let metrics = hub.admin("/metrics").await?.1;
        let line = metrics.lines().find_map(|line| line.strip_prefix("ironhub_tls_handshakes_total "));
        anyhow::Ok(line.unwrap_or_default().parse::<u64>()?)
    };
    let before = handshakes().await?;
    eventually("its looks at the hub's health succeed", async || Ok(handshakes().await? >= before + 6)).await?;
    assert!(!hub.log().contains("a connection of a trusted source is refused"), "{}", hub.log());
    client.ping().await
}

#[tokio::test]
async fn a_proxy_that_speaks_for_itself_keeps_its_own_address() -> TestResult {
    let mut hub = hub("").await?;
    let https = hub.https;
    let relay = Relay::start(hub.mqtt, local(), Delivery::Together).await?;
    let before_https = Relay::start(https, local(), Delivery::Together).await?;
    (hub.mqtt, hub.https) = (relay.address, before_https.address);
    let device = hub.new_device().await?;
    let wrong = token(&device.resource(), &OTHER_KEY.parse()?, None);
    assert_eq!(hub.connect_code(&mqtt::Connect { password: Some(wrong), ..device.connect() }).await?, 5);
    let peer = refused_peer(&hub, &device, "MQTT").await?;
    assert!(peer.starts_with("127.0.31.9:"), "{peer}");
    Ok(())
}

#[tokio::test]
async fn others_are_ordinary_clients_and_cannot_claim_an_address() -> TestResult {
    let hub = hub("").await?;
    let device = hub.new_device().await?;
    for peer in refused_peers(&hub, &device).await? {
        assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    }
    let mut stream = TcpStream::connect(hub.mqtt).await?;
    stream.write_all(&header(CLIENT)?).await?;
    assert!(is_closed(&mut stream).await?, "it is no TLS");
    assert!(!hub.log().contains(CLIENT), "{}", hub.log());
    Ok(())
}

/// Whether the hub ends the connection soon, or keeps it.
async fn is_closed(stream: &mut TcpStream) -> TestResult<bool> {
    let mut answer = Vec::new();
    // An alert may come first.
    Ok(timeout(KEPT, stream.read_to_end(&mut answer)).await.is_ok())
}

#[tokio::test]
async fn what_is_no_header_of_version_2_is_refused_in_words() -> TestResult {
    let hub = hub("").await?;
    let text = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 8883\r\n";
    let unknown_command = v2(0x22, 0x11, &[0; 12]);
    let cases = [
        (&text[..], "the text of version 1: expected version 2 (haproxy: send-proxy-v2)"),
        (b"\x16\x03\x01\x02\x00\x01", "begins without a PROXY header"),
        (&unknown_command, "command 2: expected 0 (LOCAL) or 1 (PROXY)"),
    ];
    for (said, explained) in cases {
        for address in [hub.mqtt, hub.amqp, hub.https] {
            let mut stream = connect_as_balancer(address).await?;
            stream.write_all(said).await?;
            assert!(is_closed(&mut stream).await?, "{explained}");
        }
        let log = hub.log();
        let line = log.lines().find(|line| line.contains(explained));
        let line = line.unwrap_or_else(|| panic!("{explained} is not in\n{log}"));
        assert!(line.contains("WARN") && line.contains("127.0.31.9:"), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_header_that_does_not_come_ends_the_connection() -> TestResult {
    let hub = hub("handshake_timeout_seconds = 1").await?;
    let header = header(CLIENT)?;
    // Nothing, a part of it, and all of it with nothing behind.
    for begun in [0, 10, 20, header.len()] {
        let mut stream = connect_as_balancer(hub.mqtt).await?;
        stream.write_all(&header[..begun]).await?;
        assert!(!is_closed(&mut stream).await?, "{begun} bytes");
        tokio::time::sleep(SECOND).await;
        assert!(is_closed(&mut stream).await?, "{begun} bytes");
    }
    // Who looks whether the port is open is no news.
    drop(connect_as_balancer(hub.mqtt).await?);
    assert_eq!(hub.log().matches("its header does not come").count(), 3, "{}", hub.log());
    let mut half = connect_as_balancer(hub.mqtt).await?;
    half.write_all(&header[..20]).await?;
    half.shutdown().await?;
    assert!(is_closed(&mut half).await?);
    assert!(hub.log().contains("ended before its header did"), "{}", hub.log());
    Ok(())
}

#[tokio::test]
async fn unfinished_handshakes_are_counted_for_the_address_in_the_header() -> TestResult {
    let hub = hub("handshakes_per_address_max = 2\nhandshake_grace_milliseconds = 60000").await?;
    let open = async |client: Option<&str>| {
        let mut stream = connect_as_balancer(hub.mqtt).await?;
        if let Some(client) = client {
            stream.write_all(&header(client)?).await?;
        }
        let is_closed = is_closed(&mut stream).await?;
        anyhow::Ok((stream, is_closed))
    };
    let mut kept = Vec::new();
    for (client, is_closed) in [
        (Some("203.0.113.7:1"), false),
        (Some("203.0.113.7:2"), false),
        (Some("203.0.113.7:3"), true),
        (Some("203.0.113.8:1"), false),
        (Some("[2001:db8::1]:1"), false),
        (Some("[2001:db8::2]:1"), false),
        (Some("[2001:db8::3]:1"), true),
        // Those that have not said whose they are count for nobody.
        (None, false),
        (None, false),
        (None, false),
    ] {
        let (stream, closed) = open(client).await?;
        assert_eq!(closed, is_closed, "{client:?}");
        kept.push(stream);
    }
    let device = hub.new_device().await?;
    hub.connect(&device).await?.ping().await
}
