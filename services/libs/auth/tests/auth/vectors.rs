//! The test vectors of security §3.5: every spelling of the audience that clients emit.

use auth::{Presented, authenticate};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::fixture::*;

/// Principal, `sr` as it stands in the token, signature.
const VECTORS: [(&str, &str, &str); 10] = [
    ("dev-1", "hub.example.test%2Fdevices%2Fdev-1", "lCeenvq2If1XNo7WOmxY+J8Qbb76NTuL9u+jii5llEc="),
    ("dev-1", "hub.example.test%2fdevices%2fdev-1", "FR2Kja5Ai1S24zLc3volCEIwJq+bytAggyfEKXlWnWs="),
    ("dev-1", "hub.example.test/devices/dev-1", "OvQvIrsel8M1qHt5G+8+qTy7Et/Dtqsffd+a32w+VKM="),
    // Signed with the secondary key.
    ("dev-1", "hub.example.test%2Fdevices%2Fdev-1", "KAaXN/g5Jez14s5QUuzadaxcOtp8vsz+G0LwN+QTbOk="),
    ("dev-1/m1", "hub.example.test%2Fdevices%2Fdev-1%2Fmodules%2Fm1", "Sk30Mfs5Z8KsaWwOu8oT1XfHlt0U1nI5cX8tQBHqlRM="),
    ("dev-1", "hub.example.test", "0/t01ElhqSm2PPk3xJBl5jkYc7lxw+g2aPw5WOzWb+Q="),
    ("a@b", "hub.example.test%2Fdevices%2Fa%2540b", "DqgWq9DCEWPz5puqsLfIOYdAxkFI3mR8819cOKS2RdM="),
    ("a@b", "hub.example.test%2Fdevices%2Fa%40b", "7l8ArX/tB/zZHqgB1xjsz7OeERDT6Lj113zVp/wNhFQ="),
    ("a@b", "hub.example.test/devices/a%40b", "Z9C5oLdgg+Mq1DayjfJYa8SEAeT4i4eVxgeAUsUISYk="),
    (
        "dev-1",
        "hub.example.test%2Fdevices%2Fdev-1%2Fapi-version%3D2016-11-14",
        "1r7R7bq9xK1+VV/y9eFJY9VVFLdgdKb9AjiaDaFfwY0=",
    ),
];

/// The ways clients write a signature: upper-case, lower-case and no percent-encoding.
fn spellings(signature: &str) -> [String; 3] {
    let upper = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let lower = signature.replace('+', "%2b").replace('/', "%2f").replace('=', "%3d");
    [upper, lower, signature.to_owned()]
}

#[test]
fn every_vector_verifies_for_its_principal() {
    for (id, resource, signature) in VECTORS {
        let (principal, credentials) = (principal(id), credentials(id));
        for signature in spellings(signature) {
            for token in [
                format!("SharedAccessSignature sr={resource}&sig={signature}&se={EXPIRY_SECONDS}"),
                format!("SharedAccessSignature sig={signature}&se={EXPIRY_SECONDS}&sr={resource}"),
                format!("sharedaccesssignature se={EXPIRY_SECONDS}&sr={resource}&skn=&sig={signature}"),
            ] {
                let presented = Presented::Token(&token);
                let result = authenticate(&principal, Some(&credentials), presented, &settings(), &hosts(), now());
                assert_eq!(result.map(|authenticated| authenticated.expires), Ok(Some(expiry())), "{token}");
            }
        }
    }
}

#[test]
fn no_vector_verifies_for_another_principal() {
    for (_, resource, signature) in VECTORS {
        let token = format!("SharedAccessSignature sr={resource}&sig={signature}&se={EXPIRY_SECONDS}");
        for other in ["dev-10", "dev", "DEV-1", "a", "dev-1/m2"] {
            let (principal, credentials) = (principal(other), credentials(other));
            let presented = Presented::Token(&token);
            let result = authenticate(&principal, Some(&credentials), presented, &settings(), &hosts(), now());
            // The host alone, and a device for its modules, contain them: only the key decides there.
            let contains = resource == HOST || (other == "dev-1/m2" && resource.ends_with("dev-1"));
            assert_eq!(result.is_ok(), contains, "{token} for {other}");
        }
    }
}

#[test]
fn what_this_crate_signs_is_what_the_vectors_say() {
    let token = auth::sign("hub.example.test/devices/dev-1", &key(PRIMARY), None, expiry());
    let (_, resource, signature) = VECTORS[0];
    let [signature, ..] = spellings(signature);
    assert_eq!(token, format!("SharedAccessSignature sr={resource}&sig={signature}&se={EXPIRY_SECONDS}"));
    assert_eq!(BASE64_STANDARD.decode(PRIMARY).unwrap(), (0..32).collect::<Vec<u8>>());
}
