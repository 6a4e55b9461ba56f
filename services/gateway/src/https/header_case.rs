//! Header names as clients with case-sensitive eyes expect them (rest §1.2).
//!
//! HTTP/1.1 responses have lower-case names but for those in [`SPELLINGS`]. hyper writes a response's names in the case
//! that a request's extensions remember, so the extensions of a request with these spellings, parsed once, go into every
//! response.

use std::{convert::Infallible, sync::Mutex};

use bytes::Bytes;
use http::{Extensions, Response};
use http_body_util::Empty;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, sync::OnceCell};

/// Names that are not all lower-case on the wire.
const SPELLINGS: [&str; 11] = [
    "ETag",
    "Content-Type",
    "Content-Length",
    "Date",
    "ContentType",
    "ContentEncoding",
    "IotHubErrorCode",
    "Upgrade",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
];

static EXTENSIONS: OnceCell<Extensions> = OnceCell::const_new();

/// Makes the response's header names appear in the right case.
pub(super) async fn apply<B>(response: &mut Response<B>) {
    let extensions = EXTENSIONS.get_or_init(learn).await;
    response.extensions_mut().extend(extensions.clone());
}

/// What hyper remembers of a request with these names.
async fn learn() -> Extensions {
    let learned = Mutex::new(Extensions::new());
    let (mut client, server) = tokio::io::duplex(1024);
    let lines: String =
        SPELLINGS.iter().filter(|name| **name != "Content-Length").map(|name| format!("{name}: x\r\n")).collect();
    let head = format!("GET / HTTP/1.1\r\n{lines}Content-Length: 0\r\nConnection: close\r\n\r\n");
    let service = service_fn(|request| {
        if let Ok(mut learned) = learned.lock() {
            *learned = http::Request::<hyper::body::Incoming>::into_parts(request).0.extensions;
        }
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let mut builder = http1::Builder::new();
    builder.preserve_header_case(true);
    let serve = builder.serve_connection(TokioIo::new(server), service);
    // Both ends are this function's: the worst that can happen is that nothing is learned and names are lower-case.
    let _ = tokio::join!(serve, async {
        let _ = client.write_all(head.as_bytes()).await;
        let _ = client.shutdown().await;
        let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
    });
    learned.into_inner().unwrap_or_default()
}
