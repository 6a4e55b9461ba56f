//! Percent-decoding as topics and AMQP addresses use it: `+` is a plus, and what is no valid escape stays (mqtt §4.2,
//! amqp §2).

use std::borrow::Cow;

/// Decodes; borrows when nothing is encoded. A result that is not UTF-8 is left encoded.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find('%') else { return Cow::Borrowed(text) };
    let bytes = text.as_bytes();
    let mut decoded = bytes.get(..first).unwrap_or_default().to_vec();
    let mut position = first;
    while let Some(&byte) = bytes.get(position) {
        let escaped = if byte == b'%' { escape(bytes.get(position + 1..position + 3)) } else { None };
        decoded.push(escaped.unwrap_or(byte));
        position += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn escape(digits: Option<&[u8]>) -> Option<u8> {
    let [high, low] = digits? else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}
