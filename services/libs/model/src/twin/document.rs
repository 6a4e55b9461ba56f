//! The whole twin, and the two ways of writing it.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    Patch, Properties, SECTION_BYTES_MAX, Section, SectionChange, TAGS_BYTES_MAX, TooLarge, merge,
    metadata::{Metadata, Stamp},
    section::{Versioned, with_version},
    size,
};
use crate::Timestamp;

/// Version of a twin as back ends know it: on the wire base64 of 8 bytes, big-endian (twins §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TwinETag(pub u64);

impl TwinETag {
    /// Reads the text between the quotes of an `If-Match`; `None` when it can be no twin's.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        Some(Self(u64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl fmt::Display for TwinETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0.to_be_bytes()))
    }
}

/// What is stored of a twin; the rest of the document is the identity's.
#[derive(Clone, Debug, PartialEq)]
pub struct Twin {
    /// Counts the writes of back ends, from 1.
    pub etag: TwinETag,
    pub tags: Properties,
    pub desired: Section,
    pub reported: Section,
    /// What the device announced itself to be; empty: nothing.
    pub model_id: String,
}

/// The twin of a new identity.
impl Default for Twin {
    fn default() -> Self {
        Self {
            etag: TwinETag(1),
            tags: Properties::new(),
            desired: Section::default(),
            reported: Section::default(),
            model_id: String::new(),
        }
    }
}

/// What a back end writes at once; a section that is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TwinChange {
    pub tags: Option<SectionChange>,
    pub desired: Option<SectionChange>,
}

/// A twin after a write of a back end.
#[derive(Clone, Debug, PartialEq)]
pub struct Updated {
    pub twin: Twin,
    /// What a connected device is told, `$version` included; `None` when the desired properties were not written.
    pub desired_delta: Option<Value>,
}

impl Twin {
    /// Counts every write (twins §2.1).
    pub fn version(&self) -> u64 {
        self.etag.0 + self.reported.version
    }

    /// A write of a back end: all of it, or nothing when a section would become too large.
    pub fn update(mut self, change: &TwinChange, time: Timestamp) -> Result<Updated, TooLarge> {
        self.etag.0 += 1;
        if let Some(change) = &change.tags {
            change_tags(&mut self.tags, change, time);
            size::check("tags", &self.tags, TAGS_BYTES_MAX)?;
        }
        let mut desired_delta = None;
        if let Some(change) = &change.desired {
            let delta = self.desired.change(change, time, Versioned::Yes);
            size::check("desired properties", &self.desired.properties, SECTION_BYTES_MAX)?;
            // Nulls count their names only, so a patch may be larger than what it leaves.
            size::check("desired properties patch", &delta, 2 * SECTION_BYTES_MAX)?;
            desired_delta = Some(with_version(delta, self.desired.version));
        }
        Ok(Updated { twin: self, desired_delta })
    }

    /// A write of the device.
    pub fn report(mut self, patch: Patch, time: Timestamp) -> Result<Self, TooLarge> {
        self.reported.change(&SectionChange::Patch(patch), time, Versioned::No);
        size::check("reported properties", &self.reported.properties, SECTION_BYTES_MAX)?;
        Ok(self)
    }

    /// As the device reads it.
    pub fn to_device_json(&self) -> Value {
        json!({ "desired": self.desired.to_device_json(), "reported": self.reported.to_device_json() })
    }
}

/// Tags have no version and no metadata.
fn change_tags(tags: &mut Properties, change: &SectionChange, time: Timestamp) {
    let patch = match change {
        SectionChange::Patch(patch) => patch,
        SectionChange::Replace(new) => {
            tags.clear();
            new
        }
    };
    merge::merge(tags, &mut Metadata::default(), patch.properties(), Stamp { time, version: None });
}
