//! Instants, and the one way they are written (rest §1.10).

use std::fmt;

/// An instant in UTC with microsecond resolution; by default 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    microseconds: i64,
}

impl Timestamp {
    /// What the wire shows for "never".
    pub const NEVER: &'static str = "0001-01-01T00:00:00";

    /// From microseconds since 1970-01-01.
    pub const fn from_unix_microseconds(microseconds: i64) -> Self {
        Self { microseconds }
    }

    /// From milliseconds since 1970-01-01.
    pub const fn from_unix_milliseconds(milliseconds: i64) -> Self {
        Self { microseconds: milliseconds.saturating_mul(1000) }
    }

    /// Microseconds since 1970-01-01.
    pub const fn unix_microseconds(self) -> i64 {
        self.microseconds
    }

    /// Milliseconds since 1970-01-01, rounded down.
    pub const fn unix_milliseconds(self) -> i64 {
        self.microseconds.div_euclid(1000)
    }

    /// Seconds since 1970-01-01, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.microseconds.div_euclid(1_000_000)
    }

    /// Such as `Thu, 15 Jun 2017 19:20:58 GMT` (RFC 1123), the form of the management plane (rest §23.3).
    pub fn to_rfc1123(self) -> String {
        let instant = jiff::Timestamp::from_microsecond(self.microseconds).unwrap_or(jiff::Timestamp::MAX);
        instant.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// Reads ISO 8601 with a zone, such as `2026-01-01T00:00:00Z`.
    pub fn parse(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        Some(Self { microseconds: instant.as_microsecond() })
    }

    /// Ticks of 100 nanoseconds since the year 1, as .NET counts them; generation ids look like this.
    pub const fn dotnet_ticks(self) -> i64 {
        self.microseconds.saturating_mul(10).saturating_add(621_355_968_000_000_000)
    }
}

/// ISO 8601 in UTC with seven fraction digits and `Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = jiff::Timestamp::from_microsecond(self.microseconds).unwrap_or(jiff::Timestamp::MAX);
        let text = instant.strftime("%Y-%m-%dT%H:%M:%S");
        write!(f, "{text}.{:06}0Z", self.microseconds.rem_euclid(1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_fraction_digits_and_back() {
        let instant = Timestamp::from_unix_microseconds(1_664_405_571_038_371);
        assert_eq!(instant.to_string(), "2022-09-28T22:52:51.0383710Z");
        assert_eq!(Timestamp::parse(&instant.to_string()), Some(instant));
    }

    #[test]
    fn ticks_count_from_the_year_one() {
        assert_eq!(Timestamp::from_unix_milliseconds(0).dotnet_ticks(), 621_355_968_000_000_000);
    }
}
