//! What a device does on whatever connection it has: telemetry, its twin, answers to methods, messages. Without IO.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use mqtt::client::publish;
use serde::Deserialize;

use super::{activity::Activity, incoming::Incoming, operation::Operation, shared::Fleet, telemetry_check::Reading};

/// The first byte of a PUBLISH that is sent again.
const DUPLICATE_FLAG: u8 = 0b1000;

/// About when a question about the twin that the hub could not answer is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// The activities of one device, over all its connections.
pub struct Routine {
    fleet: Rc<Fleet>,
    index: u32,
    telemetry: Activity,
    report: Activity,
    read: Activity,
}

/// The part of a twin that matters here.
#[derive(Deserialize)]
struct Twin {
    desired: Desired,
}

#[derive(Deserialize)]
struct Desired {
    #[serde(rename = "$version")]
    version: u64,
}

impl Routine {
    pub fn new(fleet: Rc<Fleet>, index: u32) -> Self {
        let (telemetry, report) = (fleet.options.telemetry_period(), fleet.options.report_period());
        let [telemetry, report, read] = [telemetry, report, None].map(Activity::new);
        Self { fleet, index, telemetry, report, read }
    }

    pub fn device_id(&self) -> String {
        self.fleet.devices.id(self.index)
    }

    pub fn operation_timeout(&self) -> Duration {
        self.fleet.options.operation_timeout()
    }

    /// The device wants service from now on at the latest.
    pub fn wants(&self, now: Instant) {
        self.fleet.account(self.index, |account| account.service.wants(now));
    }

    /// There is a connection, with all subscriptions: as SDKs do, the device first sends what is unacknowledged again and
    /// reads its twin.
    pub fn connected(&mut self, now: Instant, out: &mut Vec<u8>) {
        if let Some(sequence) = self.telemetry.send_again(now) {
            let begin = out.len();
            self.publish_telemetry(sequence, out);
            out.get_mut(begin).into_iter().for_each(|first| *first |= DUPLICATE_FLAG);
        }
        self.read.need(now);
        for (activity, period) in [
            (&mut self.telemetry, self.fleet.options.telemetry_period()),
            (&mut self.report, self.fleet.options.report_period()),
        ] {
            // Somewhere in its first period, so that not all do it at once.
            period.into_iter().for_each(|period| activity.plan(now + period.mul_f64(fastrand::f64())));
        }
    }

    /// The same after SUBACK, which is an acknowledged operation.
    pub fn subscribed(&mut self, now: Instant, out: &mut Vec<u8>) {
        self.served(now);
        self.connected(now, out);
    }

