//! Twin requests of a device (amqp §5.5): one after the other, each answered once on the link for answers.

use std::{collections::VecDeque, time::Instant};

use amqp::{Delivery, DeliveryState, LinkId, Message, MessageId, MessageWriter, Properties, Value};
use model::Principal;
use shard_client::DesiredUpdate;

use super::{
    connection::Connection,
    error,
    interests::Then,
    link::{DeviceLink, OUTBOX_MAX, Queued},
    message::body,
};
use crate::{
    front::ByteClaim,
    twin_requests::{self, TwinFailure, TwinOutcome, TwinRequest},
};

/// Updates that wait for the answers before them; a device with more has to read its twin again.
const UPDATES_MAX: usize = 64;
const DESIRED: &str = "/notifications/twin/properties/desired";

/// The twin of a device on a connection.
#[derive(Default)]
pub(super) struct Twin {
    /// The device wants updates of its desired properties.
    pub is_subscribed: bool,
    is_answering: bool,
    waiting: VecDeque<Asked>,
    /// They go out when no request waits: a twin that is read is never older than an update before it.
    updates: VecDeque<DesiredUpdate>,
}

/// A request, and where its answer goes.
pub(super) struct Asked {
    delivery: (LinkId, u32, bool),
    correlation_id: Option<Box<[u8]>>,
    request: Request,
    received_at: Instant,
    _claim: ByteClaim,
}

enum Request {
    Twin(TwinRequest),
    Subscribe(bool),
    /// It makes no sense.
    Invalid(&'static str),
}

impl Twin {
    /// Requests that will not be answered.
    pub fn unanswered(&self) -> usize {
        self.waiting.len()
    }
}

impl Connection {
    pub(super) fn on_twin_request(&mut self, principal: &Principal, delivery: &Delivery) {
        let place = (delivery.link, delivery.id, delivery.settled);
        let message = match Message::decode(&delivery.payload) {
            Ok(message) => message,
            Err(malformed) => return self.settle(place, DeliveryState::rejected(error::undecodable(&malformed))),
        };
        let correlation_id = message.properties.as_ref().and_then(|properties| properties.correlation_id);
        let asked = Asked {
            delivery: place,
            correlation_id: correlation_id.map(|id| id.bytes().into()),
            request: read(&message),
            received_at: Instant::now(),
            _claim: self.front.claim_bytes(delivery.payload.len()),
        };
        let front = self.front.clone();
        let Some(device) = self.devices.get_mut(principal) else { return };
        device.mark_active(&front, asked.received_at);
        device.twin.waiting.push_back(asked);
        self.waiting += 1;
        self.answer_next(principal);
    }

    /// Begins the next request when the one before is answered; with none left, passes updates on.
    fn answer_next(&mut self, principal: &Principal) {
        let Some(device) = self.devices.get_mut(principal).filter(|device| !device.twin.is_answering) else { return };
        let Some(mut asked) = device.twin.waiting.pop_front() else { return self.send_desired_updates(principal) };
        device.twin.is_answering = true;
        let connection_id = device.connection_id;
        match std::mem::replace(&mut asked.request, Request::Invalid("")) {
            Request::Invalid(words) => {
                self.answer(principal, &asked, &TwinOutcome::Failed(TwinFailure::invalid(words)));
            }
            Request::Subscribe(is_subscribed) => {
                device.twin.is_subscribed = is_subscribed;
                self.change_interests(principal, Then::AnswerTwin(Box::new(asked)));
            }
            Request::Twin(request) => {
                let (front, owner) = (self.front.clone(), principal.clone());
                let running = async move {
                    let operation = request.operation();
                    let outcome = twin_requests::run(&front, &owner, connection_id, request).await;
                    (owner, operation, outcome)
                };
                self.start(running, move |connection, (principal, operation, outcome)| {
                    if connection.device(&principal, connection_id).is_none() {
                        connection.waiting -= 1;
                        return;
                    }
                    match outcome {
                        Ok(outcome) => {
                            let metrics = &connection.front.metrics.twins;
                            metrics.answered(operation, outcome.result(), asked.received_at.elapsed());
                            connection.answer(&principal, &asked, &outcome);
                        }
                        Err(end) => {
                            connection.waiting -= 1;
                            connection.end_session(&principal, end);
                        }
                    }
                });
            }
        }
    }

    /// What the device asked for is so now, or cannot be.
    pub(super) fn answer_subscription(&mut self, principal: &Principal, asked: Asked, is_done: bool) {
        if is_done {
            self.answer_with(principal, &asked, 200, None, &[]);
        } else {
            self.answer_with(principal, &asked, 503, None, &TwinFailure::busy().body());
        }
    }

