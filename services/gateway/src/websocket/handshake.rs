//! The opening handshake (RFC 6455 §4.2) and the sub-protocols of the hub (mqtt §1).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header, request::Parts};

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubProtocol {
    Mqtt,
    Amqp,
}

impl SubProtocol {
    const NAMES: [(Self, &str); 2] = [(Self::Mqtt, "mqtt"), (Self::Amqp, "AMQPWSB10")];

    fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(protocol, _)| *protocol)
    }
}

/// Makes the answer to a key one that only a WebSocket server gives (RFC 6455 §1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request does not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHandshake {
    #[error("a WebSocket begins over HTTP/1.1")]
    HttpVersion,
    #[error("this path needs the headers 'Connection: Upgrade' and 'Upgrade: websocket'")]
    NoUpgrade,
    #[error("version 13 of the WebSocket protocol is spoken here, no other")]
    WebSocketVersion,
    #[error("the header Sec-WebSocket-Key is missing or not the base64 of 16 bytes")]
    Key,
    #[error("the header Sec-WebSocket-Protocol must name a sub-protocol that is spoken here: mqtt or AMQPWSB10")]
    SubProtocol,
}

/// The answer that makes the connection a WebSocket: 101, without a body. The sub-protocol, the first one offered of
/// those the path speaks, is among its extensions too.
pub(crate) fn accept(request: &Parts, spoken: &[SubProtocol]) -> Result<Response<()>, BadHandshake> {
    let headers = &request.headers;
    if request.version != Version::HTTP_11 {
        return Err(BadHandshake::HttpVersion);
    }
    let has = |name, wanted: &str| tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted));
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return Err(BadHandshake::NoUpgrade);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes().trim_ascii() != b"13") {
        return Err(BadHandshake::WebSocketVersion);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| key.as_bytes().trim_ascii());
    let key = key.filter(|key| BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16));
    let accepted = accept_value(key.ok_or(BadHandshake::Key)?).ok_or(BadHandshake::Key)?;
    // In the client's spelling: some compare it so.
    let (sub_protocol, name) = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|token| Some((SubProtocol::parse(token)?, HeaderValue::from_str(token).ok()?)))
        .find(|(sub_protocol, _)| spoken.contains(sub_protocol))
        .ok_or(BadHandshake::SubProtocol)?;
    let mut response = Response::new(());
    response.extensions_mut().insert(sub_protocol);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    Ok(response)
}

/// The members of a list, over all headers of that name.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn accept_value(key: &[u8]) -> Option<HeaderValue> {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, KEY_SUFFIX].concat());
    HeaderValue::from_str(&BASE64_STANDARD.encode(hash)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard() {
        let accepted = accept_value(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap_or(HeaderValue::from_static(""));
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
