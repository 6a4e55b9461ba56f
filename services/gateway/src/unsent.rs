//! Bytes on their way to a peer that may be slow.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

/// So many bytes may wait for a slow peer before nothing more is taken from it.
const UNSENT_BYTES_MAX: usize = 1024 * 1024;

/// What a stream has not taken yet; no buffer while there is nothing.
#[derive(Debug, Default)]
pub(crate) struct Unsent(pub Vec<u8>);

impl Unsent {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes to the stream until it takes no more; ready once nothing waits.
    pub fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut sent = 0;
        while let Some(rest) = self.0.get(sent..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut *stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.0.drain(..sent);
                    return Poll::Pending;
                }
            }
        }
        self.0 = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// What a write makes of a flush: bytes may wait, but not without end.
    pub fn bound(&self, flushed: Poll<io::Result<()>>) -> io::Result<()> {
        match flushed {
            Poll::Ready(result) => result,
            Poll::Pending if self.0.len() > UNSENT_BYTES_MAX => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read what it is sent"))
            }
            Poll::Pending => Ok(()),
        }
    }
}
