//! From a raw path to segments, for clients that encode every which way (rest §1.3, §1.12).

/// The segments of a raw path, each percent-decoded once. When a whole path was encoded as one segment (`%2F` and no
/// slash behind the first one), it is decoded before it is split. Empty segments do not count.
pub fn segments(raw: &str) -> Vec<String> {
    let path = raw.strip_prefix('/').unwrap_or(raw);
    let whole = !path.contains('/') && (path.contains("%2F") || path.contains("%2f"));
    if !whole {
        return path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect();
    }
    let decoded = decode(path);
    let mut segments: Vec<String> =
        decoded.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
    // This caller encodes the id first when it sends to a device.
    if let [devices, id, messages, _] = segments.as_mut_slice()
        && devices.eq_ignore_ascii_case("devices")
        && messages.eq_ignore_ascii_case("messages")
    {
        *id = decode(id);
    }
    segments
}

/// Decodes valid escapes; `+` is a plus. What is not UTF-8 afterwards stays encoded.
pub(super) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while let Some(&byte) = bytes.get(position) {
        let escaped = if byte == b'%' { escape(bytes.get(position + 1..position + 3)) } else { None };
        decoded.push(escaped.unwrap_or(byte));
        position += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

fn escape(digits: Option<&[u8]>) -> Option<u8> {
    let [high, low] = digits? else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quirks() {
        for (raw, expected) in [
            ("/devices/d1", &["devices", "d1"][..]),
            ("/devices/", &["devices"]),
            ("/devices//d1/", &["devices", "d1"]),
            ("/devices/a%40b", &["devices", "a@b"]),
            ("/devices/a+b", &["devices", "a+b"]),
            ("/devices/a%2Bb", &["devices", "a+b"]),
            ("/devices/a%2525", &["devices", "a%25"]),
            ("/devices/x%2Fy/modules", &["devices", "x/y", "modules"]),
            ("/devices%2Fd1", &["devices", "d1"]),
            ("/twins%2fdev%401", &["twins", "dev@1"]),
            ("/devices%2Fa%2540b%2Fmessages%2Fdevicebound", &["devices", "a@b", "messages", "devicebound"]),
            ("/devices/%zz", &["devices", "%zz"]),
            ("/%24iothub/websocket", &["$iothub", "websocket"]),
            ("/", &[]),
            ("", &[]),
        ] {
            assert_eq!(segments(raw), expected, "{raw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_makes_it_panic(raw: String) {
            segments(&raw);
        }
    }
}
