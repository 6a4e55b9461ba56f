//! How large a section counts (twins §2.4).

use serde_json::Value;

use super::Properties;

/// A section would become larger than it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Twin {section} size {bytes} exceeds maximum {bytes_max}")]
pub struct TooLarge {
    /// `tags`, `desired properties` or `reported properties`.
    pub section: &'static str,
    pub bytes: usize,
    pub bytes_max: usize,
}

pub(super) fn check(section: &'static str, properties: &Properties, bytes_max: usize) -> Result<(), TooLarge> {
    match of_object(properties) {
        bytes if bytes > bytes_max => Err(TooLarge { section, bytes, bytes_max }),
        _ => Ok(()),
    }
}

/// Names and values; punctuation, `$metadata` and `$version` do not count.
pub(super) fn of_object(properties: &Properties) -> usize {
    properties.iter().map(|(name, value)| name.len() + of_value(value)).sum()
}

fn of_value(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.chars().filter(|c| !c.is_control()).map(char::len_utf8).sum(),
        Value::Array(elements) => elements.iter().map(of_value).sum(),
        Value::Object(properties) => of_object(properties),
    }
}
