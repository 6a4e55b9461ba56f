//! Comma-separated values (RFC 4180), one record at a time, and which column is which member of an entry.

use std::io::BufRead;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::lines::LINE_BYTES_MAX;

/// Column names and where their cells belong in an entry (rest §4).
const COLUMNS: [(&str, &str); 15] = [
    ("id", "/id"),
    ("moduleId", "/moduleId"),
    ("importMode", "/importMode"),
    ("eTag", "/eTag"),
    ("status", "/status"),
    ("statusReason", "/statusReason"),
    ("managedBy", "/managedBy"),
    ("deviceScope", "/deviceScope"),
    ("type", "/authentication/type"),
    ("primaryKey", "/authentication/symmetricKey/primaryKey"),
    ("secondaryKey", "/authentication/symmetricKey/secondaryKey"),
    ("primaryThumbprint", "/authentication/x509Thumbprint/primaryThumbprint"),
    ("secondaryThumbprint", "/authentication/x509Thumbprint/secondaryThumbprint"),
    ("iotEdge", IOT_EDGE),
    ("capabilities.iotEdge", IOT_EDGE),
];
const IOT_EDGE: &str = "/capabilities/iotEdge";

/// The header row: the place of each column's cells.
pub struct Header(Vec<&'static str>);

impl Header {
    /// Names compare without case.
    pub fn parse(names: &[String]) -> anyhow::Result<Self> {
        let place = |name: &String| {
            let column = COLUMNS.iter().find(|(column, _)| column.eq_ignore_ascii_case(name.trim()));
            column.map(|(_, place)| *place).with_context(|| {
                let known: Vec<_> = COLUMNS.iter().map(|(column, _)| *column).collect();
                format!("the column {name:?} is unknown; known are {}", known.join(", "))
            })
        };
        let places = names.iter().map(place).collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::ensure!(places.contains(&"/id"), "the first line must name the columns, and one of them must be id");
        Ok(Self(places))
    }

    /// The entry that a record says; empty cells say nothing.
    pub fn entry(&self, cells: Vec<String>) -> anyhow::Result<Map<String, Value>> {
        anyhow::ensure!(cells.len() == self.0.len(), "{} cells, but {} columns", cells.len(), self.0.len());
        let mut entry = Map::new();
        for (place, cell) in self.0.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
            let value = if *place == IOT_EDGE { json!(parse_bool(&cell)?) } else { Value::String(cell) };
            put(&mut entry, place.trim_start_matches('/'), value);
        }
        Ok(entry)
    }
}

fn parse_bool(cell: &str) -> anyhow::Result<bool> {
    match cell.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => anyhow::bail!("iotEdge is {cell:?}, expected true or false"),
    }
}

fn put(object: &mut Map<String, Value>, place: &str, value: Value) {
    match place.split_once('/') {
        None => drop(object.insert(place.to_owned(), value)),
        Some((name, rest)) => {
            if let Value::Object(inner) = object.entry(name).or_insert_with(|| json!({})) {
                put(inner, rest, value);
            }
        }
    }
}

/// The next record and how many lines it took; `None` at the end of the input.
pub fn record(input: &mut impl BufRead) -> anyhow::Result<Option<(Vec<String>, u64)>> {
    let (mut text, mut lines) = (Vec::new(), 0);
    loop {
        let before = text.len();
        super::lines::read_line(input, &mut text)?;
        if text.len() == before {
            break;
        }
        lines += 1;
        anyhow::ensure!(
            text.len() <= LINE_BYTES_MAX,
            "a record is longer than {LINE_BYTES_MAX} bytes; is a quote open?"
        );
        // A cell in quotes may go on in the next line.
        if text.iter().filter(|byte| **byte == b'"').count() % 2 == 0 {
            break;
        }
    }
    if lines == 0 {
        return Ok(None);
    }
    let text = String::from_utf8(text).context("the file is not UTF-8")?;
    Ok(Some((cells(text.trim_end_matches(['\r', '\n'])), lines)))
}

fn cells(record: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = record.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            character => cell.push(character),
        }
    }
    cells.push(cell);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_commas_and_line_ends_within_cells() -> anyhow::Result<()> {
        let mut input = "a,\"b, \"\"c\"\"\nd\",\r\nx,y,z".as_bytes();
        assert_eq!(record(&mut input)?, Some((vec!["a".into(), "b, \"c\"\nd".into(), String::new()], 2)));
        assert_eq!(record(&mut input)?, Some((["x", "y", "z"].map(str::to_owned).to_vec(), 1)));
        assert_eq!(record(&mut input)?, None);
        Ok(())
    }

    #[test]
    fn a_record_becomes_an_entry() -> anyhow::Result<()> {
        let text = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let header = Header::parse(&text(&["ID", "status", "primaryKey", "secondaryKey", "iotEdge"]))?;
        let entry = header.entry(text(&["d1", "", "a2V5", "a2V5", "TRUE"]))?;
        let keys = json!({ "primaryKey": "a2V5", "secondaryKey": "a2V5" });
        let expected =
            json!({ "id": "d1", "authentication": { "symmetricKey": keys }, "capabilities": { "iotEdge": true } });
        assert_eq!(Value::Object(entry), expected);
        assert!(header.entry(text(&["d1"])).is_err());
        assert!(Header::parse(&text(&["id", "colour"])).is_err());
        assert!(Header::parse(&text(&["status"])).is_err());
        Ok(())
    }
}
