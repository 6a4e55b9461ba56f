//! Making tokens: for the command line, for clients that show a key itself, for load generators and tests.

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use model::{SymmetricKey, Timestamp};

use crate::percent;

/// A token for the resource (`{host}` or `{host}/devices/{id}[/modules/{id}]`, plain text) that expires then. With the
/// name of a policy the key is the policy's, without it the identity's own.
pub fn sign(resource: &str, key: &SymmetricKey, policy: Option<&str>, expires: Timestamp) -> String {
    sign_with(resource, key.as_bytes(), policy, expires)
}

/// The same as Event Hubs clients do it, who do not decode the key of a policy: its text signs (amqp §8.7). The text need
/// not be a key.
pub fn sign_with_text(resource: &str, key: &str, policy: &str, expires: Timestamp) -> String {
    sign_with(resource, key.as_bytes(), Some(policy), expires)
}

fn sign_with(resource: &str, key: &[u8], policy: Option<&str>, expires: Timestamp) -> String {
    let resource = percent::encode(resource);
    let expiry = expires.unix_seconds();
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signature = BASE64_STANDARD.encode(hmac::sign(&key, format!("{resource}\n{expiry}").as_bytes()));
    let policy = policy.map(|name| format!("&skn={}", percent::encode(name))).unwrap_or_default();
    format!("SharedAccessSignature sr={resource}&sig={}&se={expiry}{policy}", percent::encode(&signature))
}
