//! What an applied entry means to the outside.

use model::{DeviceId, Principal};
use proto::shard::v1;

/// A change that live sessions or watchers must hear of. Performed by the leader only, in the order of entries.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The stored identity of a device or module was replaced: sessions that depend on it are checked again.
    IdentityChanged(Principal),
    /// The device is gone, with its modules.
    DeviceDeleted(DeviceId),
    /// One module is gone.
    ModuleDeleted(Principal),
    /// The desired properties of a principal were written; versions without a gap.
    DesiredUpdated(Principal, v1::DesiredDelta),
    /// A message can be had from the principal's queue.
    MessagesWaiting(Principal),
    /// Messages left their queues; whoever wants to know how they are doing counts them.
    MessagesEnded { outcome: v1::feedback::Outcome, count: u64 },
    /// The hub's settings are these now.
    SettingsChanged(v1::HubSettings),
    /// A node was registered, or something else is wanted of the cluster.
    ClusterChanged,
    /// The leadership whose fence is that log index has begun.
    LeadershipStarted { node_id: u64, fence: u64 },
}
