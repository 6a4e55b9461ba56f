//! A live connection of a device, as a protocol head holds one: it hears of its session by its mailbox only.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use model::{ConnectionId, Interests, QualityOfService, Subscription};
use shard_client::{Attachment, Holder, MessageError, MethodAnswer, NewAttachment, Settle};

use super::{Actor, desired::DesiredUpdates, operations::body_id};

/// How often the mailbox is looked into.
pub const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Messages of one connection that are in hand at most.
const IN_HAND_MAX: u32 = 16;
/// How long they are locked.
const LOCK: Duration = Duration::from_secs(10);

const ALL: Interests = Interests { methods: true, desired_properties: true, device_bound_messages: true };

/// What a connection does with messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Whatever comes to its mind.
    Capricious,
    /// Completes everything.
    Diligent,
}

pub struct Connection<'a> {
    actor: &'a mut Actor,
    attachment: Attachment,
    manner: Manner,
    desired: DesiredUpdates,
    in_hand: u32,
    ask: bool,
    ask_at: Option<Instant>,
}

impl<'a> Connection<'a> {
    /// Connects and subscribes to everything, unless its stored session says that it is already.
    pub async fn open(actor: &'a mut Actor, manner: Manner) -> Option<Self> {
        let clean_session = actor.random.percent(30);
        if clean_session {
            actor.client.clear_session(&actor.principal).await.ok()?;
        }
        let credentials = actor.client.get_credentials(&actor.principal).await.ok()??;
        let floor = actor.shared.oracle.lock().sessions.begin(&actor.device);
        let attach = NewAttachment { principal: actor.principal.clone(), credentials, clean_session, model_id: None };
        let attached = actor.client.attach(attach).await;
        let connection_id = attached.as_ref().map(|it| it.connection_id);
        {
            let mut oracle = actor.shared.oracle.lock();
            oracle.note(|| format!("{}: attach at {}: {connection_id:?}", actor.device, actor.host));
            oracle.count("attach", if attached.is_ok() { "done" } else { "failed" });
            if let Ok(id) = connection_id {
                let result = oracle.sessions.opened(&actor.device, floor, actor.host, id);
                oracle.expect(result);
            }
        }
        let attachment = attached.ok()?;
        let is_subscribed = !attachment.subscriptions.is_empty();
        let connection =
            Self { actor, attachment, manner, desired: DesiredUpdates::default(), in_hand: 0, ask: true, ask_at: None };
        if !is_subscribed && !connection.subscribe(clean_session).await {
            connection.close(true).await;
            return None;
        }
        Some(connection)
    }

    async fn subscribe(&self, clean_session: bool) -> bool {
        let all =
            Subscription { filter: "#".into(), quality_of_service: QualityOfService::AtLeastOnce, interests: ALL };
        let stored = if clean_session { vec![] } else { vec![all] };
        self.actor.client.subscribe(&self.actor.principal, self.id(), &stored, ALL).await.is_ok()
    }

    pub fn id(&self) -> ConnectionId {
        self.attachment.connection_id
    }

    pub fn actor(&mut self) -> &mut Actor {
        self.actor
    }

    /// The desired version that was told last.
    pub fn last_told(&self) -> Option<u64> {
        self.desired.last_told()
    }

    /// Reads the twin as devices do after they have subscribed.
    pub async fn read_twin(&mut self) {
        if let Some(document) = self.actor.read_twin().await {
            self.desired.read(document.twin.desired.version);
        }
    }

    /// Takes what its mailbox has. `Break`: the connection has to end.
    pub async fn look(&mut self) -> ControlFlow<()> {
        while let Some(update) = self.attachment.mailbox.take_desired_update() {
            let connection = format!("{:?}", self.id());
            self.desired.told(self.actor, &connection, update.version, &update.patch);
        }
        while let Some(call) = self.attachment.mailbox.take_method_call() {
            let id = std::str::from_utf8(&call.payload).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
            let mut oracle = self.actor.shared.oracle.lock();
            oracle.note(|| format!("{}: method {id} reached {:?}", self.actor.device, self.id()));
            let result = oracle.methods.reached(&self.actor.device, id);
            oracle.expect(result);
            let answer = MethodAnswer { status: 200, payload: call.payload };
            self.actor.client.answer_method(&self.actor.principal, call.call_id, answer);
        }
        if let Some(event) = self.attachment.mailbox.take() {
            let mut oracle = self.actor.shared.oracle.lock();
            oracle.note(|| format!("{}: {:?}: {event:?}", self.actor.device, self.id()));
            oracle.count("connection", "ended by the hub");
            return ControlFlow::Break(());
        }
        let is_due = self.ask_at.is_some_and(|at| at <= Instant::now());
        self.ask |= self.attachment.mailbox.take_messages_waiting() || is_due;
        if is_due {
            self.ask_at = None;
        }
        if self.ask && self.in_hand < IN_HAND_MAX { self.receive().await } else { ControlFlow::Continue(()) }
    }

    async fn receive(&mut self) -> ControlFlow<()> {
        self.ask = false;
        let holder = Holder::Connection(self.id());
        let received = match self.actor.receive(holder, IN_HAND_MAX - self.in_hand, LOCK).await {
            Ok(received) => received,
            Err(MessageError::ConnectionReplaced | MessageError::NotFound) => return ControlFlow::Break(()),
            Err(_) => {
                self.ask_at = Some(Instant::now() + Duration::from_secs(1));
                return ControlFlow::Continue(());
            }
        };
        self.ask |= received.has_more;
        // What is locked can be had again at some time, whoever has it; a little later on every clock.
        if received.available.is_some() || !received.messages.is_empty() {
            self.ask_at = Some(Instant::now() + LOCK + Duration::from_millis(100));
        }
        for message in received.messages {
            let id = body_id(&message.record);
            let settle = match (self.manner, self.actor.random.below(100)) {
                (Manner::Diligent, _) | (_, 0..60) => Settle::Complete,
                (_, 60..70) => Settle::Reject,
                (_, 70..80) => Settle::Abandon,
                _ => {
                    self.in_hand += 1;
                    continue;
                }
            };
            self.actor.settle(holder, message.sequence, id, settle).await;
        }
        ControlFlow::Continue(())
    }

    /// Ends it; unless the hub has said so the hub is told, and gets back what was in hand.
    pub async fn close(self, tell: bool) {
        self.actor.shared.oracle.lock().sessions.closed(&self.actor.device, self.id());
        if tell {
            let (principal, id) = (&self.actor.principal, self.id());
            self.actor.client.detach(principal, id);
            let _ = self.actor.client.release_messages(principal, id).await; // else its lock ends some time
            self.actor.shared.oracle.lock().note(|| format!("{}: detached {id:?}", self.actor.device));
        }
    }
}
