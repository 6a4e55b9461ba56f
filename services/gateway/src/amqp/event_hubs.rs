//! Where links of the Event Hubs-compatible endpoint are handed on (amqp §8, §9).

use amqp::{Attach, LinkId};

use super::{connection::Connection, error};

impl Connection {
    /// A link to `{entity}/ConsumerGroups/…`, `messages/events…` or `$management`. The hub does not serve them over AMQP
    /// yet: they are refused as any address that it does not know.
    pub(super) fn attach_event_hubs(&mut self, link: LinkId, attach: &Attach) {
        self.refuse(link, error::unknown_address(attach.address().unwrap_or_default()));
    }
}
