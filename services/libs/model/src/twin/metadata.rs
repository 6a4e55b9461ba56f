//! `$metadata`: when each part of a section was written (twins §2.2).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Properties;
use crate::Timestamp;

/// A node that mirrors the section, an object or a leaf of it. Arrays are leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `None`: never.
    pub last_updated: Option<Timestamp>,
    /// The `$version` that wrote it; only desired properties have it.
    pub last_updated_version: Option<u64>,
    pub members: BTreeMap<String, Metadata>,
}

/// What a write leaves on every node it touches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub time: Timestamp,
    pub version: Option<u64>,
}

impl Metadata {
    pub(super) fn stamp(&mut self, stamp: Stamp) {
        self.last_updated = Some(stamp.time);
        self.last_updated_version = stamp.version;
    }

    /// As it stands in documents.
    pub fn to_json(&self) -> Value {
        let never = || format!("{}Z", Timestamp::NEVER);
        let mut node = Properties::new();
        node.insert("$lastUpdated".into(), json!(self.last_updated.map_or_else(never, |time| time.to_string())));
        if let Some(version) = self.last_updated_version {
            node.insert("$lastUpdatedVersion".into(), json!(version));
        }
        node.extend(self.members.iter().map(|(name, member)| (name.clone(), member.to_json())));
        Value::Object(node)
    }
}
