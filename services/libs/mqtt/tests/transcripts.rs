//! Plain-text conversations: `> bytes of the client`, `< bytes of the server`, `= event`, `! violation`, `+ seconds`.
//! The file name is the situation.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failed test")]

use std::{fs, path::Path, time::Duration, time::Instant};

use mqtt::{Event, Limits, QualityOfService, ServerConnection};

fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
            Some(text) => bytes.extend_from_slice(text.as_bytes()),
            None => bytes.push(u8::from_str_radix(word, 16).unwrap_or_else(|_| panic!("{word} is no byte"))),
        }
    }
    bytes
}

fn describe(event: &Event<'_>) -> String {
    match event {
        Event::Connect(c) => {
            format!("connect {} clean {} keep-alive {}", c.client_id, c.clean_session, c.keep_alive_seconds)
        }
        Event::Publish(p) => {
            format!("publish {} {:?} id {:?} {}", p.topic, p.quality_of_service, p.packet_id, p.payload.len())
        }
        Event::PubAck(id) => format!("puback {id}"),
        Event::Subscribe(s) => format!("subscribe {} {:?}", s.packet_id, s.filters),
        Event::Unsubscribe(u) => format!("unsubscribe {} {:?}", u.packet_id, u.filters),
        Event::Ping => "ping".to_owned(),
        Event::Disconnect => "disconnect".to_owned(),
    }
}

/// Plays the client's lines and writes down what comes of them.
fn play(script: &str) -> String {
    let (limits, start) = (Limits::default(), Instant::now());
    let mut now = start;
    let mut connection = ServerConnection::new(&limits, now);
    let mut input = Vec::new();
    let mut transcript = String::new();
    for line in script.lines() {
        if let Some(seconds) = line.strip_prefix("+ ") {
            now += Duration::from_secs(seconds.trim().parse().unwrap());
            transcript += &format!("{line}\n");
            if let Some(violation) = connection.handle_timeout(now) {
                transcript += &format!("! {violation}\n");
            }
        } else if let Some(sent) = line.strip_prefix("> ") {
            transcript += &format!("{line}\n");
            input.extend(bytes(sent));
            loop {
                let mut out = Vec::new();
                let (text, used) = match connection.receive(&input, &limits, now, &mut out) {
                    Ok(Some((event, used))) => (format!("= {}\n", describe(&event)), used),
                    Ok(None) => break,
                    Err(violation) => {
                        transcript += &format!("! {violation}\n");
                        connection.answer_violation(violation, &mut out);
                        transcript += &answer(&out);
                        return transcript;
                    }
                };
                input.drain(..used);
                transcript += &text;
                transcript += &answer(&out);
            }
        } else if line.starts_with('#') || line.is_empty() {
            transcript += &format!("{line}\n");
        }
    }
    transcript
}

fn answer(out: &[u8]) -> String {
    if out.is_empty() {
        return String::new();
    }
    let hexadecimal: Vec<String> = out.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("< {}\n", hexadecimal.join(" "))
}

#[test]
fn every_transcript_plays_as_written() {
    // Cargo runs tests in the package's folder. A path that is compiled in would be that of whoever built them.
    let folder = Path::new("tests/transcripts");
    let mut count = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let script = fs::read_to_string(&path).unwrap();
        assert_eq!(play(&script).trim(), script.trim(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 12, "only {count} transcripts");
}

#[test]
fn answers_have_the_bytes_of_the_specification() {
    let connection = ServerConnection::new(&Limits::default(), Instant::now());
    let mut out = Vec::new();
    connection.accept(true, &mut out);
    connection.refuse(mqtt::ConnectReturnCode::NotAuthorized, &mut out);
    connection.puback(0x1234, &mut out);
    connection.suback(7, &[Some(QualityOfService::AtLeastOnce), None, Some(QualityOfService::AtMostOnce)], &mut out);
    connection.unsuback(8, &mut out);
    let expected = bytes("20 02 01 00  20 02 00 05  40 02 12 34  90 05 00 07 01 80 00  b0 02 00 08");
    assert_eq!(out, expected);
}