    /// Begins what is due.
    pub fn begin(&mut self, now: Instant, out: &mut Vec<u8>) {
        let only_needed = self.fleet.is_finishing();
        let telemetry = self.telemetry.begin(now, only_needed);
        if let Some(sequence) = telemetry {
            self.publish_telemetry(sequence, out);
        }
        let report = self.report.begin(now, only_needed);
        if let Some(number) = report {
            let patch = format!(r#"{{"temperature":{number}}}"#);
            publish(&format!("$iothub/twin/PATCH/properties/reported/?$rid=r{number}"), patch.as_bytes(), None, out);
        }
        let read = self.read.begin(now, only_needed);
        if let Some(number) = read {
            publish(&format!("$iothub/twin/GET/?$rid=g{number}"), b"", None, out);
        }
        if telemetry.or(report).or(read).is_some() {
            self.wants(now);
        }
    }

    fn publish_telemetry(&self, sequence: u32, out: &mut Vec<u8>) {
        let reading = Reading { run: self.fleet.run, device: self.index, sequence };
        let topic = format!("devices/{}/messages/events/", self.device_id());
        let body = reading.body(self.fleet.options.payload_bytes.into());
        publish(&topic, &body, Some(packet_id(sequence)), out);
    }

    /// When there is something to do again.
    pub fn next(&self) -> Option<Instant> {
        let due = |activity: &Activity| activity.next(self.fleet.is_finishing());
        let late = |activity: &Activity| activity.sent().map(|sent| sent + self.operation_timeout());
        self.activities().into_iter().flat_map(|(_, activity)| [due(activity), late(activity)]).flatten().min()
    }

    /// Whether an operation has waited for too long; it is counted.
    pub fn is_late(&self, now: Instant) -> bool {
        let limit = self.operation_timeout();
        let is_late = |(_, activity): &(Operation, &Activity)| activity.sent().is_some_and(|sent| now >= sent + limit);
        let late = self.activities().into_iter().find(is_late);
        if let Some((operation, _)) = late {
            self.fleet.recorder.failed(operation, format!("no answer within {} s", limit.as_secs()));
        }
        late.is_some()
    }

    /// What is no operation of its own was not answered in time.
    pub fn unanswered(&self, what: &str) {
        let seconds = self.operation_timeout().as_secs();
        self.fleet.recorder.failed(Operation::Connect, format!("no answer to {what} within {seconds} s"));
    }

    /// The connection is gone. Telemetry goes out again on the next one; questions about the twin have failed.
    pub fn lost(&mut self, now: Instant) {
        self.wants(now);
        for (operation, activity) in [(Operation::TwinReport, &mut self.report), (Operation::TwinRead, &mut self.read)]
        {
            if activity.give_up(now) {
                self.fleet.recorder.failed(operation, "unanswered when the connection ended");
            }
        }
    }

    /// PUBACK. Whether it is the one that was waited for.
    pub fn acknowledged(&mut self, id: u16, now: Instant) -> bool {
        let sequence = self.telemetry.under_way().filter(|sequence| packet_id(*sequence) == id);
        let Some(sequence) = sequence else { return false };
        self.fleet.account(self.index, |account| account.acknowledged = sequence);
        if let Some(latency) = self.telemetry.answered(sequence, now) {
            self.fleet.recorder.done(Operation::Telemetry, latency);
        }
        self.served(now);
        true
    }

    /// A message of the hub. Whether it acknowledges an operation of the device.
    pub fn received(&mut self, topic: &str, payload: &[u8], now: Instant, out: &mut Vec<u8>) -> bool {
        match Incoming::parse(topic) {
            Some(Incoming::TwinAnswer { status, request_id }) => {
                return self.twin_answered(status, request_id, payload, now);
            }
            Some(Incoming::Desired { version }) => self.desired(version),
            Some(Incoming::Method { request_id }) => {
                publish(&format!("$iothub/methods/res/200/?$rid={request_id}"), payload, None, out);
            }
            Some(Incoming::Message) => {
                let number = self.fleet.number_of(payload);
                let arrived = number.and_then(|number| self.fleet.messages.borrow_mut().arrived(number, now));
                arrived.into_iter().for_each(|latency| self.fleet.recorder.done(Operation::Message, latency));
            }
            None => {}
        }
        false
    }

    fn twin_answered(&mut self, status: u16, request_id: &str, payload: &[u8], now: Instant) -> bool {
        let (operation, activity) = match request_id.as_bytes().first() {
            Some(b'r') => (Operation::TwinReport, &mut self.report),
            _ => (Operation::TwinRead, &mut self.read),
        };
        let number = request_id.get(1..).and_then(|number| number.parse().ok());
        let Some(latency) = number.and_then(|number| activity.answered(number, now)) else { return false };
        if !matches!(status, 200 | 204) {
            activity.need(now + RETRY.mul_f64(0.5 + fastrand::f64()));
            self.fleet.recorder.failed(operation, format!("the hub answered {status}"));
            return false;
        }
        self.fleet.recorder.done(operation, latency);
        if operation == Operation::TwinRead {
            match serde_json::from_slice(payload) {
                Ok(Twin { desired }) => self.desired(desired.version),
                Err(error) => self.fleet.recorder.failed(operation, format!("no twin: {error}")),
            }
        }
        self.served(now);
        true
    }

    fn desired(&self, version: u64) {
        self.fleet.account(self.index, |account| account.desired_seen = account.desired_seen.max(version));
    }

    fn served(&self, now: Instant) {
        let more = self.activities().iter().any(|(_, activity)| activity.under_way().is_some());
        self.fleet.account(self.index, |account| account.service.served(now, more));
    }

    fn activities(&self) -> [(Operation, &Activity); 3] {
        [
            (Operation::Telemetry, &self.telemetry),
            (Operation::TwinReport, &self.report),
            (Operation::TwinRead, &self.read),
        ]
    }
}

/// Never 0.
fn packet_id(sequence: u32) -> u16 {
    (sequence % u32::from(u16::MAX)) as u16 + 1
}
