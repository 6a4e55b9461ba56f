//! What the hub publishes to the device: answers of its twin, and updates of its desired properties.

use super::*;

impl Connection {
    /// Requests and answers of the hub's own topics.
    pub(super) fn handle_hub_topic(&mut self, publish: &Publish<'_>) -> Result<(), Close> {
        let (request_id, request) = match hub_topic(publish.topic).ok_or(Close::Topic)? {
            HubTopic::GetTwin { request_id: None } => return Err(Close::NoRequestId),
            HubTopic::GetTwin { request_id } => (request_id, TwinRequest::Get),
            HubTopic::PatchReported { request_id, expected_version } => {
                (request_id, TwinRequest::Patch { expected_version, patch: publish.payload.to_vec() })
            }
            // Nobody waits for it (any more).
            HubTopic::MethodResponse { .. } => {
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
            self.publish(&topic, &update.patch, out);
        }
        Ok(())
    }

    /// A device that does not read is not written to; then what waits is bounded elsewhere.
    fn may_publish(&self, out: &[u8]) -> bool {
        out.len() < OUT_BYTES_MAX && !self.socket.has_unsent()
    }

    /// At most once; nothing when the device is not subscribed.
    fn publish(&self, topic: &str, payload: &[u8], out: &mut Vec<u8>) {
        if is_subscribed(&self.session.subscriptions, topic) {
            self.protocol.publish(topic, payload, out);
        }
    }
}
