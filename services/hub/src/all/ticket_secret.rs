//! The secret that TLS session tickets derive from: kept, so that devices resume their sessions after a restart.

use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::{Engine, prelude::BASE64_STANDARD};
use gateway::TicketSecret;

use crate::files;

/// Reads it from the folder of certificates; draws it at the first start.
pub fn load(folder: &Path) -> anyhow::Result<TicketSecret> {
    let path = folder.join("ticket-secret");
    if !path.exists() {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system has no random numbers"))?;
        files::write_secret(&path, &BASE64_STANDARD.encode(bytes))?;
    }
    let bytes = BASE64_STANDARD.decode(files::read_text(&path)?.trim());
    let bytes = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(TicketSecret::new).ok_or_else(|| anyhow::anyhow!("{} is damaged; remove it", path.display()))
}
