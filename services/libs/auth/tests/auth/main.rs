//! What `auth` decides, case by case and by properties.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "literal inputs of tests")]

mod authenticate;
mod authorize;
mod certificates;
mod connection_strings;
mod fixture;
mod properties;
mod recheck;
mod vectors;
