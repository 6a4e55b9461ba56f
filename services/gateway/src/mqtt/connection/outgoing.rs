//! What the hub publishes to the device: answers of its twin, updates of its desired properties, methods.

use bytes::Bytes;
use shard_client::{MethodAnswer, MethodCallId};

use super::{
    super::{deliveries::Delivery, device_bound_topic::device_bound_topic},
    *,
};
use crate::twin_requests::TwinRequest;

impl Connection {
    /// Requests and answers of the hub's own topics.
    pub(super) fn handle_hub_topic(&mut self, publish: &Publish<'_>) -> Result<(), Close> {
        let (request_id, request) = match hub_topic(publish.topic).ok_or(Close::Topic)? {
            HubTopic::GetTwin { request_id: None } => return Err(Close::NoRequestId),
            HubTopic::GetTwin { request_id } => (request_id, TwinRequest::Get),
            HubTopic::PatchReported { request_id, expected_version } => {
                (request_id, TwinRequest::Patch { expected_version, patch: publish.payload.to_vec() })
            }
            HubTopic::MethodResponse { status, request_id } => {
                // An id that is none of ours is that of nobody's call.
                if let Ok(call_id) = request_id.parse() {
                    self.open_calls = self.open_calls.saturating_sub(1);
                    let payload = Bytes::copy_from_slice(publish.payload);
                    let answer = MethodAnswer { status, payload };
                    self.front.shard_client.answer_method(&self.session.principal, call_id, answer);
                }
                self.acknowledge_later(publish, Awaits::Nothing, 0);
                return Ok(());
            }
        };
        // Reading keeps nothing, so its PUBACK need not wait for the shard; a patch is acknowledged when it is durable.
        let reads = matches!(request, TwinRequest::Get);
        let Session { principal, connection_id, .. } = &self.session;
        let number = self.twin_requests.push(&self.front, principal, *connection_id, request_id, request);
        let awaits = if reads { Awaits::Nothing } else { Awaits::Answered(number) };
        self.acknowledge_later(publish, awaits, publish.payload.len());
        Ok(())
    }

    /// The PUBACK, when one is wanted, in its place among the others.
    fn acknowledge_later(&mut self, publish: &Publish<'_>, awaits: Awaits, bytes: usize) {
        let packet_ids = publish.packet_id.into_iter().collect();
        let (claim, read_at) = (self.front.claim_bytes(bytes), Instant::now());
        self.unacknowledged.push(InFlight { awaits, packet_ids, messages: 1, claim, read_at });
    }

    /// Publishes answers and desired updates. An update waits until the requests before it are answered, so that a twin
    /// that is read is never older than an update before it.
    pub(super) fn poll_twin(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Close> {
        while self.may_publish(out)
            && let Poll::Ready(answer) = self.twin_requests.poll(context)
        {
            let answer = answer?;
            self.publish(&answer.topic, &answer.payload, out);
        }
        while self.twin_requests.is_idle()
            && self.may_publish(out)
            && let Some(update) = self.mailbox.take_desired_update()
        {
            let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={}", update.version);
            if self.publish(&topic, &update.patch, out) {
                self.front.metrics.twins.desired_updates.inc();
            }
        }
        Ok(())
    }

    /// Publishes methods to run.
    pub(super) fn poll_methods(&mut self, out: &mut Vec<u8>) {
        while self.may_publish(out)
            && let Some(call) = self.mailbox.take_method_call()
        {
            let topic = method_topic(&call.name, call.call_id);
            let is_asked = self.publish(&topic, &call.payload, out);
            self.open_calls = self.open_calls.saturating_add(u32::from(is_asked));
        }
    }

    /// Publishes messages for the device, and settles those it acknowledged.
    pub(super) fn poll_deliveries(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Close> {
        let quality = self.session.device_bound_quality();
        let hinted = self.mailbox.take_messages_waiting();
        if self.deliveries.is_none() {
            if quality.is_none() {
                return Ok(());
            }
            let Session { principal, connection_id, .. } = &self.session;
            self.deliveries = Some(Box::new(Deliveries::new(&self.front, principal, *connection_id)));
        }
        if let (true, Some(deliveries)) = (hinted, &mut self.deliveries) {
            deliveries.ask();
        }
        loop {
            let may_publish = self.may_publish(out);
            let Some(deliveries) = &mut self.deliveries else { return Ok(()) };
            let Poll::Ready(ready) = deliveries.poll(context, quality, may_publish)? else { return Ok(()) };
            ready.iter().for_each(|delivery| self.deliver(delivery, out));
        }
    }

    fn deliver(&self, delivery: &Delivery, out: &mut Vec<u8>) {
        let topic = device_bound_topic(&self.session.principal, &delivery.message);
        let (body, duplicate) = (&delivery.message.record.body, delivery.message.was_delivered);
        self.front.metrics.device_bound.delivered("mqtt", &delivery.message, self.front.now());
        match delivery.packet_id {
            None => self.protocol.publish(&topic, body, out),
            Some(packet_id) => self.protocol.publish_at_least_once(&topic, body, packet_id, duplicate, out),
        }
    }

    /// A device that does not read is not written to; then what waits is bounded elsewhere. Nor is one whose SUBSCRIBE is
    /// not answered yet: clients expect SUBACK first.
    fn may_publish(&self, out: &[u8]) -> bool {
        out.len() < OUT_BYTES_MAX && !self.socket.has_unsent() && self.changing.is_none()
    }

    /// At most once; nothing when the device is not subscribed. Answers whether it is.
    fn publish(&self, topic: &str, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let is_subscribed = is_subscribed(&self.session.subscriptions, topic);
        if is_subscribed {
            self.protocol.publish(topic, payload, out);
        }
        is_subscribed
    }
}

/// Only what a level of a topic cannot hold is encoded (mqtt §6).
fn method_topic(name: &str, call_id: MethodCallId) -> String {
    let mut topic = String::from("$iothub/methods/POST/");
    for byte in name.bytes() {
        match byte {
            b'/' | b'+' | b'#' | b'%' | 0x00..=0x20 | 0x7f.. => topic.push_str(&format!("%{byte:02X}")),
            byte => topic.push(char::from(byte)),
        }
    }
    topic.push_str(&format!("/?$rid={call_id}"));
    topic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_names_in_topics() -> Result<(), std::num::ParseIntError> {
        for (name, level) in
            [("reboot", "reboot"), ("thermostat1*getReport", "thermostat1*getReport"), ("a/b+ü", "a%2Fb%2B%C3%BC")]
        {
            assert_eq!(method_topic(name, "1f-2".parse()?), format!("$iothub/methods/POST/{level}/?$rid=1f-2"));
        }
        Ok(())
    }
}
