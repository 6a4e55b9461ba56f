//! Making tokens: for the command line, load generators and tests.

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use model::{SymmetricKey, Timestamp};

use crate::percent;

/// A token for the resource (`{host}` or `{host}/devices/{id}[/modules/{id}]`, plain text) that expires then. With the
/// name of a policy the key is the policy's, without it the identity's own.
pub fn sign(resource: &str, key: &SymmetricKey, policy: Option<&str>, expires: Timestamp) -> String {
    let resource = percent::encode(resource);
    let expiry = expires.unix_seconds();
    let signature = sign_text(&resource, &expiry.to_string(), key);
    let policy = policy.map(|name| format!("&skn={}", percent::encode(name))).unwrap_or_default();
    format!("SharedAccessSignature sr={resource}&sig={}&se={expiry}{policy}", percent::encode(&signature))
}

/// Base64 of the HMAC over both texts as they stand in the token.
pub(crate) fn sign_text(resource: &str, expiry: &str, key: &SymmetricKey) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    BASE64_STANDARD.encode(hmac::sign(&key, [resource, expiry].join("\n").as_bytes()))
}
