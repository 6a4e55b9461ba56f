//! PUBLISH to records (mqtt §4).

use std::borrow::Cow;

use model::{Principal, Record};
use mqtt::Publish;

use super::{acknowledge::PacketIds, close::Close, property_bag::decode_bag, topic::telemetry_bag};
use crate::telemetry::{MessageBatch, Stamp};

/// The telemetry of one read on its way to the event log.
#[derive(Default)]
pub(super) struct Published {
    pub batch: MessageBatch,
    pub packet_ids: PacketIds,
}

impl Published {
    /// Takes one message, or says why the connection has to end.
    pub fn add(
        &mut self,
        publish: &Publish<'_>,
        principal: &Principal,
        stamp: &Stamp,
        message_bytes_max: usize,
    ) -> Result<(), Close> {
        let bag = telemetry_bag(publish.topic, principal).ok_or(Close::Topic)?;
        let mut record = Record::default();
        decode_bag(bag, &mut record);
        if publish.retain {
            record.application_properties.push((Cow::Borrowed("mqtt-retain"), Cow::Borrowed("true")));
        }
        let bytes = record.counted_bytes() + publish.payload.len();
        if bytes > message_bytes_max {
            return Err(Close::MessageTooLarge(bytes));
        }
        self.batch.push(stamp, &record, publish.payload);
        self.packet_ids.extend(publish.packet_id);
        Ok(())
    }
}
