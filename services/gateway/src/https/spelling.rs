//! How clients spell their header names over HTTP/1.1: application properties keep their case (rest §17.1), and hyper
//! knows names in lower case only.
//!
//! A connection's bytes are followed beside hyper, just far enough to find where each request's head begins and ends.
//! HTTP/2 has no case to keep.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Only names that begin so keep their case.
const PREFIX: &str = "iothub-app-";
/// hyper refuses a request with more headers.
const HEADERS_MAX: usize = 100;
/// The line before a chunk, or a line behind the last one.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// The names of one request as they came, in order; an extension of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spelling(Vec<String>);

impl Spelling {
    /// Every header with its name as the client spelled it, as far as that matters.
    pub fn spell<'a>(spelling: Option<&'a Self>, headers: &'a HeaderMap) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let mut spelled: Vec<&str> =
            spelling.map(|spelling| spelling.0.iter().map(String::as_str).collect()).unwrap_or_default();
        headers.iter().map(move |(name, value)| {
            let name = name.as_str();
            // Two names that differ in case only are two values of one of hyper's, in order.
            let position = spelled.iter().position(|spelled| spelled.eq_ignore_ascii_case(name));
            (position.map_or(name, |position| spelled.remove(position)), value.as_bytes())
        })
    }
}

/// The spellings of requests that were read and not yet answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Spellings(Arc<Mutex<VecDeque<Spelling>>>);

impl Spellings {
    /// Of the next request; they are served in the order of their heads.
    pub fn next(&self) -> Spelling {
        self.0.lock().pop_front().unwrap_or_default()
    }
}

/// A connection whose incoming bytes are followed.
pub(super) struct Followed<S> {
    stream: S,
    requests: Requests,
    spellings: Spellings,
}

impl<S> Followed<S> {
    /// Follows a connection from its first byte. Heads longer than `head_bytes_max` are refused by hyper too.
    pub fn new(stream: S, head_bytes_max: usize) -> (Self, Spellings) {
        let spellings = Spellings::default();
        (Self { stream, requests: Requests::new(head_bytes_max), spellings: spellings.clone() }, spellings)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Followed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let this = &mut *self;
        this.requests.follow(buffer.filled().get(before..).unwrap_or_default(), |spelling| {
            this.spellings.0.lock().push_back(spelling);
        });
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Followed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Where in the stream of requests the next byte is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Head,
    /// So many bytes of a body, or of a chunk with its line end, are still to come.
    Body {
        left: u64,
        chunked: bool,
    },
    /// In the line that says how long the next chunk is.
    ChunkLength,
    /// Behind the last chunk, up to an empty line.
    Trailer,
    /// What comes is no HTTP/1.1 request: hyper will say so.
    Lost,
}

/// Finds the heads in a stream of requests.
struct Requests {
    place: Place,
    /// The beginning of a head or line whose end has not come yet.
    begun: Vec<u8>,
    head_bytes_max: usize,
}

impl Requests {
    fn new(head_bytes_max: usize) -> Self {
        Self { place: Place::Head, begun: Vec::new(), head_bytes_max }
    }

