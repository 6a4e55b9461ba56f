//! What sessions and links of a connection share.

use std::{collections::VecDeque, sync::Arc};

use super::{Config, Event, Output, Violation};
use crate::Error;

/// The connection as its sessions see it.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: Arc<Config>,
    pub output: Output,
    /// Empty whenever the next frame is read, so one frame's events bound it.
    pub events: VecDeque<Event>,
    /// Bytes of the largest frame to be sent.
    pub frame_bytes_max: u32,
    /// The last number that was given to a session or a link.
    serial: u32,
    /// How much of the limits is used up.
    pub links: usize,
    pub incomplete_bytes: usize,
    pub unsettled_incoming: usize,
}

impl Shared {
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            output: Output::default(),
            events: VecDeque::new(),
            frame_bytes_max: crate::frame::FRAME_BYTES_MIN,
            serial: 0,
            links: 0,
            incomplete_bytes: 0,
            unsettled_incoming: 0,
        }
    }

    pub fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    pub fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }
}

/// What a frame broke, if it is more than its link.
#[derive(Debug)]
pub(super) enum Fault {
    /// The session ends with this error; the connection lives on.
    Session(Error),
    Connection(Violation),
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Connection(violation)
    }
}

/// A fault that ends the session.
pub(super) fn session_fault(condition: &'static str, description: impl Into<String>) -> Fault {
    Fault::Session(Error::new(condition, description))
}
