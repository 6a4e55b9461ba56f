//! The report as a page: one file that opens anywhere, with its style and plots inside.

mod bars;
mod chart;
mod scale;
mod tables;

use std::{io::Write, path::Path};

use anyhow::Context;

use self::{
    chart::{Chart, Series, Shape, Time},
    scale::{Scale, grouped, milliseconds, moment, number},
};
use super::{FleetReport, Phase, Slot, SlotOperation};

const STYLE: &str = include_str!("style.css");
const WIDE: (f64, f64) = (640.0, 260.0);
const SMALL: (f64, f64) = (420.0, 190.0);
/// The colour of what is bad.
const ALARM: usize = 7;

impl FleetReport {
    /// Writes the page; `-` is standard output.
    pub fn write_html(&self, file: &Path) -> anyhow::Result<()> {
        let html = self.html();
        let written = match file.to_str() {
            Some("-") => std::io::stdout().write_all(html.as_bytes()),
            _ => std::fs::write(file, html),
        };
        written.with_context(|| format!("cannot write {}", file.display()))
    }

    fn html(&self) -> String {
        let title = escape(&self.title);
        let time = Time {
            slots: self.slots.iter().map(|slot| slot.began_seconds).collect(),
            slot_seconds: self.slot_seconds,
            steady_seconds: (self.ramp_up_seconds, self.ramp_up_seconds + self.steady_seconds),
        };
        [
            format!(
                "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
                 content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body>\n\
                 <h1>{title}</h1>\n<p>{}</p>\n<p class=\"soft\">Began {}. Ramp-up {} s, steady phase {} s; plots have a value every \
                 {} s.</p>\n",
                escape(&self.mix),
                escape(&self.began_at),
                number(self.ramp_up_seconds.round()),
                number(self.steady_seconds.round()),
                number(self.slot_seconds),
            ),
            self.tiles(),
            format!("<h2>Service</h2>\n<div class=\"two\">{}{}</div>\n", self.connected(&time), self.without_service()),
            format!("<h2>Load and errors</h2>\n<div class=\"two\">{}{}</div>\n", self.rates(&time), self.errors(&time)),
            format!("<h2>Latency</h2>\n<div class=\"many\">{}</div>\n", self.latencies(&time)),
            self.totals_table(),
            self.errors_table(),
            self.found_list(),
            "</body></html>\n".to_owned(),
        ]
        .concat()
    }

    /// What people look for first.
    fn tiles(&self) -> String {
        let without = &self.without_service;
        let tile = |class: &str, value: String, what: &str| {
            format!("<div class=\"tile {class}\"><b>{}</b><span>{}</span></div>", escape(&value), escape(what))
        };
        let judge = |is_good: bool| if is_good { "good" } else { "bad" };
        let errors = self.error_count(Phase::Steady);
        let per_second: f64 = self.operations.iter().map(|totals| totals.steady.per_second).sum();
        let found = self.check();
        [
            "<div class=\"tiles\">".to_owned(),
            tile(judge(without.never_served == 0), grouped(without.devices.into()), "devices served"),
            tile("", milliseconds(without.longest_seconds * 1e3), "longest time without service"),
            tile("", milliseconds(without.p99_seconds * 1e3), "the same, 99 of 100 devices"),
            tile(judge(errors == 0), grouped(errors), "errors after the ramp-up"),
            tile("", number(per_second), "operations per second"),
            match &found {
                Ok(()) => tile("good", "all found".to_owned(), "of what was acknowledged"),
                Err(error) => tile("bad", "missing".to_owned(), &error.to_string()),
            },
            "</div>\n".to_owned(),
        ]
        .concat()
    }

    fn series(&self, name: &'static str, colour: usize, shape: Shape, of: impl Fn(&Slot) -> Option<f64>) -> Series {
        Series { name, colour, shape, values: self.slots.iter().map(of).collect() }
    }

    fn connected(&self, time: &Time) -> String {
        let series = vec![
            self.series("connected", 0, Shape::Area, |slot| Some(slot.connected.into())),
            self.series("without service for more than a second", ALARM, Shape::Line, |slot| {
                Some(slot.without_service.into())
            }),
        ];
        linear("Devices", time, series)
    }

    fn without_service(&self) -> String {
        let without = &self.without_service;
        let note = match (&without.longest_device, without.longest_began_seconds) {
            (Some(device), Some(began)) => {
                let (device, longest) = (escape(device), milliseconds(without.longest_seconds * 1e3));
                format!("<span class=\"legend\">longest: {longest} from {} on, {device}</span>", moment(began))
            }
            _ => String::new(),
        };
        let bars = bars::render(&without.each_seconds);
        format!("<figure><figcaption>Devices by their longest time without service{note}</figcaption>{bars}</figure>\n")
    }

    fn rates(&self, time: &Time) -> String {
        let series = self.operations.iter().enumerate().map(|(place, totals)| {
            self.series(totals.operation, place, Shape::Line, |slot| Some(slot.operations.get(place)?.per_second))
        });
        linear("Operations per second", time, series.collect())
    }

    fn errors(&self, time: &Time) -> String {
        let errors = self.series("errors", ALARM, Shape::Columns, |slot| Some(slot.errors as f64));
        linear("Errors", time, vec![errors])
    }

    /// A small plot for each kind of operation that was done, all with the same scale.
    fn latencies(&self, time: &Time) -> String {
        let of = |slot: &SlotOperation| [slot.p50_milliseconds, slot.p99_milliseconds];
        let all = self.slots.iter().flat_map(|slot| slot.operations.iter().flat_map(of)).flatten();
        let scale = Scale::logarithmic(all);
        let plot = |(place, title): (usize, &'static str)| {
            let series = vec![
                self.series("p50", 0, Shape::Line, |slot| slot.operations.get(place)?.p50_milliseconds),
                self.series("p99", 1, Shape::Line, |slot| slot.operations.get(place)?.p99_milliseconds),
            ];
            Chart { title, time, series, scale, write: milliseconds, size: SMALL }.render()
        };
        self.operations.iter().map(|totals| totals.operation).enumerate().map(plot).collect()
    }
}

fn linear(title: &str, time: &Time, series: Vec<Series>) -> String {
    let scale = Scale::linear(series.iter().flat_map(|series| series.values.iter().flatten().copied()));
    Chart { title, time, series, scale, write: number, size: WIDE }.render()
}

/// Text as it may stand in a page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;

    #[test]
    fn the_page_needs_nothing_else() {
        let html = report().html();
        for outside in ["<script", "src=", "href=", "url(", "@import", "http:", "https:"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
        assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
    }

    #[test]
    fn everything_opened_is_closed() {
        let html = report().html();
        for tag in
            ["svg", "figure", "figcaption", "div", "table", "tr", "td", "th", "span", "p", "ul", "li", "text", "b"]
        {
            let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert!(opened > 0 && opened == html.matches(&format!("</{tag}>")).count(), "{tag}: {opened}");
        }
    }

    #[test]
    fn texts_of_others_are_text() {
        let html = report().html();
        assert!(html.contains("refused &lt;b&gt; &amp; &quot;q&quot;") && !html.contains("refused <b>"), "{html}");
    }

    #[test]
    fn what_matters_is_at_the_top() {
        let html = report().html();
        for tile in [
            "<div class=\"tile bad\"><b>3</b><span>errors after the ramp-up</span></div>",
            "<div class=\"tile \"><b>4.2 s</b><span>longest time without service</span></div>",
            "<div class=\"tile bad\"><b>missing</b><span>acknowledged and not found: 1 telemetry",
        ] {
            assert!(html.contains(tile), "{tile}: {html}");
        }
    }
}
