//! What is to be written to the peer.

use crate::{DeliveryState, Disposition, FrameKind, Performative, Role, frame::put_frame, types::Field};

/// Frames that wait to be written, and one disposition that may still grow.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    /// Where in `bytes` a piece ends that is to be written on its own; ascending.
    ends: Vec<usize>,
    /// Neighbours with the same outcome become one range: a thousand accepted messages are one frame.
    disposition: Option<(u16, Disposition)>,
}

impl Output {
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn frame(&mut self, channel: u16, performative: &Performative) {
        self.frame_with(channel, |out| performative.encode(out));
    }

    pub fn frame_with(&mut self, channel: u16, write: impl FnOnce(&mut Vec<u8>)) {
        self.flush_disposition();
        put_frame(FrameKind::Amqp, channel, &mut self.bytes, write);
    }

    pub fn sasl_frame(&mut self, frame: &crate::SaslFrame) {
        put_frame(FrameKind::Sasl, 0, &mut self.bytes, |out| frame.encode(out));
    }

    /// Settles one delivery (amqp R16). It is written before anything else that comes after it (amqp R14).
    pub fn settle(&mut self, channel: u16, role: Role, id: u32, state: DeliveryState) {
        if let Some((waiting_channel, waiting)) = self.disposition.as_mut()
            && (*waiting_channel, waiting.role) == (channel, role)
            && waiting.last.unwrap_or(waiting.first).wrapping_add(1) == id
            && waiting.state.as_ref() == Some(&state)
        {
            waiting.last = Some(id);
            return;
        }
        self.flush_disposition();
        let disposition =
            Disposition { role, first: id, last: None, settled: true, state: Some(state), batchable: None };
        self.disposition = Some((channel, disposition));
    }

    fn flush_disposition(&mut self) {
        if let Some((channel, disposition)) = self.disposition.take() {
            put_frame(FrameKind::Amqp, channel, &mut self.bytes, |out| disposition.encode(out));
        }
    }

    /// What was said until now is to be written before, and apart from, what comes.
    pub fn end_piece(&mut self) {
        self.flush_disposition();
        self.ends.push(self.bytes.len());
    }

    /// The next piece to be written.
    pub fn unwritten(&mut self) -> &[u8] {
        self.flush_disposition();
        let end = self.ends.first().copied().unwrap_or(self.bytes.len());
        self.bytes.get(self.written..end).unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Once all is written the buffer is given back: an idle connection has none. Where some always waits, what is
    /// written is cut off when it is the greater part, so that the buffer does not grow for ever.
    pub fn consume(&mut self, count: usize) {
        self.written = (self.written + count).min(self.bytes.len());
        self.ends.retain(|end| *end > self.written);
        if self.written == self.bytes.len() {
            *self = Self { disposition: self.disposition.take(), ..Self::default() };
        } else if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.ends.iter_mut().for_each(|end| *end -= self.written);
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Output;

    #[test]
    fn a_peer_that_reads_slowly_does_not_make_the_buffer_grow() {
        let mut output = Output::default();
        output.raw(&[0; 1000]);
        for round in 0..1000_u32 {
            output.raw(&round.to_be_bytes().repeat(25));
            output.consume(100);
            assert_eq!(output.len(), 1000);
            assert!(output.bytes.capacity() <= 4400, "{}", output.bytes.capacity());
        }
        assert_eq!(output.unwritten().last_chunk(), Some(&999_u32.to_be_bytes()));
        output.consume(1000);
        assert_eq!((output.len(), output.bytes.capacity()), (0, 0));
    }

    #[test]
    fn pieces_are_written_one_after_the_other() {
        let mut output = Output::default();
        let texts: [&[u8]; 3] = [b"first", b"2", b"the third"];
        for text in texts {
            output.raw(text);
            output.end_piece();
        }
        output.raw(b"rest");
        assert_eq!(output.unwritten(), b"first");
        output.consume(3);
        for text in [&b"st"[..], b"2", b"the third", b"rest"] {
            assert_eq!(output.unwritten(), text);
            output.consume(text.len());
        }
        assert_eq!((output.len(), output.ends.capacity()), (0, 0));
    }
}
