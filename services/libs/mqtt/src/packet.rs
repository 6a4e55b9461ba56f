//! The packets a client may send, as values that cannot be wrong.

/// Delivery guarantee of a packet; exactly once is decoded so that it can be refused by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QualityOfService {
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

impl QualityOfService {
    pub(crate) fn from_bits(bits: u8) -> Result<Self, Malformed> {
        match bits {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            _ => Err(Malformed::QualityOfService),
        }
    }
}

/// A complete packet from a client. PUBLISH borrows from the input; the others are rare and own their parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    Connect(Box<Connect>),
    Publish(Publish<'a>),
    PubAck(u16),
    /// PUBREC, PUBREL or PUBCOMP: part of exactly-once delivery, which the hub does not speak.
    ExactlyOnceStep,
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    PingRequest,
    Disconnect,
}

/// CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    pub client_id: String,
    pub clean_session: bool,
    /// Seconds; 0 switches it off.
    pub keep_alive_seconds: u16,
    pub username: Option<String>,
    pub password: Option<String>,
    pub will: Option<Will>,
}

/// Never shows the password.
impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("clean_session", &self.clean_session)
            .field("keep_alive_seconds", &self.keep_alive_seconds)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| ".."))
            .field("will", &self.will)
            .finish()
    }
}

/// The message that is published when the connection ends without DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    pub topic: String,
    pub payload: Vec<u8>,
    pub quality_of_service: QualityOfService,
    pub retain: bool,
}

/// PUBLISH; a UTF-8 topic that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub quality_of_service: QualityOfService,
    /// Not zero; present unless the quality of service is at most once.
    pub packet_id: Option<u16>,
    pub duplicate: bool,
    pub retain: bool,
}

/// SUBSCRIBE: at least one filter, each with the quality of service asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    pub packet_id: u16,
    pub filters: Vec<(String, QualityOfService)>,
}

/// UNSUBSCRIBE: at least one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    pub packet_id: u16,
    pub filters: Vec<String>,
}

/// Answer to CONNECT (mqtt §2.4). The hub avoids 2 and 4, which make the C SDK stop for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectReturnCode {
    Accepted = 0,
    UnacceptableProtocolVersion = 1,
    ServerUnavailable = 3,
    NotAuthorized = 5,
}

/// Bytes that are no MQTT 3.1.1 packet a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("packet type {0} is not for clients")]
    PacketType(u8),
    #[error("reserved flag bits are set")]
    Flags,
    #[error("the remaining length is not encoded in at most four bytes")]
    RemainingLength,
    #[error("the packet has {0} bytes, more than the limit")]
    TooLarge(usize),
    #[error("the packet ends inside a field")]
    Truncated,
    #[error("bytes follow the last field")]
    TrailingBytes,
    #[error("a text is not UTF-8, or contains a NUL")]
    Text,
    #[error("quality of service 3 does not exist")]
    QualityOfService,
    #[error("packet id 0")]
    PacketId,
    #[error("a topic to publish to is empty")]
    Topic,
    #[error("no topic filter, or an empty one")]
    Filters,
    #[error("more topic filters than one packet may have")]
    TooManyFilters,
    #[error("the protocol name is not MQTT")]
    ProtocolName,
    #[error("protocol level {0} is not spoken here")]
    ProtocolLevel(u8),
    #[error("a password without a user name")]
    PasswordWithoutUsername,
    #[error("will flags without a will")]
    WillFlags,
}
