//! The attachments of one group: which connections are live, which wait for their answer, what is to be sent.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{ConnectionId, Credentials, GroupId, Interests, Principal};
use parking_lot::Mutex;
use proto::shard::v1::{self, attach_refused, detached, gateway_frame::Body};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{Attachment, NewAttachment};
use crate::{AttachError, Mailbox, SessionEvent, Unavailable};

/// Attachments without an answer at most.
const PENDING_MAX: usize = 16_384;
/// Activity of a principal is told at most this often.
const ACTIVITY_EVERY: Duration = Duration::from_secs(60);

/// The connections of this gateway in one group.
pub(crate) struct Attachments {
    pub group: GroupId,
    pub(super) state: Mutex<State>,
    /// Something waits to be sent.
    pub changed: Notify,
}

#[derive(Default)]
pub(super) struct State {
    live: HashMap<Principal, Live>,
    pending: HashMap<u64, Pending>,
    /// For the stream that is open; nothing while there is none.
    pub(super) outbox: Vec<Body>,
    /// Of the method answers in the outbox.
    pub(super) answer_bytes: usize,
    active: Vec<v1::Principal>,
    next_attach_id: u64,
    pub(super) streaming: bool,
}

/// A connection that is attached, or was under the leader before.
pub(super) struct Live {
    connection_id: ConnectionId,
    verified: Verified,
    model_id: Option<Box<str>>,
    pub(super) interests: Interests,
    /// The desired version it was told last.
    pub(super) desired_version: u64,
    pub(super) mailbox: Arc<Mailbox>,
    active_at: Option<Instant>,
}

/// The versions of the identity that the credential was verified against.
#[derive(Clone)]
struct Verified {
    device: (Box<str>, u64),
    module: Option<(Box<str>, u64)>,
}

impl From<&Credentials> for Verified {
    fn from(credentials: &Credentials) -> Self {
        let device = &credentials.device;
        let module = credentials.module.as_ref();
        Self {
            device: (device.generation_id.as_str().into(), device.etag.0),
            module: module.map(|module| (module.generation_id.as_str().into(), module.etag.0)),
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "few are pending at a time, and each only briefly")]
enum Pending {
    New { attach: NewAttachment, reply: oneshot::Sender<Result<Unclaimed, AttachError>> },
    Again { principal: Principal, connection_id: ConnectionId },
}

/// A new attachment on its way to the caller; nobody's when the caller is gone.
pub(crate) struct Unclaimed {
    attachment: Option<Attachment>,
    principal: Principal,
    attachments: Arc<Attachments>,
}

impl Unclaimed {
    pub fn claim(mut self) -> Option<Attachment> {
        self.attachment.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(attachment) = &self.attachment {
            self.attachments.detach(&self.principal, attachment.connection_id);
        }
    }
}

/// A live connection whose identity the leader knows otherwise: it must be read again.
pub(crate) struct Outdated {
    pub principal: Principal,
    pub connection_id: ConnectionId,
}

impl Attachments {
    pub fn new(group: GroupId) -> Self {
        Self { group, state: Mutex::default(), changed: Notify::new() }
    }

    /// Asks for a new attachment; the answer may take a change of leader or two.
    pub fn begin(
        &self,
        attach: &NewAttachment,
    ) -> Result<oneshot::Receiver<Result<Unclaimed, AttachError>>, AttachError> {
        let mut state = self.state.lock();
        if state.pending.len() >= PENDING_MAX {
            state.forget_abandoned();
        }
        if state.pending.len() >= PENDING_MAX {
            return Err(Unavailable::Busy.into());
        }
        let (reply, answer) = oneshot::channel();
        let attach_id = state.next_attach_id();
        if state.streaming {
            state.outbox.push(Body::Attach(new_attach(attach_id, attach)));
        }
        state.pending.insert(attach_id, Pending::New { attach: attach.clone(), reply });
        drop(state);
        self.changed.notify_one();
        Ok(answer)
    }

    /// Forgets the connection and tells the leader, unless it is not the one that is live.
    pub fn detach(&self, principal: &Principal, connection_id: ConnectionId) {
        let mut state = self.state.lock();
        if state.remove_live(principal, connection_id).is_some() {
            state.send_detach(principal, connection_id);
            drop(state);
            self.changed.notify_one();
        }
    }

    pub fn active(&self, principal: &Principal) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let Some(live) = state.live.get_mut(principal) else { return };
        if live.active_at.is_some_and(|told| now.duration_since(told) < ACTIVITY_EVERY) {
            return;
        }
        live.active_at = Some(now);
        state.active.push(principal.into());
    }

