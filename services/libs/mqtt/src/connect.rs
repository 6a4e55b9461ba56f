//! CONNECT (MQTT-3.1).

use crate::{Connect, Malformed, QualityOfService, Will, wire::Fields};

const USERNAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QUALITY: u8 = 0x18;
const WILL: u8 = 0x04;
const CLEAN_SESSION: u8 = 0x02;
const RESERVED: u8 = 0x01;

pub(crate) fn decode_connect(mut fields: Fields<'_>) -> Result<Connect, Malformed> {
    check_protocol(&mut fields)?;
    let flags = fields.byte()?;
    if flags & RESERVED != 0 {
        return Err(Malformed::Flags);
    }
    if flags & PASSWORD != 0 && flags & USERNAME == 0 {
        return Err(Malformed::PasswordWithoutUsername);
    }
    let keep_alive_seconds = fields.number()?;
    let client_id = fields.text()?.to_owned();
    let will = decode_will(flags, &mut fields)?;
    let username = (flags & USERNAME != 0).then(|| fields.text().map(str::to_owned)).transpose()?;
    let password = (flags & PASSWORD != 0).then(|| fields.text().map(str::to_owned)).transpose()?;
    fields.end()?;
    let clean_session = flags & CLEAN_SESSION != 0;
    Ok(Connect { client_id, clean_session, keep_alive_seconds, username, password, will })
}

/// The level is looked at even when the name is the old one, so that the answer can be in the client's version.
fn check_protocol(fields: &mut Fields<'_>) -> Result<(), Malformed> {
    let name = fields.binary()?;
    let level = fields.byte()?;
    match (name, level) {
        (b"MQTT", 4) => Ok(()),
        (b"MQTT" | b"MQIsdp", level) => Err(Malformed::ProtocolLevel(level)),
        _ => Err(Malformed::ProtocolName),
    }
}

fn decode_will(flags: u8, fields: &mut Fields<'_>) -> Result<Option<Will>, Malformed> {
    if flags & WILL == 0 {
        return if flags & (WILL_RETAIN | WILL_QUALITY) == 0 { Ok(None) } else { Err(Malformed::WillFlags) };
    }
    let quality_of_service = QualityOfService::from_bits((flags & WILL_QUALITY) >> 3)?;
    let topic = fields.text()?;
    if topic.is_empty() {
        return Err(Malformed::Topic);
    }
    let payload = fields.binary()?.to_vec();
    Ok(Some(Will { topic: topic.to_owned(), payload, quality_of_service, retain: flags & WILL_RETAIN != 0 }))
}
