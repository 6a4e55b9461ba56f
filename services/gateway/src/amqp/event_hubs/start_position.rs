//! Where a receiver starts: the filter of its source (amqp §8.3).

use amqp::{Source, Value};
use eventlog::{Bounds, Offset, Start};
use model::Timestamp;

/// The descriptor of the only filter that there is, by name and by code.
const SELECTOR: &str = "apache.org:selector-filter:string";
const SELECTOR_CODE: u64 = 0x0000_468C_0000_0004;

/// An event of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// By its offset or its sequence number, which are the same here. -1 lies before the first.
    Number(i64),
    /// By its enqueued time, milliseconds since 1970.
    EnqueuedTime(i64),
}

/// Where a receiver starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPosition {
    /// Behind the newest event at the time of the attach: `@latest`.
    Latest,
    /// Behind that event.
    After(Position),
    /// With that event.
    At(Position),
}

/// A filter that says nothing that can be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    #[error("the filter {SELECTOR} is not a text")]
    NotText,
    #[error(
        "the filter {0:?} is not understood: expected x-opt-offset, x-opt-sequence-number or x-opt-enqueued-time, \
         then > or >=, then a value"
    )]
    Selector(String),
    #[error("the filter has the value {0:?}: expected a number{1}")]
    Value(String, &'static str),
}

/// A start that lies behind the end of the partition: what the client remembers is not of this event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the offset or sequence number {wanted} is not there: the last one of the partition is {last}")]
pub struct BeyondEnd {
    pub wanted: i64,
    /// -1 when no event was ever enqueued.
    pub last: i64,
}

impl StartPosition {
    /// From the first event on.
    pub const EARLIEST: Self = Self::After(Position::Number(-1));

    /// What the source of a receiver asks for; without a filter, everything.
    pub fn of(source: &Source) -> Result<Self, InvalidFilter> {
        match source.filter_value(SELECTOR, SELECTOR_CODE) {
            None | Some(Value::Null) => Ok(Self::EARLIEST),
            Some(Value::Binary(text)) => Self::parse(std::str::from_utf8(text).map_err(|_| InvalidFilter::NotText)?),
            Some(value) => Self::parse(value.as_text().ok_or(InvalidFilter::NotText)?),
        }
    }

