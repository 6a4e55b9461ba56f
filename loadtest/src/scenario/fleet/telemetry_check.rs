//! Telemetry at the built-in endpoint: each device numbers its messages and sends the next one once the last one was
//! acknowledged, so the last number that was read of a device says everything, in four bytes.

use serde::{Deserialize, Serialize};

use crate::fleet_report::FoundTelemetry;

/// What stands in a message's body before the padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reading {
    /// Drawn for the run, so that what other runs left is told apart.
    pub run: u32,
    pub device: u32,
    /// From 1.
    pub sequence: u32,
}

impl Reading {
    /// A JSON object of that many bytes, or a few more when they are too few.
    pub fn body(&self, bytes: usize) -> Vec<u8> {
        let Self { run, device, sequence } = self;
        let text = format!(r#"{{"run":{run},"device":{device},"sequence":{sequence},"padding":""#);
        let padding = bytes.saturating_sub(text.len() + 2);
        [text.as_bytes(), &vec![b'x'; padding], b"\"}"].concat()
    }

    /// Reads a body; `None` when it is somebody else's.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// What was read.
#[derive(Debug)]
pub struct TelemetryCheck {
    run: u32,
    last: Vec<u32>,
    found: u64,
    skipped: u64,
    again: u64,
}

impl TelemetryCheck {
    pub fn new(run: u32, devices: u32) -> Self {
        Self { run, last: vec![0; devices as usize], found: 0, skipped: 0, again: 0 }
    }

    /// The next message that was read.
    pub fn read(&mut self, reading: Reading) {
        let last = self.last.get_mut(reading.device as usize).filter(|_| reading.run == self.run);
        let Some(last) = last else { return };
        if reading.sequence <= *last {
            self.again += 1;
            return;
        }
        self.skipped += u64::from(reading.sequence - *last - 1);
        self.found += 1;
        *last = reading.sequence;
    }

    /// Compares with the last acknowledged number of each device.
    pub fn found(&self, acknowledged: &[u32]) -> FoundTelemetry {
        let absent = self.last.iter().zip(acknowledged).map(|(last, acknowledged)| acknowledged.saturating_sub(*last));
        FoundTelemetry {
            acknowledged: acknowledged.iter().copied().map(u64::from).sum(),
            found: self.found,
            missing: self.skipped + absent.map(u64::from).sum::<u64>(),
            again: self.again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_as_it_was_written() {
        let reading = Reading { run: u32::MAX, device: 4999, sequence: 17 };
        assert_eq!(reading.body(256).len(), 256);
        for bytes in [0, 64, 256] {
            assert_eq!(Reading::parse(&reading.body(bytes)), Some(reading));
        }
        assert_eq!(Reading::parse(b"{\"temperature\":1}"), None);
    }

    #[test]
    fn what_is_missing_or_there_twice_is_seen() {
        let mut check = TelemetryCheck::new(7, 3);
        let mut read = |run, device, sequence| check.read(Reading { run, device, sequence });
        [1, 2, 2, 3].into_iter().for_each(|sequence| read(7, 0, sequence)); // one again
        [1, 4].into_iter().for_each(|sequence| read(7, 1, sequence)); // two missing
        read(6, 2, 1); // of another run
        read(7, 3, 1); // no device of ours
        let found = FoundTelemetry { acknowledged: 8, found: 5, missing: 3, again: 1 };
        assert_eq!(check.found(&[3, 4, 1]), found);
        // The last one was not acknowledged and is there all the same.
        assert_eq!(check.found(&[2, 4, 0]).missing, 2);
    }
}
