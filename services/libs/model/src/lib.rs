//! The words of IronHub: identifiers, identities, policies, settings, records and where they live.
//!
//! Everything here is a value: no IO, no clock, no randomness. Text from outside is parsed into these
//! types once, at the edge, and trusted afterwards.

mod authentication;
mod duration;
mod identifier;
mod identity;
mod placement;
mod policy;
mod record;
mod session;
mod settings;
mod timestamp;
pub mod twin;

pub use authentication::{Authentication, InvalidAuthentication, SymmetricKey, SymmetricKeys, Thumbprint, Thumbprints};
pub use duration::parse_duration_seconds;
pub use identifier::{DeviceId, InvalidIdentifier, ModuleId, Principal};
pub use identity::{Credentials, DeviceIdentity, DeviceStatus, ETag, ModuleIdentity};
pub use placement::{EventPartition, GroupId, event_partition, group_of};
pub use policy::{Right, Rights, SharedAccessPolicy};
pub use record::{Annotation, Record, SystemProperty};
pub use session::{ConnectionId, Interests, QualityOfService, Subscription};
pub use settings::{
    CERTIFICATE_BYTES_MAX, CONSUMER_GROUPS_MAX, CloudToDeviceOverrides, ConsumerGroup, DEFAULT_CONSUMER_GROUP,
    HubSettings, InvalidSettings, Overrides, RegisteredCertificate, check_certificates, check_consumer_groups,
    check_policies,
};
pub use timestamp::Timestamp;
