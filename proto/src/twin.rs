//! Twins as rows and messages.

use bytes::Bytes;
use model::{
    Timestamp,
    twin::{Metadata, Patch, Properties, Section, SectionChange, Twin, TwinChange, TwinETag},
};

use crate::{InvalidMessage, shard::v1};

impl TryFrom<v1::StoredTwin> for Twin {
    type Error = InvalidMessage;

    fn try_from(row: v1::StoredTwin) -> Result<Self, InvalidMessage> {
        Ok(Self {
            etag: TwinETag(row.etag),
            tags: properties(&row.tags, "twin.tags")?,
            desired: row.desired.ok_or(InvalidMessage("twin.desired"))?.try_into()?,
            reported: row.reported.ok_or(InvalidMessage("twin.reported"))?.try_into()?,
            model_id: row.model_id,
        })
    }
}

impl From<&Twin> for v1::StoredTwin {
    fn from(twin: &Twin) -> Self {
        Self {
            etag: twin.etag.0,
            tags: text(&twin.tags),
            desired: Some((&twin.desired).into()),
            reported: Some((&twin.reported).into()),
            model_id: twin.model_id.clone(),
        }
    }
}

impl TryFrom<v1::TwinSection> for Section {
    type Error = InvalidMessage;

    fn try_from(row: v1::TwinSection) -> Result<Self, InvalidMessage> {
        Ok(Self {
            properties: properties(&row.properties, "twin.properties")?,
            metadata: row.metadata.unwrap_or_default().into(),
            version: row.version,
        })
    }
}

impl From<&Section> for v1::TwinSection {
    fn from(section: &Section) -> Self {
        Self {
            version: section.version,
            properties: text(&section.properties),
            metadata: Some((&section.metadata).into()),
        }
    }
}

impl From<v1::TwinMetadata> for Metadata {
    fn from(row: v1::TwinMetadata) -> Self {
        let member = |member: v1::TwinMetadataMember| (member.name, member.metadata.unwrap_or_default().into());
        Self {
            last_updated: (row.last_updated != 0).then(|| Timestamp::from_unix_microseconds(row.last_updated)),
            last_updated_version: (row.last_updated_version != 0).then_some(row.last_updated_version),
            members: row.members.into_iter().map(member).collect(),
        }
    }
}

impl From<&Metadata> for v1::TwinMetadata {
    fn from(metadata: &Metadata) -> Self {
        let member = |(name, member): (&String, &Metadata)| v1::TwinMetadataMember {
            name: name.clone(),
            metadata: Some(member.into()),
        };
        Self {
            last_updated: metadata.last_updated.map_or(0, Timestamp::unix_microseconds),
            last_updated_version: metadata.last_updated_version.unwrap_or(0),
            members: metadata.members.iter().map(member).collect(),
        }
    }
}

impl TryFrom<&v1::UpdateTwin> for TwinChange {
    type Error = InvalidMessage;

    fn try_from(command: &v1::UpdateTwin) -> Result<Self, InvalidMessage> {
        let change = |change: &Option<v1::SectionChange>| change.as_ref().map(TryInto::try_into).transpose();
        Ok(Self { tags: change(&command.tags)?, desired: change(&command.desired)? })
    }
}

impl TryFrom<&v1::SectionChange> for SectionChange {
    type Error = InvalidMessage;

    fn try_from(change: &v1::SectionChange) -> Result<Self, InvalidMessage> {
        let patch = Patch::checked(properties(&change.properties, "section_change.properties")?);
        Ok(if change.replace { Self::Replace(patch) } else { Self::Patch(patch) })
    }
}

impl From<&SectionChange> for v1::SectionChange {
    fn from(change: &SectionChange) -> Self {
        let (replace, patch) = match change {
            SectionChange::Patch(patch) => (false, patch),
            SectionChange::Replace(patch) => (true, patch),
        };
        Self { replace, properties: patch.to_text().into() }
    }
}

/// The patch of a command.
pub fn checked_patch(text: &[u8]) -> Result<Patch, InvalidMessage> {
    properties(text, "patch").map(Patch::checked)
}

fn properties(text: &[u8], member: &'static str) -> Result<Properties, InvalidMessage> {
    if text.is_empty() {
        return Ok(Properties::new());
    }
    serde_json::from_slice(text).map_err(|_| InvalidMessage(member))
}

fn text(properties: &Properties) -> Bytes {
    if properties.is_empty() { Bytes::new() } else { serde_json::to_vec(properties).unwrap_or_default().into() }
}
