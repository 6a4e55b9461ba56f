//! SAS tokens (security §3.1, §3.2).

use std::borrow::Cow;

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use model::{Principal, SymmetricKey, Timestamp};

use crate::{Refusal, audience::Audience, percent};

/// A token is accepted so long after its expiry, for clocks that differ (security §3.2).
pub const CLOCK_SKEW_SECONDS: i64 = 300;

const SCHEME: &str = "SharedAccessSignature";

/// A parsed token; nothing in it is verified yet.
pub struct SasToken<'a> {
    /// The audience exactly as sent: this text is what is signed.
    pub(crate) resource: &'a str,
    signature: Vec<u8>,
    /// The expiry exactly as sent.
    expiry: &'a str,
    expiry_seconds: u64,
    /// The policy's name, decoded; `None` for a token of an identity's own key.
    pub(crate) policy: Option<Cow<'a, str>>,
}

impl<'a> SasToken<'a> {
    /// Reads `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`, fields in any order.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        let text = text.trim();
        let (scheme, fields) = text.split_once(char::is_whitespace).ok_or(Refusal::MalformedToken("no fields"))?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(Refusal::MalformedToken("it does not begin with SharedAccessSignature"));
        }
        let (mut resource, mut signature, mut expiry, mut policy) = (None, None, None, None);
        for (name, value) in fields.trim_start().split('&').filter_map(|field| field.split_once('=')) {
            let field = match name {
                _ if name.eq_ignore_ascii_case("sr") => &mut resource,
                _ if name.eq_ignore_ascii_case("sig") => &mut signature,
                _ if name.eq_ignore_ascii_case("se") => &mut expiry,
                _ if name.eq_ignore_ascii_case("skn") => &mut policy,
                _ => continue,
            };
            if field.replace(value).is_some() {
                return Err(Refusal::MalformedToken("a field occurs twice"));
            }
        }
        let expiry = expiry.ok_or(Refusal::MalformedToken("no se"))?;
        let policy = policy.map(|name| percent::decode(name).ok_or(Refusal::MalformedToken("skn"))).transpose()?;
        Ok(Self {
            resource: resource.ok_or(Refusal::MalformedToken("no sr"))?,
            signature: decode_signature(signature.ok_or(Refusal::MalformedToken("no sig"))?)?,
            expiry,
            expiry_seconds: parse_seconds(expiry).ok_or(Refusal::MalformedToken("se is not a number of seconds"))?,
            policy: policy.filter(|name| !name.is_empty()),
        })
    }

    /// Whether an identity's own key is said to have signed it; else a policy's.
    pub fn is_of_identity(&self) -> bool {
        self.policy.is_none()
    }

    /// The device or module that its `sr` names, in every reading of the ids, the likeliest first; none when it is for
    /// a whole hub or something else.
    pub fn principals(&self) -> Vec<Principal> {
        Audience::parse(self.resource).principals()
    }

    /// The instant from which on the token is expired, without any grace. Far futures are cut.
    pub fn expires(&self) -> Timestamp {
        let seconds = i64::try_from(self.expiry_seconds).unwrap_or(i64::MAX);
        Timestamp::from_unix_microseconds(seconds.saturating_mul(1_000_000))
    }

    /// Fails once the token and the clock skew are over.
    pub(crate) fn check_expiry(&self, now: Timestamp) -> Result<(), Refusal> {
        let last = self.expires().unix_seconds().saturating_add(CLOCK_SKEW_SECONDS);
        if now.unix_seconds() > last { Err(Refusal::TokenExpired) } else { Ok(()) }
    }

    /// Whether that key signed the token; takes the same time whatever the answer.
    pub(crate) fn is_signed_by(&self, key: &SymmetricKey) -> bool {
        self.is_signed_with(key.as_bytes())
    }

    /// Whether the text of that key signed it: Event Hubs clients do not decode keys.
    pub(crate) fn is_signed_by_text(&self, key: &SymmetricKey) -> bool {
        self.is_signed_with(key.as_base64().as_bytes())
    }

    fn is_signed_with(&self, key: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let text = [self.resource, self.expiry].join("\n");
        hmac::verify(&key, text.as_bytes(), &self.signature).is_ok()
    }
}

/// Digits only: no sign.
fn parse_seconds(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn decode_signature(text: &str) -> Result<Vec<u8>, Refusal> {
    let text = percent::decode(text).ok_or(Refusal::MalformedToken("sig"))?;
    BASE64_STANDARD.decode(text.as_bytes()).map_err(|_| Refusal::MalformedToken("sig is not base64"))
}
