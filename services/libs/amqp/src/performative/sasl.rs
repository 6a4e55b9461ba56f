//! Saying who one is, before the connection opens (AMQP 1.0 part 5 §3).

use std::fmt;

use crate::types::{Decoder, Field, Malformed, Symbol, Symbols, code_of, composite, simple_enum};

composite! {
    /// What the server offers, the preferred one first.
    pub struct SaslMechanisms: code_of::SASL_MECHANISMS, {
        pub mechanisms: Symbols,
    }

    /// What the client chose, and its first words.
    pub struct SaslInit: code_of::SASL_INIT, {
        pub mechanism: Symbol,
        pub initial_response: Option<Secret>,
        pub hostname: Option<String>,
    }

    /// A question of the server.
    pub struct SaslChallenge: code_of::SASL_CHALLENGE, {
        pub challenge: Secret,
    }

    /// The client's answer to it.
    pub struct SaslResponse: code_of::SASL_RESPONSE, {
        pub response: Secret,
    }

    /// How it ended.
    pub struct SaslOutcome: code_of::SASL_OUTCOME, {
        pub code: SaslCode,
        pub additional_data: Option<Secret>,
    }
}

simple_enum! {
    /// The result of a SASL exchange.
    pub enum SaslCode: u8 {
        Ok = 0,
        /// The credentials are wrong.
        Auth = 1,
        Sys = 2,
        SysPerm = 3,
        /// Worth another try.
        SysTemp = 4,
    }
}

/// The body of a frame of type SASL.
#[derive(Clone, Debug, PartialEq)]
pub enum SaslFrame {
    Mechanisms(SaslMechanisms),
    Init(SaslInit),
    Challenge(SaslChallenge),
    Response(SaslResponse),
    Outcome(SaslOutcome),
}

impl SaslFrame {
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut decoder = Decoder::new(body);
        let code = decoder.expect_descriptor()?.code();
        let fields = &mut decoder;
        let frame = match code.and_then(|code| u8::try_from(code).ok()) {
            Some(SaslMechanisms::CODE) => Self::Mechanisms(SaslMechanisms::decode_fields(fields)?),
            Some(SaslInit::CODE) => Self::Init(SaslInit::decode_fields(fields)?),
            Some(SaslChallenge::CODE) => Self::Challenge(SaslChallenge::decode_fields(fields)?),
            Some(SaslResponse::CODE) => Self::Response(SaslResponse::decode_fields(fields)?),
            Some(SaslOutcome::CODE) => Self::Outcome(SaslOutcome::decode_fields(fields)?),
            _ => return Err(Malformed::NotDescribedAs { expected: "a SASL frame", found: code }),
        };
        decoder.end()?;
        Ok(frame)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Mechanisms(mechanisms) => mechanisms.encode(out),
            Self::Init(init) => init.encode(out),
            Self::Challenge(challenge) => challenge.encode(out),
            Self::Response(response) => response.encode(out),
            Self::Outcome(outcome) => outcome.encode(out),
        }
    }
}

/// Bytes that are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl Field<'_> for Secret {
    fn decode(decoder: &mut Decoder<'_>, name: &'static str) -> Result<Self, Malformed> {
        Vec::decode(decoder, name).map(Self)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

/// The initial response of the mechanism PLAIN (RFC 4616).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PlainCredentials<'a> {
    /// Whom to act for; empty: the user itself.
    pub authorization_id: &'a str,
    pub user: &'a str,
    pub password: &'a str,
}

impl<'a> PlainCredentials<'a> {
    /// Three texts with a NUL between them; the user is not empty.
    pub fn parse(response: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(response).ok()?.split('\0');
        let credentials = Self { authorization_id: parts.next()?, user: parts.next()?, password: parts.next()? };
        (parts.next().is_none() && !credentials.user.is_empty()).then_some(credentials)
    }
}

/// Never shows the password.
impl fmt::Debug for PlainCredentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainCredentials")
            .field("authorization_id", &self.authorization_id)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
