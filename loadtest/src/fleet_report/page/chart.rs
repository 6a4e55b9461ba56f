//! Plots over the time of a run, as SVG without scripts. What a plot shows at a moment is in the tooltip of a strip there.

use std::fmt::Write;

use super::{
    escape,
    scale::{Scale, moment, time_ticks},
};

/// One line or area.
pub struct Series {
    pub name: &'static str,
    /// Number of its colour in the style sheet.
    pub colour: usize,
    pub shape: Shape,
    /// One for each slot; a slot without a value is a gap in the line.
    pub values: Vec<Option<f64>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Line,
    /// A line with its area filled.
    Area,
    /// A column for each slot.
    Columns,
}

/// The time that all plots of a page share.
pub struct Time {
    /// Begin of each slot, seconds.
    pub slots: Vec<f64>,
    pub slot_seconds: f64,
    /// When the steady phase began and ended.
    pub steady_seconds: (f64, f64),
}

/// A plot.
pub struct Chart<'a> {
    pub title: &'a str,
    pub time: &'a Time,
    pub series: Vec<Series>,
    pub scale: Scale,
    /// How its values are written.
    pub write: fn(f64) -> String,
    pub size: (f64, f64),
}

const LEFT: f64 = 58.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

impl Chart<'_> {
    /// The whole figure: title, legend, plot.
    pub fn render(&self) -> String {
        let (width, height) = self.size;
        let mut out = format!("<figure><figcaption>{}{}</figcaption>", escape(self.title), self.legend());
        let title = escape(self.title);
        let _ = write!(out, r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}">"#);
        out.push_str(&self.phases());
        out.push_str(&self.grid());
        self.series.iter().for_each(|series| out.push_str(&self.shape(series)));
        out.push_str(&self.strips());
        out.push_str("</svg></figure>\n");
        out
    }

    fn legend(&self) -> String {
        if self.series.len() < 2 {
            return String::new();
        }
        let key = |series: &Series| format!(r#"<span class="key c{}">{}</span>"#, series.colour, escape(series.name));
        format!(r#"<span class="legend">{}</span>"#, self.series.iter().map(key).collect::<String>())
    }

    fn seconds(&self) -> f64 {
        self.time.slots.last().map_or(1.0, |began| began + self.time.slot_seconds)
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (self.size.0 - LEFT - RIGHT) * (seconds / self.seconds()).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        let height = self.size.1 - TOP - BOTTOM;
        TOP + height * (1.0 - self.scale.place(value))
    }

    fn floor(&self) -> f64 {
        self.size.1 - BOTTOM
    }

    /// What is before and behind the steady phase.
    fn phases(&self) -> String {
        let (begin, end) = self.time.steady_seconds;
        self.phase("ramp-up", 0.0, begin) + &self.phase("end", end, self.seconds())
    }

    fn phase(&self, name: &str, begin: f64, end: f64) -> String {
        let (begin, end) = (self.x(begin), self.x(end));
        let (width, height) = (end - begin, self.floor() - TOP);
        let mut out = format!(
            r#"<rect class="phase" x="{begin:.1}" y="{TOP}" width="{:.1}" height="{height:.1}"/>"#,
            width.max(0.0)
        );
        if width > 9.0 * name.len() as f64 {
            let (x, y) = (begin + 6.0, TOP + 14.0);
            let _ = write!(out, r#"<text class="phase-name" x="{x:.1}" y="{y:.1}">{name}</text>"#);
        }
        out
    }

    fn grid(&self) -> String {
        let mut out = String::new();
        let (right, floor) = (self.size.0 - RIGHT, self.floor());
        for tick in self.scale.ticks() {
            let y = self.y(tick);
            let (label_x, label_y, label) = (LEFT - 8.0, y + 4.0, escape(&(self.write)(tick)));
            let _ = write!(
                out,
                r#"<line class="grid" x1="{LEFT}" x2="{right:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="value" x="{label_x:.1}" y="{label_y:.1}">{label}</text>"#
            );
        }
        for tick in time_ticks(self.seconds()) {
            let (x, y, label) = (self.x(tick), floor + 16.0, moment(tick));
            let _ = write!(out, r#"<text class="time" x="{x:.1}" y="{y:.1}">{label}</text>"#);
        }
        out
    }

    fn shape(&self, series: &Series) -> String {
        match series.shape {
            Shape::Columns => self.columns(series),
            shape => self.line(series, shape == Shape::Area),
        }
    }

    /// A line between gaps; a single value between two gaps is a dot.
    fn line(&self, series: &Series, is_area: bool) -> String {
        let mut out = String::new();
        let points: Vec<_> = self.time.slots.iter().zip(&series.values).collect();
        for piece in points.split(|(_, value)| value.is_none()).filter(|piece| !piece.is_empty()) {
            let points = piece.iter().filter_map(|(began, value)| {
                let x = self.x(*began + self.time.slot_seconds / 2.0);
                Some(format!("{x:.1},{:.1}", self.y((**value)?)))
            });
            let points: Vec<String> = points.collect();
            let path = points.join(" ");
            let (class, floor) = (series.colour, self.floor());
            if let (true, Some(first), Some(last)) = (is_area, points.first(), points.last()) {
                let [begin, end] = [first, last].map(|point| point.split(',').next().unwrap_or_default());
                let _ = write!(
                    out,
                    r#"<polygon class="area c{class}" points="{begin},{floor:.1} {path} {end},{floor:.1}"/>"#
                );
            }
            match points.as_slice() {
                [point] => {
                    let (x, y) = point.split_once(',').unwrap_or_default();
                    let _ = write!(out, r#"<circle class="dot c{class}" cx="{x}" cy="{y}" r="1.6"/>"#);
                }
                _ => {
                    let _ = write!(out, r#"<polyline class="line c{class}" points="{path}"/>"#);
                }
            }
        }
        out
    }

    fn columns(&self, series: &Series) -> String {
        let mut out = String::new();
        for (began, value) in self.time.slots.iter().zip(&series.values) {
            let Some(value) = value.filter(|value| *value > 0.0) else { continue };
            let (x, y, end) = (self.x(*began), self.y(value), self.x(began + self.time.slot_seconds));
            let (width, height, class) = ((end - x).max(1.5), self.floor() - y, series.colour);
            let _ = write!(
                out,
                r#"<rect class="bar c{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
            );
        }
        out
    }

    /// Invisible until the mouse is over them.
    fn strips(&self) -> String {
        let mut out = String::new();
        for (place, began) in self.time.slots.iter().enumerate() {
            let (x, end) = (self.x(*began), self.x(began + self.time.slot_seconds));
            let value = |series: &Series| {
                let value = series.values.get(place).copied().flatten()?;
                Some(format!("\n{}: {}", series.name, (self.write)(value)))
            };
            let values: String = self.series.iter().filter_map(value).collect();
            let (width, height, text) = (end - x, self.floor() - TOP, escape(&values));
            let _ = write!(
                out,
                r#"<rect class="strip" x="{x:.1}" y="{TOP}" width="{width:.2}" height="{height:.0}"><title>{}{text}</title></rect>"#,
                moment(*began)
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> Time {
        Time { slots: vec![0.0, 1.0, 2.0, 3.0], slot_seconds: 1.0, steady_seconds: (1.0, 4.0) }
    }

    fn chart<'a>(time: &'a Time, shape: Shape, values: &[Option<f64>]) -> Chart<'a> {
        let series = vec![Series { name: "a < b", colour: 3, shape, values: values.to_vec() }];
        let scale = Scale::Linear { top: 10.0 };
        Chart { title: "t & u", time, series, scale, write: super::super::scale::number, size: (168.0, 134.0) }
    }

    #[test]
    fn values_lie_where_they_belong() {
        let time = time();
        let svg = chart(&time, Shape::Line, &[Some(0.0), Some(10.0), None, Some(5.0)]).render();
        // 100 wide and 100 high inside the margins: middles of slots at 12.5, 37.5, 87.5.
        assert!(svg.contains(r#"<polyline class="line c3" points="70.5,110.0 95.5,10.0"/>"#), "{svg}");
        assert!(svg.contains(r#"<circle class="dot c3" cx="145.5" cy="60.0" r="1.6"/>"#), "{svg}");
        assert!(svg.contains("<title>0:01\na &lt; b: 10</title>") && svg.contains("t &amp; u"), "{svg}");
        assert!(svg.contains(r#"<rect class="phase" x="58.0" y="10" width="25.0" height="100.0"/>"#), "{svg}");
    }

    #[test]
    fn areas_stand_on_the_floor_and_columns_only_where_there_is_something() {
        let time = time();
        let svg = chart(&time, Shape::Area, &[Some(1.0), Some(2.0), None, None]).render();
        assert!(svg.contains(r#"points="70.5,110.0 70.5,100.0 95.5,90.0 95.5,110.0""#), "{svg}");
        let svg = chart(&time, Shape::Columns, &[Some(0.0), Some(5.0), None, None]).render();
        assert_eq!(svg.matches(r#"class="bar c3""#).count(), 1, "{svg}");
        assert!(svg.contains(r#"x="83.0" y="60.0" width="25.0" height="50.0""#), "{svg}");
    }

    #[test]
    fn a_run_without_slots_has_an_empty_plot() {
        let time = Time { slots: Vec::new(), slot_seconds: 1.0, steady_seconds: (0.0, 0.0) };
        let svg = chart(&time, Shape::Area, &[]).render();
        assert!(!svg.contains("NaN") && !svg.contains("polyline"), "{svg}");
    }
}
