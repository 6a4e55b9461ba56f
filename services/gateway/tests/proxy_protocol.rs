//! Headers of the PROXY protocol, cut anywhere, against §2.2 of its specification.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failed test")]

use std::net::SocketAddr;

use gateway::proxy_protocol::{BLOCK_BYTES_MAX, Decoder, Origin, Violation};
use proptest::prelude::*;

const SIGNATURE: &[u8] = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// What comes behind a header: the begin of a TLS record.
const BEHIND: &[u8] = b"\x16\x03\x01";

/// A header that announces the block's length.
fn header(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = (block.len() as u16).to_be_bytes();
    [SIGNATURE, &[version_and_command, family], &length, block].concat()
}

fn ipv4_block() -> Vec<u8> {
    [&[203, 0, 113, 7], &[10, 0, 0, 1], &4711_u16.to_be_bytes()[..], &8883_u16.to_be_bytes()].concat()
}

fn ipv6_block() -> Vec<u8> {
    let source = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let destination = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    [&source[..], &destination, &4711_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

fn client(address: &str) -> Origin {
    Origin::Client(address.parse::<SocketAddr>().unwrap())
}

/// What comes of the pieces, and how many bytes were taken.
fn receive<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(usize, Option<Origin>), Violation> {
    let (mut decoder, mut taken) = (Decoder::default(), 0);
    for piece in pieces {
        let (used, origin) = decoder.receive(piece)?;
        taken += used;
        if origin.is_some() {
            return Ok((taken, origin));
        }
        assert_eq!(used, piece.len(), "what belongs to it is taken");
    }
    Ok((taken, None))
}

/// The header comes whole, with something behind it that is left alone.
fn whole(header: &[u8]) -> Result<Origin, Violation> {
    let (taken, origin) = receive([[header, BEHIND].concat().as_slice()])?;
    assert_eq!(taken, header.len());
    Ok(origin.unwrap())
}

#[test]
fn addresses_of_tcp_are_the_clients() {
    assert_eq!(whole(&header(PROXY, 0x11, &ipv4_block())), Ok(client("203.0.113.7:4711")));
    assert_eq!(whole(&header(PROXY, 0x21, &ipv6_block())), Ok(client("[2001:db8::7]:4711")));
}

#[test]
fn what_stands_behind_the_addresses_is_skipped() {
    let tlvs = [&[0x01, 0, 2], &b"h2"[..], &[0x04, 0x03, 0xe8], &[b'x'; 1000]].concat();
    assert_eq!(whole(&header(PROXY, 0x11, &[ipv4_block(), tlvs.clone()].concat())), Ok(client("203.0.113.7:4711")));
    assert_eq!(whole(&header(PROXY, 0x21, &[ipv6_block(), tlvs].concat())), Ok(client("[2001:db8::7]:4711")));
    let longest = [ipv4_block(), vec![0xff; usize::from(BLOCK_BYTES_MAX) - 12]].concat();
    assert_eq!(whole(&header(PROXY, 0x11, &longest)), Ok(client("203.0.113.7:4711")));
}

#[test]
fn a_proxy_that_speaks_for_itself_keeps_its_address_whatever_else_it_says() {
    assert_eq!(whole(&header(LOCAL, 0x00, &[])), Ok(Origin::Socket));
    assert_eq!(whole(&header(LOCAL, 0x11, &ipv4_block())), Ok(Origin::Socket));
    assert_eq!(whole(&header(LOCAL, 0xff, b"anything")), Ok(Origin::Socket), "its family is ignored");
    assert_eq!(whole(&header(LOCAL, 0x11, &[])), Ok(Origin::Socket));
}

#[test]
fn what_is_not_tcp_over_ip_keeps_the_address_of_the_socket() {
    assert_eq!(whole(&header(PROXY, 0x00, &[])), Ok(Origin::Socket));
    assert_eq!(whole(&header(PROXY, 0x00, b"anything")), Ok(Origin::Socket));
    for family in [0x01, 0x02, 0x10, 0x12, 0x20, 0x22, 0x30, 0x31, 0x32] {
        assert_eq!(whole(&header(PROXY, family, &[1; 216])), Ok(Origin::Socket), "{family:#04x}");
    }
}

#[test]
fn violations_are_named() {
    assert_eq!(whole(b"\x16\x03\x01\x02\x00\x01"), Err(Violation::NoHeader));
    assert_eq!(whole(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 8883\r\n"), Err(Violation::TextHeader));
    assert_eq!(whole(b"PROXY UNKNOWN\r\n"), Err(Violation::TextHeader));
    assert_eq!(whole(b"PROBE"), Err(Violation::NoHeader));
    let wrong_signature = [&SIGNATURE[..11], b"\r"].concat();
    assert_eq!(whole(&[wrong_signature, vec![0; 16]].concat()), Err(Violation::NoHeader));
    assert_eq!(whole(&header(0x11, 0x11, &ipv4_block())), Err(Violation::Version(1)));
    assert_eq!(whole(&header(0x31, 0x11, &ipv4_block())), Err(Violation::Version(3)));
    assert_eq!(whole(&header(0x22, 0x11, &ipv4_block())), Err(Violation::Command(2)));
    for family in [0x41, 0x13, 0x03, 0x40, 0xff] {
        assert_eq!(whole(&header(PROXY, family, &[0; 216])), Err(Violation::Family(family)));
    }
    let too_short = |length, expected| Err(Violation::TooShort { length, expected });
    assert_eq!(whole(&header(PROXY, 0x11, &ipv4_block()[..11])), too_short(11, 12));
    assert_eq!(whole(&header(PROXY, 0x21, &ipv4_block())), too_short(12, 36));
    assert_eq!(whole(&header(PROXY, 0x31, &[0; 215])), too_short(215, 216));
    assert_eq!(whole(&header(PROXY, 0x11, &[0; 4097])), Err(Violation::TooLong(4097)));
    assert_eq!(whole(&header(LOCAL, 0x00, &[0; 65_535])), Err(Violation::TooLong(65_535)));
}

#[test]
fn what_is_no_header_is_refused_by_its_first_bytes() {
    assert_eq!(receive([&b"\x16"[..]]), Err(Violation::NoHeader));
    assert_eq!(receive([&b"PROX"[..]]), Ok((4, None)));
    assert_eq!(receive([&b"PROX"[..], b"Y"]), Err(Violation::TextHeader));
    assert_eq!(receive([SIGNATURE, b"\x21\x11"]), Ok((14, None)));
}

proptest! {
    /// Cut anywhere it is the same, and what is wanted never goes beyond the header.
    #[test]
    fn any_split_gives_the_same(
        stream in prop_oneof![
            any_header().prop_map(|header| [header, BEHIND.to_vec()].concat()),
            (any_header(), 0_usize..60, any::<u8>()).prop_map(|(mut header, at, byte)| {
                header.iter_mut().skip(at).take(1).for_each(|it| *it = byte);
                header
            }),
            prop::collection::vec(any::<u8>(), 0..80),
        ],
        cuts in prop::collection::vec(0_usize..400, 0..12),
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        let at_once = receive([stream.as_slice()]);
        prop_assert_eq!(receive(pieces), at_once);
        prop_assert_eq!(receive(stream.chunks(1)), at_once);
        let (mut decoder, mut rest) = (Decoder::default(), stream.as_slice());
        let asked = loop {
            let (piece, behind) = rest.split_at(decoder.wanted().min(rest.len()));
            rest = behind;
            match decoder.receive(piece) {
                Ok((used, origin)) => {
                    prop_assert_eq!(used, piece.len());
                    if origin.is_some() || rest.is_empty() {
                        break Ok((stream.len() - rest.len(), origin));
                    }
                }
                Err(violation) => break Err(violation),
            }
        };
        prop_assert_eq!(asked, at_once, "reading what is wanted");
    }
}

fn any_header() -> impl Strategy<Value = Vec<u8>> {
    let families = prop_oneof![Just(0x11_u8), Just(0x21), Just(0x31), Just(0), any::<u8>()];
    let block = prop::collection::vec(any::<u8>(), 0..300);
    (prop_oneof![Just(LOCAL), Just(PROXY)], families, block)
        .prop_map(|(command, family, block)| header(command, family, &block))
}
