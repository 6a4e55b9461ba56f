//! The third step: from what is wanted and what there is to what is done next. Pure.
//!
//! Nothing is remembered between two looks but what the cluster and the hub hold, so an operator that ends at any point is
//! taken over from by the next one. What has to wait for something is not in the plan; the next look finds it again.

mod action;
mod settings;
mod shards;

pub use action::{Action, Removal};
pub use settings::next_managed;

use crate::{observe::Observed, resource::IotHub, validate::Wanted};

/// What is done now, in this order, and what stands in the way of the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// Of settings.
    pub problems: Vec<String>,
    pub shards_problem: Option<String>,
    /// Shards are on their way out: a resource that goes now leaves half a step behind.
    pub is_shrinking: bool,
    /// Numbers of shards that are not in the hub, or are about to be removed, and whose pods run, see [`crate::resource::ShardsStatus`].
    pub removing: Vec<u32>,
    /// Numbers of shards beyond the StatefulSet's size that the hub needs, or may, and whose disks are there.
    pub left_behind: Vec<u32>,
}

/// The next steps towards what is wanted.
pub fn build(observed: &Observed, wanted: &Wanted, owner_policy: &str) -> Plan {
    let mut plan = Plan::default();
    if let Ok(hub) = &observed.hub {
        settings::plan(&mut plan, wanted, hub, &observed.status, owner_policy, observed.now);
    }
    shards::plan(&mut plan, wanted, observed);
    plan
}

/// What is left to do when the resource goes: shards that were on their way out and still run stay.
pub fn release(observed: &Observed, hub: &IotHub) -> Vec<Action> {
    shards::release(observed, hub.spec.shards)
}
