//! What the processes of a cluster need, made in one folder: for development, and for whoever has no authority of their own.

use std::path::Path;

use anyhow::Context;
use peer::Role;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{authority::Authority, own_certificate, secrets, server};
use crate::{arguments::PrepareClusterArguments, files, role::ticket_secret};

const VALIDITY: Duration = Duration::days(397);
/// Renewed when less than this is left.
const RENEW_BEFORE: Duration = Duration::days(132);

/// Does what `ironhub prepare-cluster --help` says, and prints what it did.
pub async fn prepare_cluster(arguments: &PrepareClusterArguments) -> anyhow::Result<()> {
    let (folder, prefix) = (&arguments.directory, &arguments.kubernetes_secrets);
    make_folders(folder)?;
    let Some(prefix) = prefix else { return prepare(folder, &arguments.host_names) };
    let api = secrets::of_this_pod()?;
    let found = secrets::load(&api, prefix, folder).await?;
    prepare(folder, &arguments.host_names)?;
    secrets::store(&api, prefix, folder, found).await
}

/// For what the shards and gateways show each other, for what gateways show clients, and for the owner of a new hub.
pub fn make_folders(folder: &Path) -> anyhow::Result<()> {
    ["peer", "server", "owner"].iter().try_for_each(|part| files::make_folder(&folder.join(part)))
}

/// Completes the folder; what is good stays.
pub fn prepare(folder: &Path, host_names: &[String]) -> anyhow::Result<()> {
    let (peer, public) = (folder.join("peer"), folder.join("server"));
    let authority = Authority::open_or_make(&peer)?;
    for role in Role::ALL {
        if is_current(&peer, role) {
            println!("{role}: the certificate stays");
        } else {
            issue(&authority, &peer, role).with_context(|| format!("cannot make the certificate of a {role}"))?;
            println!("{role}: a new certificate");
        }
    }
    own_certificate(&public, &server::names(host_names))?;
    ticket_secret::load_or_draw(&ticket_secret::file(&public))?;
    files::draw_secret(&folder.join("owner/primaryKey"))?;
    println!("server: {}", public.join("server.pem").display());
    Ok(())
}

/// Signed by this authority and far from its end.
fn is_current(folder: &Path, role: Role) -> bool {
    let facts = || -> anyhow::Result<bool> {
        let certificate = CertificateDer::from_pem_file(folder.join(format!("{role}.pem")))?;
        let authority = CertificateDer::from_pem_file(folder.join("authority.pem"))?;
        let (_, certificate) = X509Certificate::from_der(&certificate)?;
        let (_, authority) = X509Certificate::from_der(&authority)?;
        let left = certificate.validity().not_after.to_datetime() - OffsetDateTime::now_utc();
        Ok(certificate.issuer().as_raw() == authority.subject().as_raw() && left > RENEW_BEFORE)
    };
    folder.join(format!("{role}-key.pem")).exists() && facts().unwrap_or(false)
}

fn issue(authority: &Authority, folder: &Path, role: Role) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let certificate = authority.sign(&parameters(role, OffsetDateTime::now_utc())?, &key)?;
    let certificate_file = folder.join(format!("{role}.pem"));
    // A crash between the two must not leave a pair that does not match.
    files::remove(&certificate_file)?;
    files::write_secret(&folder.join(format!("{role}-key.pem")), &key.serialize_pem())?;
    files::write_public(&certificate_file, &certificate.pem())
}

/// Both sides of mutual TLS show the same certificate.
fn parameters(role: Role, now: OffsetDateTime) -> anyhow::Result<CertificateParams> {
    let mut parameters = CertificateParams::new([role.dns_name().to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, role.dns_name());
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    parameters.not_before = now - Duration::DAY;
    parameters.not_after = now + VALIDITY;
    Ok(parameters)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_can_be_used_and_stays_when_it_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let prepare = || {
            make_folders(folder.path()).unwrap();
            prepare(folder.path(), &["hub.test".to_owned()]).unwrap();
        };
        prepare();
        let read = |file: &str| std::fs::read(folder.path().join(file)).unwrap();
        let files = [
            "peer/shard.pem",
            "peer/shard-key.pem",
            "peer/gateway.pem",
            "server/server.pem",
            "server/ticket-secret",
            "owner/primaryKey",
        ];
        let before = files.map(read);
        for role in ["shard", "gateway"] {
            let file = |name: &str| folder.path().join("peer").join(name);
            peer::Credentials::open(peer::Files {
                authority_file: file("authority.pem"),
                certificate_file: file(&format!("{role}.pem")),
                key_file: file(&format!("{role}-key.pem")),
            })
            .unwrap();
        }
        prepare();
        assert_eq!(files.map(read), before);
    }
}
