//! A connection: one task that answers to its socket, to the operations it began, to settings, the clock and the drain.
//!
//! Idle, it owns no buffer: what a poll needs belongs to the thread.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use amqp::LinkId;
use bytes::BytesMut;
use futures::{StreamExt, stream::FuturesUnordered};
use model::Principal;
use shard_client::SettingsWatch;
use tokio::time::Sleep;

use super::{
    Head, authority::Authority, close::Close, device::Device, event_hubs::Reader, goodbye::Goodbye, link::Link,
    operation::Operation,
};
use crate::{
    Front,
    arrival::{Arrived, say_goodbye},
    connections::Place,
    tls::ReadOutcome,
    transport::Transport,
};

/// What the peer sent and is not answered for at most; then nothing more is read. As much as the credit of one link.
pub(super) const WAITING_MAX: usize = 1000;
/// The same of a peer that has not said who it is: a few tokens under verification.
const UNPROVED_WAITING_MAX: usize = 8;
/// How soon a connection looks again whether the gateway has room for more bytes.
const ROOM_RETRY: Duration = Duration::from_millis(20);
/// The thread's buffer is given back when one peer made it larger than this.
const BUFFER_BYTES_KEPT: usize = 128 * 1024;

thread_local! {
    static PLAIN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Connection {
    pub front: Arc<Front>,
    pub protocol: amqp::Connection,
    pub authority: Authority,
    pub links: HashMap<LinkId, Link>,
    pub devices: HashMap<Principal, Box<Device>>,
    /// Of links that events go out on.
    pub readers: HashMap<LinkId, Box<Reader>>,
    /// Those that wait for their place, also of links that are gone.
    pub opening_readers: usize,
    /// Links that wait until a device of theirs is there; by the first reading of its address.
    pub arriving: HashMap<Principal, Vec<super::attach::Asked>>,
    pub operations: FuturesUnordered<Operation>,
    /// Links on which something waits for credit or room.
    pub blocked: HashSet<LinkId>,
    /// Links for feedback or file notifications that wait for some.
    pub asking_for_notices: HashSet<LinkId>,
    /// Devices with messages of this read that are not appended yet.
    pub unappended: Vec<Principal>,
    /// What the peer sent and is not answered for: messages, and links of devices.
    pub waiting: usize,
    pub peer: SocketAddr,
    socket: Transport,
    place: Place,
    proving: Option<Proving>,
    settings: SettingsWatch,
    settings_changed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// When the first token is over.
    pub expires: Option<Instant>,
    /// Read but not understood yet.
    input: BytesMut,
    /// How it ends, once what was read is answered and what was said is written.
    pub ending: Option<Close>,
    pub goodbye: Option<Goodbye>,
    draining: bool,
    timer: Pin<Box<Sleep>>,
    connected_at: Instant,
}

/// A peer that has not said who it is.
struct Proving {
    deadline: Instant,
    evicted: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Connection {
    pub fn new(head: &Head, arrived: Arrived) -> Self {
        let Arrived { socket, certificate, peer, place, unproved, since, plain } = arrived;
        let front = head.front.clone();
        let settings = front.settings_watch();
        let proving = Proving {
            deadline: since + Duration::from_secs(front.config.limits.connect_timeout_seconds),
            evicted: Box::pin(async move { unproved.evicted().await }),
        };
        Self {
            protocol: amqp::Connection::server(head.config.clone(), since),
            authority: Authority::new(certificate),
            links: HashMap::new(),
            devices: HashMap::new(),
            readers: HashMap::new(),
            opening_readers: 0,
            arriving: HashMap::new(),
            operations: FuturesUnordered::new(),
            blocked: HashSet::new(),
            asking_for_notices: HashSet::new(),
            unappended: Vec::new(),
            waiting: 0,
            peer,
            socket,
            place,
            proving: Some(proving),
            settings_changed: next_change(&settings),
            settings,
            expires: None,
            input: BytesMut::from(plain.as_slice()),
            ending: None,
            goodbye: None,
            draining: false,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            connected_at: Instant::now(),
            front,
        }
    }

    /// Serves the peer until the connection ends, and cleans up.
    pub async fn run(mut self) {
        let close = poll_fn(|context| self.poll(context)).await;
        let principals: Vec<Principal> = self.devices.keys().cloned().collect();
        principals.iter().for_each(|principal| self.forget_device(principal, close.name(), &close.to_string()));
        self.front.metrics.amqp_closes.with_label_values(&[close.name()]).inc();
        let (peer, seconds) = (self.peer, self.connected_at.elapsed().as_secs());
        tracing::info!(%peer, connection = self.place.number(), reason = close.name(), seconds, detail = %close, "an AMQP connection ended");
        if !matches!(close, Close::Broken(_)) {
            self.socket.queue_close();
        }
        say_goodbye(&mut self.socket).await;
    }

    /// The peer has said who it is, or has a certificate that will.
    pub fn proved(&mut self) {
        if self.proving.take().is_some() {
            tracing::info!(peer = %self.peer, connection = self.place.number(), "an AMQP connection began");
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Close> {
        match self.advance(context) {
            Ok(()) => Poll::Pending,
            Err(close) => Poll::Ready(close),
        }
    }

    /// Does all that can be done now.
    fn advance(&mut self, context: &mut Context<'_>) -> Result<(), Close> {
        if self.place.poll_drain(context) && !self.draining {
            self.draining = true;
            self.end_after(Close::Draining);
        }
        if let Some(proving) = &mut self.proving
            && proving.evicted.as_mut().poll(context).is_ready()
        {
            return Err(Close::Evicted);
        }
        self.check_deadlines()?;
        self.poll_settings(context);
        loop {
            let mut progress = self.poll_operations(context);
            progress |= self.receive()?;
            progress |= self.poll_readers(context);
            progress |= self.write(context)?;
            self.check_end()?;
            progress |= self.is_writable(); // the goodbye, if that was just said
            if !progress && self.read(context)?.is_pending() {
                break;
            }
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.poll_timer(context);
        Ok(())
    }

    fn poll_operations(&mut self, context: &mut Context<'_>) -> bool {
        let mut progress = false;
        while let Poll::Ready(Some(then)) = self.operations.poll_next_unpin(context) {
            then(self);
            progress = true;
        }
        progress
    }

    fn poll_settings(&mut self, context: &mut Context<'_>) {
        while self.settings_changed.as_mut().poll(context).is_ready() {
            self.settings_changed = next_change(&self.settings);
            self.settings.borrow_and_update();
            self.settings_changed();
        }
    }

    /// Works on what was read. All messages among it are appended together, device by device.
    fn receive(&mut self) -> Result<bool, Close> {
        let now = Instant::now();
        let mut progress = false;
        let outcome = loop {
            if self.waiting >= self.waiting_max() {
                break Ok(());
            }
            match self.protocol.receive(&mut self.input, now) {
                Ok(Some(event)) => self.on_event(event),
                Ok(None) => break Ok(()),
                Err(violation) => break Err(violation),
            }
            progress = true;
        };
        self.append_telemetry(now);
        if let Err(violation) = outcome
            && self.ending.is_none()
        {
            self.ending = Some(violation.into());
        }
        Ok(progress)
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<bool, Close> {
        if self.socket.has_unsent() && self.socket.poll_flush(context)?.is_pending() {
            return Ok(false);
        }
        let output = self.protocol.output();
        let count = output.len();
        if count == 0 {
            return Ok(false);
        }
        self.socket.write(context, output)?;
        self.protocol.consume_output(count, Instant::now());
        self.unblock();
        Ok(true)
    }

    /// Tries again what found no room.
    pub fn unblock(&mut self) {
        let blocked = std::mem::take(&mut self.blocked);
        blocked.into_iter().for_each(|link| self.on_room(link));
    }

    /// Reads once, unless something has to be answered first.
    fn read(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Close> {
        if !self.is_reading() {
            return Ok(Poll::Pending);
        }
        PLAIN.with_borrow_mut(|plain| {
            let read = self.socket.poll_read(context, plain);
            self.input.extend_from_slice(plain);
            plain.clear();
            if plain.capacity() > BUFFER_BYTES_KEPT {
                *plain = Vec::new();
            }
            match read {
                Poll::Pending => Ok(Poll::Pending),
                Poll::Ready(Ok(ReadOutcome::Some)) => Ok(Poll::Ready(())),
                Poll::Ready(Ok(ReadOutcome::End)) => {
                    self.receive()?; // its last words
                    self.ending.get_or_insert(Close::PeerClosed);
                    self.goodbye.iter_mut().for_each(|goodbye| *goodbye = Goodbye::said(Duration::ZERO));
                    Ok(Poll::Ready(()))
                }
                Poll::Ready(Err(error)) => Err(error.into()),
            }
        })
    }

    fn waiting_max(&self) -> usize {
        if self.proving.is_some() { UNPROVED_WAITING_MAX } else { WAITING_MAX }
    }

    fn is_reading(&self) -> bool {
        (self.ending.is_none() || self.goodbye.is_some())
            && self.protocol.is_reading()
            && self.waiting < self.waiting_max()
            && !self.socket.has_unsent()
            && self.front.has_room()
    }

    /// Ends the connection once what was read is answered: the goodbye comes last.
    pub fn end_after(&mut self, close: Close) {
        self.ending.get_or_insert(close);
    }

    /// Ends when what was read is answered, our goodbye is written, and the peer's has come or does not come.
    fn check_end(&mut self) -> Result<(), Close> {
        let is_over = match &self.ending {
            None => return Ok(()),
            Some(Close::PeerClosed) => true,
            // The library has said what there is to say.
            Some(Close::Said | Close::Violation(_) | Close::Sasl) => self.is_written(),
            Some(_) if self.waiting > 0 => return Ok(()),
            Some(_) => self.say_goodbye() && self.is_written(),
        };
        if is_over { self.ending.take().map_or(Ok(()), Err) } else { Ok(()) }
    }

    fn is_writable(&mut self) -> bool {
        !self.protocol.output().is_empty() && !self.socket.has_unsent()
    }

    fn is_written(&mut self) -> bool {
        self.protocol.output().is_empty() && !self.socket.has_unsent()
    }

    /// Does what became due.
    fn check_deadlines(&mut self) -> Result<(), Close> {
        let now = Instant::now();
        if self.protocol.deadline() <= now
            && let Err(violation) = self.protocol.handle_timeout(now)
        {
            self.ending.get_or_insert(violation.into());
        }
        if self.expires.is_some_and(|expires| expires <= now) {
            self.expire_tokens(now);
        }
        if self.proving.as_ref().is_some_and(|proving| proving.deadline <= now) {
            return Err(Close::Unproved);
        }
        Ok(())
    }

    /// Sleeps until the next deadline.
    fn poll_timer(&mut self, context: &mut Context<'_>) {
        let now = Instant::now();
        let room = (!self.front.has_room()).then(|| now + ROOM_RETRY);
        let proving = self.proving.as_ref().map(|proving| proving.deadline);
        let others = [room, proving, self.expires, self.goodbye.map(Goodbye::until)].into_iter().flatten();
        let next = others.fold(self.protocol.deadline(), Instant::min).max(now + Duration::from_millis(1)).into();
        if self.timer.is_elapsed() || self.timer.deadline() > next {
            self.timer.as_mut().reset(next);
        }
        if self.timer.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }
}

fn next_change(settings: &SettingsWatch) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let mut settings = settings.clone();
    Box::pin(async move {
        if settings.changed().await.is_err() {
            std::future::pending::<()>().await; // the client is gone, and with it the gateway
        }
    })
}
