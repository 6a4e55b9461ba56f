//! What the driver does with sessions and links.

use super::{Connection, LinkId, Outgoing, SendError, SessionId, Shared, handshake::Stage, session::Session};
use crate::{Attach, DeliveryState, Error, Role};

/// A session or link that is gone is left alone: these return `false`, or nothing, and a driver that was about to hear
/// of it need not care.
impl Connection {
    /// Begins a session; [`Event::Begin`](super::Event::Begin) says when it is there, but it can be used at once. `None`
    /// if there are too many, or the connection is not open.
    pub fn begin(&mut self) -> Option<SessionId> {
        if !self.is_open_sent || self.stage == Stage::Closing || self.stage == Stage::Closed {
            return None;
        }
        let place = self.new_session()?;
        let session = self.sessions.get(place)?.as_ref()?;
        session.write_begin(&mut self.shared);
        Some(session.id)
    }

    /// Ends a session.
    pub fn end(&mut self, id: SessionId, error: Option<Error>) -> bool {
        self.with_session(id, |session, shared| session.end(error, shared)).is_some()
    }

    /// Attaches a link: `attach` says name, role, source, target and what else is wanted. As receiver it gives
    /// `credit` once the peer has answered. `None` if the session is gone or there are too many links.
    pub fn attach(&mut self, session: SessionId, attach: Attach, credit: u32) -> Option<LinkId> {
        self.with_session(session, |session, shared| session.attach(attach, credit, shared)).flatten()
    }

    /// Takes a link that the peer asked for. `answer` is made by [`Attach::answer`] and may be changed. `credit` is for a
    /// link that we receive on: how many deliveries the peer may have under way, unsettled ones included; it is renewed
    /// as they are settled.
    pub fn accept(&mut self, link: LinkId, answer: Attach, credit: u32) -> bool {
        self.with_session(link.session, |session, shared| session.accept(link, answer, credit, shared)) == Some(true)
    }

    /// Refuses a link that the peer asked for.
    pub fn refuse(&mut self, link: LinkId, error: Error) -> bool {
        self.with_session(link.session, |session, shared| session.refuse(link, error, shared)) == Some(true)
    }

    /// Detaches a link for good.
    pub fn detach(&mut self, link: LinkId, error: Option<Error>) -> bool {
        self.with_session(link.session, |session, shared| session.detach(link, error, shared)) == Some(true)
    }

    /// Changes the credit of a link that we receive on; as in [`accept`](Self::accept).
    pub fn set_credit(&mut self, link: LinkId, credit: u32) -> bool {
        self.with_session(link.session, |session, shared| session.set_credit(link, credit, shared)) == Some(true)
    }

    /// Asks the sender of a link to send what it has at once; [`Event::Drained`](super::Event::Drained) says that it has. Nothing comes after
    /// that until [`set_credit`](Self::set_credit).
    pub fn drain(&mut self, link: LinkId) -> bool {
        self.with_session(link.session, |session, shared| session.drain(link, shared)) == Some(true)
    }

    /// Tells a receiver that drains that there is nothing more.
    pub fn drained(&mut self, link: LinkId) -> bool {
        self.with_session(link.session, |session, shared| session.drained(link, shared)) == Some(true)
    }

    /// How many deliveries [`send`](Self::send) takes on the link at this moment.
    pub fn sendable(&self, link: LinkId) -> u32 {
        let session = self.sessions.get(usize::from(link.session.channel)).and_then(Option::as_ref);
        session.filter(|session| session.id == link.session).map_or(0, |session| session.sendable(link, &self.shared))
    }

    /// Sends a message, and returns the id that its outcome will have.
    pub fn send(&mut self, link: LinkId, outgoing: &Outgoing<'_>) -> Result<u32, SendError> {
        self.with_session(link.session, |session, shared| session.send(link, outgoing, shared))
            .ok_or(SendError::Gone)?
    }

    /// Says what became of a delivery: one that came on the link, or one that was sent on it and whose outcome the peer
    /// has told us without settling. `false` if nobody waits for it (any more).
    pub fn settle(&mut self, link: LinkId, delivery_id: u32, state: DeliveryState) -> bool {
        self.with_session(link.session, |session, shared| match session.link(link)?.role {
            Role::Receiver => Some(session.settle_incoming(link, delivery_id, state, shared)),
            Role::Sender => Some(session.settle_outgoing(link, delivery_id, state, shared)),
        })
        .flatten()
            == Some(true)
    }

    fn with_session<T>(&mut self, id: SessionId, act: impl FnOnce(&mut Session, &mut Shared) -> T) -> Option<T> {
        let session = self.sessions.get_mut(usize::from(id.channel))?.as_mut()?;
        (session.id == id && !session.is_ending).then(|| act(session, &mut self.shared))
    }
}
