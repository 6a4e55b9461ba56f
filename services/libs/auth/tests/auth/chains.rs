//! X.509 by authority (security §8): which chains open, and what takes them back.

use std::sync::Arc;

use auth::{ChainCache, ClientCertificate, ConnectionAuthMethod, INTERMEDIATES_MAX, Presented, Refusal};
use auth::{authenticate, recheck};
use model::{Authentication, Credentials, DeviceStatus, HubSettings, Timestamp};
use proptest::prelude::*;
use rcgen::{ExtendedKeyUsagePurpose, IsCa};

use crate::{
    authorities::{Authority, authority_params, chain, params, trusting},
    fixture::*,
};

fn by_authority(text: &str) -> Credentials {
    let credentials = credentials(text);
    match credentials.module {
        None => Credentials { device: device(text, Authentication::CertificateAuthority), module: None },
        Some(mut module) => {
            module.authentication = Authentication::CertificateAuthority;
            Credentials { module: Some(module), ..credentials }
        }
    }
}

fn try_at(id: &str, certificate: &ClientCertificate, settings: &HubSettings, now: Timestamp) -> Result<(), Refusal> {
    let (principal, credentials) = (principal(id), by_authority(id));
    let presented = Presented::Certificate(certificate);
    let authenticated = authenticate(&principal, Some(&credentials), presented, settings, &hosts(), now)?;
    let expected = match principal.module_id {
        None => ConnectionAuthMethod::DeviceCertificateAuthority,
        Some(_) => ConnectionAuthMethod::ModuleCertificateAuthority,
    };
    assert_eq!((authenticated.method, authenticated.expires), (expected, None));
    assert!(authenticated.method.as_json().contains(r#""type":"x509","issuer":"external""#));
    recheck(&authenticated.fingerprint, &principal, Some(&credentials), settings)
}

fn tried(id: &str, presented: &[&[u8]], settings: &HubSettings) -> Result<(), Refusal> {
    try_at(id, &chain(presented), settings, now())
}

#[test]
fn a_leaf_of_a_registered_root_opens() {
    let root = Authority::root("root", None);
    let settings = trusting(&[&Authority::root("other", None), &root]);
    let leaf = root.leaf("d1");
    assert_eq!(tried("d1", &[&leaf], &settings), Ok(()));
    assert_eq!(tried("d1", &[&leaf, &root.der], &settings), Ok(()), "the root may be sent along");
    assert_eq!(tried("d1/m1", &[&root.leaf("d1/m1")], &settings), Ok(()));
}

#[test]
fn intermediates_are_presented_or_registered() {
    let root = Authority::root("root", None);
    let middle = root.intermediate(authority_params("middle", None));
    let lower = middle.intermediate(authority_params("lower", Some(0)));
    let leaf = lower.leaf("d1");
    let by_root = trusting(&[&root]);
    assert_eq!(tried("d1", &[&leaf, &lower.der, &middle.der], &by_root), Ok(()));
    assert_eq!(tried("d1", &[&leaf, &middle.der, &lower.der], &by_root), Ok(()), "in any order");
    assert_eq!(tried("d1", &[&leaf, &lower.der], &by_root), Err(Refusal::UntrustedCertificate));
    assert_eq!(tried("d1", &[&leaf, &lower.der], &trusting(&[&middle])), Ok(()), "an intermediate as anchor");
    assert_eq!(tried("d1", &[&leaf], &trusting(&[&lower])), Ok(()));
    assert_eq!(tried("d1", &[&middle.leaf("d1")], &trusting(&[&lower])), Err(Refusal::UntrustedCertificate));
}

#[test]
fn the_common_name_is_the_id_letter_by_letter() {
    let root = Authority::root("root", None);
    let settings = trusting(&[&root]);
    for (id, name) in [("d1", "D1"), ("d1", "d10"), ("d1", "d1/m1"), ("d1/m1", "d1"), ("d1/m1", "m1"), ("d1", "")] {
        assert_eq!(tried(id, &[&root.leaf(name)], &settings), Err(Refusal::WrongCommonName), "{id} by {name}");
    }
    let mut nameless = params("x");
    nameless.distinguished_name = rcgen::DistinguishedName::new();
    assert_eq!(tried("d1", &[&root.sign(&nameless)], &settings), Err(Refusal::WrongCommonName));
}

#[test]
fn whoever_is_not_registered_and_verified_opens_nothing() {
    let root = Authority::root("root", None);
    let leaf = root.leaf("d1");
    assert_eq!(tried("d1", &[&leaf], &settings()), Err(Refusal::UntrustedCertificate));
    assert_eq!(tried("d1", &[&leaf, &root.der], &settings()), Err(Refusal::UntrustedCertificate));
    let mut unverified = trusting(&[&root]);
    unverified.certificates[0].is_verified = false;
    assert_eq!(tried("d1", &[&leaf], &unverified), Err(Refusal::UntrustedCertificate));
    // The same name, another key: the signature does not fit.
    let namesake = trusting(&[&Authority::root("root", None)]);
    assert!(matches!(tried("d1", &[&leaf], &namesake), Err(Refusal::ChainRefused(_) | Refusal::UntrustedCertificate)));
}

#[test]
fn dates_count_for_the_leaf_and_for_intermediates() {
    let root = Authority::root("root", None);
    let settings = trusting(&[&root]);
    let leaf = chain(&[&root.leaf("d1")]);
    for second in [EXPIRY_SECONDS + 1, EXPIRY_SECONDS - 366 * 86_400] {
        assert_eq!(try_at("d1", &leaf, &settings, seconds(second)), Err(Refusal::CertificateExpired));
    }
    let mut expired = authority_params("middle", None);
    expired.not_after = time::OffsetDateTime::from_unix_timestamp(now().unix_seconds() - 1).unwrap();
    let middle = root.intermediate(expired);
    assert_eq!(tried("d1", &[&middle.leaf("d1"), &middle.der], &settings), Err(Refusal::CertificateExpired));
}

#[test]
fn constraints_of_authorities_are_kept() {
    let root = Authority::root("root", None);
    let settings = trusting(&[&root]);
    let authority_as_leaf = root.intermediate(authority_params("d1", None));
    assert!(matches!(tried("d1", &[&authority_as_leaf.der], &settings), Err(Refusal::ChainRefused(_))));
    let no_authority = root.intermediate(params("middle"));
    let by_no_authority = no_authority.leaf("d1");
    assert!(matches!(tried("d1", &[&by_no_authority, &no_authority.der], &settings), Err(Refusal::ChainRefused(_))));
    let last = root.intermediate(authority_params("last", Some(0)));
    let below = last.intermediate(authority_params("below", None));
    let too_long = tried("d1", &[&below.leaf("d1"), &below.der, &last.der], &settings);
    assert_eq!(too_long, Err(Refusal::ChainRefused("it is too long")));
    let short = Authority::root("short", Some(0));
    let middle = short.intermediate(authority_params("middle", None));
    let beyond = tried("d1", &[&middle.leaf("d1"), &middle.der], &trusting(&[&short]));
    assert_eq!(beyond, Err(Refusal::ChainRefused("it is too long")), "the anchor's own limit");
    let mut for_servers = params("d1");
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert!(matches!(tried("d1", &[&root.sign(&for_servers)], &settings), Err(Refusal::ChainRefused(_))));
    for_servers.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    for_servers.is_ca = IsCa::ExplicitNoCa;
    assert_eq!(tried("d1", &[&root.sign(&for_servers)], &settings), Ok(()));
}

#[test]
fn chains_are_bounded() {
    let root = Authority::root("root", None);
    let (leaf, settings) = (root.leaf("d1"), trusting(&[&root]));
    let with = |count| std::iter::once(leaf.as_slice()).chain(std::iter::repeat_n(root.der.as_slice(), count));
    let most: Vec<_> = with(INTERMEDIATES_MAX).collect();
    assert_eq!(tried("d1", &most, &settings), Ok(()));
    let more: Vec<_> = with(INTERMEDIATES_MAX + 1).collect();
    assert_eq!(tried("d1", &more, &settings), Err(Refusal::ChainRefused("it is too long")));
    let large = vec![0; 40_000];
    assert_eq!(tried("d1", &[&leaf, &large], &settings), Err(Refusal::ChainRefused("it is too long")));
    assert!(ClientCertificate::of_chain([], &Arc::default()).is_none());
}

#[test]
fn what_is_taken_away_ends_live_connections() {
    let (root, other) = (Authority::root("root", None), Authority::root("other", None));
    let both = trusting(&[&root, &other]);
    let (principal, credentials) = (principal("d1"), by_authority("d1"));
    let certificate = chain(&[&root.leaf("d1")]);
    let presented = Presented::Certificate(&certificate);
    let used = authenticate(&principal, Some(&credentials), presented, &both, &hosts(), now()).unwrap().fingerprint;
    assert!(used.depends_on_settings());
    let check =
        |credentials: &Credentials, settings: &HubSettings| recheck(&used, &principal, Some(credentials), settings);
    let removed = Err(Refusal::CredentialRemoved);
    assert_eq!(check(&credentials, &trusting(&[&root])), Ok(()), "the other one is gone");
    assert_eq!(check(&credentials, &trusting(&[&other])), removed);
    let mut unverified = both.clone();
    unverified.certificates[0].is_verified = false;
    assert_eq!(check(&credentials, &unverified), removed);
    let mut changed = credentials.clone();
    changed.device.status = DeviceStatus::Disabled;
    assert_eq!(check(&changed, &both), Err(Refusal::Disabled));
    let mut again = credentials.clone();
    again.device.generation_id = "1".into();
    assert_eq!(check(&again, &both), removed, "deleted and made again");
    assert_eq!(check(&self::credentials("d1"), &both), removed, "switched to tokens");
}

#[test]
fn remembered_chains_end_with_the_settings_and_with_their_certificates() {
    let root = Authority::root("root", None);
    let middle = root.intermediate(authority_params("middle", None));
    let leaf = middle.leaf("d1");
    let cache = Arc::new(ChainCache::default());
    let presented = |chain: &[&[u8]]| ClientCertificate::of_chain(chain.iter().copied(), &cache).unwrap();
    let settings = trusting(&[&root]);
    let alone = presented(&[&leaf]);
    assert_eq!(try_at("d1", &alone, &settings, now()), Err(Refusal::UntrustedCertificate), "nothing is known yet");
    assert_eq!(try_at("d1", &presented(&[&leaf, &middle.der]), &settings, now()), Ok(()));
    assert_eq!(try_at("d1", &alone, &settings, now()), Ok(()), "known by its leaf");
    assert_eq!(try_at("d2", &alone, &settings, now()), Err(Refusal::WrongCommonName), "for its own name only");
    assert_eq!(try_at("d1", &alone, &settings, seconds(EXPIRY_SECONDS + 1)), Err(Refusal::CertificateExpired));
    let without = HubSettings { revision: 2, ..self::settings() };
    assert_eq!(try_at("d1", &alone, &without, now()), Err(Refusal::UntrustedCertificate));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A chain of any length below a root opens for exactly its own name, and only with every link.
    #[test]
    fn every_link_is_needed(length in 0usize..5, missing in 0usize..5) {
        let root = Authority::root("root", None);
        let settings = trusting(&[&root]);
        let mut links = Vec::new();
        for number in 0..length {
            let issuer = links.last().unwrap_or(&root);
            let link = issuer.intermediate(authority_params(&format!("link {number}"), None));
            links.push(link);
        }
        let leaf = links.last().unwrap_or(&root).leaf("d1");
        let whole: Vec<&[u8]> = std::iter::once(&leaf).chain(links.iter().map(|link| &link.der)).map(Vec::as_slice).collect();
        prop_assert_eq!(tried("d1", &whole, &settings), Ok(()));
        prop_assert_eq!(tried("d2", &whole, &settings), Err(Refusal::WrongCommonName));
        if missing < length {
            let mut broken = whole.clone();
            broken.remove(missing + 1);
            prop_assert_eq!(tried("d1", &broken, &settings), Err(Refusal::UntrustedCertificate));
        }
    }

    /// Whatever byte of a leaf is changed, it opens nothing and nothing panics.
    #[test]
    fn a_changed_byte_is_noticed(position in 0usize..2000, change in 1u8..=255) {
        let root = Authority::root("root", None);
        let mut leaf = root.leaf("d1");
        let position = position % leaf.len();
        leaf[position] ^= change;
        prop_assert!(tried("d1", &[&leaf], &trusting(&[&root])).is_err());
    }

    /// Bytes that are no certificates are refused, not feared.
    #[test]
    fn no_bytes_make_it_panic(leaf: Vec<u8>, more: Vec<Vec<u8>>) {
        let presented: Vec<&[u8]> = std::iter::once(&leaf).chain(&more).map(Vec::as_slice).collect();
        prop_assert!(tried("d1", &presented, &trusting(&[&Authority::root("root", None)])).is_err());
    }
}
