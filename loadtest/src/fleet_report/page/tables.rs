//! The tables of the page.

use super::{
    super::{FleetReport, OperationTotals},
    escape,
    scale::{grouped, milliseconds, number},
};

impl FleetReport {
    /// A row for each kind of operation.
    pub(super) fn totals_table(&self) -> String {
        let rows: String = self.operations.iter().map(row).collect();
        format!(
            "<h2>Totals</h2>\n<div class=\"card\"><table><tr><th class=\"words\">steady phase</th><th>done</th>\
             <th>per second</th><th>p50</th><th>p99</th><th>longest</th><th>errors</th><th>in the ramp-up</th>\
             <th>errors there</th></tr>\n{rows}</table></div>\n"
        )
    }

    /// A row for each kind of error.
    pub(super) fn errors_table(&self) -> String {
        if self.errors.is_empty() {
            return String::new();
        }
        let row = |error: &super::super::ErrorCount| {
            format!(
                "<tr><td class=\"words\">{}</td><td class=\"words\">{}</td><td class=\"words\">{}</td><td>{}</td></tr>\n",
                error.phase.name(),
                error.operation,
                escape(&error.what),
                grouped(error.count)
            )
        };
        let rows: String = self.errors.iter().map(row).collect();
        format!(
            "<h2>Errors by kind</h2>\n<div class=\"card\"><table><tr><th class=\"words\">phase</th>\
             <th class=\"words\">operation</th><th class=\"words\">what</th><th>how often</th></tr>\n{rows}</table></div>\n"
        )
    }

    /// What was acknowledged, and whether it was there.
    pub(super) fn found_list(&self) -> String {
        let items: String = self.found.lines().iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
        format!("<h2>What was acknowledged, and found</h2>\n<div class=\"card\"><ul>{items}</ul></div>\n")
    }
}

fn row(totals: &OperationTotals) -> String {
    let (steady, ramp_up) = (&totals.steady, &totals.ramp_up);
    let latency = |value: Option<f64>| format!("<td>{}</td>", value.map_or_else(|| "-".to_owned(), milliseconds));
    let errors = |count: u64| {
        let class = if count > 0 { " class=\"bad\"" } else { "" };
        format!("<td{class}>{}</td>", grouped(count))
    };
    [
        format!("<tr><td class=\"words\">{}</td><td>{}</td>", totals.operation, grouped(steady.count)),
        format!("<td>{}</td>", number(steady.per_second)),
        latency(steady.p50_milliseconds),
        latency(steady.p99_milliseconds),
        latency(steady.longest_milliseconds),
        errors(steady.errors),
        format!("<td>{}</td>", grouped(ramp_up.count)),
        errors(ramp_up.errors),
        "</tr>\n".to_owned(),
    ]
    .concat()
}
