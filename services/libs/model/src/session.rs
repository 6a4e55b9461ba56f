//! Live connections and MQTT sessions as shards and gateways speak of them (mqtt §2.6, §2.8).

/// Names one attachment of a principal, cluster-wide. The larger one is the newer connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Log index of the entry that started the leadership which gave this id.
    pub leadership: u64,
    /// Counts the attachments of that leadership.
    pub counter: u64,
}

/// Delivery guarantee of a subscription; the hub never grants more than at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QualityOfService {
    AtMostOnce,
    AtLeastOnce,
}

/// One granted topic filter of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub filter: String,
    pub quality_of_service: QualityOfService,
    pub interests: Interests,
}

/// What a connection wants to be told, as its protocol head understands its subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interests {
    pub methods: bool,
    pub desired_properties: bool,
    pub device_bound_messages: bool,
}

impl Interests {
    /// As services tell each other.
    pub fn to_bits(self) -> u32 {
        u32::from(self.methods) | u32::from(self.desired_properties) << 1 | u32::from(self.device_bound_messages) << 2
    }

    /// The other way; bits of newer versions are no interests of this one.
    pub fn from_bits(bits: u32) -> Self {
        Self { methods: bits & 1 != 0, desired_properties: bits & 2 != 0, device_bound_messages: bits & 4 != 0 }
    }
}

/// Everything that any of them wants.
impl FromIterator<Interests> for Interests {
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        Self::from_bits(all.into_iter().fold(0, |bits, interests| bits | interests.to_bits()))
    }
}