    /// Reads a selector such as `amqp.annotation.x-opt-offset > '42'`.
    pub fn parse(selector: &str) -> Result<Self, InvalidFilter> {
        let unknown = || InvalidFilter::Selector(selector.to_owned());
        let (name, value) = selector.split_once('>').ok_or_else(unknown)?;
        let (is_inclusive, value) = value.strip_prefix('=').map_or((false, value), |value| (true, value));
        let name = name.trim();
        let name = name.strip_prefix("amqp.annotation.").unwrap_or(name);
        let value = value.trim();
        let value = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value);
        let number = |hint| value.parse().map_err(|_| InvalidFilter::Value(value.to_owned(), hint));
        let position = match name {
            "x-opt-offset" if value == "@latest" => return Ok(Self::Latest),
            "x-opt-offset" => Position::Number(number(", -1 or @latest")?),
            "x-opt-sequence-number" => Position::Number(number("")?),
            "x-opt-enqueued-time" | "x-opt-enqueuedtimeutc" => {
                Position::EnqueuedTime(number(" of milliseconds since 1970")?)
            }
            _ => return Err(unknown()),
        };
        Ok(if is_inclusive { Self::At(position) } else { Self::After(position) })
    }

    /// The place in the event log, given what the partition holds.
    pub fn start(self, bounds: &Bounds) -> Result<Start, BeyondEnd> {
        let (position, is_inclusive) = match self {
            Self::Latest => return Ok(Start::Latest),
            Self::At(position) => (position, true),
            Self::After(position) => (position, false),
        };
        match position {
            Position::EnqueuedTime(milliseconds) => {
                let first = milliseconds.saturating_add(i64::from(!is_inclusive));
                Ok(Start::Time(Timestamp::from_unix_milliseconds(first)))
            }
            Position::Number(number) => {
                let first = number.saturating_add(i64::from(!is_inclusive)).max(0) as Offset;
                if first > bounds.next {
                    return Err(BeyondEnd { wanted: number, last: bounds.next as i64 - 1 });
                }
                Ok(Start::Offset(first))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp::{Descriptor, Fields, put_described, put_value};
    use proptest::{prop_assert_eq, proptest};

    use super::*;

    const BOUNDS: Bounds = Bounds { earliest: 5, next: 10, last_time: None };

    #[test]
    fn what_each_client_sends() {
        use Position::{EnqueuedTime, Number};
        for (selector, expected) in [
            // azure-eventhub for Python and JavaScript
            ("amqp.annotation.x-opt-offset > '-1'", StartPosition::After(Number(-1))),
            ("amqp.annotation.x-opt-offset >= '-1'", StartPosition::At(Number(-1))),
            ("amqp.annotation.x-opt-offset > '@latest'", StartPosition::Latest),
            ("amqp.annotation.x-opt-offset >= '@latest'", StartPosition::Latest),
            ("amqp.annotation.x-opt-offset > '12345'", StartPosition::After(Number(12345))),
            ("amqp.annotation.x-opt-sequence-number > '7'", StartPosition::After(Number(7))),
            ("amqp.annotation.x-opt-sequence-number >= '7'", StartPosition::At(Number(7))),
            (
                "amqp.annotation.x-opt-enqueued-time > '1654109018176'",
                StartPosition::After(EnqueuedTime(1654109018176)),
            ),
            ("amqp.annotation.x-opt-enqueued-time >= '0'", StartPosition::At(EnqueuedTime(0))),
            // az iot hub monitor-events
            (
                "amqp.annotation.x-opt-enqueuedtimeutc > 1654109018176",
                StartPosition::After(EnqueuedTime(1654109018176)),
            ),
            // the documentation
            ("x-opt-sequence-number > 3", StartPosition::After(Number(3))),
            ("x-opt-offset>='3'", StartPosition::At(Number(3))),
        ] {
            assert_eq!(StartPosition::parse(selector), Ok(expected), "{selector}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for selector in [
            "",
            ">",
            "amqp.annotation.x-opt-offset = '1'",
            "amqp.annotation.x-opt-offset < '1'",
            "amqp.annotation.x-opt-offset > ''",
            "amqp.annotation.x-opt-offset > 'abc'",
            "amqp.annotation.x-opt-offset > '1",
            "amqp.annotation.x-opt-sequence-number > '@latest'",
            "amqp.annotation.x-opt-sequence-number > '9223372036854775808'",
            "amqp.annotation.x-opt-enqueued-time > '2022-06-01'",
            "amqp.annotation.x-opt-partition-key > '1'",
            "x-opt-offset > '1' AND x-opt-offset > '2'",
        ] {
            assert!(StartPosition::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn the_filter_is_described_by_name_or_number_or_not_at_all() {
        type Write<'a> = &'a dyn Fn(&mut Vec<u8>);
        let text = "amqp.annotation.x-opt-offset > '3'";
        let source = |write: Write<'_>| Source {
            filter: Some(Fields::new(|map| map.entry_with(&Value::Symbol(SELECTOR), write))),
            ..Source::default()
        };
        let value = |value: Value<'static>| move |out: &mut Vec<u8>| put_value(&value, out);
        let described = |descriptor: Descriptor<'static>, inner: Value<'static>| {
            move |out: &mut Vec<u8>| put_described(descriptor, out, |out| put_value(&inner, out))
        };
        let forms: [Write<'_>; 5] = [
            &described(Descriptor::Name(SELECTOR), Value::String(text)),
            &described(Descriptor::Name(SELECTOR), Value::Binary(text.as_bytes())),
            &described(Descriptor::Code(SELECTOR_CODE), Value::String(text)),
            &value(Value::String(text)),
            &value(Value::Symbol(text)),
        ];
        for form in forms {
            assert_eq!(StartPosition::of(&source(form)), Ok(StartPosition::After(Position::Number(3))));
        }
        assert_eq!(StartPosition::of(&Source::default()), Ok(StartPosition::EARLIEST));
        assert_eq!(StartPosition::of(&source(&value(Value::Int(3)))), Err(InvalidFilter::NotText));
        assert_eq!(StartPosition::of(&source(&value(Value::Binary(b"\xff")))), Err(InvalidFilter::NotText));
    }

    #[test]
    fn where_in_the_log_it_begins() {
        use Position::{EnqueuedTime, Number};
        let time = Timestamp::from_unix_milliseconds;
        for (position, expected) in [
            (StartPosition::EARLIEST, Ok(Start::Offset(0))),
            (StartPosition::At(Number(-1)), Ok(Start::Offset(0))),
            (StartPosition::Latest, Ok(Start::Latest)),
            (StartPosition::After(Number(7)), Ok(Start::Offset(8))),
            (StartPosition::At(Number(7)), Ok(Start::Offset(7))),
            (StartPosition::After(Number(9)), Ok(Start::Offset(10))),
            (StartPosition::At(Number(10)), Ok(Start::Offset(10))),
            (StartPosition::After(Number(10)), Err(BeyondEnd { wanted: 10, last: 9 })),
            (StartPosition::At(Number(i64::MAX)), Err(BeyondEnd { wanted: i64::MAX, last: 9 })),
            (StartPosition::After(Number(i64::MIN)), Ok(Start::Offset(0))),
            (StartPosition::After(EnqueuedTime(1000)), Ok(Start::Time(time(1001)))),
            (StartPosition::At(EnqueuedTime(1000)), Ok(Start::Time(time(1000)))),
            (StartPosition::After(EnqueuedTime(i64::MAX)), Ok(Start::Time(time(i64::MAX)))),
        ] {
            assert_eq!(position.start(&BOUNDS), expected, "{position:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(selector in ".*") {
            let _ = StartPosition::parse(&selector);
        }

        #[test]
        fn numbers_are_read_as_written(number: i64, inclusive: bool, quoted: bool) {
            let value = if quoted { format!("'{number}'") } else { number.to_string() };
            let selector = format!("amqp.annotation.x-opt-offset {} {value}", if inclusive { ">=" } else { ">" });
            let position = Position::Number(number);
            let expected = if inclusive { StartPosition::At(position) } else { StartPosition::After(position) };
            prop_assert_eq!(StartPosition::parse(&selector), Ok(expected));
        }
    }
}
