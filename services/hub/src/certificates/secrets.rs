//! What `prepare-cluster` makes, kept as Secrets of a Kubernetes namespace: the folder lasts as long as the Job that makes it.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Context;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, PostParams},
};

use crate::files;

/// For one answer of the Kubernetes API.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A Secret, and the files that are in it.
struct Kept {
    /// Behind the prefix of its name.
    suffix: &'static str,
    kind: &'static str,
    /// Its entry, and where it lies in the folder.
    kept: &'static [(&'static str, &'static str)],
    /// For its readers: where the file is kept is another Secret.
    copied: &'static [(&'static str, &'static str)],
}

/// A pod mounts the one it needs; nobody mounts the keys of authorities. Entries are called as cert-manager calls them.
const SECRETS: [Kept; 6] = [
    Kept {
        suffix: "authority",
        kind: "Opaque",
        kept: &[
            ("peer.pem", "peer/authority.pem"),
            ("peer-key.pem", "peer/authority-key.pem"),
            ("server.pem", "server/authority.pem"),
            ("server-key.pem", "server/authority-key.pem"),
        ],
        copied: &[],
    },
    Kept {
        suffix: "shard-tls",
        kind: "kubernetes.io/tls",
        kept: &[("tls.crt", "peer/shard.pem"), ("tls.key", "peer/shard-key.pem")],
        copied: &[("ca.crt", "peer/authority.pem")],
    },
    Kept {
        suffix: "gateway-tls",
        kind: "kubernetes.io/tls",
        kept: &[("tls.crt", "peer/gateway.pem"), ("tls.key", "peer/gateway-key.pem")],
        copied: &[("ca.crt", "peer/authority.pem")],
    },
    Kept {
        suffix: "server-tls",
        kind: "kubernetes.io/tls",
        kept: &[("tls.crt", "server/server.pem"), ("tls.key", "server/server-key.pem")],
        copied: &[("ca.crt", "server/authority.pem")],
    },
    Kept { suffix: "tickets", kind: "Opaque", kept: &[("ticket-secret", "server/ticket-secret")], copied: &[] },
    Kept { suffix: "owner", kind: "Opaque", kept: &[("primaryKey", "owner/primaryKey")], copied: &[] },
];

impl Kept {
    fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.suffix)
    }
}

/// The Secrets beside the pod that this process runs in, as its service account.
pub fn of_this_pod() -> anyhow::Result<Api<Secret>> {
    let mut config = Config::incluster().context("this is no pod of Kubernetes")?;
    config.read_timeout = Some(ANSWER_TIMEOUT);
    Ok(Api::default_namespaced(Client::try_from(config)?))
}

/// Puts what is kept into the folder. Returns the Secrets as they are, in the order of [`SECRETS`], for [`store`].
pub async fn load(api: &Api<Secret>, prefix: &str, folder: &Path) -> anyhow::Result<Vec<Option<Secret>>> {
    let mut found = Vec::new();
    for kept in &SECRETS {
        let name = kept.name(prefix);
        let there = api.get_opt(&name).await.with_context(|| format!("cannot read the Secret {name}"))?;
        there.iter().try_for_each(|there| unpack(kept, there, folder))?;
        found.push(there);
    }
    Ok(found)
}

/// Writes the Secrets whose files are not what they were.
pub async fn store(api: &Api<Secret>, prefix: &str, folder: &Path, found: Vec<Option<Secret>>) -> anyhow::Result<()> {
    let post = PostParams::default();
    for (kept, there) in SECRETS.iter().zip(found) {
        let name = kept.name(prefix);
        let secret = completed(kept, &name, there.as_ref(), folder)?;
        let (written, became) = match there {
            Some(there) if there == secret => (Ok(secret), "stays"),
            // Carries the version that was read: whoever wrote meanwhile is not written over.
            Some(_) => (api.replace(&name, &post, &secret).await, "replaced"),
            None => (api.create(&post, &secret).await, "new"),
        };
        written.with_context(|| format!("cannot write the Secret {name}"))?;
        println!("{name}: {became}");
    }
    Ok(())
}

/// The Secret with what is in the files now. Somebody else's labels, annotations and entries stay.
fn completed(kept: &Kept, name: &str, there: Option<&Secret>, folder: &Path) -> anyhow::Result<Secret> {
    let new = || Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        type_: Some(kept.kind.to_owned()),
        ..Secret::default()
    };
    let mut secret = there.cloned().unwrap_or_else(new);
    secret.data.get_or_insert_default().extend(read(kept, folder)?);
    Ok(secret)
}

/// Puts what the Secret keeps into its files.
fn unpack(kept: &Kept, there: &Secret, folder: &Path) -> anyhow::Result<()> {
    for (entry, file) in kept.kept {
        if let Some(ByteString(bytes)) = there.data.as_ref().and_then(|data| data.get(*entry)) {
            files::write_secret(&folder.join(file), std::str::from_utf8(bytes)?)?;
        }
    }
    Ok(())
}

/// Each file by its entry.
fn read(kept: &Kept, folder: &Path) -> anyhow::Result<BTreeMap<String, ByteString>> {
    let files = kept.kept.iter().chain(kept.copied);
    let read = |(entry, file): &(&str, &str)| {
        let text = files::read_text(&folder.join(file))?;
        Ok(((*entry).to_owned(), ByteString(text.into_bytes())))
    };
    files.map(read).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::{
        super::cluster::{make_folders, prepare},
        *,
    };

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        make_folders(folder.path()).unwrap();
        folder
    }

    fn prepared(folder: &Path) -> Vec<Secret> {
        prepare(folder, &["hub.test".to_owned()]).unwrap();
        SECRETS.iter().map(|kept| completed(kept, &kept.name("hub"), None, folder).unwrap()).collect()
    }

    #[test]
    fn a_folder_that_comes_out_of_the_secrets_needs_nothing_new() {
        let (first, next) = (folder(), folder());
        let made = prepared(first.path());
        for (kept, there) in SECRETS.iter().zip(&made) {
            unpack(kept, there, next.path()).unwrap();
        }
        assert_eq!(prepared(next.path()), made);
    }

    #[test]
    fn without_the_authorities_every_certificate_is_made_anew() {
        let (first, next) = (folder(), folder());
        let made = prepared(first.path());
        for (kept, there) in SECRETS.iter().zip(&made).skip(1) {
            unpack(kept, there, next.path()).unwrap();
        }
        let again = prepared(next.path());
        let changed: Vec<_> = made.iter().zip(&again).map(|(before, after)| before != after).collect();
        assert_eq!(changed, [true, true, true, true, false, false]);
    }

    #[test]
    fn what_others_wrote_into_a_secret_stays() {
        let folder = folder();
        let [.., owner] = &SECRETS;
        let mut there = prepared(folder.path()).pop().unwrap();
        assert_eq!(there.metadata.name.as_deref(), Some("hub-owner"));
        there.metadata.resource_version = Some("17".to_owned());
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        // A rotation: the old key opens as long as the new one is not known everywhere.
        there.data =
            Some([("primaryKey", "bmV3"), ("secondaryKey", "b2xk")].map(|(k, v)| (k.to_owned(), text(v))).into());
        unpack(owner, &there, folder.path()).unwrap();
        prepare(folder.path(), &["hub.test".to_owned()]).unwrap();
        assert_eq!(completed(owner, "hub-owner", Some(&there), folder.path()).unwrap(), there);
    }
}
