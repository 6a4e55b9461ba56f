//! Any bytes as a value, a message, a performative, a SASL frame: no panic, and what is read and written again says the
//! same.
#![no_main]

use amqp::{Message, MessageWriter, Performative, SaslFrame, Value, put_value};
use libfuzzer_sys::fuzz_target;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fuzz_target!(|input: &[u8]| {
    // Compared as bytes, because NaN is not itself.
    if let Ok(value) = Value::decode(input) {
        let first = written(|out| put_value(&value, out));
        let Ok(again) = Value::decode(&first) else { panic!("what we write is no value") };
        assert_eq!(written(|out| put_value(&again, out)), first);
        let _ = format!("{value:?}");
    }
    if let Ok(message) = Message::decode(input) {
        let first = written(|out| _ = MessageWriter::new(out).message(&message));
        let Ok(again) = Message::decode(&first) else { panic!("what we write is no message") };
        assert_eq!(written(|out| _ = MessageWriter::new(out).message(&again)), first);
        assert!(amqp::batched_messages(&message).map(<[u8]>::len).sum::<usize>() <= input.len());
    }
    if let Ok((performative, length)) = Performative::decode(input) {
        assert!(length <= input.len());
        let first = written(|out| performative.encode(out));
        let Ok((again, length)) = Performative::decode(&first) else { panic!("what we write is no performative") };
        assert_eq!((written(|out| again.encode(out)), length), (first.clone(), first.len()));
    }
    if let Ok(frame) = SaslFrame::decode(input) {
        assert_eq!(SaslFrame::decode(&written(|out| frame.encode(out))), Ok(frame));
    }
});
