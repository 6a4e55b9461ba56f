//! Query parameters (rest §1.5, §1.9).

use super::{authentication_json::Dialect, error::ApiError, path::decode};

/// The parameters of a request, in order, decoded; names compare without case.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    /// The first parameter of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every data-plane request names some version `YYYY-MM-DD[-preview]`; all are treated alike.
    pub fn check_api_version(&self) -> Result<(), ApiError> {
        match self.get("api-version") {
            Some(version) if is_version(version) => Ok(()),
            _ => Err(ApiError::invalid_protocol_version()),
        }
    }

    /// How the caller calls kinds of authentication.
    pub fn dialect(&self) -> Dialect {
        match self.get("api-version") {
            Some(EDGE_RUNTIME_VERSION) => Dialect::EdgeRuntime,
            _ => Dialect::Current,
        }
    }
}

/// The version that only the runtime of IoT Edge names (rest §19.3).
const EDGE_RUNTIME_VERSION: &str = "2017-11-08-preview";

fn is_version(text: &str) -> bool {
    let date = text.strip_suffix("-preview").unwrap_or(text).as_bytes();
    date.len() == 10
        && date.iter().enumerate().all(|(position, byte)| match position {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (query, valid) in [
            ("api-version=2021-04-12", true),
            ("top=1&api-version=2017-11-08-preview", true),
            ("API-Version=2020-09-30", true),
            ("api-version=", false),
            ("api-version=latest", false),
            ("api-version=2021-4-12", false),
            ("", false),
        ] {
            assert_eq!(Query::parse(Some(query)).check_api_version().is_ok(), valid, "{query}");
        }
    }
}
