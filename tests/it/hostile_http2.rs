//! Floods of HTTP/2 frames: the hub ends them or reads no more, holds little, and serves others.

use futures::future::try_join_all;
use ironhub_tests::{
    Http2, Hub, HubOptions, Said, TestResult, client_config, connect_deaf, connect_from, handshake, headers_frame,
    http2_frame,
    http2_kind::{self, CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS},
    send_until_blocked, survives,
};
use tokio::net::TcpStream;

/// Error codes (RFC 9113 §7).
const REFUSED_STREAM: Option<u32> = Some(7);
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const ENHANCE_YOUR_CALM: Option<u32> = Some(11);

/// Each attack comes over so many connections at once.
const CONNECTIONS: u8 = 8;
/// Frames in one write.
const PIECE: u32 = 256;

const FIELDS: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "hub"), (":path", "/devices?api-version=2021-04-12")];

async fn open(hub: &Hub, stream: TcpStream) -> TestResult<Http2> {
    let mut config = (*client_config(&hub.authority, None)?).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Http2::open(handshake(&config.into(), stream, &hub.host_name).await?).await
}

/// Floods over all connections until each is ended; `piece` makes the next bytes.
async fn flood(hub: &Hub, piece: impl Fn(u32) -> Vec<u8>) -> TestResult<Vec<Said>> {
    let floods = (0..CONNECTIONS).map(|number| {
        let piece = &piece;
        async move {
            let mut http2 = open(hub, connect_from(number % 4 + 1, hub.https).await?).await?;
            // Its frames are good ones: an ordinary request is answered.
            http2.send(&headers_frame(1, END_STREAM, &FIELDS)).await?;
            http2.receive_kind(HEADERS).await?;
            http2.flood((0..).map(piece)).await
        }
    });
    try_join_all(floods).await
}

/// A frame that has to be answered.
fn asking(kind: u8) -> Vec<u8> {
    http2_frame(kind, 0, 0, if kind == PING { b"8 bytes!" } else { b"" })
}

/// Ids of streams for one piece; the first one is taken.
fn stream_ids(piece: u32) -> impl Iterator<Item = u32> {
    (piece * PIECE..(piece + 1) * PIECE).map(|number| 2 * number + 3)
}

fn all_told_to_calm_down(said: &[Said]) {
    // A reset of TCP may overtake the words, though hardly everywhere.
    let words: Vec<_> = said.iter().flat_map(|said| said.frames.keys()).filter(|(kind, _)| *kind == GOAWAY).collect();
    assert!(!words.is_empty() && words.iter().all(|(_, code)| *code == ENHANCE_YOUR_CALM), "{said:?}");
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection() -> TestResult {
    let hub = Hub::start().await?;
    survives(&hub, "rapid reset", async || {
        let open_and_reset = |id| [headers_frame(id, END_STREAM, &FIELDS), http2_frame(RST_STREAM, 0, id, &CANCEL)];
        let said = flood(&hub, |piece| stream_ids(piece).flat_map(open_and_reset).flatten().collect()).await?;
        all_told_to_calm_down(&said);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_in_the_end_the_connection() -> TestResult {
    const STREAMS_MAX: u32 = 10;
    const BEYOND: u32 = 15;
    let config = format!("[gateway.https]\nstreams_max = {STREAMS_MAX}\n");
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let (token, path) =
        (device.token(), format!("/devices/{}/messages/events?api-version=2021-04-12", device.device_id));
    // Without END_STREAM the request waits for its body.
    let begin = |id| {
        let fields = [(":method", "POST"), (":scheme", "https"), (":authority", "hub"), (":path", &path)];
        headers_frame(id, 0, &[&fields[..], &[("authorization", &token)]].concat())
    };
    survives(&hub, "too many streams", async || {
        let mut http2 = open(&hub, connect_from(1, hub.https).await?).await?;
        let begun = (0..STREAMS_MAX + BEYOND).map(|number| 2 * number + 1);
        http2.send(&begun.flat_map(begin).collect::<Vec<u8>>()).await?;
        for number in 0..BEYOND {
            let refused = http2.receive_kind(RST_STREAM).await?;
            assert_eq!((refused.error_code(), refused.stream_id), (REFUSED_STREAM, 2 * (STREAMS_MAX + number) + 1));
        }
        // Those within the limit live on.
        http2.send(&http2_frame(http2_kind::DATA, END_STREAM, 1, b"served")).await?;
        assert_eq!(http2.receive_kind(HEADERS).await?.stream_id, 1);
        let said = flood(&hub, |piece| stream_ids(piece).flat_map(begin).collect()).await?;
        all_told_to_calm_down(&said);
        assert!(said.iter().any(|said| said.count(RST_STREAM, REFUSED_STREAM) > 0), "{said:?}");
        Ok(http2)
    })
    .await
}

#[tokio::test]
async fn heads_that_never_end_or_unfold_without_end_end_the_connection() -> TestResult {
    let hub = Hub::start().await?;
    // Fields that hold their bytes, one that holds nothing, and one that is remembered and then named in a byte.
    let fields: Vec<u8> = [&[0, 1, b'x', 127, 0][..], &[b'y'; 127]].concat().repeat(100);
    let remembered = [&[0x40, 1, b'x', 127, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
    let named = [remembered, vec![0x80 | 62; 12_000]].concat();
    for (what, first, block) in [("CONTINUATION", &b""[..], &fields), ("empty CONTINUATION", b"", &Vec::new())] {
        survives(&hub, what, async || {
            let said = flood(&hub, |piece| match piece {
                0 => http2_frame(HEADERS, 0, 3, first),
                _ => http2_frame(CONTINUATION, 0, 3, block),
            })
            .await?;
            all_told_to_calm_down(&said);
            Ok(())
        })
        .await?;
    }
    survives(&hub, "header bomb", async || {
        let bomb = |id| http2_frame(HEADERS, END_HEADERS | END_STREAM, id, &named);
        let said = flood(&hub, |piece| stream_ids(piece).flat_map(bomb).collect()).await?;
        all_told_to_calm_down(&said);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn floods_that_ask_for_answers_end_with_the_time_for_a_request() -> TestResult {
    let config = "[gateway.https]\nheader_timeout_seconds = 2\n".to_owned();
    let hub = Hub::start_with(HubOptions { config, ..HubOptions::default() }).await?;
    survives(&hub, "pings and settings", async || {
        let floods = [PING, SETTINGS].map(|kind| {
            let piece = asking(kind).repeat(PIECE as usize);
            let hub = &hub;
            async move {
                let http2 = open(hub, connect_from(1, hub.https).await?).await?;
                let said = http2.flood(std::iter::repeat_with(|| piece.clone())).await?;
                anyhow::ensure!(said.count(kind, None) > PIECE as usize, "{kind}: {said:?}");
                Ok(())
            }
        });
        try_join_all(floods).await
    })
    .await
}

#[tokio::test]
async fn who_asks_and_never_reads_is_not_read_any_more() -> TestResult {
    let hub = Hub::start().await?;
    survives(&hub, "deaf peers", async || {
        let deaf = [PING, SETTINGS].repeat(CONNECTIONS.into()).into_iter().map(|kind| {
            let piece = asking(kind).repeat(16 * PIECE as usize);
            let hub = &hub;
            async move {
                let mut http2 = open(hub, connect_deaf(hub.https).await?).await?;
                send_until_blocked(piece.len(), async || http2.send(&piece).await).await?;
                Ok(http2)
            }
        });
        try_join_all(deaf).await
    })
    .await
}
