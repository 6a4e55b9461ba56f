//! `ironhub certificate ...`

use std::{fs, path::Path};

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    api_client::{ApiClient, Call},
    output::{Output, table},
    policy::etag,
    target::Target,
};
use crate::{
    arguments::{CertificateCommand, TargetArguments},
    configuration::Environment,
};

/// Runs one command against the hub that the arguments name.
pub async fn run(
    arguments: TargetArguments,
    command: CertificateCommand,
    environment: &Environment,
) -> anyhow::Result<()> {
    let certificates = Certificates { client: ApiClient::new(Target::find(&arguments, environment)?)? };
    let output = match command {
        CertificateCommand::Add { file, name, verified } => certificates.add(&file, name, verified).await?,
        CertificateCommand::List => certificates.list().await?,
        CertificateCommand::Show { name } => Output::of_json(certificates.get(&name).await?),
        CertificateCommand::VerificationCode { name } => certificates.verification_code(&name).await?,
        CertificateCommand::Verify { name, file } => certificates.verify(&name, &file).await?,
        CertificateCommand::Remove { name } => certificates.remove(&name).await?,
    };
    output.print(arguments.json);
    Ok(())
}

struct Certificates {
    client: ApiClient,
}

impl Certificates {
    async fn add(&self, file: &Path, name: Option<String>, verified: bool) -> anyhow::Result<Output> {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        let name = name.or(stem).context("say how the hub should call the certificate with --name")?;
        let properties = json!({ "certificate": read(file)?, "isVerified": verified });
        let path = ["ironhub", "v1", "certificates", &name];
        let call = Call { body: Some(json!({ "properties": properties })), ..Call::new(Method::PUT, &path) };
        let json = self.client.call(call).await?;
        let next = format!("`ironhub certificate verification-code {name}` begins the proof that its key is yours");
        let state = if verified { "devices may use it now".to_owned() } else { format!("not verified yet: {next}") };
        Ok(Output { text: format!("{name}: {}\n{state}", subject(&json)), json })
    }

    async fn list(&self) -> anyhow::Result<Output> {
        let json = self.client.call(Call::new(Method::GET, &["ironhub", "v1", "certificates"])).await?;
        let json = json["value"].clone();
        let rows: Vec<_> = json.as_array().into_iter().flatten().map(row).collect();
        let text = if rows.is_empty() {
            "no certificates yet; `ironhub certificate add FILE` registers one".to_owned()
        } else {
            table(["NAME", "VERIFIED", "EXPIRES", "SUBJECT"], rows)
        };
        Ok(Output { json, text })
    }

    async fn get(&self, name: &str) -> anyhow::Result<Value> {
        self.client.call(Call::new(Method::GET, &["ironhub", "v1", "certificates", name])).await
    }

    async fn verification_code(&self, name: &str) -> anyhow::Result<Output> {
        let json = self.post(name, "generate-verification-code", None).await?;
        let code = json.pointer("/properties/verificationCode").and_then(Value::as_str);
        let text = code.context("the hub's answer has no code")?.to_owned();
        Ok(Output { json, text })
    }

    async fn verify(&self, name: &str, file: &Path) -> anyhow::Result<Output> {
        let json = self.post(name, "verify", Some(json!({ "certificate": read(file)? }))).await?;
        Ok(Output { json, text: format!("{name} is verified: devices may use it now") })
    }

    async fn remove(&self, name: &str) -> anyhow::Result<Output> {
        let etag = etag(&self.get(name).await?)?;
        let path = ["ironhub", "v1", "certificates", name];
        self.client.call(Call { if_match: Some(&etag), ..Call::new(Method::DELETE, &path) }).await?;
        Ok(Output { json: json!({ "removed": name }), text: format!("removed {name}") })
    }

    /// On the version that the hub has now.
    async fn post(&self, name: &str, operation: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let etag = etag(&self.get(name).await?)?;
        let path = ["ironhub", "v1", "certificates", name, operation];
        self.client.call(Call { body, if_match: Some(&etag), ..Call::new(Method::POST, &path) }).await
    }
}

/// Base64 of what the file has, PEM or DER: the hub reads both.
fn read(file: &Path) -> anyhow::Result<String> {
    const BYTES_MAX: u64 = 64 * 1024;
    let unreadable = || format!("cannot read {}", file.display());
    let length = fs::metadata(file).with_context(unreadable)?.len();
    anyhow::ensure!(length <= BYTES_MAX, "{} is too large to be a certificate", file.display());
    Ok(BASE64_STANDARD.encode(fs::read(file).with_context(unreadable)?))
}

fn subject(certificate: &Value) -> &str {
    certificate.pointer("/properties/subject").and_then(Value::as_str).unwrap_or_default()
}

fn row(certificate: &Value) -> [String; 4] {
    let verified = certificate.pointer("/properties/isVerified").and_then(Value::as_bool).unwrap_or_default();
    let text = |pointer: &str| certificate.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let verified = if verified { "yes" } else { "no" };
    [text("/name"), verified.to_owned(), text("/properties/expiry"), subject(certificate).to_owned()]
}
