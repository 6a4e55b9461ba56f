//! Many messages in one delivery, as Azure's SDKs send telemetry (amqp §5.2).

use super::{Body, Message, MessageWriter};

/// The format of a delivery that is one message.
pub const MESSAGE_FORMAT: u32 = 0;

/// The format of a delivery whose data sections are complete, encoded messages. The sections of the envelope around
/// them mean nothing, and one disposition settles them all.
pub const BATCH_FORMAT: u32 = 0x8001_3700;

/// The messages of a batch, encoded. An envelope without data has none.
pub fn batched_messages<'a>(envelope: &Message<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let sections = match envelope.body {
        Body::Data(sections) => Some(sections),
        _ => None,
    };
    sections.into_iter().flat_map(|sections| sections.iter())
}

/// Writes a batch of encoded messages.
pub fn put_batch<'a>(messages: impl IntoIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    messages.into_iter().fold(MessageWriter::new(out), MessageWriter::data);
}
