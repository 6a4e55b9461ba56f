//! Settings of the log in Kafka, and what is refused.

use std::{collections::BTreeMap, fmt::Display, path::PathBuf, time::Duration};

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};

use super::OpenError;

/// Configuration of the event log in Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the first broker is found: `host:port`, several with commas. Empty: there is no Kafka.
    pub bootstrap_servers: String,
    /// What the names of all topics and consumer groups of this hub begin with; hubs that share a Kafka need different
    /// ones.
    pub name_prefix: String,
    /// Copies of each partition of a topic that is made; -1 leaves it to the brokers.
    pub replication_factor: i32,
    /// Records are kept that long, unless the hub's settings say something else.
    pub retention_seconds: u64,
    /// Records that wait for their acknowledgement; an append beyond it fails with `Full` at once.
    pub queue_bytes_max: usize,
    /// An append that no broker has acknowledged by then has failed; whether the record is there is not known then. One
    /// that waits behind another one of its partition may take twice as long.
    pub delivery_timeout_seconds: u64,
    /// Least time between two batches of a partition. An append to an idle log goes at once; under load each batch gathers
    /// what arrived meanwhile, at least what arrives while the batch before is on its way.
    pub linger_microseconds: u64,
    /// Records behind the end of a partition that are kept in memory for readers, for each partition that is read.
    pub tail_bytes_max: usize,
    /// More properties of librdkafka for all that connects, such as `security.protocol`, `ssl.ca.location`,
    /// `sasl.mechanism`, `sasl.username`. What durability and order rest on cannot be set.
    pub client: BTreeMap<String, String>,
    /// File with the password of `sasl.username`; a line end behind it is not part of it. Empty: there is none. Read once.
    pub sasl_password_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap_servers: String::new(),
            name_prefix: "ironhub.".to_owned(),
            replication_factor: -1,
            retention_seconds: 24 * 60 * 60,
            queue_bytes_max: 64 << 20,
            delivery_timeout_seconds: 30,
            linger_microseconds: 1000,
            tail_bytes_max: 8 << 20,
            client: BTreeMap::new(),
            sasl_password_file: PathBuf::new(),
        }
    }
}

/// What a user cannot set: an acknowledgement means that a record is durable, in its order, where it says.
const OURS: [&str; 18] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "linger.ms",
    "message.timeout.ms",
    "metadata.broker.list",
    "queue.buffering.max.ms",
    "queuing.strategy",
    "request.required.acks",
    "transactional.id",
];
const PASSWORD: &str = "sasl.password";
const PASSWORD_BYTES_MAX: usize = 64 << 10;

impl Config {
    /// librdkafka counts in kilobytes, and this much is far more than a process wants.
    const QUEUE_BYTES_MAX: usize = 1 << 30;

    pub(super) fn check(&self) -> Result<(), OpenError> {
        let refuse = |what: &str| Err(OpenError::Configuration(what.to_owned()));
        if self.bootstrap_servers.trim().is_empty() {
            return refuse("bootstrap_servers names no broker");
        }
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.name_prefix.len() > 100 || !self.name_prefix.bytes().all(is_legal) {
            return refuse("name_prefix has at most 100 letters, digits, '.', '_' and '-'");
        }
        if self.replication_factor == 0 || self.replication_factor < -1 {
            return refuse("replication_factor must be -1 or at least 1");
        }
        if !(4096..=Self::QUEUE_BYTES_MAX).contains(&self.queue_bytes_max) {
            return refuse("queue_bytes_max must be between 4096 and 1073741824");
        }
        if !(1..=3600).contains(&self.delivery_timeout_seconds) {
            return refuse("delivery_timeout_seconds must be between 1 and 3600");
        }
        if self.retention_seconds == 0 || self.retention_seconds > 10 * 366 * 24 * 60 * 60 {
            return refuse("retention_seconds must be between 1 and ten years");
        }
        if self.linger_microseconds > 1_000_000 {
            return refuse("linger_microseconds must be at most 1000000");
        }
        match self.client.keys().find(|name| OURS.contains(&name.as_str())) {
            Some(name) => refuse(&format!("client.\"{name}\" cannot be set, the hub's promises rest on it")),
            None => Ok(()),
        }
    }

    /// The same with the password that lies in a file.
    pub(super) fn with_password(&self) -> Result<Self, OpenError> {
        let mut config = self.clone();
        if self.sasl_password_file.as_os_str().is_empty() {
            return Ok(config);
        }
        let refuse = |why: &dyn Display| {
            OpenError::Configuration(format!("sasl_password_file {}: {why}", self.sasl_password_file.display()))
        };
        let text = std::fs::read_to_string(&self.sasl_password_file).map_err(|error| refuse(&error))?;
        let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX || password.contains(['\n', '\0']) {
            return Err(refuse(&"it must hold one line, the password"));
        }
        match config.client.insert(PASSWORD.to_owned(), password.to_owned()) {
            None => Ok(config),
            Some(_) => Err(refuse(&"client.\"sasl.password\" is set, too")),
        }
    }

    pub(super) fn delivery_timeout(&self) -> Duration {
        Duration::from_secs(self.delivery_timeout_seconds)
    }

    pub(super) fn linger(&self) -> Duration {
        Duration::from_micros(self.linger_microseconds)
    }

    /// What producer, consumers and administration share.
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap_servers).set("client.id", "ironhub");
        // A broker that comes back is found soon.
        client.set("reconnect.backoff.max.ms", "1000").set("topic.metadata.refresh.interval.ms", "30000");
        client
    }

    fn with_users(&self, mut client: ClientConfig) -> ClientConfig {
        self.client.iter().for_each(|(name, value)| {
            client.set(name, value);
        });
        client
    }

    pub(super) fn admin(&self) -> ClientConfig {
        self.with_users(self.client())
    }

    /// Every copy that is in sync has it, and no retry stores it twice or changes the order.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut client = self.client();
        client.set("acks", "all").set("enable.idempotence", "true");
        client.set("delivery.timeout.ms", (self.delivery_timeout_seconds * 1000).to_string());
        // We gather records ourselves and flush (`sender.rs`); this is for a flush that came too early.
        client.set("linger.ms", "3");
        client.set("batch.num.messages", "100000").set("message.max.bytes", "1048576");
        // The bound is ours (`queue_bytes_max`); that of the library counts differently and only has to be wider.
        client.set("queue.buffering.max.messages", "10000000");
        client.set("queue.buffering.max.kbytes", "2097151");
        self.with_users(client)
    }

    /// Reads where it is told to; remembers nothing by itself.
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut client = self.client();
        // Nobody joins it: the library wants a name to assign partitions to.
        client.set("group.id", format!("{}reader", self.name_prefix));
        client.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        client.set("auto.offset.reset", "error").set("fetch.min.bytes", "1").set("fetch.wait.max.ms", "500");
        client.set("queued.max.messages.kbytes", "8192").set("fetch.message.max.bytes", "1048576");
        self.with_users(client)
    }
}
