//! The report: a table for people, JSON for programs.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use serde::Serialize;

use crate::measurement::Measurement;

/// What a run found out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was done, in words.
    pub title: String,
    /// What one item is: message, connect, create, connection.
    pub unit: &'static str,
    /// Server and its figures; with a comparison two.
    pub servers: Vec<(String, Measurement)>,
    /// Figures that only this scenario has.
    pub figures: BTreeMap<&'static str, f64>,
}

struct Row {
    name: String,
    of: fn(&Measurement) -> Option<f64>,
    decimals: usize,
}

impl Report {
    fn rows(&self) -> Vec<Row> {
        let unit = self.unit;
        let row = |name: String, decimals, of| Row { name, of, decimals };
        vec![
            row(format!("{unit}s per second"), 0, |m| Some(m.per_second)),
            row("latency p50, ms".into(), 3, |m| m.latency_p50_milliseconds),
            row("latency p99, ms".into(), 3, |m| m.latency_p99_milliseconds),
            row("latency p99.9, ms".into(), 3, |m| m.latency_p999_milliseconds),
            row(format!("server CPU per {unit}, us"), 2, |m| m.server_cpu_microseconds),
            row("server CPU, cores".into(), 2, |m| m.server_cpu_cores),
            row(format!("generator CPU per {unit}, us"), 2, |m| Some(m.generator_cpu_microseconds)),
            row("server RSS, MiB".into(), 1, |m| m.server_resident_bytes.map(|bytes| bytes as f64 / 1048576.0)),
            row("server private memory, MiB".into(), 1, |m| {
                m.server_private_bytes.map(|bytes| bytes as f64 / 1048576.0)
            }),
            row("errors".into(), 0, |m| Some(m.errors.values().sum::<u64>() as f64)),
        ]
    }

    /// Prints the table to standard output.
    pub fn print(&self) {
        println!("\n{}\n", self.title);
        if !self.servers.is_empty() {
            self.print_servers();
        }
        for (name, value) in &self.figures {
            println!("{name:<42}{value:>14.1}");
        }
    }

    fn print_servers(&self) {
        let names: Vec<_> = self.servers.iter().map(|(name, _)| format!("{name:>14}")).collect();
        let ratio = if self.servers.len() == 2 { format!("{:>10}", "ratio") } else { String::new() };
        println!("{:<32}{}{ratio}", "", names.concat());
        for row in self.rows() {
            println!("{}", self.line(&row));
        }
        for (server, measurement) in &self.servers {
            for (error, count) in &measurement.errors {
                println!("{server}: {count} x {error}");
            }
        }
    }

    fn line(&self, row: &Row) -> String {
        // Nothing counted has no cost each.
        let value = |measurement| (row.of)(measurement).filter(|value| value.is_finite());
        let values: Vec<Option<f64>> = self.servers.iter().map(|(_, measurement)| value(measurement)).collect();
        let cells = values.iter().map(|value| match value {
            Some(value) => format!("{value:>14.*}", row.decimals),
            None => format!("{:>14}", "-"),
        });
        let mut line = format!("{:<32}{}", row.name, cells.collect::<String>());
        if let [Some(ours), Some(theirs)] = values.as_slice()
            && *theirs != 0.0
        {
            line.push_str(&format!("{:>10.3}", ours / theirs));
        }
        line
    }
}

/// Writes a report for programs.
pub fn write_json(report: &impl Serialize, file: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
