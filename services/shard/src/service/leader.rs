//! What the leader of a group does besides answering: it keeps the live sessions and performs effects.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use model::{ConnectionId, GroupId, Principal, Timestamp};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use proto::{
    raft::v1::{ProposedCommand, RecordPresence, proposed_command::Kind},
    shard::v1::{self, shard_frame::Body},
};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::receivers::Claims;
use crate::{
    ShardMetrics,
    group::{Group, Leadership, Refusal},
    raft::rhythm::beat,
    sessions::{Call, CallEvent, LinkId, Now, Sessions, TooManyCalls},
    state::{self, Effect},
    store::{EffectReceiver, StoreError},
};

/// Batches of frames that wait for a gateway; one that does not take them is cut off and attaches again.
const LINK_QUEUE_MAX: usize = 1024;
/// How often windows are looked at.
const TIMEOUTS_EVERY: Duration = Duration::from_millis(250);
/// Connection states are written this often, lazily,
const PRESENCE_EVERY: Duration = Duration::from_secs(2);
/// in commands of at most so many rows,
const PRESENCE_ROWS_MAX: usize = 256;
/// and at most so many commands at a time.
const PRESENCE_COMMANDS_MAX: usize = 8;
/// Clients idle for longer are forgotten; no request is tried for nearly that long.
const CLIENT_IDLE_MAX: Duration = Duration::from_secs(3600);
const EXPIRE_CLIENTS_EVERY: Duration = Duration::from_secs(3600);
/// How late a message may be found to have expired.
const EXPIRE_MESSAGES_EVERY: Duration = Duration::from_secs(1);
/// Stored connection states looked at in one go when a leadership starts.
const EXPECTED_PAGE: usize = 1024;

/// A group of this node, and what its leader remembers while this node leads it.
pub struct Leader {
    pub group_id: GroupId,
    pub group: Group,
    metrics: ShardMetrics,
    leading: Mutex<Option<Leading>>,
    /// Hub group only: something else is wanted of the cluster.
    pub cluster_changed: Notify,
}

/// One leadership.
struct Leading {
    sessions: Sessions,
    calls: HashMap<u64, CallWaiter>,
    links: HashMap<LinkId, Link>,
    next_link: u32,
    settings: watch::Sender<Option<v1::HubSettings>>,
    /// Hub group only.
    claims: Claims,
    ended: CancellationToken,
    fence: u64,
}

/// Who waits for a method.
struct CallWaiter {
    delivered: Option<oneshot::Sender<()>>,
    answered: oneshot::Sender<v1::MethodAnswer>,
}

/// A method under way. Both ends close without a word when the leadership ends.
pub struct UnderWay {
    pub counter: u64,
    pub delivered: oneshot::Receiver<()>,
    pub answered: oneshot::Receiver<v1::MethodAnswer>,
}

/// The stream of a gateway.
struct Link {
    frames: mpsc::Sender<Vec<Body>>,
    ended: CancellationToken,
}

/// The gateway's end of a link.
pub struct OpenLink {
    pub id: LinkId,
    pub fence: u64,
    pub frames: mpsc::Receiver<Vec<Body>>,
    /// For answers, which may wait for room.
    pub answers: mpsc::Sender<Vec<Body>>,
    /// Cancelled when the leadership ends, or when the gateway is too slow.
    pub ended: CancellationToken,
}

impl Leader {
    /// Nothing is led yet; [`Self::run`] finds out.
    pub fn new(group_id: GroupId, group: Group, metrics: ShardMetrics) -> Self {
        Self { group_id, group, metrics, leading: Mutex::new(None), cluster_changed: Notify::new() }
    }

