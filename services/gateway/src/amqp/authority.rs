//! What a connection may do: the certificate of its TLS handshake, and the tokens it was given since (amqp §3).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use auth::{Authenticated, ClientCertificate, Operation, Presented, Refusal, SasToken};
use model::{HubSettings, Principal, Timestamp};
use shard_client::Unavailable;

use crate::Front;

/// Tokens of one connection at a time: one for each device that it may have.
const TOKENS_MAX: usize = 2048;
/// Expiries further away than this are never.
const EXPIRY_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Why somebody is not let in, or not yet.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{0}")]
    Credential(#[from] Refusal),
    /// In the service's words: programs look for them.
    #[error("Device {identity} at IotHub {hub} not registered.")]
    NotRegistered { identity: Box<Principal>, hub: Box<str> },
    #[error("the registry cannot answer: {0}")]
    Unavailable(#[from] Unavailable),
    #[error("the hub's settings have not arrived yet")]
    NotReady,
    #[error("the identity keeps changing")]
    Unstable,
    #[error("the connection has as many tokens as it may have")]
    TooManyTokens,
}

impl Refused {
    pub fn not_registered(front: &Front, identity: Principal) -> Self {
        Self::NotRegistered { identity: identity.into(), hub: front.host_names.first().into() }
    }

    /// A stable name for metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Credential(refusal) => refusal.name(),
            Self::NotRegistered { .. } => Refusal::UnknownIdentity.name(),
            Self::Unavailable(_) => "unavailable",
            Self::NotReady => "not_ready",
            Self::Unstable => "unstable",
            Self::TooManyTokens => "too_many_tokens",
        }
    }
}

/// What a token replaces: the one before for the same identity, or of a policy for the same resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum TokenKey {
    Identity(Principal),
    /// The token's `sr`, as it was sent.
    Policy(Box<str>),
}

/// A token that was verified when it was put.
pub(super) struct Token {
    pub key: TokenKey,
    text: Box<str>,
    policy: Option<Box<str>>,
    expires: Timestamp,
    /// Of an identity's own token.
    pub authenticated: Option<Authenticated>,
}

impl Token {
    /// Verifies the token for whatever its `sr` says; its name in a request means nothing (amqp §3.3).
    pub async fn verify(front: &Front, text: String) -> Result<Self, Refused> {
        let settings = front.settings().ok_or(Refused::NotReady)?;
        let (principals, is_of_identity, expires) = {
            let token = SasToken::parse(&text)?;
            (token.principals(), token.is_of_identity(), token.expires())
        };
        if !is_of_identity {
            let authorized = auth::verify_policy_token(&text, &settings, &front.host_names, front.now())?;
            let (key, policy) = (TokenKey::Policy(resource(&text).into()), Some(authorized.policy.into()));
            return Ok(Self { key, text: text.into(), policy, expires, authenticated: None });
        }
        let first = principals.first().cloned().ok_or(Refusal::UnknownIdentity)?;
        for principal in principals {
            let credentials = front.shard_client.get_credentials(&principal).await?;
            let (hosts, presented) = (&front.host_names, Presented::Token(&text));
            match auth::authenticate(&principal, credentials.as_ref(), presented, &settings, hosts, front.now()) {
                Err(Refusal::UnknownIdentity) => {}
                authenticated => {
                    let (key, authenticated) = (TokenKey::Identity(principal), Some(authenticated?));
                    return Ok(Self { key, text: text.into(), policy: None, expires, authenticated });
                }
            }
        }
        Err(Refused::not_registered(front, first))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The policy whose key signed it.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// When it ends, the grace included; `None`: never.
    fn ends(&self, front: &Front, now: Instant) -> Option<Instant> {
        let grace = i64::try_from(front.limits.token_grace_seconds()).unwrap_or(i64::MAX);
        let ends = self.expires.unix_seconds().saturating_add(grace);
        let left = Duration::from_secs(u64::try_from(ends.saturating_sub(front.now().unix_seconds())).unwrap_or(0));
        (left < EXPIRY_MAX).then(|| now + left)
    }
}

/// The `sr` of a token that was read before.
fn resource(text: &str) -> &str {
    let fields = text.split(['&', ' ']);
    fields
        .filter_map(|field| field.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("sr"))
        .map_or("", |(_, sr)| sr)
}

/// The credentials of one connection.
pub(super) struct Authority {
    pub certificate: Option<Arc<ClientCertificate>>,
    tokens: HashMap<TokenKey, Arc<Token>>,
}

impl Authority {
    pub fn new(certificate: Option<Arc<ClientCertificate>>) -> Self {
        Self { certificate, tokens: HashMap::new() }
    }