    /// Takes the next bytes; `found` gets the spelling of every head that ends in them.
    fn follow(&mut self, mut bytes: &[u8], mut found: impl FnMut(Spelling)) {
        while !bytes.is_empty() && self.place != Place::Lost {
            let used = match self.place {
                Place::Head => self.head(bytes, &mut found),
                Place::Body { left, chunked } => self.body(bytes.len(), left, chunked),
                Place::ChunkLength | Place::Trailer => self.line(bytes),
                Place::Lost => bytes.len(),
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    fn lose(&mut self) -> usize {
        self.place = Place::Lost;
        self.begun = Vec::new();
        usize::MAX
    }

    fn head(&mut self, bytes: &[u8], found: &mut impl FnMut(Spelling)) -> usize {
        let before = self.begun.len();
        self.begun.extend_from_slice(bytes);
        // Nothing ends without the end of a line: a head that comes byte by byte is not parsed each time.
        if !bytes.contains(&b'\n') {
            return if self.begun.len() > self.head_bytes_max { self.lose() } else { bytes.len() };
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&self.begun) {
            Ok(httparse::Status::Complete(length)) => {
                let place = after_head(request.headers);
                found(Spelling(request.headers.iter().filter_map(kept).collect()));
                self.begun = Vec::new();
                self.place = place;
                length.saturating_sub(before)
            }
            Ok(httparse::Status::Partial) if self.begun.len() <= self.head_bytes_max => bytes.len(),
            _ => self.lose(),
        }
    }

    fn body(&mut self, available: usize, left: u64, chunked: bool) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(available);
        let left = left - used as u64;
        self.place = match (left, chunked) {
            (0, false) => Place::Head,
            (0, true) => Place::ChunkLength,
            _ => Place::Body { left, chunked },
        };
        used
    }

    fn line(&mut self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(bytes.len(), |end| end + 1);
        self.begun.extend_from_slice(bytes.get(..used).unwrap_or_default());
        if self.begun.len() > LINE_BYTES_MAX {
            return self.lose();
        }
        if end.is_none() {
            return used;
        }
        let line = std::mem::take(&mut self.begun);
        let line = line.trim_ascii();
        self.place = match (&self.place, chunk_length(line)) {
            (Place::Trailer, _) if line.is_empty() => Place::Head,
            (Place::Trailer, _) => Place::Trailer,
            (_, Some(0)) => Place::Trailer,
            (_, Some(length)) => Place::Body { left: length.saturating_add(2), chunked: true },
            (_, None) => Place::Lost,
        };
        used
    }
}

/// What follows a head (RFC 9112 §6.3).
fn after_head(headers: &[httparse::Header<'_>]) -> Place {
    let value = |name: &str| {
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| String::from_utf8_lossy(header.value))
    };
    if value("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked")) {
        return Place::ChunkLength;
    }
    match value("content-length").map(|length| length.trim().parse()) {
        None | Some(Ok(0)) => Place::Head,
        Some(Ok(left)) => Place::Body { left, chunked: false },
        Some(Err(_)) => Place::Lost,
    }
}

fn kept(header: &httparse::Header<'_>) -> Option<String> {
    let prefix = header.name.get(..PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then(|| header.name.to_owned())
}

/// The number before any extensions of the chunk.
fn chunk_length(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_REQUESTS: &str = "POST / HTTP/1.1\r\niothub-app-Level: 1\r\nIoTHub-App-level: 2\r\nContent-Length: 5\r\n\
        \r\nab\r\n\rPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\niothub-app-B: x\r\n\r\n\
        3;x=y\r\nabc\r\n0\r\nTrailer: x\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";

    fn spellings(pieces: impl Iterator<Item = &'static [u8]>) -> Vec<Spelling> {
        let mut requests = Requests::new(1024);
        let mut found = Vec::new();
        pieces.for_each(|piece| requests.follow(piece, |spelling| found.push(spelling)));
        found
    }

    fn spelling(names: &[&str]) -> Spelling {
        Spelling(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn every_head_is_found_however_the_bytes_are_cut() {
        let expected =
            [spelling(&["iothub-app-Level", "IoTHub-App-level"]), spelling(&["iothub-app-B"]), spelling(&[])];
        for size in 1..TWO_REQUESTS.len() {
            assert_eq!(spellings(TWO_REQUESTS.as_bytes().chunks(size)), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_request_is_followed_no_further() {
        let long: &'static [u8] = Vec::leak(vec![b'x'; 2000]);
        for bytes in [&b"\x16\x03\x01\r\n\r\n"[..], b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", long] {
            let mut requests = Requests::new(1024);
            requests.follow(bytes, |_| {});
            assert_eq!((requests.place, requests.begun.len()), (Place::Lost, 0), "{bytes:?}");
        }
    }

    #[test]
    fn names_that_differ_in_case_only_keep_their_values() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("iothub-app-a", "1"), ("host", "h"), ("iothub-app-a", "2")] {
            headers.append(name, http::HeaderValue::from_static(value));
        }
        let sent = spelling(&["iothub-app-A", "iothub-app-a"]);
        let spelled: Vec<_> = Spelling::spell(Some(&sent), &headers).collect();
        assert_eq!(spelled, [("iothub-app-A", &b"1"[..]), ("iothub-app-a", b"2"), ("host", b"h")]);
    }
}
