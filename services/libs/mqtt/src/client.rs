//! The client's side of the wire, for load generators and tests: encodes requests, decodes answers.

use crate::{
    Connect, Malformed, Will,
    encode::encode_publish,
    wire::{Fields, put_binary, put_remaining_length},
};

/// Writes CONNECT.
pub fn connect(connect: &Connect, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(512);
    put_binary(b"MQTT", &mut body);
    body.push(4);
    body.push(flags(connect));
    body.extend_from_slice(&connect.keep_alive_seconds.to_be_bytes());
    put_binary(connect.client_id.as_bytes(), &mut body);
    if let Some(will) = &connect.will {
        put_binary(will.topic.as_bytes(), &mut body);
        put_binary(&will.payload, &mut body);
    }
    for text in [&connect.username, &connect.password].into_iter().flatten() {
        put_binary(text.as_bytes(), &mut body);
    }
    out.push(0x10);
    put_remaining_length(body.len(), out);
    out.extend_from_slice(&body);
}

fn flags(connect: &Connect) -> u8 {
    let will = |will: &Will| 0x04 | (will.quality_of_service as u8) << 3 | u8::from(will.retain) << 5;
    u8::from(connect.username.is_some()) << 7
        | u8::from(connect.password.is_some()) << 6
        | connect.will.as_ref().map_or(0, will)
        | u8::from(connect.clean_session) << 1
}

/// Writes PUBLISH; with a packet id at least once, else at most once.
pub fn publish(topic: &str, payload: &[u8], packet_id: Option<u16>, out: &mut Vec<u8>) {
    encode_publish(topic, payload, packet_id, false, out);
}

/// Writes SUBSCRIBE; the quality of service is 0, 1 or 2.
pub fn subscribe(packet_id: u16, filters: &[(&str, u8)], out: &mut Vec<u8>) {
    out.push(0x82);
    put_remaining_length(2 + filters.iter().map(|(filter, _)| 3 + filter.len()).sum::<usize>(), out);
    out.extend_from_slice(&packet_id.to_be_bytes());
    for (filter, quality) in filters {
        put_binary(filter.as_bytes(), out);
        out.push(*quality);
    }
}

/// Writes UNSUBSCRIBE.
pub fn unsubscribe(packet_id: u16, filters: &[&str], out: &mut Vec<u8>) {
    out.push(0xa2);
    put_remaining_length(2 + filters.iter().map(|filter| 2 + filter.len()).sum::<usize>(), out);
    out.extend_from_slice(&packet_id.to_be_bytes());
    filters.iter().for_each(|filter| put_binary(filter.as_bytes(), out));
}

/// Writes PUBACK.
pub fn puback(packet_id: u16, out: &mut Vec<u8>) {
    crate::encode::puback(packet_id, out);
}

/// Writes PINGREQ.
pub fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xc0, 0]);
}

/// Writes DISCONNECT.
pub fn disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xe0, 0]);
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    ConnAck { session_present: bool, code: u8 },
    PubAck(u16),
    SubAck { packet_id: u16, codes: &'a [u8] },
    UnsubAck(u16),
    PingResponse,
    Publish { topic: &'a str, payload: &'a [u8], packet_id: Option<u16>, duplicate: bool, retain: bool },
}

/// Decodes the answer at the front of the input and says how many bytes it took; `None` when it is incomplete.
pub fn decode_answer(input: &[u8]) -> Result<Option<(Answer<'_>, usize)>, Malformed> {
    let mut length = 0;
    let mut header_bytes = 1;
    loop {
        let Some(byte) = input.get(header_bytes) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * (header_bytes - 1));
        header_bytes += 1;
        match byte & 0x80 {
            0 => break,
            _ if header_bytes > 4 => return Err(Malformed::RemainingLength),
            _ => {}
        }
    }
    let Some(body) = input.get(header_bytes..header_bytes + length) else { return Ok(None) };
    let first = input.first().copied().unwrap_or_default();
    Ok(Some((decode_answer_body(first, Fields(body))?, header_bytes + length)))
}

fn decode_answer_body(first: u8, mut fields: Fields<'_>) -> Result<Answer<'_>, Malformed> {
    Ok(match first >> 4 {
        2 => Answer::ConnAck { session_present: fields.byte()? & 1 != 0, code: fields.byte()? },
        3 => {
            let topic = fields.text()?;
            let packet_id = if first & 0b110 == 0 { None } else { Some(fields.packet_id()?) };
            let (duplicate, retain) = (first & 0b1000 != 0, first & 1 != 0);
            Answer::Publish { topic, payload: fields.0, packet_id, duplicate, retain }
        }
        4 => Answer::PubAck(fields.packet_id()?),
        9 => Answer::SubAck { packet_id: fields.packet_id()?, codes: fields.0 },
        11 => Answer::UnsubAck(fields.packet_id()?),
        13 => Answer::PingResponse,
        other => return Err(Malformed::PacketType(other)),
    })
}
