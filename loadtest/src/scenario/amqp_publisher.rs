//! One device that sends telemetry on a link, with a window of messages whose outcome is not known yet.

use std::rc::Rc;

use amqp::{DeliveryState, Event, LinkId};

use super::{amqp_connection::AmqpConnection, window::Window};
use crate::measurement::Counters;

pub struct Publisher {
    /// An encoded message.
    pub payload: Vec<u8>,
    pub window: Window,
    pub counters: Rc<Counters>,
}

impl Publisher {
    /// Sends until the run is stopped.
    pub async fn run(mut self, mut connection: AmqpConnection, link: LinkId) -> anyhow::Result<()> {
        let mut number = 0;
        while !self.counters.stopped() {
            while connection.sendable(link) > 0 && self.window.take() {
                connection.send(link, number, &self.payload)?;
                number += 1;
            }
            connection.flush().await?;
            tokio::select! {
                result = connection.read() => result?,
                () = self.window.turn() => {}
            }
            while let Some(event) = connection.take()? {
                self.on_event(&event)?;
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: &Event) -> anyhow::Result<()> {
        match event {
            Event::Outcome(outcome) => {
                anyhow::ensure!(outcome.state == Some(DeliveryState::Accepted), "{:?}", outcome.state);
                self.window.acknowledged(&self.counters);
            }
            Event::Detach { error, .. } => anyhow::bail!("the hub ends the link: {error:?}"),
            _ => {}
        }
        Ok(())
    }
}
