//! The live sessions of one gateway in one group.

use std::sync::Arc;

use futures::{Stream, stream};
use model::{ConnectionId, Interests, Principal};
use proto::shard::v1::{
    self, attach_refused::Reason, gateway_frame::Body as FromGateway, shard_frame::Body as ToGateway,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{Groups, Leader, not_leader_status};
use crate::{
    group::Refusal,
    sessions::{LinkId, Now, Sessions},
    state,
    store::{Rows, StoreError, View},
};

/// Batches taken into one message at most.
const BATCHES_MAX: usize = 64;
/// Principals of one Activity frame that are looked at; gateways send fewer.
const ACTIVITY_MAX: usize = 4096;

/// Opens the stream of a gateway to the group that its Hello names, if this node leads it.
pub async fn open(
    groups: &Groups,
    mut incoming: Streaming<v1::GatewayFrames>,
) -> Result<impl Stream<Item = Result<v1::ShardFrames, Status>> + Send + use<>, Status> {
    let first = incoming.message().await?.ok_or_else(|| Status::invalid_argument("no Hello"))?;
    let mut bodies = first.frames.into_iter().filter_map(|frame| frame.body);
    let Some(FromGateway::Hello(hello)) = bodies.next() else { return Err(Status::invalid_argument("no Hello")) };
    let leader = groups.get(hello.group).ok_or_else(|| Status::not_found("no such group"))?.clone();
    let link = leader.open().ok_or_else(|| not_leader_status(&leader))?;
    tracing::debug!(group = %leader.group_id, gateway = %hello.gateway_id, link = link.id.0, "a gateway is attached");
    let outgoing = outgoing(leader.clone(), link.fence, link.frames, link.ended.clone());
    tokio::spawn(async move {
        let stream = GatewayStream { leader, link: link.id, answers: link.answers };
        link.ended.run_until_cancelled(stream.serve(bodies.collect(), incoming)).await;
        stream.leader.close(stream.link);
    });
    Ok(outgoing)
}

/// Welcome, then all that is sent on the link; an error at its end names the next leader.
fn outgoing(
    leader: Arc<Leader>,
    fence: u64,
    frames: mpsc::Receiver<Vec<ToGateway>>,
    ended: CancellationToken,
) -> impl Stream<Item = Result<v1::ShardFrames, Status>> + Send {
    let welcome = vec![ToGateway::Welcome(v1::Welcome { leadership: fence })];
    stream::unfold(Some((frames, welcome)), move |state| {
        let (leader, ended) = (leader.clone(), ended.clone());
        async move {
            let (mut frames, first) = state?;
            if !first.is_empty() {
                return Some((Ok(message(vec![first])), Some((frames, Vec::new()))));
            }
            let mut batches = Vec::new();
            match ended.run_until_cancelled(frames.recv_many(&mut batches, BATCHES_MAX)).await {
                Some(1..) => Some((Ok(message(batches)), Some((frames, Vec::new())))),
                Some(0) => None,
                None => Some((Err(not_leader_status(&leader)), None)),
            }
        }
    })
}

fn message(batches: Vec<Vec<ToGateway>>) -> v1::ShardFrames {
    let frames = batches.into_iter().flatten().map(|body| v1::ShardFrame { body: Some(body) });
    v1::ShardFrames { frames: frames.collect() }
}

struct GatewayStream {
    leader: Arc<Leader>,
    link: LinkId,
    answers: mpsc::Sender<Vec<ToGateway>>,
}

impl GatewayStream {
    /// Until the gateway closes the stream.
    async fn serve(&self, first: Vec<FromGateway>, mut incoming: Streaming<v1::GatewayFrames>) {
        let mut bodies = first;
        loop {
            if !bodies.is_empty() && !self.receive(bodies).await {
                return;
            }
            match incoming.message().await {
                Ok(Some(message)) => bodies = message.frames.into_iter().filter_map(|frame| frame.body).collect(),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Handles one message; false when the link is gone.
    async fn receive(&self, bodies: Vec<FromGateway>) -> bool {
        if !bodies.iter().any(|body| matches!(body, FromGateway::Attach(_))) {
            self.apply(bodies, |_| {});
            return true;
        }
        // Room for the answers first: nothing may be told to a connection before it is answered.
        let Ok(answers) = self.answers.reserve().await else { return false };
        match self.leader.group.read().await {
            Ok(_) => self.apply(bodies, |attached| answers.send(attached)),
            Err(refusal) => answers.send(refuse_all(&bodies, &refusal)),
        }
        true
    }

    /// After the read-index round this is still the leader, so the rows as they are now are the hub's. They are read
    /// while no effect can be performed: a later change of an identity finds its session.
    fn apply(&self, bodies: Vec<FromGateway>, answer: impl FnOnce(Vec<ToGateway>)) {
        let applied = self.leader.change(|sessions, now| {
            let mut answers = Vec::new();
            let view = self.leader.group.view()?;
            let applied = bodies.into_iter().try_for_each(|body| {
                answers.extend(self.apply_one(sessions, now, &view, body)?);
                Ok::<_, StoreError>(())
            });
            answer(answers);
            applied
        });
        if let Some(Err(error)) = applied {
            tracing::error!(group = %self.leader.group_id, %error, "frames of a gateway are not applied");
        }
    }

    fn apply_one(
        &self,
        sessions: &mut Sessions,
        now: Now,
        view: &View,
        body: FromGateway,
    ) -> Result<Option<ToGateway>, StoreError> {
        match body {
            FromGateway::Hello(_) => {}
            FromGateway::Attach(attach) => return attach_one(self.link, sessions, now, view, &attach).map(Some),
            FromGateway::Detach(detach) => {
                if let (Some(Ok(principal)), Some(connection_id)) =
                    (detach.principal.as_ref().map(Principal::try_from), detach.connection_id)
                {
                    sessions.detach(&principal, connection_id.into(), now);
                }
            }
            FromGateway::MethodAnswered(answered) => {
                if let (Some(Ok(principal)), Some(call_id)) =
                    (answered.principal.as_ref().map(Principal::try_from), answered.call_id)
                {
                    sessions.method_answered(&principal, call_id, answered.answer.unwrap_or_default());
                }
            }
            FromGateway::Activity(activity) => {
                let principals = activity.principals.iter().take(ACTIVITY_MAX);
                let principals = principals.filter_map(|principal| Principal::try_from(principal).ok());
                principals.for_each(|principal| sessions.active(&principal, now));
            }
        }
        Ok(None)
    }
}

fn attach_one(
    link: LinkId,
    sessions: &mut Sessions,
    now: Now,
    rows: &impl Rows,
    attach: &v1::Attach,
) -> Result<ToGateway, StoreError> {
    let Some(Ok(principal)) = attach.principal.as_ref().map(Principal::try_from) else {
        return Ok(refuse(attach.attach_id, Reason::IdentityChanged));
    };
    let credentials = state::credentials(rows, &principal)?;
    if !credentials.is_some_and(|credentials| is_verified(attach, &credentials)) {
        return Ok(refuse(attach.attach_id, Reason::IdentityChanged));
    }
    let Ok(connection_id) = sessions.attach(link, &principal, attach.previous.map(Into::into), now) else {
        return Ok(refuse(attach.attach_id, Reason::Replaced));
    };
    let stored = if attach.clean_session { None } else { state::subscriptions(rows, &principal)? };
    let desired_version = state::desired_version(rows, &principal)?;
    if attach.previous.is_some() {
        sessions.interested(&principal, connection_id, Interests::from_bits(attach.interests));
        catch_up(sessions, now, rows, &principal, connection_id, attach.desired_version)?;
    } else {
        let interests = stored.iter().flatten().map(|stored| Interests::from_bits(stored.interests));
        sessions.interested(&principal, connection_id, interests.collect());
        sessions.desired_is_at(&principal, desired_version);
    }
    Ok(ToGateway::Attached(v1::Attached {
        attach_id: attach.attach_id,
        connection_id: Some(connection_id.into()),
        session_present: stored.is_some(),
        subscriptions: stored.unwrap_or_default(),
        desired_version,
    }))
}

/// Tells a connection that was told that version last what the leader before did not tell it any more, and of messages:
/// those that came meanwhile found nobody to be told.
fn catch_up(
    sessions: &mut Sessions,
    now: Now,
    rows: &impl Rows,
    principal: &Principal,
    connection_id: ConnectionId,
    told_version: u64,
) -> Result<(), StoreError> {
    sessions.desired_is_at(principal, told_version);
    match state::missed_deltas(rows, principal, told_version)? {
        Some(deltas) => deltas.into_iter().for_each(|delta| sessions.desired_updated(principal, delta)),
        None => sessions.missed_updates(principal, connection_id, now),
    }
    if state::queued_count(rows, principal)? > 0 {
        sessions.messages_waiting(principal);
    }
    Ok(())
}

/// Whether the gateway verified the credential against what is stored.
fn is_verified(attach: &v1::Attach, credentials: &v1::Credentials) -> bool {
    let device = credentials.device.as_ref();
    let device_is = device
        .is_some_and(|device| device.generation_id == attach.device_generation_id && device.etag == attach.device_etag);
    let module = credentials.module.as_ref();
    let has_module = attach.principal.as_ref().is_some_and(|principal| principal.module_id.is_some());
    device_is
        && has_module == module.is_some()
        && module.map(|module| &module.generation_id) == attach.module_generation_id.as_ref()
        && module.map(|module| module.etag) == attach.module_etag
}

fn refuse(attach_id: u64, reason: Reason) -> ToGateway {
    ToGateway::AttachRefused(v1::AttachRefused { attach_id, reason: reason as i32 })
}

fn refuse_all(bodies: &[FromGateway], refusal: &Refusal) -> Vec<ToGateway> {
    let reason = match refusal {
        Refusal::NotLeader { .. } => Reason::NotLeader,
        _ => Reason::Busy,
    };
    let attaches = bodies.iter().filter_map(|body| match body {
        FromGateway::Attach(attach) => Some(refuse(attach.attach_id, reason)),
        _ => None,
    });
    attaches.collect()
}
