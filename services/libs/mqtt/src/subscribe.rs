//! SUBSCRIBE and UNSUBSCRIBE (MQTT-3.8, MQTT-3.10).

use crate::{Limits, Malformed, QualityOfService, Subscribe, Unsubscribe, wire::Fields};

pub(crate) fn decode_subscribe(mut fields: Fields<'_>, limits: &Limits) -> Result<Subscribe, Malformed> {
    let packet_id = fields.packet_id()?;
    let mut filters = Vec::new();
    while !fields.0.is_empty() {
        let filter = decode_filter(&mut fields, filters.len(), limits)?;
        let options = fields.byte()?;
        if options > 3 {
            return Err(Malformed::Flags);
        }
        filters.push((filter, QualityOfService::from_bits(options)?));
    }
    if filters.is_empty() { Err(Malformed::Filters) } else { Ok(Subscribe { packet_id, filters }) }
}

pub(crate) fn decode_unsubscribe(mut fields: Fields<'_>, limits: &Limits) -> Result<Unsubscribe, Malformed> {
    let packet_id = fields.packet_id()?;
    let mut filters = Vec::new();
    while !fields.0.is_empty() {
        filters.push(decode_filter(&mut fields, filters.len(), limits)?);
    }
    if filters.is_empty() { Err(Malformed::Filters) } else { Ok(Unsubscribe { packet_id, filters }) }
}

fn decode_filter(fields: &mut Fields<'_>, before: usize, limits: &Limits) -> Result<String, Malformed> {
    if before >= limits.filters_per_packet_max {
        return Err(Malformed::TooManyFilters);
    }
    let filter = fields.text()?;
    if filter.is_empty() { Err(Malformed::Filters) } else { Ok(filter.to_owned()) }
}
