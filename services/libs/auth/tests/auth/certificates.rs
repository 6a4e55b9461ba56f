//! X.509 by thumbprint (security §7).

use auth::{ClientCertificate, ConnectionAuthMethod, Presented, Refusal, authenticate, recheck};
use aws_lc_rs::digest;
use model::{Authentication, Credentials, Thumbprint, Thumbprints, Timestamp};
use rcgen::{CertificateParams, KeyPair};

use crate::fixture::*;

/// Valid during the year 2029.
fn certificate() -> Vec<u8> {
    let mut params = CertificateParams::new(["any name".to_owned()]).unwrap();
    params.not_before = time::OffsetDateTime::from_unix_timestamp(EXPIRY_SECONDS - 365 * 86_400).unwrap();
    params.not_after = time::OffsetDateTime::from_unix_timestamp(EXPIRY_SECONDS).unwrap();
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn thumbprint(algorithm: &'static digest::Algorithm, der: &[u8]) -> Thumbprint {
    let text: String = digest::digest(algorithm, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    text.parse().unwrap()
}

fn with(thumbprints: Thumbprints) -> Credentials {
    Credentials { device: device("d1", Authentication::SelfSigned(thumbprints)), module: None }
}

fn try_at(credentials: &Credentials, der: &[u8], now: Timestamp) -> Result<ConnectionAuthMethod, Refusal> {
    let certificate = ClientCertificate::new(der);
    let presented = Presented::Certificate(&certificate);
    let authenticated = authenticate(&principal("d1"), Some(credentials), presented, &settings(), &hosts(), now)?;
    recheck(&authenticated.fingerprint, &principal("d1"), Some(credentials), &settings())?;
    Ok(authenticated.method)
}

#[test]
fn either_thumbprint_of_either_hash_opens() {
    let der = certificate();
    for algorithm in [&digest::SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA256] {
        let thumbprint = thumbprint(algorithm, &der);
        let primary = Thumbprints { primary: Some(thumbprint.clone()), secondary: None };
        let secondary = Thumbprints { primary: None, secondary: Some(thumbprint) };
        for thumbprints in [primary, secondary] {
            assert_eq!(try_at(&with(thumbprints), &der, now()), Ok(ConnectionAuthMethod::DeviceCertificate));
        }
    }
}

#[test]
fn everything_else_is_refused_with_its_cause() {
    let der = certificate();
    let own = with(Thumbprints { primary: Some(thumbprint(&digest::SHA256, &der)), secondary: None });
    let other = with(Thumbprints { primary: Some(thumbprint(&digest::SHA256, &certificate())), secondary: None });
    let authority = Credentials { device: device("d1", Authentication::CertificateAuthority), module: None };
    let year = 366 * 86_400;
    assert_eq!(try_at(&other, &der, now()), Err(Refusal::WrongThumbprint));
    assert_eq!(try_at(&with(Thumbprints::default()), &der, now()), Err(Refusal::WrongThumbprint));
    assert_eq!(try_at(&own, &der, seconds(EXPIRY_SECONDS + 1)), Err(Refusal::CertificateExpired));
    assert_eq!(try_at(&own, &der, seconds(EXPIRY_SECONDS - year)), Err(Refusal::CertificateExpired));
    assert_eq!(try_at(&credentials("d1"), &der, now()), Err(Refusal::CertificateNotAllowed("sas")));
    assert_eq!(try_at(&authority, &der, now()), Err(Refusal::WrongCommonName), "judged as one of an authority");
    assert_eq!(try_at(&own, b"no certificate", now()), Err(Refusal::WrongThumbprint));
}

#[test]
fn a_removed_thumbprint_ends_the_connection() {
    let der = certificate();
    let before = with(Thumbprints { primary: Some(thumbprint(&digest::SHA256, &der)), secondary: None });
    let certificate = ClientCertificate::new(&der);
    let presented = Presented::Certificate(&certificate);
    let used = authenticate(&principal("d1"), Some(&before), presented, &settings(), &hosts(), now()).unwrap();
    let swapped = with(Thumbprints { primary: None, secondary: Some(thumbprint(&digest::SHA256, &der)) });
    assert_eq!(recheck(&used.fingerprint, &principal("d1"), Some(&swapped), &settings()), Ok(()));
    let after = with(Thumbprints::default());
    let refusal = recheck(&used.fingerprint, &principal("d1"), Some(&after), &settings());
    assert_eq!(refusal, Err(Refusal::CredentialRemoved));
}
