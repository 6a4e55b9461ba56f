//! A connected device: one task that answers to its socket, the event log, its session, the clock and the drain.
//!
//! Idle, it owns no buffer: what a poll needs belongs to the thread. Inputs are looked at in this order: the end of the
//! session, answers that became due, the socket, the clock.

mod end;
mod outgoing;

use std::{
    cell::RefCell,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use auth::{Fingerprint, recheck};
use model::{Credentials, Principal, Timestamp};
use mqtt::{Event, Publish, ServerConnection};
use shard_client::{Mailbox, SessionEvent};
use tokio::time::Sleep;

use super::{
    Head,
    acknowledge::{Awaits, InFlight, Unacknowledged},
    close::Close,
    connect::Admitted,
    deliveries::Deliveries,
    filter::is_subscribed,
    publish::Published,
    settings_recheck::SettingsRecheck,
    subscribe::{Changing, Session},
    topic::{HubTopic, hub_topic},
    twin::TwinRequests,
    will::Will,
};
use crate::{Front, connections::Place, history::Incident, telemetry::Stamp, tls::ReadOutcome, transport::Transport};

/// Activity of a device is reported at most so often.
const ACTIVITY_INTERVAL: Duration = Duration::from_secs(60);
/// How soon a connection looks again whether the gateway has room for more bytes.
const ROOM_RETRY: Duration = Duration::from_millis(20);
/// Expiries further away than this are never.
const EXPIRY_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Answers that are written before more is read.
const OUT_BYTES_MAX: usize = 64 * 1024;
/// The thread's buffer is given back when one device made it larger than this.
const BUFFER_BYTES_KEPT: usize = 128 * 1024;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// What a poll needs and a connection does not keep.
#[derive(Default)]
struct Buffers {
    plain: Vec<u8>,
    out: Vec<u8>,
}

pub(super) struct Connection {
    front: Arc<Front>,
    limits: Arc<mqtt::Limits>,
    socket: Transport,
    protocol: ServerConnection,
    place: Place,
    peer: SocketAddr,
    session: Session,
    mailbox: Arc<Mailbox>,
    stamp: Stamp,
    fingerprint: Box<Fingerprint>,
    /// When a change of settings can take the credential back.
    settings: Option<Box<SettingsRecheck>>,
    expires: Option<Instant>,
    will: Option<Box<Will>>,
    /// Read but not understood yet: an incomplete packet, or packets that have to wait.
    unparsed: Vec<u8>,
    unacknowledged: Unacknowledged,
    /// A SUBSCRIBE or UNSUBSCRIBE under way; packets behind it wait.
    changing: Option<Changing>,
    twin_requests: TwinRequests,
    /// Once the device is interested in messages.
    deliveries: Option<Box<Deliveries>>,
    /// DISCONNECT or the end of the stream was read; what was published before is still to be acknowledged.
    ending: Option<Close>,
    timer: Pin<Box<Sleep>>,
    active_at: Option<Instant>,
    /// Methods that the device was asked to run and has not answered.
    open_calls: u32,
    /// While the gateway drains: when the end is not put off any longer.
    leaves_at: Option<Instant>,
    /// Bytes for the socket from before the first poll: CONNACK.
    greeting: Vec<u8>,
    connected_at: Instant,
}

impl Connection {
    #[expect(clippy::too_many_arguments, reason = "one caller hands over what it has gathered")]
    pub fn new(
        head: &Head,
        socket: Transport,
        protocol: ServerConnection,
        place: Place,
        peer: SocketAddr,
        unparsed: Vec<u8>,
        admitted: Admitted,
        greeting: Vec<u8>,
    ) -> Self {
        let front = head.front.clone();
        let Admitted { principal, authenticated, attachment, stamp, clean_session, will, credentials } = admitted;
        let expires = authenticated.expires.and_then(|expires| expiry(&front, expires));
        let depends = authenticated.fingerprint.depends_on_settings();
        let settings = depends.then(|| Box::new(SettingsRecheck::new(front.settings_watch(), credentials)));
        tracing::info!(%principal, %peer, connection = place.number(), "connected");
        Self {
            limits: head.limits.clone(),
            socket,
            protocol,
            place,
            peer,
            session: Session {
                principal,
                connection_id: attachment.connection_id,
                clean: clean_session,
                subscriptions: attachment.subscriptions,
            },
            mailbox: attachment.mailbox,
            stamp,
            fingerprint: Box::new(authenticated.fingerprint),
            settings,
            expires,
            will,
            unparsed,
            unacknowledged: Unacknowledged::default(),
            changing: None,
            twin_requests: TwinRequests::default(),
            deliveries: None,
            ending: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            active_at: None,
            open_calls: 0,
            leaves_at: None,
            greeting,
            connected_at: Instant::now(),
            front,
        }
    }

    /// Serves the device until the connection ends, and cleans up.
    pub async fn run(mut self) {
        let close = std::future::poll_fn(|context| self.poll(context)).await;
        self.end(close).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Close> {
        BUFFERS.with_borrow_mut(|buffers| {
            let outcome = self.advance(context, buffers);
            buffers.out.clear();
            buffers.plain.clear();
            if buffers.plain.capacity() > BUFFER_BYTES_KEPT {
                buffers.plain = Vec::new();
            }
            outcome.err().map_or(Poll::Pending, Poll::Ready)
        })
    }

    /// Does all that can be done now; one write at the end carries every answer.
    fn advance(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> Result<(), Close> {
        let leaving = self.is_leaving(context);
        self.check_session(context)?;
        if !self.greeting.is_empty() {
            buffers.out.append(&mut self.greeting);
            self.greeting = Vec::new();
        }
        let input = self.work(context, buffers, leaving);
        // What was acknowledged is said even when the connection then ends.
        let was_unsent = self.socket.has_unsent();
        self.socket.write(context, &buffers.out)?;
        if was_unsent && !self.socket.has_unsent() {
            context.waker().wake_by_ref(); // the socket was not read, and only a read waits for more
        }
        buffers.out.clear();
        input?;
        let leaving = self.is_leaving(context);
        self.check_end(leaving)?;
        self.poll_timer(context)
    }

    fn work(&mut self, context: &mut Context<'_>, buffers: &mut Buffers, leaving: bool) -> Result<(), Close> {
        loop {
            self.poll_change(context, &mut buffers.out)?;
            self.poll_twin(context, &mut buffers.out)?;
            if !leaving {
                self.poll_methods(&mut buffers.out);
            }
            self.poll_deliveries(context, &mut buffers.out)?;
            self.poll_acknowledgements(context, &mut buffers.out)?;
            let progress = self.parse_unparsed(&mut buffers.out)?;
            self.poll_twin(context, &mut buffers.out)?;
            self.poll_acknowledgements(context, &mut buffers.out)?;
            if progress {
                continue;
            }
            if buffers.out.len() >= OUT_BYTES_MAX {
                context.waker().wake_by_ref(); // goes on once this is written
                return Ok(());
            }
            if leaving || self.is_blocked() || self.socket.has_unsent() {
                return Ok(());
            }
            match self.read(context, buffers)? {
                Poll::Pending => return Ok(()),
                Poll::Ready(()) => {}
            }
        }
    }

    /// Whether packets have to wait: for a subscription, for acknowledgements, or for room.
    fn is_blocked(&self) -> bool {
        self.changing.is_some()
            || self.ending.is_some()
            || self.twin_requests.is_full()
            || self.unacknowledged.len() >= self.front.config.limits.unacknowledged_messages_max
            || !self.front.has_room()
    }

    fn check_session(&mut self, context: &mut Context<'_>) -> Result<(), Close> {
        while let Poll::Ready(event) = self.mailbox.poll_next(context) {
            match event {
                SessionEvent::Replaced => return Err(Close::Replaced),
                SessionEvent::Deleted => return Err(Close::Deleted),
                SessionEvent::MissedUpdates => return Err(Close::MissedUpdates),
                SessionEvent::IdentityChanged(credentials) => self.identity_changed(credentials)?,
            }
        }
        match &mut self.settings {
            Some(settings) => {
                settings.poll(context, &self.fingerprint, &self.session.principal).map_err(Close::Refused)
            }
            None => Ok(()),
        }
    }

    fn identity_changed(&mut self, credentials: Option<Box<Credentials>>) -> Result<(), Close> {
        let settings = self.front.settings().unwrap_or_default();
        recheck(&self.fingerprint, &self.session.principal, credentials.as_deref(), &settings)
            .map_err(Close::Refused)?;
        if let (Some(watch), Some(credentials)) = (&mut self.settings, credentials) {
            watch.credentials = *credentials;
        }
        Ok(())
    }

    fn poll_change(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Close> {
        let Some(changing) = &mut self.changing else { return Ok(()) };
        if let Poll::Ready(change) = changing.as_mut().poll(context) {
            self.changing = None;
            change?.answer(&self.protocol, out);
        }
        Ok(())
    }

    fn poll_acknowledgements(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), Close> {
        if !self.unacknowledged.is_empty() {
            let answered = self.twin_requests.answered();
            self.unacknowledged.poll(context, &self.protocol, &self.front.metrics, answered, out)?;
        }
        Ok(())
    }

    /// Reads once and works on what came.
    fn read(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> Result<Poll<()>, Close> {
        // An incomplete packet goes on in the buffer it has, everything else in the thread's.
        let own = !self.unparsed.is_empty();
        let mut plain = std::mem::take(if own { &mut self.unparsed } else { &mut buffers.plain });
        let read = self.socket.poll_read(context, &mut plain);
        let (outcome, used) = match read {
            Poll::Pending => (Poll::Pending, Ok(0)),
            Poll::Ready(Ok(outcome)) => {
                self.protocol.received_bytes(Instant::now());
                let used = self.parse(&plain, &mut buffers.out);
                if outcome == ReadOutcome::End {
                    self.ending.get_or_insert(Close::PeerClosed);
                }
                (Poll::Ready(()), used)
            }
            Poll::Ready(Err(error)) => {
                self.ending.get_or_insert(Close::Broken(error));
                (Poll::Ready(()), Ok(0))
            }
        };
        self.keep_rest(plain, *used.as_ref().unwrap_or(&0), own, buffers);
        used.map(|_| outcome)
    }

    fn keep_rest(&mut self, mut plain: Vec<u8>, used: usize, own: bool, buffers: &mut Buffers) {
        if own {
            plain.drain(..used);
            self.unparsed = if plain.is_empty() { Vec::new() } else { plain };
        } else {
            self.unparsed = plain.get(used..).unwrap_or_default().to_vec();
            plain.clear();
            buffers.plain = plain;
        }
    }

    /// Works on packets that had to wait; whether any was taken.
    fn parse_unparsed(&mut self, out: &mut Vec<u8>) -> Result<bool, Close> {
        if self.unparsed.is_empty() || self.is_blocked() {
            return Ok(false);
        }
        let mut plain = std::mem::take(&mut self.unparsed);
        let used = self.parse(&plain, out)?;
        plain.drain(..used);
        self.unparsed = plain;
        Ok(used > 0)
    }

    /// Takes packets until one is incomplete or has to wait; returns how many bytes they took. All messages among them
    /// are appended together, also when a later packet ends the connection.
    fn parse(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<usize, Close> {
        let now = Instant::now();
        let mut published = Published::default();
        let mut used = 0;
        while !self.must_wait(&published) {
            let rest = plain.get(used..).unwrap_or_default();
            let outcome = match self.protocol.receive(rest, &self.limits, now, out) {
                Ok(Some((event, length))) => {
                    used += length;
                    self.handle(event, &mut published)
                }
                Ok(None) => break,
                Err(violation) => Err(violation.into()),
            };
            if let Err(close) = outcome {
                self.ending.get_or_insert(close);
            }
        }
        self.append(published, now);
        Ok(used)
    }

    fn must_wait(&self, published: &Published) -> bool {
        let max = self.front.config.limits.unacknowledged_messages_max;
        self.changing.is_some()
            || self.ending.is_some()
            || self.twin_requests.is_full()
            || self.unacknowledged.len() + published.batch.len() >= max
    }

    fn handle(&mut self, event: Event<'_>, published: &mut Published) -> Result<(), Close> {
        match event {
            Event::Publish(publish) if publish.topic.starts_with("$iothub/") => {
                let now = Instant::now();
                self.append(std::mem::take(published), now);
                self.mark_active(now);
                self.handle_hub_topic(&publish)
            }
            Event::Publish(publish) => {
                let max = self.front.limits.message_bytes_max();
                published.add(&publish, &self.session.principal, &self.stamp, max)
            }
            Event::Subscribe(subscribe) => {
                self.changing = Some(self.session.subscribe(&self.front, subscribe)?);
                Ok(())
            }
            Event::Unsubscribe(unsubscribe) => {
                self.changing = Some(self.session.unsubscribe(&self.front, unsubscribe));
                Ok(())
            }
            Event::Disconnect => Err(Close::Disconnect),
            Event::PubAck(packet_id) => {
                self.deliveries.iter_mut().for_each(|deliveries| deliveries.acknowledge(packet_id));
                Ok(())
            }
            Event::Ping | Event::Connect(_) => Ok(()),
        }
    }

    fn append(&mut self, published: Published, read_at: Instant) {
        if published.batch.is_empty() {
            return;
        }
        self.mark_active(read_at);
        let messages = published.batch.len();
        let claim = self.front.claim_bytes(published.batch.bytes());
        let records = published.batch.into_appends(&self.front.events, &self.stamp);
        let receipt = self.front.event_log.append(records);
        let awaits = Awaits::Durable(receipt);
        self.unacknowledged.push(InFlight { awaits, packet_ids: published.packet_ids, messages, claim, read_at });
    }

    /// The device did something; reported now and then.
    fn mark_active(&mut self, now: Instant) {
        if self.active_at.is_none_or(|active| active + ACTIVITY_INTERVAL <= now) {
            self.active_at = Some(now);
            self.front.shard_client.active(&self.session.principal);
        }
    }

    /// Ends once what was read is answered.
    fn check_end(&mut self, leaving: bool) -> Result<(), Close> {
        let answered = self.unacknowledged.is_empty() && self.changing.is_none() && self.twin_requests.is_idle();
        let answered = answered && self.deliveries.as_ref().is_none_or(|deliveries| deliveries.is_settled());
        if let Some(close) = self.ending.take_if(|close| answered || matches!(close, Close::Broken(_))) {
            return Err(close);
        }
        if leaving && answered && !self.socket.has_unsent() { Err(Close::Draining) } else { Ok(()) }
    }
}

/// When the token expires; the connection outlives it by the grace (mqtt §2.10).
fn expiry(front: &Front, expires: Timestamp) -> Option<Instant> {
    let seconds = expires.unix_seconds().saturating_sub(front.now().unix_seconds());
    let left = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    (left < EXPIRY_MAX).then(|| Instant::now() + left)
}
