//! What a hub gets when it is made: the five built-in policies with keys of its own (security §5.1).

use anyhow::Context;
use aws_lc_rs::rand;
use model::{ETag, HubSettings, Right, Rights, SharedAccessPolicy, SymmetricKey, SymmetricKeys};

/// Bytes of a key that the hub draws.
const KEY_BYTES: usize = 32;

const POLICIES: [(&str, &[Right]); 5] = [
    ("iothubowner", &[Right::RegistryRead, Right::RegistryWrite, Right::ServiceConnect, Right::DeviceConnect]),
    ("service", &[Right::ServiceConnect]),
    ("device", &[Right::DeviceConnect]),
    ("registryRead", &[Right::RegistryRead]),
    ("registryReadWrite", &[Right::RegistryRead, Right::RegistryWrite]),
];

/// Settings for a new hub with that many device groups. Drawn once; a hub that has settings keeps its own. The owner's
/// primary key is drawn as well unless it is given.
pub fn settings(groups: u32, owner_key: Option<&SymmetricKey>) -> anyhow::Result<HubSettings> {
    let policies = POLICIES.iter().map(|(name, rights)| policy(name, rights));
    let mut policies = policies.collect::<anyhow::Result<Vec<_>>>()?;
    if let (Some(owner), Some(key)) = (policies.first_mut(), owner_key) {
        owner.keys.primary = key.clone();
    }
    Ok(HubSettings { groups, policies, ..HubSettings::default() })
}

fn policy(name: &str, rights: &[Right]) -> anyhow::Result<SharedAccessPolicy> {
    let keys = SymmetricKeys { primary: key()?, secondary: key()? };
    Ok(SharedAccessPolicy { name: name.to_owned(), keys, rights: Rights::of(rights), etag: ETag(1) })
}

/// A random key.
pub fn key() -> anyhow::Result<SymmetricKey> {
    let mut bytes = [0; KEY_BYTES];
    rand::fill(&mut bytes).ok().context("the system gives no random numbers")?;
    Ok(SymmetricKey::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::role::hub_json;

    #[test]
    fn ten_different_keys_for_the_five_documented_policies() -> anyhow::Result<()> {
        let settings = settings(4, None)?;
        let names: Vec<_> = settings.policies.iter().map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, hub_json::POLICIES);
        let keys = settings.policies.iter().flat_map(|policy| [&policy.keys.primary, &policy.keys.secondary]);
        assert_eq!(keys.map(SymmetricKey::as_base64).collect::<HashSet<_>>().len(), 10);
        assert!(settings.policies.iter().all(|policy| policy.keys.primary.as_bytes().len() == KEY_BYTES));
        Ok(())
    }

    #[test]
    fn the_owner_may_have_a_key_that_somebody_knows() -> anyhow::Result<()> {
        let key = key()?;
        let settings = settings(4, Some(&key))?;
        let owner = settings.policy("iothubowner").context("no owner")?;
        assert_eq!(owner.keys.primary, key);
        assert!(owner.rights.are_all() && owner.keys.secondary != key);
        assert!(settings.policies.iter().skip(1).all(|policy| policy.keys.primary != key));
        Ok(())
    }
}
