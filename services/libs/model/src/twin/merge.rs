//! Merge patches: like RFC 7386, but nulls inside new objects vanish too, and every touched node is stamped.

use serde_json::Value;

use super::{
    Properties,
    metadata::{Metadata, Stamp},
};

/// Merges the patch into the properties and their metadata (the table of twins §2.3).
pub(super) fn merge(properties: &mut Properties, metadata: &mut Metadata, patch: &Properties, stamp: Stamp) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                properties.remove(name);
                metadata.members.remove(name);
            }
            Value::Object(patch) => {
                let member = properties.entry(name).or_insert(Value::Null);
                let node = metadata.members.entry(name.clone()).or_default();
                if !member.is_object() {
                    *member = Value::Object(Properties::new());
                    *node = Metadata::default();
                }
                if let Value::Object(member) = member {
                    merge(member, node, patch, stamp);
                }
            }
            leaf => {
                properties.insert(name.clone(), leaf.clone());
                let mut node = Metadata::default();
                node.stamp(stamp);
                metadata.members.insert(name.clone(), node);
            }
        }
    }
    metadata.stamp(stamp);
}

/// The patch that makes the new properties of the old ones for a device that has those: all that is new, and null for
/// what vanished (twins §2.3). Values are not compared.
pub(super) fn replacement(old: &Properties, new: &Properties) -> Properties {
    let mut patch = Properties::new();
    for (name, value) in new {
        let value = match (old.get(name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => Value::Object(replacement(old, new)),
            _ => value.clone(),
        };
        patch.insert(name.clone(), value);
    }
    let vanished = old.keys().filter(|name| !new.contains_key(*name));
    patch.extend(vanished.map(|name| (name.clone(), Value::Null)));
    patch
}
