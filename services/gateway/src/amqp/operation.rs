//! What takes time runs beside the poll of a connection, and then does something to it.

use std::{pin::Pin, time::Duration};

use futures::FutureExt;

use super::connection::Connection;

/// What to do with the outcome of an operation. The connection may have changed since it began.
pub(super) type Then = Box<dyn FnOnce(&mut Connection) + Send>;
/// An operation under way.
pub(super) type Operation = Pin<Box<dyn Future<Output = Then> + Send>>;

impl Connection {
    /// Begins an operation. It is dropped with the connection.
    pub(super) fn start<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
        then: impl FnOnce(&mut Self, T) + Send + 'static,
    ) {
        let operation = work.map(|outcome| Box::new(move |connection: &mut Self| then(connection, outcome)) as Then);
        self.operations.push(Box::pin(operation));
    }

    /// Does something later.
    pub(super) fn after(&mut self, time: Duration, then: impl FnOnce(&mut Self) + Send + 'static) {
        self.start(tokio::time::sleep(time), |connection, ()| then(connection));
    }
}
