//! Every connection is an open file, and the usual soft limit of 1024 is far below the hard one.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::debug!(?before, after = ?limit.current, "limit of open files"),
        Err(error) => tracing::warn!(%error, ?before, "the limit of open files cannot be raised"),
    }
}
