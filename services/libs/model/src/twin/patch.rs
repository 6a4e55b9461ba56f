//! What a request may write into a section (twins §2.4).

use serde_json::{Number, Value};

use super::Properties;

/// Bytes of a name, and of a text.
const NAME_BYTES_MAX: usize = 1024;
const TEXT_BYTES_MAX: usize = 4096;
/// Levels of objects and arrays below the section.
const DEPTH_MAX: usize = 10;
/// Integers from -2^52 to 2^52 - 1.
const INTEGER_MIN: i64 = -4_503_599_627_370_496;
const INTEGER_MAX: i64 = 4_503_599_627_370_495;
/// Names in messages are cut here.
const SHOWN_CHARACTERS_MAX: usize = 64;

/// Properties that may be merged into a section, or replace it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch(Properties);

/// Why JSON is no patch, in the words of the service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPatch {
    #[error("Provided json is not a valid 'tags' or 'properties' object: {0}")]
    NotAnObject(String),
    #[error(
        "Property or Tag name has invalid characters. Error in Property/Tag {0}. Must not contain Control Characters, '.', '$', '#', or ' '."
    )]
    Name(String),
    #[error("Property or Tag name should be maximum 1024 bytes. Error in Property/Tag {0}")]
    NameTooLong(String),
    #[error("Value associated with property name {0} has length {1} that exceeds maximum length of 4096")]
    TextTooLong(String, usize),
    #[error("Property {0} has an out of bound value. Valid values are between -4503599627370496 and 4503599627370495")]
    Integer(String),
    // The missing space is the service's.
    #[error("Value of Property or Tag cannot be null. Error inProperty/Tag {0}")]
    NullInArray(String),
    #[error("Nested depth of twin property exceeds 10. Error in Property/Tag {0}")]
    TooDeep(String),
}

impl Patch {
    /// Reads the JSON of a section. `$metadata` and `$version` of a document that was read and comes back do not count.
    pub fn parse(value: Value) -> Result<Self, InvalidPatch> {
        let Value::Object(mut properties) = value else {
            return Err(InvalidPatch::NotAnObject(shown(&value.to_string())));
        };
        properties.remove("$metadata");
        properties.remove("$version");
        check_object(&properties, 0, Nulls::Delete)?;
        Ok(Self(properties))
    }

    /// The same from text.
    pub fn parse_text(text: &[u8]) -> Result<Self, InvalidPatch> {
        let value = serde_json::from_slice(text).map_err(|error| InvalidPatch::NotAnObject(error.to_string()))?;
        Self::parse(value)
    }

    /// One that was checked before it was written down; replicas of other versions must not judge it again.
    pub fn checked(properties: Properties) -> Self {
        Self(properties)
    }

    /// What it says.
    pub fn properties(&self) -> &Properties {
        &self.0
    }

    /// As JSON text.
    pub fn to_text(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).unwrap_or_default()
    }
}

/// What a null means where it stands.
#[derive(Clone, Copy)]
enum Nulls {
    Delete,
    Refused,
}

fn check_object(properties: &Properties, depth: usize, nulls: Nulls) -> Result<(), InvalidPatch> {
    properties.iter().try_for_each(|(name, value)| {
        check_name(name)?;
        check_value(name, value, depth, nulls)
    })
}

fn check_name(name: &str) -> Result<(), InvalidPatch> {
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '.' | '$' | '#');
    if name.len() > NAME_BYTES_MAX {
        return Err(InvalidPatch::NameTooLong(shown(name)));
    }
    if name.contains(forbidden) { Err(InvalidPatch::Name(shown(name))) } else { Ok(()) }
}

fn check_value(name: &str, value: &Value, depth: usize, nulls: Nulls) -> Result<(), InvalidPatch> {
    match value {
        Value::Null => match nulls {
            Nulls::Delete => Ok(()),
            Nulls::Refused => Err(InvalidPatch::NullInArray(shown(name))),
        },
        Value::Bool(_) => Ok(()),
        Value::Number(number) if is_in_range(number) => Ok(()),
        Value::Number(_) => Err(InvalidPatch::Integer(shown(name))),
        Value::String(text) if text.len() <= TEXT_BYTES_MAX => Ok(()),
        Value::String(text) => Err(InvalidPatch::TextTooLong(shown(name), text.len())),
        Value::Array(_) | Value::Object(_) if depth >= DEPTH_MAX => Err(InvalidPatch::TooDeep(shown(name))),
        Value::Array(elements) => {
            elements.iter().try_for_each(|element| check_value(name, element, depth + 1, Nulls::Refused))
        }
        Value::Object(properties) => check_object(properties, depth + 1, nulls),
    }
}

fn is_in_range(number: &Number) -> bool {
    match (number.as_i64(), number.as_u64()) {
        (Some(integer), _) => (INTEGER_MIN..=INTEGER_MAX).contains(&integer),
        (None, Some(_)) => false,
        (None, None) => true,
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS_MAX).collect()
}
