//! Any bytes as the certificates that a peer presents: leaf and intermediates, each after its length in two bytes.
#![no_main]

use std::sync::{Arc, LazyLock};

use auth::{AuthorityCertificate, ChainCache, ClientCertificate, HostNames, Presented, authenticate};
use libfuzzer_sys::fuzz_target;
use model::{
    Authentication, Credentials, DeviceIdentity, ETag, HubSettings, Principal, RegisteredCertificate, Timestamp,
};

const AUTHORITY: &str = include_str!("../seeds/certificate/root");

struct Hub {
    principal: Principal,
    credentials: Credentials,
    settings: HubSettings,
}

static HUB: LazyLock<Hub> = LazyLock::new(|| {
    let Ok(authority) = AuthorityCertificate::parse(AUTHORITY) else { unreachable!("the seed is a certificate") };
    let Ok(device_id) = "d1".parse::<model::DeviceId>() else { unreachable!("a device id") };
    let never = Timestamp::from_unix_milliseconds(0);
    let registered = RegisteredCertificate {
        name: "root".into(),
        der: authority.der.into(),
        is_verified: true,
        verification_code: None,
        etag: ETag(1),
        created: never,
        updated: never,
    };
    let device = DeviceIdentity::new(device_id.clone(), Authentication::CertificateAuthority);
    Hub {
        principal: Principal::device(device_id),
        credentials: Credentials { device, module: None },
        settings: HubSettings { revision: 1, certificates: vec![registered], ..HubSettings::default() },
    }
});

fn chain(mut input: &[u8]) -> Vec<&[u8]> {
    let mut chain = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let (certificate, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
        chain.push(certificate);
        input = rest;
    }
    chain
}

fuzz_target!(|input: &[u8]| {
    let Some(certificate) = ClientCertificate::of_chain(chain(input), &Arc::<ChainCache>::default()) else { return };
    let Hub { principal, credentials, settings } = &*HUB;
    let (hosts, now) = (HostNames::new(["hub"]), Timestamp::from_unix_milliseconds(1_800_000_000_000));
    // The seed has a leaf for another device, so nothing that is derived from it opens this one.
    let presented = Presented::Certificate(&certificate);
    assert!(authenticate(principal, Some(credentials), presented, settings, &hosts, now).is_err());
});
