//! How the devices' longest times without service are spread: a bar for each range of times.

use std::fmt::Write;

use super::scale::{Scale, grouped, milliseconds, number};

const SIZE: (f64, f64) = (640.0, 260.0);
const MARGINS: (f64, f64, f64, f64) = (58.0, 10.0, 18.0, 40.0);
/// Upper ends of the ranges, milliseconds; what is longer has a bar of its own.
const ENDS: [f64; 12] =
    [10.0, 30.0, 100.0, 300.0, 1000.0, 2000.0, 3000.0, 5000.0, 10_000.0, 15_000.0, 30_000.0, 60_000.0];

/// How many times are in each range; the last is for those beyond all.
fn counts(seconds: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; ENDS.len() + 1];
    for milliseconds in seconds.iter().map(|seconds| seconds * 1e3) {
        let place = ENDS.iter().position(|end| milliseconds <= *end).unwrap_or(ENDS.len());
        counts.get_mut(place).into_iter().for_each(|count| *count += 1);
    }
    counts
}

/// The plot.
pub fn render(seconds: &[f64]) -> String {
    let counts = counts(seconds);
    let (left, right, top, bottom) = MARGINS;
    let scale = Scale::linear(counts.iter().map(|count| *count as f64));
    let (width, floor) = ((SIZE.0 - left - right) / counts.len() as f64, SIZE.1 - bottom);
    let y = |value: f64| top + (floor - top) * (1.0 - scale.place(value));
    let mut out = format!(
        r#"<svg viewBox="0 0 {} {}" role="img" aria-label="Time without service, by devices">"#,
        SIZE.0, SIZE.1
    );
    for tick in scale.ticks() {
        let (y, label_x, end) = (y(tick), left - 8.0, SIZE.0 - right);
        let _ = write!(
            out,
            r#"<line class="grid" x1="{left}" x2="{end}" y1="{y:.1}" y2="{y:.1}"/><text class="value" x="{label_x}" y="{:.1}">{}</text>"#,
            y + 4.0,
            number(tick)
        );
    }
    for (place, count) in counts.iter().enumerate() {
        let (x, y, middle) = (left + width * place as f64, y(*count as f64), left + width * (place as f64 + 0.5));
        let range = range(place);
        let _ = write!(
            out,
            r#"<rect class="bar c0" x="{:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" rx="2"><title>{range}: {} devices</title></rect>"#,
            x + 2.0,
            width - 4.0,
            floor - y,
            grouped(*count)
        );
        if *count > 0 {
            let _ = write!(out, r#"<text class="count" x="{middle:.1}" y="{:.1}">{}</text>"#, y - 4.0, grouped(*count));
        }
        let _ = write!(out, r#"<text class="time" x="{middle:.1}" y="{:.1}">{}</text>"#, floor + 16.0, label(place));
    }
    let _ = write!(
        out,
        r#"<text class="axis" x="{:.1}" y="{:.1}">longest time without service of a device, up to</text></svg>"#,
        (left + SIZE.0 - right) / 2.0,
        SIZE.1 - 6.0
    );
    out
}

fn label(place: usize) -> String {
    ENDS.get(place).map_or_else(|| "more".to_owned(), |end| milliseconds(*end).replace(' ', ""))
}

fn range(place: usize) -> String {
    let begin = place.checked_sub(1).and_then(|place| ENDS.get(place)).copied().unwrap_or_default();
    match ENDS.get(place) {
        Some(end) => format!("{} to {}", milliseconds(begin), milliseconds(*end)),
        None => format!("more than {}", milliseconds(begin)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_one_range() {
        let counts = counts(&[0.0, 0.010, 0.0101, 4.9, 5.0, 5.1, 61.0]);
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 1]);
        assert_eq!((range(0), range(7)), ("0 ms to 10 ms".to_owned(), "3 s to 5 s".to_owned()));
        assert_eq!((range(12), label(12), label(4)), ("more than 60 s".to_owned(), "more".into(), "1s".into()));
    }

    #[test]
    fn a_bar_says_how_many_there_are() {
        let svg = render(&[0.02; 1500]);
        assert!(svg.contains("<title>10 ms to 30 ms: 1,500 devices</title>"), "{svg}");
        assert_eq!(svg.matches("class=\"count\"").count(), 1);
        assert!(!render(&[]).contains("NaN"));
    }
}
