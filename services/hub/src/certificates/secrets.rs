//! What `prepare-cluster` makes, kept as Secrets of a Kubernetes namespace: the folder lasts as long as the Job that makes it.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::kubernetes::KubernetesApi;
use crate::files;

/// A Secret and the files that are in it.
struct Secret {
    /// Behind the prefix of its name.
    suffix: &'static str,
    kind: &'static str,
    /// Its key, and where it lies in the folder.
    kept: &'static [(&'static str, &'static str)],
    /// For its readers: where the file is kept is another Secret.
    copied: &'static [(&'static str, &'static str)],
}

/// A pod mounts the one it needs; nobody mounts the keys of authorities. Keys are called as cert-manager calls them.
const SECRETS: [Secret; 5] = [
    Secret {
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
    Secret {
        suffix: "shard-tls",
        kind: "kubernetes.io/tls",
        kept: &[("tls.crt", "peer/shard.pem"), ("tls.key", "peer/shard-key.pem")],
        copied: &[("ca.crt", "peer/authority.pem")],
    },
    Secret {
        suffix: "gateway-tls",
        kind: "kubernetes.io/tls",
        kept: &[("tls.crt", "peer/gateway.pem"), ("tls.key", "peer/gateway-key.pem")],
        copied: &[("ca.crt", "peer/authority.pem")],
    },
    Secret {
        suffix: "server-tls",
        kind: "kubernetes.io/tls",
        kept: &[("tls.crt", "server/server.pem"), ("tls.key", "server/server-key.pem")],
        copied: &[("ca.crt", "server/authority.pem")],
    },
    Secret { suffix: "tickets", kind: "Opaque", kept: &[("ticket-secret", "server/ticket-secret")], copied: &[] },
];

/// Puts what is kept into the folder. Returns the Secrets as they are, in the order of [`SECRETS`], for [`store`].
pub async fn load(api: &KubernetesApi, prefix: &str, folder: &Path) -> anyhow::Result<Vec<Option<Value>>> {
    let mut found = Vec::new();
    for secret in &SECRETS {
        let there = api.get_secret(&format!("{prefix}-{}", secret.suffix)).await?;
        there.iter().try_for_each(|there| unpack(secret, there, folder))?;
        found.push(there);
    }
    Ok(found)
}

/// Writes the Secrets whose files are not what they were. Somebody else's labels and annotations stay.
pub async fn store(api: &KubernetesApi, prefix: &str, folder: &Path, found: Vec<Option<Value>>) -> anyhow::Result<()> {
    for (secret, there) in SECRETS.iter().zip(found) {
        let name = format!("{prefix}-{}", secret.suffix);
        let data = json!(read(secret, folder)?);
        match there {
            Some(there) if there.get("data") == Some(&data) => println!("{name}: stays"),
            Some(mut there) => {
                // Carries the version that was read: whoever wrote meanwhile is not written over.
                there.as_object_mut().context("that is no Secret")?.insert("data".to_owned(), data);
                api.replace_secret(&name, &there).await?;
                println!("{name}: replaced");
            }
            None => {
                api.create_secret(&json!({"metadata": {"name": name}, "type": secret.kind, "data": data})).await?;
                println!("{name}: new");
            }
        }
    }
    Ok(())
}

/// Puts what the Secret keeps into its files.
fn unpack(secret: &Secret, there: &Value, folder: &Path) -> anyhow::Result<()> {
    for (key, file) in secret.kept {
        if let Some(text) = there.pointer("/data").and_then(|data| data.get(*key)?.as_str()) {
            files::write_secret(&folder.join(file), &String::from_utf8(BASE64_STANDARD.decode(text)?)?)?;
        }
    }
    Ok(())
}

/// The data of a Secret: base64 of each file by its key.
fn read(secret: &Secret, folder: &Path) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let files = secret.kept.iter().chain(secret.copied);
    files.map(|(key, file)| Ok((*key, BASE64_STANDARD.encode(files::read_text(&folder.join(file))?)))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::{super::cluster::prepare, *};

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        ["peer", "server"].iter().for_each(|part| files::make_folder(&folder.path().join(part)).unwrap());
        folder
    }

    fn prepared(folder: &Path) -> Vec<Value> {
        prepare(folder, &["hub.test".to_owned()]).unwrap();
        SECRETS.iter().map(|secret| json!({"data": read(secret, folder).unwrap()})).collect()
    }

    #[test]
    fn a_folder_that_comes_out_of_the_secrets_needs_nothing_new() {
        let (first, next) = (folder(), folder());
        let made = prepared(first.path());
        for (secret, there) in SECRETS.iter().zip(&made) {
            unpack(secret, there, next.path()).unwrap();
        }
        assert_eq!(prepared(next.path()), made);
    }

    #[test]
    fn without_the_authorities_everything_is_made_anew() {
        let (first, next) = (folder(), folder());
        let made = prepared(first.path());
        for (secret, there) in SECRETS.iter().zip(&made).skip(1) {
            unpack(secret, there, next.path()).unwrap();
        }
        let again = prepared(next.path());
        let changed: Vec<_> = made.iter().zip(&again).map(|(before, after)| before != after).collect();
        assert_eq!(changed, [true, true, true, true, false]);
    }
}
