//! One device: connects, does its part of the mix, and comes back by itself.

use std::{rc::Rc, time::Instant};

use tokio::time::{sleep, timeout};

use super::{back_off::BackOff, connection::Connection, operation::Operation, routine::Routine, shared::Fleet};
use crate::{scenario::mqtt_connection, tls::Connector};

/// A device, connected or not.
pub struct Device {
    fleet: Rc<Fleet>,
    index: u32,
    connector: Connector,
    routine: Routine,
    back_off: BackOff,
    /// So that it goes to another server, from another address, when it comes back.
    attempts: u32,
}

impl Device {
    pub fn new(fleet: &Rc<Fleet>, index: u32) -> Self {
        let connector =
            if fleet.options.resume { fleet.connector.with_own_sessions() } else { fleet.connector.clone() };
        let routine = Routine::new(fleet.clone(), index);
        Self { fleet: fleet.clone(), index, connector, routine, back_off: BackOff::default(), attempts: 0 }
    }

    /// Lives until it is dropped.
    pub async fn run(mut self) {
        loop {
            self.routine.wants(Instant::now());
            self.attempt().await;
            sleep(self.back_off.next(fastrand::f64())).await;
        }
    }

    /// Connects, and stays as long as the connection does.
    async fn attempt(&mut self) {
        let (began, recorder) = (Instant::now(), &self.fleet.recorder);
        let identity = mqtt::Connect {
            clean_session: false,
            keep_alive_seconds: Connection::KEEP_ALIVE.as_secs() as u16,
            ..self.fleet.devices.connect(self.index)
        };
        let way = self.index.wrapping_add(self.attempts);
        self.attempts += 1;
        let limit = self.fleet.options.operation_timeout();
        match timeout(limit, mqtt_connection::open_session(&self.connector, way, &identity)).await {
            Err(_) => recorder.failed(Operation::Connect, format!("no CONNACK within {} s", limit.as_secs())),
            Ok(Err(error)) => recorder.failed(Operation::Connect, format!("{error:#}")),
            Ok(Ok((stream, session_present))) => {
                recorder.done(Operation::Connect, began.elapsed());
                recorder.connected();
                let connection = Connection::new(stream, &mut self.routine, &mut self.back_off);
                let ended = connection.run(session_present).await;
                self.fleet.recorder.disconnected();
                if let Err(error) = ended {
                    self.fleet.recorder.failed(Operation::Connect, format!("lost: {error:#}"));
                }
                self.routine.lost(Instant::now());
            }
        }
    }
}
