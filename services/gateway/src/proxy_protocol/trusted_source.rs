//! A load balancer, or the network of several.

use std::{
    fmt,
    net::{AddrParseError, IpAddr},
    str::FromStr,
};

use ipnet::{IpNet, PrefixLenError};
use serde::{Deserialize, Serialize};

/// One address, or all of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustedSource(IpNet);

/// Why a text names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("{0:?}: expected an address such as 10.0.0.7, or a network such as 10.1.0.0/16")]
    Address(String),
    #[error("{0:?}: expected a prefix of at most {1} bits")]
    Prefix(String, u8),
    #[error("{0:?} has bits behind its prefix: expected {1}")]
    Bits(String, IpNet),
}

impl TrustedSource {
    /// Whether the address is this one, or one of the network. An IPv4 address is the same in IPv6 clothes.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for TrustedSource {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let no_address = |_: AddrParseError| ParseError::Address(text.to_owned());
        let address: IpAddr = address.parse::<IpAddr>().map_err(no_address)?.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let no_prefix = || ParseError::Prefix(text.to_owned(), bits);
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| no_prefix())?;
        let network = IpNet::new(address, prefix).map_err(|PrefixLenError| no_prefix())?;
        if network.trunc() != network {
            return Err(ParseError::Bits(text.to_owned(), network.trunc()));
        }
        Ok(Self(network))
    }
}

impl fmt::Display for TrustedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl TryFrom<String> for TrustedSource {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<TrustedSource> for String {
    fn from(source: TrustedSource) -> Self {
        source.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(source: &str, address: &str) -> bool {
        let source: Result<TrustedSource, _> = source.parse();
        source.is_ok_and(|source| address.parse().is_ok_and(|address| source.contains(address)))
    }

    #[test]
    fn an_address_is_itself_and_a_network_all_of_its() {
        assert!(contains("10.0.0.7", "10.0.0.7") && !contains("10.0.0.7", "10.0.0.8"));
        assert!(contains("10.1.0.0/16", "10.1.255.255") && !contains("10.1.0.0/16", "10.2.0.0"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1") && !contains("2001:db8::/32", "2001:db9::1"));
        assert!(contains("10.0.0.7", "::ffff:10.0.0.7"), "as a socket for IPv4 and IPv6 names it");
        assert!(contains("0.0.0.0/0", "203.0.113.1") && !contains("0.0.0.0/0", "2001:db8::1"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused =
            |text: &str| text.parse::<TrustedSource>().err().map_or_else(String::new, |error| error.to_string());
        for text in ["", "balancer", "10.0.0", "10.0.0.7:443", "/8"] {
            assert!(refused(text).contains("expected an address"), "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129"] {
            assert!(refused(text).contains("expected a prefix of at most"), "{text}");
        }
        assert!(refused("10.1.2.3/16").contains("expected 10.1.0.0/16"));
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        for text in ["10.0.0.7", "10.1.0.0/16", "::1", "2001:db8::/32"] {
            assert_eq!(text.parse::<TrustedSource>().map(|source| source.to_string()), Ok(text.to_owned()));
        }
    }
}