    fn leading(&self) -> Option<MappedMutexGuard<'_, Leading>> {
        MutexGuard::try_map(self.leading.lock(), Option::as_mut).ok()
    }

    /// The sessions, to look at; `None` while this node does not lead the group.
    pub fn with_sessions<T>(&self, look: impl FnOnce(&Sessions) -> T) -> Option<T> {
        self.leading().map(|leading| look(&leading.sessions))
    }

    /// Whether a newer connection of the principal is known; `None` while this node does not lead the group.
    pub fn is_replaced(&self, principal: &Principal, connection_id: ConnectionId) -> Option<bool> {
        self.with_sessions(|sessions| sessions.is_replaced(principal, connection_id))
    }

    /// The hub's settings and their changes, until the leadership ends.
    pub fn settings(&self) -> Option<(watch::Receiver<Option<v1::HubSettings>>, CancellationToken)> {
        self.leading().map(|leading| (leading.settings.subscribe(), leading.ended.clone()))
    }

    /// Changes who reads the events; the token is cancelled when the leadership ends. `None` while this node does not
    /// lead the group.
    pub fn change_claims<T>(&self, change: impl FnOnce(&mut Claims, &CancellationToken) -> T) -> Option<T> {
        let mut leading = self.leading()?;
        let Leading { claims, ended, .. } = &mut *leading;
        Some(change(claims, ended))
    }

    /// Opens a link to a gateway; `None` while this node does not lead the group.
    pub fn open(&self) -> Option<OpenLink> {
        let mut leading = self.leading()?;
        let id = LinkId(leading.next_link);
        leading.next_link += 1;
        let (sender, frames) = mpsc::channel(LINK_QUEUE_MAX);
        let ended = leading.ended.child_token();
        leading.links.insert(id, Link { frames: sender.clone(), ended: ended.clone() });
        Some(OpenLink { id, fence: leading.fence, frames, answers: sender, ended })
    }

    /// The stream of the link ended.
    pub fn close(&self, link: LinkId) {
        if let Some(mut leading) = self.leading() {
            leading.close(link);
        }
    }

    /// Changes sessions and sends what follows from it. `None` while this node does not lead the group.
    pub fn change<T>(&self, change: impl FnOnce(&mut Sessions, Now) -> T) -> Option<T> {
        let mut leading = self.leading()?;
        let result = change(&mut leading.sessions, now());
        leading.send_pushes();
        leading.tell_callers();
        Some(result)
    }

    /// Takes a call of a method. `None` while this node does not lead the group. [`Self::end_method`] must follow.
    pub fn call_method(&self, principal: &Principal, call: Call) -> Option<Result<UnderWay, TooManyCalls>> {
        let mut leading = self.leading()?;
        let counter = match leading.sessions.call_method(principal, call) {
            Ok(counter) => counter,
            Err(too_many) => return Some(Err(too_many)),
        };
        let (delivered, is_delivered) = oneshot::channel();
        let (answered, is_answered) = oneshot::channel();
        leading.calls.insert(counter, CallWaiter { delivered: Some(delivered), answered });
        leading.send_pushes();
        leading.tell_callers();
        Some(Ok(UnderWay { counter, delivered: is_delivered, answered: is_answered }))
    }

    /// Nobody waits for the call any more.
    pub fn end_method(&self, counter: u64) {
        if let Some(mut leading) = self.leading() {
            leading.sessions.end_method(counter);
            leading.calls.remove(&counter);
        }
    }

    /// Follows the group's leadership until cancelled, and does a leader's work while there is one.
    pub async fn run(self: Arc<Self>, mut effects: EffectReceiver, cancelled: CancellationToken) {
        let mut leadership = self.group.leadership();
        let follow = async {
            loop {
                let now = *leadership.borrow_and_update();
                if let Leadership::Leading { fence } = now {
                    self.lead(fence, &mut leadership, &mut effects).await;
                } else if leadership.changed().await.is_err() {
                    return;
                }
            }
        };
        cancelled.run_until_cancelled(follow).await;
        self.end();
    }

    /// Does a leader's work until the leadership of that fence is over.
    async fn lead(&self, fence: u64, leadership: &mut watch::Receiver<Leadership>, effects: &mut EffectReceiver) {
        let lead = async {
            while let Err(error) = self.begin(fence).await {
                tracing::warn!(group = %self.group_id, %error, "a leadership cannot begin yet");
                tokio::time::sleep(TIMEOUTS_EVERY).await;
            }
            tracing::debug!(group = %self.group_id, fence, "serving as leader");
            tokio::select! {
                () = self.perform_effects(effects) => {}
                () = self.handle_timeouts() => {}
                () = self.write_presence() => {}
                () = self.expire_clients() => {}
                () = self.expire_messages() => {}
            }
        };
        let over = async {
            let still = |now: &Leadership| matches!(now, Leadership::Leading { fence: newer } if *newer == fence);
            let _ = leadership.wait_for(|now| !still(now)).await;
        };
        tokio::select! { () = lead => {}, () = over => {} }
        self.end();
    }

    /// Starts from the state as it is: who was connected is expected, and the settings are known.
    async fn begin(&self, fence: u64) -> Result<(), StoreError> {
        let view = self.group.view()?;
        let mut sessions = Sessions::new(fence, now());
        let mut position = None;
        loop {
            let (connected, next) = state::connected_after(&view, position, EXPECTED_PAGE)?;
            sessions.expect(connected);
            let Some(next) = next else { break };
            position = Some(next);
            tokio::task::yield_now().await;
        }
        let leading = Leading {
            sessions,
            calls: HashMap::new(),
            links: HashMap::new(),
            next_link: 0,
            settings: watch::Sender::new(state::settings(&view)?),
            claims: Claims::new(fence),
            ended: CancellationToken::new(),
            fence,
        };
        *self.leading.lock() = Some(leading);
        Ok(())
    }

    /// Forgets the leadership and closes its streams.
    fn end(&self) {
        if let Some(leading) = self.leading.lock().take() {
            tracing::info!(group = %self.group_id, fence = leading.fence, "no longer leading");
            leading.ended.cancel();
        }
    }

    async fn perform_effects(&self, effects: &mut EffectReceiver) {
        while let Some((_, effect)) = effects.recv().await {
            if let Err(error) = self.perform(effect) {
                tracing::error!(group = %self.group_id, %error, "an effect is not performed");
            }
        }
    }

    fn perform(&self, effect: Effect) -> Result<(), StoreError> {
        match effect {
            Effect::IdentityChanged(principal) => return self.push_identity(&principal),
            Effect::DeviceDeleted(device_id) => _ = self.change(|sessions, _| sessions.device_deleted(&device_id)),
            Effect::ModuleDeleted(principal) => _ = self.change(|sessions, _| sessions.deleted(&principal)),
            Effect::MessagesWaiting(principal) => {
                self.change(|sessions, _| sessions.messages_waiting(&principal));
            }
            Effect::DesiredUpdated(principal, delta) => {
                self.change(|sessions, _| sessions.desired_updated(&principal, delta));
            }
            Effect::MessagesEnded { outcome, count } => self.metrics.ended(outcome, count),
            Effect::SettingsChanged(settings) => self.publish(settings),
            Effect::ClusterChanged => self.cluster_changed.notify_one(),
            Effect::LeadershipStarted { .. } => {}
        }
        Ok(())
    }

    /// Tells the connections that depend on the identity what is stored now.
    fn push_identity(&self, changed: &Principal) -> Result<(), StoreError> {
        let live = self.with_sessions(|sessions| match &changed.module_id {
            None => sessions.of_device(&changed.device_id),
            Some(_) => vec![changed.clone()],
        });
        let live = live.unwrap_or_default();
        if live.is_empty() {
            return Ok(());
        }
        let view = self.group.view()?;
        for principal in live {
            if let Some(credentials) = state::credentials(&view, &principal)? {
                self.change(|sessions, _| sessions.identity_changed(&principal, credentials));
            }
        }
        Ok(())
    }

    fn publish(&self, newer: v1::HubSettings) {
        if let Some(leading) = self.leading() {
            leading.settings.send_if_modified(|held| {
                // The first settings may have been read after this change.
                let news = held.as_ref().is_none_or(|held| held.revision < newer.revision);
                if news {
                    *held = Some(newer);
                }
                news
            });
        }
    }

    async fn handle_timeouts(&self) {
        loop {
            beat(TIMEOUTS_EVERY).await;
            self.change(Sessions::handle_timeout);
        }
    }

    async fn write_presence(&self) {
        loop {
            beat(PRESENCE_EVERY).await;
            for _ in 0..PRESENCE_COMMANDS_MAX {
                let rows = self.change(|sessions, _| sessions.take_unwritten(PRESENCE_ROWS_MAX)).unwrap_or_default();
                if rows.is_empty() {
                    break;
                }
                let command = Kind::RecordPresence(RecordPresence { rows: rows.clone() });
                match self.propose(command).await {
                    Ok(_) => _ = self.change(|sessions, _| sessions.written(&rows)),
                    Err(refusal) => {
                        tracing::debug!(group = %self.group_id, ?refusal, "connection states are not written yet");
                        self.change(|sessions, _| sessions.not_written(&rows));
                        break;
                    }
                }
            }
        }
    }

    async fn expire_clients(&self) {
        loop {
            beat(EXPIRE_CLIENTS_EVERY).await;
            let idle_since = now().time.unix_microseconds() - CLIENT_IDLE_MAX.as_micros() as i64;
            while let Ok(Some(expired)) = self.group.view().and_then(|view| state::expired_clients(&view, idle_since))
                && self.propose(Kind::ExpireClients(expired)).await.is_ok()
            {}
        }
    }

    async fn expire_messages(&self) {
        let mut queued = self.metrics.queued_of_group();
        loop {
            beat(EXPIRE_MESSAGES_EVERY).await;
            let time = now().time.unix_microseconds();
            while let Ok(true) = self.group.view().and_then(|view| state::has_expired(&view, time))
                && self.propose(Kind::ExpireMessages(v1::ExpireMessages {})).await.is_ok()
            {}
            if let Ok(statistics) = self.group.view().and_then(|view| state::statistics(&view)) {
                queued.set(statistics.queued_message_count);
            }
        }
    }

    async fn propose(&self, kind: Kind) -> Result<v1::CommandResult, Refusal> {
        self.group.propose(ProposedCommand { kind: Some(kind) }).await
    }
}

impl Leading {
    fn send_pushes(&mut self) {
        for push in self.sessions.take_pushes() {
            let Some(link) = self.links.get(&push.link) else { continue };
            if link.frames.try_send(vec![push.body]).is_err() {
                tracing::warn!(link = push.link.0, "a gateway does not take its frames; its stream is closed");
                self.close(push.link);
            }
        }
    }

    fn tell_callers(&mut self) {
        for event in self.sessions.take_call_events() {
            match event {
                CallEvent::Delivered(counter) => {
                    let waiter = self.calls.get_mut(&counter).and_then(|waiter| waiter.delivered.take());
                    waiter.map(|delivered| delivered.send(()));
                }
                CallEvent::Answered(counter, answer) => {
                    self.calls.remove(&counter).map(|waiter| waiter.answered.send(answer));
                }
            }
        }
    }

    fn close(&mut self, link: LinkId) {
        if let Some(closed) = self.links.remove(&link) {
            closed.ended.cancel();
            self.sessions.close(link, now());
        }
    }
}

/// The clocks of this node, as they stand.
pub fn now() -> Now {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let microseconds = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX);
    Now { instant: Instant::now(), time: Timestamp::from_unix_microseconds(microseconds) }
}
