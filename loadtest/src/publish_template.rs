//! The PUBLISH packets of one connection: they differ in the packet id only, so writing one is copying a template.

use mqtt::client;

pub struct PublishTemplate {
    bytes: Vec<u8>,
    packet_id_at: Option<usize>,
    next_packet_id: u16,
}

impl PublishTemplate {
    pub fn new(topic: &str, payload: &[u8], acknowledged: bool) -> Self {
        let mut bytes = Vec::new();
        client::publish(topic, payload, acknowledged.then_some(1), &mut bytes);
        let packet_id_at = acknowledged.then(|| bytes.len() - payload.len() - 2);
        Self { bytes, packet_id_at, next_packet_id: 1 }
    }

    /// Appends the next packet.
    pub fn append_to(&mut self, out: &mut Vec<u8>) {
        if let Some(id) = self.packet_id_at.and_then(|at| self.bytes.get_mut(at..at + 2)) {
            id.copy_from_slice(&self.next_packet_id.to_be_bytes());
            self.next_packet_id = self.next_packet_id.checked_add(1).unwrap_or(1);
        }
        out.extend_from_slice(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use mqtt::client::{Answer, decode_answer};

    use super::*;

    #[test]
    fn packets_differ_in_the_packet_id_only() -> Result<(), mqtt::Malformed> {
        let mut template = PublishTemplate::new("t", &[7; 200], true);
        let mut out = Vec::new();
        template.append_to(&mut out);
        template.append_to(&mut out);
        let mut rest = out.as_slice();
        for id in [1, 2] {
            let Some((answer, length)) = decode_answer(rest)? else { panic!("incomplete") };
            let expected = Answer::Publish {
                topic: "t",
                payload: &[7; 200],
                packet_id: Some(id),
                duplicate: false,
                retain: false,
            };
            assert_eq!(answer, expected);
            rest = rest.get(length..).unwrap_or_default();
        }
        assert!(rest.is_empty());
        Ok(())
    }
}
