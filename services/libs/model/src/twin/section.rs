//! Desired or reported properties with their version and metadata.

use serde_json::{Value, json};

use super::{
    Patch, Properties, merge,
    metadata::{Metadata, Stamp},
};
use crate::Timestamp;

/// One section of a twin.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub properties: Properties,
    pub metadata: Metadata,
    /// `$version`: 1 at first, one more with every accepted request.
    pub version: u64,
}

/// Nothing written yet.
impl Default for Section {
    fn default() -> Self {
        Self { properties: Properties::new(), metadata: Metadata::default(), version: 1 }
    }
}

/// What a request does to a section.
#[derive(Clone, Debug, PartialEq)]
pub enum SectionChange {
    /// Merges.
    Patch(Patch),
    /// Puts this in the place of all that was there.
    Replace(Patch),
}

/// Which sections tell the version in their metadata: the desired ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versioned {
    Yes,
    No,
}

impl Section {
    /// Applies the change as the next version. Answers the patch that brings a reader of the version before up to date.
    pub(super) fn change(&mut self, change: &SectionChange, time: Timestamp, versioned: Versioned) -> Properties {
        self.version += 1;
        let version = (versioned == Versioned::Yes).then_some(self.version);
        let stamp = Stamp { time, version };
        match change {
            SectionChange::Patch(patch) => {
                merge::merge(&mut self.properties, &mut self.metadata, patch.properties(), stamp);
                patch.properties().clone()
            }
            SectionChange::Replace(new) => {
                let old = std::mem::take(&mut self.properties);
                self.metadata = Metadata::default();
                merge::merge(&mut self.properties, &mut self.metadata, new.properties(), stamp);
                merge::replacement(&old, new.properties())
            }
        }
    }

    /// As devices read it: the properties and `$version`.
    pub fn to_device_json(&self) -> Value {
        with_version(self.properties.clone(), self.version)
    }

    /// As back ends read it, with `$metadata`.
    pub fn to_service_json(&self) -> Value {
        let mut members = self.properties.clone();
        members.insert("$metadata".into(), self.metadata.to_json());
        with_version(members, self.version)
    }
}

pub(super) fn with_version(mut members: Properties, version: u64) -> Value {
    members.insert("$version".into(), json!(version));
    Value::Object(members)
}
