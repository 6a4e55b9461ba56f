//! Device and module twins (twins-jobs-query §2): documents, what may stand in them, and how requests change them.
//!
//! ```text
//!   JSON of a request --Patch::parse--> Patch --Twin::update, Twin::report--> Twin, and what the device is told
//! ```
//!
//! Everything is a function of its arguments: the time comes from the caller, so that replicas agree.

mod document;
mod merge;
mod metadata;
mod patch;
mod section;
mod size;

pub use document::{Twin, TwinChange, TwinETag, Updated};
pub use metadata::Metadata;
pub use patch::{InvalidPatch, Patch};
pub use section::{Section, SectionChange};
pub use size::TooLarge;

/// The members of a JSON object.
pub type Properties = serde_json::Map<String, serde_json::Value>;

/// Bytes of all tags (twins §2.4).
pub const TAGS_BYTES_MAX: usize = 8 * 1024;
/// Bytes of the desired, and of the reported properties.
pub const SECTION_BYTES_MAX: usize = 32 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "literal JSON")]
mod tests;
