//! The frames of the real service (amqp §1.5), byte by byte, in both directions.

use amqp::{
    Attach, Begin, Close, DeliveryState, Detach, Disposition, End, Error, Flow, FrameHeader, FrameKind, MessageId,
    MessageWriter, Open, Performative, Properties, ReceiverSettleMode, Role, SaslCode, SaslFrame, SaslMechanisms,
    SaslOutcome, Secret, SenderSettleMode, Source, Symbols, Target, Transfer, Value, put_frame,
};

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
    (0..hexadecimal.len()).step_by(2).map(byte).collect()
}

/// We write these bytes, and read them as what was written.
fn check(hexadecimal: &str, performative: Performative, payload: &[u8]) {
    let expected = bytes(hexadecimal);
    let mut wire = Vec::new();
    put_frame(FrameKind::Amqp, 0, &mut wire, |out| {
        performative.encode(out);
        out.extend_from_slice(payload);
    });
    assert_eq!(wire, expected, "{performative:?}");
    let header = FrameHeader::decode(*expected.first_chunk().unwrap(), 512).unwrap();
    assert_eq!(header.size, expected.len());
    let body = &expected[header.body_offset..];
    let (read, length) = Performative::decode(body).unwrap();
    assert_eq!((&read, &body[length..]), (&performative, payload));
}

fn check_sasl(hexadecimal: &str, frame: SaslFrame) {
    let mut wire = Vec::new();
    put_frame(FrameKind::Sasl, 0, &mut wire, |out| frame.encode(out));
    assert_eq!(wire, bytes(hexadecimal));
    assert_eq!(SaslFrame::decode(&wire[8..]), Ok(frame));
}

fn cbs(name: &str, handle: u32, role: Role) -> Attach {
    Attach {
        handle,
        snd_settle_mode: Some(SenderSettleMode::Unsettled),
        rcv_settle_mode: Some(ReceiverSettleMode::First),
        source: Some(Source::at("$cbs")),
        target: Some(amqp::AttachTarget::Target(Target::at("$cbs"))),
        initial_delivery_count: (role == Role::Sender).then_some(0),
        max_message_size: Some(1_048_576),
        ..Attach::new(name, role)
    }
}

#[test]
fn sasl() {
    let mechanisms = Symbols(["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"].map(Into::into).into());
    check_sasl(
        "0000003302010000005340c02601e02304a3074d53534243425305504c41494e09414e4f4e594d4f55530845585445524e414c",
        SaslFrame::Mechanisms(SaslMechanisms { mechanisms }),
    );
    check_sasl(
        "0000001a02010000005344c00d025000a00857656c636f6d6521",
        SaslFrame::Outcome(SaslOutcome { code: SaslCode::Ok, additional_data: Some(Secret(b"Welcome!".to_vec())) }),
    );
    check_sasl(
        "0000001102010000005344c00402500140",
        SaslFrame::Outcome(SaslOutcome { code: SaslCode::Auth, additional_data: None }),
    );
}

#[test]
fn open_and_begin() {
    let open = Open {
        container_id: "DeviceGateway_0".into(),
        hostname: Some("localhost".into()),
        max_frame_size: Some(65_536),
        channel_max: Some(8_191),
        idle_time_out: Some(240_000),
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    };
    check(
        "0000003c02000000005310c02f0aa10f446576696365476174657761795f30a1096c6f63616c686f73747000010000601fff700003a9804040404040",
        Performative::Open(Box::new(open)),
        &[],
    );
    let begin = Begin {
        remote_channel: Some(0),
        next_outgoing_id: 1,
        incoming_window: 5_000,
        outgoing_window: u32::MAX,
        handle_max: Some(262_143),
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    };
    check(
        "0000002502000000005311c018086000005201700000138870ffffffff700003ffff404040",
        Performative::Begin(Box::new(begin)),
        &[],
    );
}

#[test]
fn attach_and_refusal() {
    check(
        "0000005802000000005312c04b0ea10b246362732d73656e646572434150005000005328c0110ba1042463627340404040404040404040005329c00d07a10424636273404040404040404040800000000000100000404040",
        Performative::Attach(Box::new(cbs("$cbs-sender", 0, Role::Receiver))),
        &[],
    );
    check(
        "0000005b02000000005312c04e0ea10d246362732d726563656976657252014250005000005328c0110ba1042463627340404040404040404040005329c00d07a10424636273404040404040404043800000000000100000404040",
        Performative::Attach(Box::new(cbs("$cbs-receiver", 1, Role::Sender))),
        &[],
    );
    let refusal = Attach { source: None, target: None, max_message_size: Some(262_144), ..cbs("l", 0, Role::Sender) };
    check(
        "0000002802000000005312c01b0ea1016c4342500050004040404043800000000000040000404040",
        Performative::Attach(Box::new(refusal)),
        &[],
    );
    let error = Error::new(amqp::condition::NOT_FOUND, "x");
    check(
        "0000002a02000000005316c01d03434100531dc01503a30e616d71703a6e6f742d666f756e64a1017840",
        Performative::Detach(Detach { handle: 0, closed: true, error: Some(error) }),
        &[],
    );
}

#[test]
fn flow_and_disposition() {
    let flow = Flow {
        next_incoming_id: Some(0),
        incoming_window: 5_000,
        next_outgoing_id: 1,
        outgoing_window: u32::MAX,
        handle: Some(0),
        delivery_count: Some(0),
        link_credit: Some(100),
        available: Some(0),
        drain: None,
        echo: false,
        properties: None,
    };
    check(
        "0000002302000000005313c0160b437000001388520170ffffffff4343526443404240",
        Performative::Flow(Box::new(flow)),
        &[],
    );
    let accepted = Disposition {
        role: Role::Receiver,
        first: 0,
        last: None,
        settled: true,
        state: Some(DeliveryState::Accepted),
        batchable: None,
    };
    check("0000001902000000005315c00c0641434041005324c0010040", Performative::Disposition(accepted), &[]);
}

#[test]
fn answer_to_put_token() {
    let mut id = Vec::new();
    amqp::put_value(&Value::String("id-1"), &mut id);
    let properties = Properties { correlation_id: Some(MessageId::decode(&id).unwrap()), ..Properties::default() };
    let mut payload = Vec::new();
    MessageWriter::new(&mut payload)
        .properties(&properties)
        .application_properties(|map| {
            map.string("status-code", &Value::Int(200));
            map.string("status-description", &Value::String("OK"));
        })
        .value(&Value::Null);
    let transfer = Transfer {
        handle: 1,
        delivery_id: Some(0),
        delivery_tag: Some(std::array::from_fn::<u8, 16, _>(|at| at as u8).into()),
        message_format: Some(0),
        settled: None,
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: None,
        aborted: None,
        batchable: None,
    };
    check(
        "0000007702000000005314c01e0b520143a010000102030405060708090a0b0c0d0e0f4340424040404040005373c0130d4040404040a10469642d3140404040404040005374c12b04a10b7374617475732d636f646571000000c8a1127374617475732d6465736372697074696f6ea1024f4b00537740",
        Performative::Transfer(transfer),
        &payload,
    );
}

#[test]
fn end_and_close() {
    check("0000000f02000000005317c0020140", Performative::End(End { error: None }), &[]);
    check("0000000f02000000005318c0020140", Performative::Close(Close { error: None }), &[]);
}
