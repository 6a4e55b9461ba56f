//! A Kafka that wants TLS and a password.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use eventlog::{
    Topic,
    kafka::{Config, OpenError},
    view_record,
};
use ironhub_tests::{Authority, Kafka, TestResult, certificate_params};
use rcgen::SanType;

use crate::kafka::{ALL, append_to, body, config, open};

/// Properties of brokers that speak TLS to everybody and know two users.
fn broker_properties(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"
listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="broker" password="of brokers" user_broker="of brokers" user_hub="of the hub";
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/authority.pem
"#
    )
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a broker of its own; `make kafka-faults`"]
async fn a_log_in_a_kafka_with_tls_and_passwords() -> TestResult {
    let folder = tempfile::tempdir()?;
    let authority = Authority::root("brokers")?;
    let mut params = certificate_params("broker");
    params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    let server = authority.sign_params(&params)?;
    let chain: String = server.chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
    std::fs::write(folder.path().join("server.pem"), pem("PRIVATE KEY", &server.key) + &chain)?;
    std::fs::write(folder.path().join("authority.pem"), pem("CERTIFICATE", &authority.der))?;
    std::fs::write(folder.path().join("right"), "of the hub\n")?;
    std::fs::write(folder.path().join("wrong"), "of somebody else")?;

    let kafka = Kafka::start_with(1, &broker_properties(folder.path()))?;
    let client = BTreeMap::from([
        ("security.protocol".to_owned(), "SASL_SSL".to_owned()),
        ("ssl.ca.location".to_owned(), folder.path().join("authority.pem").display().to_string()),
        ("sasl.mechanism".to_owned(), "PLAIN".to_owned()),
        ("sasl.username".to_owned(), "hub".to_owned()),
    ]);
    let with =
        |file: &str| Config { client: client.clone(), sasl_password_file: folder.path().join(file), ..config(&kafka) };
    let log = open(with("right")).await?;
    let topic = Topic::new("secret");
    log.create_topic(&topic, 1).await?;
    log.append(append_to(&topic, 0, &body("for few"))).await?;
    let read = log.read(&topic, 0, 0, ALL).await?;
    assert_eq!(read.len(), 1);
    assert_eq!(view_record(&read[0].record)?.body, "for few");
    log.shutdown().await;

    for refused in [with("wrong"), Config { sasl_password_file: "".into(), ..config(&kafka) }] {
        let error = open(refused).await.err().and_then(|error| error.downcast::<OpenError>().ok());
        assert!(matches!(error, Some(OpenError::Kafka(..))), "{error:?}");
    }
    Ok(())
}
