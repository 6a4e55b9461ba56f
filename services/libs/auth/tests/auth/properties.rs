//! What holds for all inputs.

use auth::{ConnectionString, Operation, Presented, SasToken, authenticate, authorize, sign};
use model::{Credentials, Principal, SymmetricKey, SymmetricKeys};
use proptest::prelude::*;

use crate::fixture::*;

/// What a client signs for a device.
fn resource(id: &str) -> String {
    format!("{HOST}/devices/{id}")
}

/// Any id of the registry's alphabet.
fn id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,40}"
}

fn key_bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 16..=64)
}

fn identity(id: &str, key: &SymmetricKey) -> (Principal, Credentials) {
    let mut registered = credentials("placeholder");
    let keys = SymmetricKeys { primary: key.clone(), secondary: key.clone() };
    registered.device = device(id, model::Authentication::Sas(keys));
    (principal(id), registered)
}

fn opens(identity: &(Principal, Credentials), token: &str) -> bool {
    authenticate(&identity.0, Some(&identity.1), Presented::Token(token), &settings(), &hosts(), now()).is_ok()
}

proptest! {
    #[test]
    fn what_is_signed_opens(id in id(), key in key_bytes()) {
        let key = SymmetricKey::from_bytes(&key);
        let identity = identity(&id, &key);
        prop_assert!(opens(&identity, &sign(&resource(&id), &key, None, expiry())));
        prop_assert!(opens(&identity, &sign(HOST, &key, None, expiry())));
    }

    #[test]
    fn another_key_never_opens(id in id(), key in key_bytes(), other in key_bytes()) {
        prop_assume!(key != other);
        let identity = identity(&id, &SymmetricKey::from_bytes(&key));
        let token = sign(&resource(&id), &SymmetricKey::from_bytes(&other), None, expiry());
        prop_assert!(!opens(&identity, &token));
    }

    #[test]
    fn another_device_is_never_opened(id in id(), other in id(), key in key_bytes()) {
        prop_assume!(id != other);
        // Two ids of which one is an encoding of the other are the same to a client that encodes too little.
        let (id, other) = (id.replace('%', "p"), other.replace('%', "p"));
        prop_assume!(id != other);
        let key = SymmetricKey::from_bytes(&key);
        prop_assume!(!id.starts_with(&format!("{other}?api-version=")));
        prop_assert!(!opens(&identity(&other, &key), &sign(&resource(&id), &key, None, expiry())));
    }

    #[test]
    fn one_changed_character_never_verifies(id in id(), key in key_bytes(), at in any::<prop::sample::Index>(), with in "[ -~]") {
        let key = SymmetricKey::from_bytes(&key);
        let token = sign(&resource(&id), &key, None, expiry());
        let fields = "SharedAccessSignature ".len();
        let at = fields + at.index(token.len() - fields);
        let mut changed = token.clone();
        changed.replace_range(at..=at, &with);
        // A changed case of a field's name or of an escape in the signature is no change of the content.
        prop_assume!(!changed.eq_ignore_ascii_case(&token));
        prop_assert!(!opens(&identity(&id, &key), &changed), "{}", changed);
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".*", fields in "(SharedAccessSignature )?((sr|sig|se|skn)=[A-Za-z0-9%/+=:.\\-]{0,30}&?){0,6}") {
        for text in [text.as_str(), fields.as_str()] {
            let _ = SasToken::parse(text);
            let _ = text.parse::<ConnectionString>();
            let _ = authorize(text, Operation::ReadDevice, &[text], &settings(), &hosts(), now());
            prop_assert!(!opens(&(principal("d1"), credentials("d1")), text));
        }
    }

    #[test]
    fn arbitrary_audiences_never_panic_and_only_open_what_they_name(audience in "(alias|%|/|%2[fF]|devices|d1|[a-z:%25?]){0,12}") {
        let token = raw_token(&audience);
        if opens(&(principal("d1"), credentials("d1")), &token) {
            prop_assert!(audience.to_ascii_lowercase().contains("alias"), "{}", audience);
        }
    }
}

/// Signs a `sr` text as it is.
fn raw_token(audience: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key(PRIMARY).as_bytes());
    let signature = aws_lc_rs::hmac::sign(&key, format!("{audience}\n{EXPIRY_SECONDS}").as_bytes());
    let signature = BASE64_STANDARD.encode(signature).replace('+', "%2B");
    format!("SharedAccessSignature sr={audience}&sig={signature}&se={EXPIRY_SECONDS}")
}
