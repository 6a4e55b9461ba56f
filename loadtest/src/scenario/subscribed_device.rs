//! A device that is subscribed: reads what the hub publishes and answers.

use mqtt::client::{Answer, puback, publish, subscribe};

use super::mqtt_connection::{self, Input};
use crate::tls::{Connector, TlsStream};

/// The largest message that the hub sends, and its topic.
const INPUT_BYTES: usize = 80 * 1024;

/// What the hub published.
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
}

/// One connected device.
pub struct SubscribedDevice {
    stream: TlsStream,
    input: Input,
    out: Vec<u8>,
}

impl SubscribedDevice {
    /// Connects and subscribes.
    pub async fn open(
        connector: &Connector,
        index: u32,
        connect: &mqtt::Connect,
        filters: &[(&str, u8)],
    ) -> anyhow::Result<Self> {
        let stream = mqtt_connection::open(connector, index, connect).await?;
        let mut device = Self { stream, input: Input::new(INPUT_BYTES), out: Vec::new() };
        subscribe(1, filters, &mut device.out);
        device.flush().await?;
        let mut granted = false;
        while !granted {
            let is_granted = |answer: &Answer<'_>| granted |= matches!(answer, Answer::SubAck { .. });
            device.input.read(&mut device.stream, is_granted).await?;
        }
        Ok(device)
    }

    /// Publishes at most once; nothing is sent before [`flush`](Self::flush).
    pub fn publish(&mut self, topic: &str, payload: &[u8]) {
        publish(topic, payload, None, &mut self.out);
    }

    /// Sends what was published.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        mqtt_connection::send(&mut self.stream, &self.out).await?;
        self.out.clear();
        Ok(())
    }

    /// The next messages; what is at least once is acknowledged with the next flush.
    pub async fn read(&mut self) -> anyhow::Result<Vec<Message>> {
        let (mut messages, out) = (Vec::new(), &mut self.out);
        let take = |answer: &Answer<'_>| {
            if let Answer::Publish { topic, payload, packet_id, .. } = answer {
                messages.push(Message { topic: (*topic).to_owned(), payload: payload.to_vec() });
                packet_id.iter().for_each(|packet_id| puback(*packet_id, out));
            }
        };
        self.input.read(&mut self.stream, take).await?;
        Ok(messages)
    }

    /// The bare connection.
    pub fn into_stream(self) -> TlsStream {
        self.stream
    }
}
