//! The secret that TLS session tickets derive from: kept, so that devices resume their sessions after a restart.

use std::path::{Path, PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use gateway::TicketSecret;

use crate::files;

/// Where it lies among certificates.
pub fn file(folder: &Path) -> PathBuf {
    folder.join("ticket-secret")
}

/// Reads it; draws it when there is none.
pub fn load_or_draw(path: &Path) -> anyhow::Result<TicketSecret> {
    files::draw_secret(path)?;
    load(path)
}

/// Reads it.
pub fn load(path: &Path) -> anyhow::Result<TicketSecret> {
    let bytes = BASE64_STANDARD.decode(files::read_text(path)?.trim());
    let bytes = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(TicketSecret::new).ok_or_else(|| anyhow::anyhow!("{} holds no 32 bytes in base64", path.display()))
}
