//! What a command prints.

use serde_json::Value;

/// One result, for programs and for people.
pub struct Output {
    pub json: Value,
    pub text: String,
}

impl Output {
    /// The same for both.
    pub fn of_json(json: Value) -> Self {
        let text = format!("{json:#}");
        Self { json, text }
    }

    /// On standard output.
    pub fn print(&self, as_json: bool) {
        if as_json { println!("{:#}", self.json) } else { println!("{}", self.text) }
    }
}

/// Columns that align.
pub fn table<const COLUMNS: usize>(head: [&str; COLUMNS], rows: Vec<[String; COLUMNS]>) -> String {
    let lines: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |cells: &[String; COLUMNS]| {
        let padded: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Members of an identity as cells.
pub fn cells<const COLUMNS: usize>(identity: &Value, pointers: [&str; COLUMNS]) -> [String; COLUMNS] {
    pointers.map(|pointer| {
        let text = identity.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if text.starts_with("0001-01-01") { "never".to_owned() } else { text.to_owned() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let rows = vec![["thermostat", "enabled"].map(str::to_owned)];
        assert_eq!(table(["ID", "STATUS"], rows), "ID          STATUS\nthermostat  enabled");
    }
}
