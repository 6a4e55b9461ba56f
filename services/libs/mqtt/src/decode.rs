//! Framing, and the packets that are a few bytes long.

use crate::{
    Limits, Malformed, Packet, Publish, QualityOfService,
    connect::decode_connect,
    subscribe::{decode_subscribe, decode_unsubscribe},
    wire::Fields,
};

/// What the front of the input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A packet, and how many bytes of the input it takes.
    Packet { packet: Packet<'a>, length: usize },
    /// At least so many more bytes are needed.
    Incomplete { bytes_needed: usize },
}

/// Decodes the packet at the front of the input. An error is final: the stream cannot be followed any further.
pub fn decode<'a>(input: &'a [u8], limits: &Limits) -> Result<Decoded<'a>, Malformed> {
    let Some((&first, rest)) = input.split_first() else { return Ok(Decoded::Incomplete { bytes_needed: 2 }) };
    check_first_byte(first)?;
    let Some((remaining, header_bytes)) = remaining_length(rest)? else {
        return Ok(Decoded::Incomplete { bytes_needed: 1 });
    };
    if remaining > limits.packet_bytes_max {
        return Err(Malformed::TooLarge(remaining));
    }
    let length = 1 + header_bytes + remaining;
    let Some(body) = input.get(1 + header_bytes..length) else {
        return Ok(Decoded::Incomplete { bytes_needed: length - input.len() });
    };
    let packet = decode_body(first, body, limits)?;
    Ok(Decoded::Packet { packet, length })
}

/// Type and flags are known from the first byte: refuse before anything is buffered.
fn check_first_byte(first: u8) -> Result<(), Malformed> {
    let flags = first & 0x0f;
    let expected = match first >> 4 {
        3 => return if flags & 0b110 == 0b110 { Err(Malformed::QualityOfService) } else { Ok(()) },
        1 | 4 | 5 | 7 | 12 | 14 => 0,
        6 | 8 | 10 => 0b0010,
        other => return Err(Malformed::PacketType(other)),
    };
    if flags == expected { Ok(()) } else { Err(Malformed::Flags) }
}

/// The remaining length and how many bytes encode it; `None` when more bytes are needed.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for (position, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(Some((length, position + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Malformed::RemainingLength) }
}

fn decode_body<'a>(first: u8, body: &'a [u8], limits: &Limits) -> Result<Packet<'a>, Malformed> {
    let mut fields = Fields(body);
    let packet = match first >> 4 {
        1 => return Ok(Packet::Connect(Box::new(decode_connect(fields)?))),
        3 => return decode_publish(first, fields).map(Packet::Publish),
        8 => return decode_subscribe(fields, limits).map(Packet::Subscribe),
        10 => return decode_unsubscribe(fields, limits).map(Packet::Unsubscribe),
        4 => Packet::PubAck(fields.packet_id()?),
        5..=7 => {
            fields.packet_id()?;
            Packet::ExactlyOnceStep
        }
        12 => Packet::PingRequest,
        14 => Packet::Disconnect,
        other => return Err(Malformed::PacketType(other)),
    };
    fields.end()?;
    Ok(packet)
}

fn decode_publish(first: u8, mut fields: Fields<'_>) -> Result<Publish<'_>, Malformed> {
    let quality_of_service = QualityOfService::from_bits((first >> 1) & 0b11)?;
    let topic = fields.text()?;
    // Clients put a raw '+' into property bags (mqtt §4.2); whether the topic is one of the hub's is not known here.
    if topic.is_empty() {
        return Err(Malformed::Topic);
    }
    let packet_id = match quality_of_service {
        QualityOfService::AtMostOnce => None,
        _ => Some(fields.packet_id()?),
    };
    Ok(Publish {
        topic,
        payload: fields.0,
        quality_of_service,
        packet_id,
        duplicate: first & 0b1000 != 0,
        retain: first & 1 != 0,
    })
}
