//! Registering an authority and proving possession of its key (security §8.1).

use auth::{AuthorityCertificate, InvalidCertificate};
use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::prelude::*;

use crate::{
    authorities::{Authority, authority_params, params},
    fixture::*,
};

const CODE: &str = "47292AB6260DB02CCD2D07C601B7303DD49858B6";

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(der))
}

#[test]
fn pem_and_base64_of_pem_and_of_der_are_read() {
    let root = Authority::root("Factory root", None);
    let broken_lines = BASE64_STANDARD.encode(&root.der).as_bytes().chunks(64).fold(String::new(), |mut text, line| {
        text.push_str(std::str::from_utf8(line).unwrap());
        text.push_str("\r\n");
        text
    });
    for text in
        [pem(&root.der), BASE64_STANDARD.encode(pem(&root.der)), BASE64_STANDARD.encode(&root.der), broken_lines]
    {
        let read = AuthorityCertificate::parse(&text).unwrap();
        assert_eq!((read.der.as_slice(), read.subject.as_str()), (root.der.as_slice(), "CN=Factory root"));
        assert_eq!((read.expires, read.thumbprint.len()), (expiry(), 40));
    }
}

#[test]
fn what_could_not_sign_devices_is_not_registered() {
    let root = Authority::root("root", None);
    let leaf = root.leaf("d1");
    for (text, expected) in [
        (BASE64_STANDARD.encode(&leaf), InvalidCertificate::NotAnAuthority),
        (pem(&root.der) + &pem(&leaf), InvalidCertificate::Several),
        ("not a certificate".to_owned(), InvalidCertificate::Text),
        (String::new(), InvalidCertificate::Malformed),
        (BASE64_STANDARD.encode([&root.der[..], &[0]].concat()), InvalidCertificate::Malformed),
        (BASE64_STANDARD.encode(vec![0; 9000]), InvalidCertificate::TooLarge),
    ] {
        assert_eq!(AuthorityCertificate::parse(&text), Err(expected), "{text}");
    }
}

#[test]
fn only_the_key_of_the_authority_proves_possession() {
    let (root, other) = (Authority::root("root", None), Authority::root("root", None));
    let authority = AuthorityCertificate::of_der(&root.der).unwrap();
    let check = |proof: &[u8]| authority.verify_possession(&pem(proof), CODE, now());
    assert_eq!(check(&root.leaf(CODE)), Ok(()));
    assert_eq!(check(&root.leaf("other code")), Err(InvalidCertificate::WrongCode));
    assert_eq!(check(&root.leaf(&CODE.to_lowercase())), Err(InvalidCertificate::WrongCode));
    assert_eq!(check(&other.leaf(CODE)), Err(InvalidCertificate::NotSigned));
    let middle = root.intermediate(authority_params("middle", None));
    assert_eq!(check(&middle.leaf(CODE)), Err(InvalidCertificate::NotSigned), "it must be this very key");
    let mut expired = params(CODE);
    expired.not_after = expired.not_before + time::Duration::DAY;
    assert_eq!(check(&root.sign(&expired)), Err(InvalidCertificate::Expired));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String, bytes: Vec<u8>) {
        let _ = AuthorityCertificate::parse(&text);
        let _ = AuthorityCertificate::parse(&BASE64_STANDARD.encode(&bytes));
        let _ = AuthorityCertificate::parse(&pem(&bytes));
    }
}
