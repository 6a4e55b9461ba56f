//! The hub's settings: what the `hub` group keeps and every gateway watches.

use crate::SharedAccessPolicy;

/// Settings of the hub at one revision. Grows with the settings API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubSettings {
    /// Grows by one with every change; 0 before the hub was initialised.
    pub revision: u64,
    /// Number of device groups, chosen when the hub is created, never changed.
    pub groups: u32,
    pub policies: Vec<SharedAccessPolicy>,
}

impl HubSettings {
    /// The policy of that name; names compare without case (security §5.1).
    pub fn policy(&self, name: &str) -> Option<&SharedAccessPolicy> {
        self.policies.iter().find(|policy| policy.name.eq_ignore_ascii_case(name))
    }
}
