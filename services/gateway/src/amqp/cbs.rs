//! The node `$cbs`: tokens are put, renewed, and run out (amqp §3.3).

use std::time::Instant;

use amqp::{Delivery, DeliveryState, LinkId, Message, MessageId, MessageWriter, Properties, Value};
use auth::{Refusal, SasToken};

use super::{
    authority::{Refused, Token, TokenKey},
    close::Close,
    connection::Connection,
    error,
    link::{Kind, Queued},
};
use crate::history::Incident;

/// Token types that carry a SAS token.
const SAS_TYPES: [&str; 2] = ["servicebus.windows.net:sastoken", "azure-devices.net:sastoken"];

/// A request that cannot be understood, in words.
struct BadRequest(&'static str);

impl Connection {
    /// Settled before it is answered, always (amqp R14).
    pub(super) fn on_cbs_request(&mut self, delivery: &Delivery) {
        self.settle((delivery.link, delivery.id, delivery.settled), DeliveryState::Accepted);
        let Ok(message) = Message::decode(&delivery.payload) else { return };
        let message_id = message.properties.as_ref().and_then(|properties| properties.message_id);
        let message_id: Option<Box<[u8]>> = message_id.map(|id| id.bytes().into());
        let link = delivery.link;
        match token_of(&message) {
            Err(BadRequest(words)) => self.answer_cbs(link, message_id.as_deref(), 400, words),
            Ok(text) => {
                self.waiting += 1;
                let (front, identity) = (self.front.clone(), named_identity(&text));
                let verified = async move { Token::verify(&front, text).await };
                self.start(verified, move |connection, outcome| {
                    connection.waiting -= 1;
                    let outcome = outcome.and_then(|token| connection.put_token(token));
                    connection.on_cbs_outcome(link, message_id.as_deref(), &identity, outcome);
                });
            }
        }
    }

    fn on_cbs_outcome(
        &mut self,
        link: LinkId,
        message_id: Option<&[u8]>,
        identity: &str,
        outcome: Result<(), Refused>,
    ) {
        let status = match &outcome {
            Ok(()) => 200,
            Err(Refused::Credential(Refusal::MalformedToken(_))) => 400,
            Err(Refused::Credential(_)) => 401,
            // What the service answers (seen in azure-iot-sdk-c #1413 and iotedge #5639): some clients make "device not
            // found" of it, which they do not try again; others show the words. 401 says that a key is wrong.
            Err(Refused::NotRegistered { .. }) => 404,
            Err(Refused::TooManyTokens) => 403,
            Err(Refused::Unavailable(_) | Refused::NotReady | Refused::Unstable) => 500,
        };
        let description = match &outcome {
            Ok(()) => "OK".to_owned(),
            Err(refused) => {
                self.log_refusal(refused, identity);
                refused.to_string()
            }
        };
        self.answer_cbs(link, message_id, status, &description);
    }

    /// Answers on the link for answers of the same session. Without one nobody wants to know.
    fn answer_cbs(&mut self, request: LinkId, message_id: Option<&[u8]>, status: i32, description: &str) {
        let mut links = self.links.iter();
        let answers = links.find(|(id, link)| id.session() == request.session() && link.kind == Kind::CbsAnswers);
        let Some((answers, _)) = answers else { return };
        let answers = *answers;
        let correlation_id = message_id.and_then(|encoded| MessageId::decode(encoded).ok());
        let mut payload = Vec::new();
        MessageWriter::new(&mut payload)
            .properties(&Properties { correlation_id, ..Properties::default() })
            .application_properties(|properties| {
                properties.string("status-code", &Value::Int(status));
                properties.string("status-description", &Value::String(description));
            })
            .value(&Value::Null);
        if !self.send(answers, Queued::settled(payload)) {
            self.detach(answers, error::too_much("Too many answers wait for credit."));
        }
    }

    /// Takes a verified token; what runs on the one before it runs on this one.
    pub(super) fn put_token(&mut self, token: Token) -> Result<(), Refused> {
        let token = self.authority.put(token)?;
        self.proved();
        self.expires = self.authority.deadline(&self.front, Instant::now());
        if let (TokenKey::Identity(principal), Some(authenticated)) = (&token.key, &token.authenticated)
            && let Some(device) = self.devices.get_mut(principal)
        {
            device.fingerprint = authenticated.fingerprint.clone();
            device.authorized_by = Some(token.key.clone());
        }
        Ok(())
    }

    /// Ends what ran on tokens that are over, and the connection when nothing is left of it.
    pub(super) fn expire_tokens(&mut self, now: Instant) {
        let over = self.authority.expire(&self.front, now);
        self.expires = self.authority.deadline(&self.front, now);
        if over.is_empty() {
            return;
        }
        let devices = self.devices.values();
        let ended = devices.filter(|device| device.authorized_by.as_ref().is_some_and(|key| over.contains(key)));
        let ended: Vec<_> = ended.map(|device| device.principal.clone()).collect();
        for principal in ended {
            self.end_device(&principal, &error::token_expired(), "token_expired", "the token expired");
        }
        self.recheck_service_links();
        if self.authority.is_empty() {
            self.end_after(Close::TokenExpired);
        }
    }

    /// Counts a refusal, and remembers it for whoever asks about the identity.
    pub(super) fn log_refusal(&self, refused: &Refused, identity: &str) {
        let (cause, reason, peer) = (refused.cause(), refused.to_string(), self.peer);
        self.front.metrics.refusals.with_label_values(&[cause]).inc();
        let identity: String = identity.chars().take(257).collect();
        tracing::warn!(identity, %peer, cause, reason, "an AMQP peer was refused");
        if !identity.is_empty() {
            let incident = Incident { time: self.front.now(), peer, protocol: "AMQP", cause, reason };
            self.front.history.refused(&identity, incident);
        }
    }
}

/// Whom a token is for, as it says itself; for the log.
fn named_identity(token: &str) -> String {
    let token = SasToken::parse(token).ok();
    token.and_then(|token| token.principals().first().map(ToString::to_string)).unwrap_or_default()
}

fn token_of(message: &Message<'_>) -> Result<String, BadRequest> {
    let property = |name: &str| message.application_properties.and_then(|properties| properties.get(name));
    let text = |name: &str| property(name).and_then(|value| value.as_text());
    if !text("operation").is_some_and(|operation| operation.eq_ignore_ascii_case("put-token")) {
        return Err(BadRequest("The application property operation must be put-token."));
    }
    if text("name").is_none_or(str::is_empty) {
        return Err(BadRequest("The application property name must say what the token is for."));
    }
    if !text("type").is_some_and(|kind| SAS_TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind))) {
        return Err(BadRequest(
            "The application property type must be servicebus.windows.net:sastoken: SAS tokens only.",
        ));
    }
    match message.body {
        amqp::Body::Value(Value::String(token)) => Ok(token.to_owned()),
        _ => Err(BadRequest("The body must be the token, as a string.")),
    }
}