    /// Takes a token, in place of the one before it.
    pub fn put(&mut self, token: Token) -> Result<Arc<Token>, Refused> {
        if self.tokens.len() >= TOKENS_MAX && !self.tokens.contains_key(&token.key) {
            return Err(Refused::TooManyTokens);
        }
        let token = Arc::new(token);
        self.tokens.insert(token.key.clone(), token.clone());
        Ok(token)
    }

    /// Whether there is anything to be authenticated by.
    pub fn is_empty(&self) -> bool {
        self.certificate.is_none() && self.tokens.is_empty()
    }

    /// What might authenticate one of these, the likeliest first.
    pub fn presentable(&self, principals: &[Principal]) -> Presentable {
        let own = principals.iter().filter_map(|principal| self.tokens.get(&TokenKey::Identity(principal.clone())));
        let policies = self.tokens.values().filter(|token| matches!(token.key, TokenKey::Policy(_)));
        Presentable { tokens: own.chain(policies).cloned().collect(), certificate: self.certificate.clone() }
    }

    /// Checks a service operation on a resource; answers the token that allows it.
    pub fn authorize(&self, front: &Front, operation: Operation, path: &[&str]) -> Result<TokenKey, Refused> {
        let settings = front.settings().ok_or(Refused::NotReady)?;
        self.first(|token| auth::authorize(token, operation, path, &settings, &front.host_names, front.now()))
    }

    /// The same for a resource whose parts are opened by tokens for any of them (amqp §8.7).
    pub fn authorize_within(&self, front: &Front, operation: Operation, path: &[&str]) -> Result<TokenKey, Refused> {
        let settings = front.settings().ok_or(Refused::NotReady)?;
        self.first(|token| auth::authorize_within(token, operation, path, &settings, &front.host_names, front.now()))
    }

    /// The first token that is accepted.
    fn first(&self, check: impl Fn(&str) -> Result<auth::Authorized, Refusal>) -> Result<TokenKey, Refused> {
        let mut refusal = Refusal::NoCredential;
        for token in self.tokens.values() {
            match check(token.as_str()) {
                Ok(_) => return Ok(token.key.clone()),
                Err(error) => refusal = error,
            }
        }
        Err(refusal.into())
    }

    /// Removes the tokens that are over, and answers which.
    pub fn expire(&mut self, front: &Front, now: Instant) -> Vec<TokenKey> {
        let over = self.tokens.values().filter(|token| token.ends(front, now).is_some_and(|ends| ends <= now));
        let over: Vec<TokenKey> = over.map(|token| token.key.clone()).collect();
        over.iter().for_each(|key| _ = self.tokens.remove(key));
        over
    }

    /// When the next token is over.
    pub fn deadline(&self, front: &Front, now: Instant) -> Option<Instant> {
        self.tokens.values().filter_map(|token| token.ends(front, now)).min()
    }
}

/// What a connection can show for an identity.
pub(super) struct Presentable {
    tokens: Vec<Arc<Token>>,
    certificate: Option<Arc<ClientCertificate>>,
}

impl Presentable {
    /// Tries one after the other: what was accepted and by which token; `None` in its place: by the certificate.
    pub fn authenticate(
        &self,
        front: &Front,
        principal: &Principal,
        credentials: Option<&model::Credentials>,
    ) -> Result<(Authenticated, Option<TokenKey>), Refused> {
        let settings = front.settings().ok_or(Refused::NotReady)?;
        let authenticate = |presented| {
            auth::authenticate(principal, credentials, presented, &settings, &front.host_names, front.now())
        };
        let mut refusal = Refusal::NoCredential;
        for token in &self.tokens {
            match authenticate(Presented::Token(token.as_str())) {
                Ok(authenticated) => return Ok((authenticated, Some(token.key.clone()))),
                Err(Refusal::UnknownIdentity) if may_know(front, &settings, token, principal) => {
                    return Err(Refused::not_registered(front, principal.clone()));
                }
                Err(error) => refusal = error,
            }
        }
        match &self.certificate {
            Some(certificate) => Ok((authenticate(Presented::Certificate(certificate))?, None)),
            None => Err(refusal.into()),
        }
    }
}

/// Only who could act for any device learns that there is none of that name.
fn may_know(front: &Front, settings: &HubSettings, token: &Token, principal: &Principal) -> bool {
    let (operation, resource) = (Operation::SendTelemetry, ["devices", principal.device_id.as_str()]);
    auth::authorize(token.as_str(), operation, &resource, settings, &front.host_names, front.now()).is_ok()
}
