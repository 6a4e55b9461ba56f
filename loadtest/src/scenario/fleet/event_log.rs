//! Reads the built-in endpoint while the fleet runs, and comes back to where it was when its connection breaks.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use amqp::{Message, Value};

use super::telemetry_check::{Reading, TelemetryCheck};
use crate::{
    console,
    fleet_report::FoundTelemetry,
    scenario::event_reader::{EventReader, Start},
    target::Target,
};

/// Of each partition, taken in advance.
const CREDIT: u32 = 500;
/// After a connection has ended, or an attempt has failed.
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 30;

pub struct EventLog {
    check: RefCell<TelemetryCheck>,
    /// The sequence number of the last event that was read, for each partition.
    read: RefCell<Vec<i64>>,
    breaks: Cell<u32>,
}

impl EventLog {
    /// What comes from now on is looked at.
    pub async fn open(target: &Target, run: u32, devices: u32) -> anyhow::Result<Rc<Self>> {
        let ranges = ranges(target).await?;
        let read = ranges.into_iter().map(|(_, last)| last).collect();
        let check = TelemetryCheck::new(run, devices);
        Ok(Rc::new(Self { check: check.into(), read: RefCell::new(read), breaks: Cell::new(0) }))
    }

    /// Reads until it is dropped.
    pub async fn follow(self: Rc<Self>, target: Target) {
        loop {
            if let Err(error) = self.read(&target).await {
                self.breaks.set(self.breaks.get() + 1);
                console::progress(&format!("the event reader begins again where it was: {error:#}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read(&self, target: &Target) -> anyhow::Result<()> {
        let mut reader = EventReader::open_by(target, self.breaks.get()).await?;
        let starts = self.read.borrow().clone();
        reader.start_each(|place| Start::After(starts.get(place).copied().unwrap_or(-1)), CREDIT).await?;
        loop {
            reader.receive(|place, event| self.take(place, event)).await?;
        }
    }

    fn take(&self, place: usize, event: &[u8]) {
        let Ok(event) = Message::decode(event) else { return };
        let number = event.message_annotations.and_then(|all| all.get("x-opt-sequence-number"));
        let reading = event.body.data().and_then(Reading::parse);
        reading.into_iter().for_each(|reading| self.check.borrow_mut().read(reading));
        if let (Some(Value::Long(number)), Some(read)) = (number, self.read.borrow_mut().get_mut(place)) {
            *read = number;
        }
    }

    /// What was found so far of what was acknowledged, by device.
    pub fn found(&self, acknowledged: &[u32]) -> FoundTelemetry {
        self.check.borrow().found(acknowledged)
    }
}

/// Asks again as clients do: the hub may say that it cannot answer just now.
async fn ranges(target: &Target) -> anyhow::Result<Vec<(i64, i64)>> {
    let ask = async |attempt| EventReader::open_by(target, attempt).await?.ranges().await;
    for attempt in 1..ATTEMPTS {
        match ask(attempt).await {
            Ok(ranges) => return Ok(ranges),
            Err(error) => console::progress(&format!("the event reader asks again: {error:#}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
    ask(ATTEMPTS).await
}
