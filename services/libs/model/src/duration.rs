//! Durations as the management plane spells them (rest §23).

use jiff::{SpanRelativeTo, fmt::temporal::SpanParser};

/// The seconds of a duration in any form of ISO 8601 that says how long it is: weeks, days, hours, minutes, whole seconds.
pub fn parse_duration_seconds(text: &str) -> Option<u32> {
    let span = SpanParser::new().parse_span(text).ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    if duration.subsec_nanos() == 0 { u32::try_from(duration.as_secs()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_every_form() {
        for (text, seconds) in [
            ("PT1H", Some(3600)),
            ("PT60M", Some(3600)),
            ("PT3600S", Some(3600)),
            ("P1D", Some(86_400)),
            ("P1DT12H", Some(129_600)),
            ("P0DT0H1M0S", Some(60)),
            ("PT1M30S", Some(90)),
            ("P0W", Some(0)),
            ("P1M", None),
            ("P1Y", None),
            ("PT0.5S", None),
            ("-PT1H", None),
            ("1 hour", None),
            ("3600", None),
            ("01:00:00", None),
            ("", None),
            ("PT99999999H", None),
        ] {
            assert_eq!(parse_duration_seconds(text), seconds, "{text}");
        }
    }
}