    /// A stream is open: what waits is sent on it. Answers the connections to attach again, some at a time.
    pub fn opened(&self) -> Vec<Principal> {
        let mut state = self.state.lock();
        state.streaming = true;
        state.forget_abandoned();
        state.pending.retain(|_, pending| matches!(pending, Pending::New { .. }));
        let waiting = state.pending.iter().filter_map(|(attach_id, pending)| match pending {
            Pending::New { attach, .. } => Some(Body::Attach(new_attach(*attach_id, attach))),
            Pending::Again { .. } => None,
        });
        state.outbox = waiting.collect();
        state.live.keys().cloned().collect()
    }

    /// The stream ended: nothing can be sent, and what was sent may not have arrived.
    pub fn closed(&self) {
        let mut state = self.state.lock();
        state.streaming = false;
        state.outbox = Vec::new();
        state.answer_bytes = 0;
        state.active = Vec::new();
    }

    /// Attaches connections again that are still live.
    pub fn attach_again(&self, principals: &[Principal]) {
        let mut state = self.state.lock();
        for principal in principals {
            let Some(live) = state.live.get(principal) else { continue };
            let connection_id = live.connection_id;
            let mut attach = attach_again(principal, live);
            attach.attach_id = state.next_attach_id();
            state.pending.insert(attach.attach_id, Pending::Again { principal: principal.clone(), connection_id });
            state.outbox.push(Body::Attach(attach));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Whether something waits to be sent.
    pub fn has_frames(&self) -> bool {
        !self.state.lock().outbox.is_empty()
    }

    /// The next frames to send, at most that many.
    pub fn take_frames(&self, limit: usize) -> v1::GatewayFrames {
        let mut state = self.state.lock();
        let count = state.outbox.len().min(limit);
        let frames = state.outbox.drain(..count).map(|body| v1::GatewayFrame { body: Some(body) }).collect();
        if state.outbox.is_empty() {
            state.answer_bytes = 0;
        }
        v1::GatewayFrames { frames }
    }

    /// Makes frames of the activity gathered.
    pub fn flush_activity(&self, limit: usize) {
        let mut state = self.state.lock();
        let active = std::mem::take(&mut state.active);
        if state.streaming && !active.is_empty() {
            let frames = active.chunks(limit).map(|some| Body::Activity(v1::Activity { principals: some.to_vec() }));
            state.outbox.extend(frames);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// An attachment was granted.
    pub fn attached(self: &Arc<Self>, attached: v1::Attached) {
        let mut state = self.state.lock();
        let Some(Pending::New { attach, reply }) = state.pending.remove(&attached.attach_id) else { return };
        let connection_id = ConnectionId::from(attached.connection_id.unwrap_or_default());
        let principal = attach.principal;
        let mailbox = Arc::new(Mailbox::default());
        let live = Live {
            connection_id,
            verified: Verified::from(&attach.credentials),
            model_id: attach.model_id.map(Into::into),
            interests: attached.subscriptions.iter().map(|stored| Interests::from_bits(stored.interests)).collect(),
            desired_version: attached.desired_version,
            mailbox: mailbox.clone(),
            active_at: None,
        };
        if let Some(older) = state.live.insert(principal.clone(), live) {
            older.mailbox.deliver(SessionEvent::Replaced);
        }
        drop(state);
        let attachment = Attachment {
            connection_id,
            session_present: attached.session_present,
            subscriptions: attached.subscriptions.into_iter().map(Into::into).collect(),
            mailbox,
        };
        // When nobody waits any more, dropping it detaches.
        let _ = reply.send(Ok(Unclaimed { attachment: Some(attachment), principal, attachments: self.clone() }));
    }

    /// An attachment was not granted. Answers the live connection whose identity must be read again.
    pub fn refused(&self, refused: &v1::AttachRefused) -> Option<Outdated> {
        use attach_refused::Reason;
        let mut state = self.state.lock();
        if refused.reason() == Reason::NotLeader {
            // The stream is about to end; all of it is asked again on the next one.
            return None;
        }
        match (state.pending.remove(&refused.attach_id)?, refused.reason()) {
            (Pending::New { reply, .. }, reason) => {
                let error = match reason {
                    Reason::IdentityChanged => AttachError::IdentityChanged,
                    Reason::Busy => Unavailable::Busy.into(),
                    _ => Unavailable::Protocol("an attachment was refused without a good reason").into(),
                };
                let _ = reply.send(Err(error));
                None
            }
            (Pending::Again { principal, connection_id }, Reason::Replaced) => {
                if let Some(live) = state.remove_live(&principal, connection_id) {
                    live.mailbox.deliver(SessionEvent::Replaced);
                }
                None
            }
            (Pending::Again { principal, connection_id }, _) => Some(Outdated { principal, connection_id }),
        }
    }

    /// The leader says that the connection is no longer the principal's.
    pub fn detached(&self, detached: &v1::Detached) {
        let Some((principal, connection_id)) = parse(detached.principal.as_ref(), detached.connection_id) else {
            return;
        };
        if let Some(live) = self.state.lock().remove_live(&principal, connection_id) {
            live.mailbox.deliver(match detached.reason() {
                detached::Reason::Deleted => SessionEvent::Deleted,
                detached::Reason::MissedUpdates => SessionEvent::MissedUpdates,
                _ => SessionEvent::Replaced,
            });
        }
    }

    /// The leader says what is stored of the principal's identity now.
    pub fn identity_changed(&self, changed: v1::IdentityChanged) {
        let Some((principal, connection_id)) = parse(changed.principal.as_ref(), changed.connection_id) else {
            return;
        };
        let credentials = changed.credentials.map(Credentials::try_from);
        match credentials {
            Some(Ok(credentials)) => _ = self.verify_again(&principal, connection_id, Some(credentials)),
            other => tracing::error!(?other, "a shard sent an identity that cannot be"),
        }
    }

    /// Tells the connection to verify against these credentials. False when it is not live any more.
    pub fn verify_again(
        &self,
        principal: &Principal,
        connection_id: ConnectionId,
        credentials: Option<Credentials>,
    ) -> bool {
        let mut state = self.state.lock();
        let Some(live) = state.live_mut(principal, connection_id) else { return false };
        let credentials = credentials.filter(|known| known.module.is_some() == principal.module_id.is_some());
        let Some(credentials) = credentials else {
            live.mailbox.deliver(SessionEvent::Deleted);
            state.live.remove(principal);
            return false;
        };
        live.verified = Verified::from(&credentials);
        live.mailbox.deliver(SessionEvent::IdentityChanged(Some(Box::new(credentials))));
        true
    }
}

impl State {
    fn next_attach_id(&mut self) -> u64 {
        self.next_attach_id += 1;
        self.next_attach_id
    }

    /// The connection, while it is live.
    pub(super) fn live_mut(&mut self, principal: &Principal, connection_id: ConnectionId) -> Option<&mut Live> {
        self.live.get_mut(principal).filter(|live| live.connection_id == connection_id)
    }

    fn remove_live(&mut self, principal: &Principal, connection_id: ConnectionId) -> Option<Live> {
        self.live.get(principal).filter(|live| live.connection_id == connection_id)?;
        self.live.remove(principal)
    }

    fn send_detach(&mut self, principal: &Principal, connection_id: ConnectionId) {
        if self.streaming {
            let detach = v1::Detach { principal: Some(principal.into()), connection_id: Some(connection_id.into()) };
            self.outbox.push(Body::Detach(detach));
        }
    }

    fn forget_abandoned(&mut self) {
        self.pending.retain(|_, pending| match pending {
            Pending::New { reply, .. } => !reply.is_closed(),
            Pending::Again { .. } => true,
        });
    }
}

fn new_attach(attach_id: u64, attach: &NewAttachment) -> v1::Attach {
    let verified = Verified::from(&attach.credentials);
    v1::Attach {
        attach_id,
        clean_session: attach.clean_session,
        model_id: attach.model_id.clone(),
        ..identified(&attach.principal, &verified)
    }
}

fn attach_again(principal: &Principal, live: &Live) -> v1::Attach {
    v1::Attach {
        previous: Some(live.connection_id.into()),
        // The connection has its filters; the stored ones need not travel again.
        clean_session: true,
        model_id: live.model_id.as_deref().map(Into::into),
        interests: live.interests.to_bits(),
        desired_version: live.desired_version,
        ..identified(principal, &live.verified)
    }
}

fn identified(principal: &Principal, verified: &Verified) -> v1::Attach {
    let module = verified.module.as_ref();
    v1::Attach {
        principal: Some(principal.into()),
        device_generation_id: verified.device.0.to_string(),
        device_etag: verified.device.1,
        module_generation_id: module.map(|(generation_id, _)| generation_id.to_string()),
        module_etag: module.map(|(_, etag)| *etag),
        ..v1::Attach::default()
    }
}

pub(super) fn parse(
    principal: Option<&v1::Principal>,
    connection_id: Option<v1::ConnectionId>,
) -> Option<(Principal, ConnectionId)> {
    Some((principal?.try_into().ok()?, connection_id?.into()))
}
