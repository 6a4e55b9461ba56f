//! What the crate says of itself, judged from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failed test")]

/// Any values and frames, for properties.
mod generate;
/// A text form of values, for transcripts.
mod notation;
/// A client and a server that talk through memory.
mod pair;

mod connection;
mod differential;
mod properties;
mod transcripts;
mod values;
mod vectors;
