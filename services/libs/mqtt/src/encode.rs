//! The packets a server sends.

use crate::{
    ConnectReturnCode, QualityOfService,
    wire::{put_binary, put_remaining_length},
};

/// What MQTT 5 clients understand as "unsupported protocol version" (CONNACK, reason 0x84, no properties).
pub(crate) const CONNACK_5_UNSUPPORTED_VERSION: [u8; 5] = [0x20, 3, 0, 0x84, 0];

pub(crate) fn connack(session_present: bool, code: ConnectReturnCode, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x20, 2, u8::from(session_present), code as u8]);
}

pub(crate) fn puback(packet_id: u16, out: &mut Vec<u8>) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[0x40, 2, high, low]);
}

pub(crate) fn suback(packet_id: u16, codes: impl ExactSizeIterator<Item = u8>, out: &mut Vec<u8>) {
    out.push(0x90);
    put_remaining_length(2 + codes.len(), out);
    out.extend_from_slice(&packet_id.to_be_bytes());
    out.extend(codes);
}

pub(crate) fn unsuback(packet_id: u16, out: &mut Vec<u8>) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[0xb0, 2, high, low]);
}

pub(crate) fn ping_response(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// Writes a PUBLISH. A packet id makes it at least once; `duplicate` marks a repetition.
pub fn encode_publish(topic: &str, payload: &[u8], packet_id: Option<u16>, duplicate: bool, out: &mut Vec<u8>) {
    let quality = if packet_id.is_some() { QualityOfService::AtLeastOnce } else { QualityOfService::AtMostOnce };
    out.push(0x30 | u8::from(duplicate) << 3 | (quality as u8) << 1);
    put_remaining_length(2 + topic.len() + packet_id.map_or(0, |_| 2) + payload.len(), out);
    put_binary(topic.as_bytes(), out);
    if let Some(packet_id) = packet_id {
        out.extend_from_slice(&packet_id.to_be_bytes());
    }
    out.extend_from_slice(payload);
}
