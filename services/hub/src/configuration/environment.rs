//! Settings in the environment.
//!
//! A variable `IRONHUB_NAME` sets a setting of the first level, `IRONHUB_SECTION__NAME` one of a section. Its text is
//! read as TOML when that is possible (`8883`, `["a", "b"]`), else as a string; lists may be written `a,b`. Variables
//! without `__` that name no setting belong to someone else (Kubernetes sets `IRONHUB_SERVICE_HOST`, for one).

use std::{ffi::OsString, path::PathBuf};

use anyhow::Context;
use toml::{Table, Value};

use super::RoleConfig;

const PREFIX: &str = "IRONHUB_";

/// The process's environment, read once.
pub struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// Keeps what is text; nothing of ours is anything else.
    pub fn new(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self { variables: variables.filter_map(text).collect() }
    }

    /// Where a hub keeps its data, and client commands look for one, when nobody says otherwise.
    pub fn default_data_dir(&self) -> PathBuf {
        let folder = |name| self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || folder("HOME").map(|home| home.join(".local/share"));
        folder("XDG_DATA_HOME").or_else(home).map_or_else(|| "ironhub-data".into(), |base| base.join("ironhub"))
    }

    /// The value of a variable, when it is set to something.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Writes the settings among the variables over those of the file.
    pub fn overlay<C: RoleConfig>(&self, table: &mut Table) -> anyhow::Result<()> {
        let known = Table::try_from(C::default())?;
        for (name, text) in &self.variables {
            let Some(path) = setting_path(name, &known) else { continue };
            set::<C>(table, &known, &path, text).with_context(|| format!("in the environment variable {name}"))?;
        }
        Ok(())
    }
}

/// Writes settings that are named as in the file, `log.filter`, over the others.
pub fn overlay_settings<C: RoleConfig>(settings: &[(String, String)], table: &mut Table) -> anyhow::Result<()> {
    let known = Table::try_from(C::default())?;
    for (name, text) in settings {
        let path: Vec<_> = name.split('.').map(str::to_owned).collect();
        set::<C>(table, &known, &path, text).with_context(|| format!("in --set {name}"))?;
    }
    Ok(())
}

fn set<C: RoleConfig>(table: &mut Table, known: &Table, path: &[String], text: &str) -> anyhow::Result<()> {
    insert(table, path, value(text, default_at(known, path)))?;
    Ok(table.clone().try_into::<C>().map(drop)?)
}

/// `IRONHUB_LOG__FILTER` is `log.filter`; `None` for a variable that is no setting.
fn setting_path(variable: &str, known: &Table) -> Option<Vec<String>> {
    let path: Vec<String> =
        variable.strip_prefix(PREFIX)?.to_ascii_lowercase().split("__").map(str::to_owned).collect();
    let first_level = path.first().is_some_and(|name| known.contains_key(name));
    (path.len() > 1 || first_level).then_some(path)
}

fn default_at<'a>(table: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    match table.get(first)? {
        Value::Table(section) if !rest.is_empty() => default_at(section, rest),
        value => Some(value),
    }
}

/// Reads a variable's text as the kind of value that the setting has by default.
fn value(text: &str, default: Option<&Value>) -> Value {
    let plain = |text: &str| Value::String(text.to_owned());
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match (default, parsed) {
        (Some(Value::String(_)), _) => plain(text),
        (Some(Value::Array(_)), Some(Value::Array(list))) => Value::Array(list),
        (Some(Value::Array(_)), _) => Value::Array(text.split(',').map(|item| plain(item.trim())).collect()),
        (_, parsed) => parsed.unwrap_or_else(|| plain(text)),
    }
}

fn insert(table: &mut Table, path: &[String], value: Value) -> anyhow::Result<()> {
    let Some((name, sections)) = path.split_last() else { return Ok(()) };
    let mut table = table;
    for section in sections {
        let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
        table = entry.as_table_mut().with_context(|| format!("`{section}` has no fields"))?;
    }
    table.insert(name.clone(), value);
    Ok(())
}