    fn answer(&mut self, principal: &Principal, asked: &Asked, outcome: &TwinOutcome) {
        match outcome {
            TwinOutcome::Got(twin) => self.answer_with(principal, asked, 200, None, twin),
            TwinOutcome::Reported { version } => self.answer_with(principal, asked, 200, Some(*version), &[]),
            TwinOutcome::Failed(failure) => {
                let status = i32::try_from(failure.status()).unwrap_or(500);
                self.answer_with(principal, asked, status, None, &failure.body());
            }
        }
    }

    /// Settles the request, sends the answer, and goes on.
    fn answer_with(&mut self, principal: &Principal, asked: &Asked, status: i32, version: Option<u64>, body: &[u8]) {
        self.waiting -= 1;
        self.settle(asked.delivery, DeliveryState::Accepted);
        let Some(device) = self.devices.get_mut(principal) else { return };
        device.twin.is_answering = false;
        if let Some(link) = device.links.get(&DeviceLink::TwinAnswers).copied() {
            let payload = encode_answer(asked.correlation_id.as_deref(), status, version, body);
            if !self.send(link, Queued::settled(payload)) {
                return self.miss_updates(principal); // it asks and does not listen
            }
        }
        self.answer_next(principal);
    }

    /// Takes updates of the desired properties, for a device that wants them.
    pub(super) fn take_desired_updates(&mut self, principal: &Principal) {
        let Some(device) = self.devices.get_mut(principal) else { return };
        while let Some(update) = device.mailbox.take_desired_update() {
            if device.twin.is_subscribed {
                device.twin.updates.push_back(update);
            }
        }
        if device.twin.updates.len() > UPDATES_MAX {
            return self.miss_updates(principal);
        }
        if !device.twin.is_answering {
            self.send_desired_updates(principal);
        }
    }

    fn send_desired_updates(&mut self, principal: &Principal) {
        while let Some(device) = self.devices.get_mut(principal)
            && let Some(update) = device.twin.updates.pop_front()
        {
            let Some(link) = device.links.get(&DeviceLink::TwinAnswers).copied() else { continue };
            self.front.metrics.twins.desired_updates.inc();
            if !self.send(link, Queued::settled(encode_update(&update))) {
                tracing::debug!(%principal, "more than {OUTBOX_MAX} updates wait for credit");
                return self.miss_updates(principal);
            }
        }
    }
}

/// The operation and its resource are annotations; the version there is ignored.
fn read(message: &Message<'_>) -> Request {
    let annotation = |name: &str| message.message_annotations.and_then(|annotations| annotations.get(name));
    let word = |name: &str| annotation(name).and_then(|value| value.as_text()).unwrap_or_default().to_ascii_lowercase();
    let (operation, resource) = (word("operation"), word("resource"));
    match (operation.as_str(), resource.trim_start_matches('/')) {
        ("get", _) => Request::Twin(TwinRequest::Get),
        ("patch", "properties/reported") => match body(message) {
            Some(patch) => Request::Twin(TwinRequest::Patch { expected_version: None, patch: patch.into_owned() }),
            None => Request::Invalid("The body of a patch is JSON, in one section of data"),
        },
        ("put", "notifications/twin/properties/desired") => Request::Subscribe(true),
        ("delete", "notifications/twin/properties/desired") => Request::Subscribe(false),
        _ => Request::Invalid(
            "The annotations operation and resource must be GET, PATCH of /properties/reported, or PUT or DELETE of \
             /notifications/twin/properties/desired",
        ),
    }
}

/// `status` is an int and `version` a long: one client looks at the types (amqp R11).
fn encode_answer(correlation_id: Option<&[u8]>, status: i32, version: Option<u64>, body: &[u8]) -> Vec<u8> {
    let correlation_id = correlation_id.and_then(|encoded| MessageId::decode(encoded).ok());
    let mut payload = Vec::with_capacity(body.len() + 128);
    let writer = MessageWriter::new(&mut payload)
        .message_annotations(|annotations| {
            annotations.symbol("status", &Value::Int(status));
            if let Some(version) = version {
                annotations.symbol("version", &Value::Long(i64::try_from(version).unwrap_or(i64::MAX)));
            }
        })
        .properties(&Properties { correlation_id, ..Properties::default() });
    if !body.is_empty() {
        writer.data(body);
    }
    payload
}

/// An update has no correlation id: that is how clients tell it from an answer.
fn encode_update(update: &DesiredUpdate) -> Vec<u8> {
    let mut payload = Vec::with_capacity(update.patch.len() + 128);
    MessageWriter::new(&mut payload)
        .message_annotations(|annotations| {
            annotations.symbol("resource", &Value::String(DESIRED));
            annotations.symbol("version", &Value::Long(i64::try_from(update.version).unwrap_or(i64::MAX)));
        })
        .data(&update.patch);
    payload
}
