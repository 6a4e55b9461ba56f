//! Structured logs on standard error.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, filter::ParseError, util::TryInitError};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people; with colours on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("the log filter {filter:?} is not one (examples: `info`, `warn,gateway=debug`): {reason}")]
    Filter { filter: String, reason: ParseError },
    #[error("logging was started before")]
    Started(#[from] TryInitError),
}

/// Sends all `tracing` events that pass the filter (`info`, `warn,gateway=debug`) to standard error. Once per process.
pub fn start_logging(format: Format, filter: &str) -> Result<(), LoggingError> {
    let directives =
        EnvFilter::try_new(filter).map_err(|reason| LoggingError::Filter { filter: filter.to_owned(), reason })?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(directives);
    match format {
        Format::Human => registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init()?,
        Format::Json => registry.with(layer.json().flatten_event(true)).try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_an_error_that_shows_it() {
        let error = start_logging(Format::Human, "gateway=loud").map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("gateway=loud")));
    }
}
