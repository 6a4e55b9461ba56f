//! The will: telemetry that is published when a connection ends without DISCONNECT (mqtt §2.7).

use model::{Principal, Record};

use super::{property_bag::decode_bag, topic::telemetry_bag};
use crate::{
    Front,
    telemetry::{MessageBatch, Stamp},
};

/// A will that goes to the device's own telemetry topic.
#[derive(Debug)]
pub(super) struct Will {
    bag: String,
    payload: Vec<u8>,
}

impl Will {
    /// `None`, with a line in the log, when the will is for any other topic: it will never be published.
    pub fn of(will: &mqtt::Will, principal: &Principal) -> Option<Self> {
        let Some(bag) = telemetry_bag(&will.topic, principal) else {
            tracing::info!(%principal, "the will is not for the telemetry topic and is discarded");
            return None;
        };
        Some(Self { bag: bag.to_owned(), payload: will.payload.clone() })
    }

    /// Appends it; nobody waits for an acknowledgement.
    pub async fn publish(self, front: &Front, stamp: &Stamp) {
        let mut record = Record::default();
        decode_bag(&self.bag, &mut record);
        record.application_properties.push(("iothub-MessageType".into(), "Will".into()));
        let mut batch = MessageBatch::default();
        batch.push(stamp, &record, &self.payload);
        let appended = front.event_log.append(batch.into_appends(&front.events, stamp)).await;
        if let Err(error) = appended {
            tracing::warn!(%error, "a will could not be published");
        }
    }
}
