//! SASL (amqp §1.2, §3.1): PLAIN is checked at once; the others say nothing, who it is comes by CBS or a certificate.

use amqp::{PlainCredentials, SaslCode, SaslInit};
use auth::Refusal;
use model::{Principal, Timestamp};

use super::{
    address::principals,
    authority::{Refused, Token, TokenKey},
    close::Close,
    connection::Connection,
};
use crate::Front;

/// Whom PLAIN names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum User {
    Policy(String),
    /// A policy too, whose password is one of its keys instead of a token: clients of Event Hubs.
    Key(String),
    /// In every reading of the ids.
    Identity(Vec<Principal>),
}

impl User {
    /// `{policy}@sas.root.{hub}`, `{policy}@root.{hub}`, `{device}[/modules/{module}]@sas.{hub}` or `…@{hub}`; the hub
    /// by its name or by the first label of it. A bare `{policy}` comes with a key.
    fn parse(front: &Front, text: &str) -> Option<Self> {
        let Some((name, hub)) = text.rsplit_once('@') else { return Some(Self::Key(text.to_owned())) };
        let lower = hub.to_ascii_lowercase();
        let is_hub = |hub: &str| {
            let first = front.host_names.first();
            front.host_names.contains(hub)
                || first.split('.').next().is_some_and(|label| label.eq_ignore_ascii_case(hub))
        };
        if let Some(hub) = lower.strip_prefix("sas.root.").or_else(|| lower.strip_prefix("root."))
            && is_hub(hub)
        {
            return Some(Self::Policy(name.to_owned()));
        }
        let hub = lower.strip_prefix("sas.").filter(|hub| is_hub(hub)).or_else(|| is_hub(&lower).then_some(&lower));
        hub?;
        let (device, module) = match name.split_once("/modules/") {
            Some((device, module)) => (device, Some(module)),
            None => (name, None),
        };
        Some(Self::Identity(principals(device, module)))
    }

    /// Whether the token is this user's: a device may also show a token that a policy signed for it.
    fn owns(&self, token: &Token) -> bool {
        match (self, &token.key) {
            (Self::Policy(name) | Self::Key(name), TokenKey::Policy(_)) => {
                token.policy().is_some_and(|of| of.eq_ignore_ascii_case(name))
            }
            (Self::Identity(principals), TokenKey::Identity(principal)) => principals.contains(principal),
            (Self::Identity(_), TokenKey::Policy(_)) => true,
            (Self::Policy(_) | Self::Key(_), TokenKey::Identity(_)) => false,
        }
    }

    /// The token that the password is, or that an Event Hubs client would make of it: for the events, and good for as long
    /// as the policy has this key.
    fn token(&self, front: &Front, password: &str) -> String {
        let Self::Key(policy) = self else { return password.to_owned() };
        let events = format!("sb://{}/{}", front.host_names.first(), front.config.event_hub_name);
        auth::sign_with_text(&events, password, policy, Timestamp::from_unix_microseconds(i64::MAX))
    }
}

impl Connection {
    pub(super) fn on_sasl_init(&mut self, init: &SaslInit) {
        match &*init.mechanism {
            "PLAIN" => self.on_plain(init),
            "EXTERNAL" if self.authority.certificate.is_none() => self.refuse_sasl(&Refusal::NoCredential.into(), ""),
            _ => self.protocol.sasl_outcome(SaslCode::Ok),
        }
    }

    fn on_plain(&mut self, init: &SaslInit) {
        let response = init.initial_response.as_ref().map(|secret| secret.0.as_slice()).unwrap_or_default();
        let Some(plain) = PlainCredentials::parse(response) else {
            return self.refuse_sasl(&Refusal::NoCredential.into(), "");
        };
        let name = plain.user.to_owned();
        let Some(user) = User::parse(&self.front, plain.user) else {
            return self.refuse_sasl(&Refusal::WrongAudience(name.chars().take(300).collect()).into(), &name);
        };
        let (front, text) = (self.front.clone(), user.token(&self.front, plain.password));
        let verified = async move {
            let token = Token::verify(&front, text).await?;
            if user.owns(&token) { Ok(token) } else { Err(Refusal::WrongAudience(String::new()).into()) }
        };
        self.start(verified, move |connection, outcome: Result<Token, Refused>| {
            match outcome.and_then(|token| connection.put_token(token)) {
                Ok(()) => connection.protocol.sasl_outcome(SaslCode::Ok),
                Err(refused) => connection.refuse_sasl(&refused, &name),
            }
        });
    }

    fn refuse_sasl(&mut self, refused: &Refused, name: &str) {
        self.log_refusal(refused, name.split('@').next().unwrap_or_default());
        let code = match refused {
            Refused::Credential(_) | Refused::NotRegistered { .. } | Refused::TooManyTokens => SaslCode::Auth,
            Refused::Unavailable(_) | Refused::NotReady | Refused::Unstable => SaslCode::SysTemp,
        };
        self.protocol.sasl_outcome(code);
        self.end_after(Close::Sasl);
    }
}
