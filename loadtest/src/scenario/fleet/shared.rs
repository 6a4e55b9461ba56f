//! What all tasks of a fleet share; they live on one thread.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use super::{message_book::MessageBook, recorder::Recorder, service_time::ServiceTime};
use crate::{arguments::FleetArguments, devices::Devices, tls::Connector};

/// A run.
pub struct Fleet {
    pub options: FleetArguments,
    pub devices: Devices,
    /// Opens the devices' connections.
    pub connector: Connector,
    /// Drawn for the run; stands in every message.
    pub run: u32,
    pub recorder: Recorder,
    pub messages: RefCell<MessageBook>,
    accounts: RefCell<Vec<Account>>,
    is_finishing: Cell<bool>,
}

/// What is known of one device.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub service: ServiceTime,
    /// The last telemetry message that the hub acknowledged; all before it are, too.
    pub acknowledged: u32,
    /// The version of the desired properties that a back end wrote last; 0: none in this run.
    pub desired_written: u64,
    /// The version that the device heard of last.
    pub desired_seen: u64,
}

impl Fleet {
    pub fn new(options: &FleetArguments, devices: Devices, connector: Connector) -> Self {
        Self {
            options: options.clone(),
            accounts: vec![Account::default(); options.devices as usize].into(),
            devices,
            connector,
            run: fastrand::u32(..),
            recorder: Recorder::default(),
            messages: RefCell::default(),
            is_finishing: Cell::new(false),
        }
    }

    /// Looks at or changes a device's account; `None` when there is no such device.
    pub fn account<T>(&self, index: u32, of: impl FnOnce(&mut Account) -> T) -> Option<T> {
        self.accounts.borrow_mut().get_mut(index as usize).map(of)
    }

    /// The body of a message to a device: the run and its number.
    pub fn body_of(&self, number: u64) -> String {
        format!("{}:{number}", self.run)
    }

    /// The number in a message; `None` when it is of another run.
    pub fn number_of(&self, body: &[u8]) -> Option<u64> {
        let (run, number) = std::str::from_utf8(body).ok()?.split_once(':')?;
        number.parse().ok().filter(|_| run.parse() == Ok(self.run))
    }

    /// Something of every device.
    pub fn each<T>(&self, of: impl Fn(&Account) -> T) -> Vec<T> {
        self.accounts.borrow().iter().map(of).collect()
    }

    /// How many devices are so.
    pub fn count(&self, is_so: impl Fn(&Account) -> bool) -> u32 {
        self.accounts.borrow().iter().filter(|account| is_so(account)).count() as u32
    }

    /// What devices and back ends do from now on is counted as the steady phase.
    pub fn begin_steady(&self) {
        self.recorder.begin_steady();
        self.accounts.borrow_mut().iter_mut().for_each(|account| account.service.forget_past());
    }

    /// Nothing new is begun from now on.
    pub fn finish(&self) {
        self.is_finishing.set(true);
    }

    pub fn is_finishing(&self) -> bool {
        self.is_finishing.get()
    }

    /// Whether everything that was begun has come to its end.
    pub fn is_settled(&self) -> bool {
        let waits = |account: &Account| account.service.waits() || account.misses_desired();
        self.count(waits) == 0 && self.messages.borrow().missing(|_| true) == 0
    }

    /// Whether a device is served: it waits for nothing.
    pub fn is_served(&self, index: u32) -> bool {
        self.account(index, |account| account.is_served()) == Some(true)
    }

    /// Devices that have been without service for longer than that.
    pub fn without_service(&self, now: Instant, longer_than: Duration) -> u32 {
        self.count(|account| account.service.current(now).is_some_and(|gap| gap.length > longer_than))
    }
}

impl Account {
    pub fn is_served(&self) -> bool {
        self.service.was_served() && !self.service.waits()
    }

    /// Whether the device has not heard of what was written last.
    pub fn misses_desired(&self) -> bool {
        self.desired_seen < self.desired_written
    }
}
