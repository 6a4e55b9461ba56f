//! What `auth` decides, case by case and by properties.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "literal inputs of tests")]

mod authenticate;
mod authorities;
mod authorize;
mod certificates;
mod chains;
mod connection_strings;
mod fixture;
mod possession;
mod properties;
mod recheck;
mod vectors;
