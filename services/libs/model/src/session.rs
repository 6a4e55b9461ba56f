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
}
