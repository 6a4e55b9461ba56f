//! Files of the data folder: whole or not at all, and secrets for the owner only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::Context;
use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_STANDARD};

/// Makes a folder, and those above it, that only the owner can enter. One that exists stays as it is.
pub fn make_folder(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Reads a text file; the error names it.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file that only the owner can read.
pub fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    replace(path, text, 0o600).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes 32 random bytes in base64 that only the owner can read. A file that is there stays.
pub fn draw_secret(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok().context("the system gives no random numbers")?;
    write_secret(path, &BASE64_STANDARD.encode(bytes))
}

/// Writes a file that everyone who reaches its folder can read.
pub fn write_public(path: &Path, text: &str) -> anyhow::Result<()> {
    replace(path, text, 0o644).with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a file if it is there.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Writes beside the file, syncs, and renames, so that a crash leaves the old text or the new one.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
