//! The server certificate that the hub's own authority issues.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::{pki_types::CertificateDer, pki_types::pem::PemObject, sign::CertifiedKey};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{
    ServerCertificateFiles,
    authority::{self, Authority},
    brought,
};
use crate::files;

/// Longest lifetime that all clients accept for a server certificate.
const VALIDITY: Duration = Duration::days(397);
/// Renewed when less than this is left.
const RENEW_BEFORE: Duration = Duration::days(132);
/// Names that always work on the machine itself.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

fn certificate_file(folder: &Path) -> PathBuf {
    folder.join("server.pem")
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("server-key.pem")
}

/// The configured host names and those of the machine itself, in the spelling certificates use, without duplicates.
pub fn names(host_names: &[String]) -> Vec<String> {
    let all = host_names.iter().map(String::as_str).chain(LOCAL_NAMES).map(canonical);
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

fn canonical(name: &str) -> String {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().map_or_else(|_| name.to_ascii_lowercase(), |address| address.to_string())
}

/// Whether the certificate in the folder can be used as it is: readable, of this authority, for exactly these names,
/// and far from its end.
pub fn is_current(folder: &Path, names: &[String]) -> bool {
    facts(folder).is_ok_and(|facts| {
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let present: BTreeSet<&str> = facts.names.iter().map(String::as_str).collect();
        facts.of_this_authority && wanted == present && facts.expires - OffsetDateTime::now_utc() > RENEW_BEFORE
    })
}

struct Facts {
    names: Vec<String>,
    expires: OffsetDateTime,
    of_this_authority: bool,
}

fn facts(folder: &Path) -> anyhow::Result<Facts> {
    let server = CertificateDer::from_pem_file(certificate_file(folder))?;
    let authority = CertificateDer::from_pem_file(authority::certificate_file(folder))?;
    let (_, server) = X509Certificate::from_der(&server)?;
    let (_, authority) = X509Certificate::from_der(&authority)?;
    let alternatives = server.subject_alternative_name()?.context("no names")?;
    Ok(Facts {
        names: alternatives.value.general_names.iter().filter_map(name_text).collect(),
        expires: server.validity().not_after.to_datetime(),
        // The authority's name is random, so equal names mean the same authority.
        of_this_authority: server.issuer().as_raw() == authority.subject().as_raw(),
    })
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(IpAddr::from(four).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|sixteen| IpAddr::from(sixteen).to_string()),
        },
        _ => None,
    }
}

/// Makes a new key and certificate and puts both in place. A crash between the two leaves a pair that does not match;
/// `load` reports it and the next `issue` mends it, so the certificate is removed first.
pub fn issue(authority: &Authority, folder: &Path, names: &[String]) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let certificate = authority.sign(&parameters(names, OffsetDateTime::now_utc())?, &key)?;
    files::remove(&certificate_file(folder))?;
    files::write_secret(&key_file(folder), &key.serialize_pem())?;
    files::write_public(&certificate_file(folder), &certificate.pem())
}

fn parameters(names: &[String], now: OffsetDateTime) -> anyhow::Result<CertificateParams> {
    let mut parameters = CertificateParams::new(names).context("a host name cannot stand in a certificate")?;
    let first = names.iter().find(|name| !LOCAL_NAMES.contains(&name.as_str())).map_or("localhost", String::as_str);
    // A common name has 64 characters at most; clients read the alternative names anyway.
    parameters.distinguished_name.push(DnType::CommonName, first.chars().take(64).collect::<String>());
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.not_before = now - Duration::DAY;
    parameters.not_after = now + VALIDITY;
    Ok(parameters)
}

/// The certificate and key in the folder.
pub fn load(folder: &Path) -> anyhow::Result<Arc<CertifiedKey>> {
    let files = ServerCertificateFiles { certificate_file: certificate_file(folder), key_file: key_file(folder) };
    brought::load(&files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn names_are_canonical_and_include_the_local_ones() {
        let given = ["Hub.Example.TEST", "127.0.0.1", "[::1]", "0:0:0:0:0:0:0:2"].map(str::to_owned);
        assert_eq!(names(&given), ["127.0.0.1", "::1", "::2", "hub.example.test", "localhost"]);
    }

    #[test]
    fn a_certificate_near_its_end_is_not_current() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let authority = Authority::open_or_make(folder).unwrap();
        let names = names(&[]);
        let key = KeyPair::generate().unwrap();
        let mut parameters = parameters(&names, OffsetDateTime::now_utc()).unwrap();
        for (days_left, current) in [(133, true), (131, false), (-1, false)] {
            parameters.not_after = OffsetDateTime::now_utc() + Duration::days(days_left);
            let certificate = authority.sign(&parameters, &key).unwrap();
            files::write_public(&certificate_file(folder), &certificate.pem()).unwrap();
            assert_eq!(is_current(folder, &names), current, "{days_left} days left");
        }
    }
}
