//! Connection strings (security §2).

use std::{fmt, str::FromStr};

use model::{DeviceId, ModuleId, SymmetricKey};

/// What a connection string can say. Printed in the order and spelling that every SDK reads.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    pub host_name: String,
    pub device_id: Option<DeviceId>,
    pub module_id: Option<ModuleId>,
    pub shared_access_key_name: Option<String>,
    pub shared_access_key: Option<SymmetricKey>,
}

/// Why a text is no connection string. Never contains a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConnectionString {
    #[error("a part has no '='; expected Name=Value;Name=Value")]
    Part,
    #[error("HostName is missing")]
    HostName,
    #[error("{0} is not valid")]
    Value(&'static str),
    #[error("{0} is not a name of a connection string")]
    UnknownName(String),
}

impl FromStr for ConnectionString {
    type Err = InvalidConnectionString;

    fn from_str(text: &str) -> Result<Self, InvalidConnectionString> {
        let mut parsed = Self {
            host_name: String::new(),
            device_id: None,
            module_id: None,
            shared_access_key_name: None,
            shared_access_key: None,
        };
        for part in text.trim().split(';').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or(InvalidConnectionString::Part)?;
            match name {
                "HostName" => parsed.host_name = checked(value, "-_.:[]", "HostName")?,
                "DeviceId" => parsed.device_id = Some(parse(value, "DeviceId")?),
                "ModuleId" => parsed.module_id = Some(parse(value, "ModuleId")?),
                "SharedAccessKeyName" => {
                    parsed.shared_access_key_name = Some(checked(value, "-_.@", "SharedAccessKeyName")?)
                }
                "SharedAccessKey" => parsed.shared_access_key = Some(parse(value, "SharedAccessKey")?),
                other => return Err(InvalidConnectionString::UnknownName(other.to_owned())),
            }
        }
        if parsed.host_name.is_empty() { Err(InvalidConnectionString::HostName) } else { Ok(parsed) }
    }
}

/// Letters, digits and the marks that SDKs allow there; a host may have a port or be an address (security §2).
fn checked(value: &str, marks: &str, name: &'static str) -> Result<String, InvalidConnectionString> {
    let is_valid = value.chars().all(|char| char.is_ascii_alphanumeric() || marks.contains(char));
    if is_valid && !value.is_empty() { Ok(value.to_owned()) } else { Err(InvalidConnectionString::Value(name)) }
}

fn parse<T: FromStr>(value: &str, name: &'static str) -> Result<T, InvalidConnectionString> {
    value.parse().map_err(|_| InvalidConnectionString::Value(name))
}

/// The connection string itself, key included: for files of the owner and for the owner's eyes.
impl fmt::Display for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName={}", self.host_name)?;
        if let Some(device_id) = &self.device_id {
            write!(f, ";DeviceId={device_id}")?;
        }
        if let Some(module_id) = &self.module_id {
            write!(f, ";ModuleId={module_id}")?;
        }
        if let Some(name) = &self.shared_access_key_name {
            write!(f, ";SharedAccessKeyName={name}")?;
        }
        if let Some(key) = &self.shared_access_key {
            write!(f, ";SharedAccessKey={}", key.as_base64())?;
        }
        Ok(())
    }
}

/// Without the key.
impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Self { shared_access_key: None, ..self.clone() }, f)
    }
}
