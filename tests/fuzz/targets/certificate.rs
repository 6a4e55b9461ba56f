//! Any text as the certificate of an authority, and as the proof of its possession.
#![no_main]

use auth::AuthorityCertificate;
use libfuzzer_sys::fuzz_target;
use model::{CERTIFICATE_BYTES_MAX, Timestamp};

const AUTHORITY: &str = include_str!("../seeds/certificate/root");

fuzz_target!(|input: &str| {
    if let Ok(certificate) = AuthorityCertificate::parse(input) {
        assert!(certificate.der.len() <= CERTIFICATE_BYTES_MAX);
        assert_eq!(AuthorityCertificate::of_der(&certificate.der).as_ref(), Ok(&certificate));
    }
    let Ok(authority) = AuthorityCertificate::parse(AUTHORITY) else { unreachable!("the seed is a certificate") };
    // Nobody here has its key.
    let proved = authority.verify_possession(input, "code", Timestamp::from_unix_milliseconds(0));
    assert!(proved.is_err());
});
