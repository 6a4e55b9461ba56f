//! The operator's steps against a real hub: what an `IotHub` says is there afterwards, and nothing is left to do. What it
//! does with Kubernetes is proved on a real one (`make test-kubernetes`).

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use ironhub_tests::{Authority, Hub, OTHER_KEY, TestResult, eventually};
use model::Timestamp;
use operator::{
    Observed, Secrets, change_hub,
    hub::{HubClient, HubConfig, HubError},
    plan,
    resource::{CertificateStatus, IotHubSpec, IotHubStatus},
    validate,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const OWNER: &str = "iothubowner";

/// An operator without Kubernetes: it remembers what the status would.
struct Operator {
    client: HubClient,
    keys: TempDir,
    config: HubConfig,
    status: IotHubStatus,
    secrets: Secrets,
}

impl Operator {
    fn of(hub: &Hub) -> TestResult<Self> {
        let keys = tempfile::tempdir()?;
        std::fs::write(keys.path().join("primaryKey"), format!("{}\n", hub.policy(OWNER)?.1.as_base64()))?;
        let config = HubConfig {
            address: hub.https.to_string(),
            host_name: hub.host_name.clone(),
            authority_file: hub.authority.clone(),
            owner_policy: OWNER.to_owned(),
            owner_keys_directory: keys.path().to_owned(),
        };
        let client = HubClient::open(&config)?;
        Ok(Self { client, keys, config, status: IotHubStatus::default(), secrets: Secrets::new() })
    }

    /// One look and what it leads to. Answers what was done.
    async fn look(&mut self, spec: &Value) -> TestResult<Vec<String>> {
        let spec: IotHubSpec = serde_json::from_value(spec.clone())?;
        let now = Timestamp::from_unix_milliseconds(jiff::Timestamp::now().as_millisecond());
        let hub = self.client.state().await?;
        let observed = Observed {
            now,
            status: self.status.clone(),
            stateful_set: None,
            secrets: self.secrets.clone(),
            hub: Ok(hub.clone()),
        };
        let (wanted, problems) = validate(&spec, &self.secrets, OWNER, now);
        let plan = plan::build(&observed, &wanted, OWNER);
        anyhow::ensure!(problems.is_empty() && plan.problems.is_empty(), "{problems:?} {:?}", plan.problems);
        self.status.managed = plan::next_managed(&wanted.named, &self.status.managed, &hub, OWNER);
        let mut done = Vec::new();
        for action in plan.actions {
            let code = change_hub(&self.client, &action).await?;
            done.push(action.reason().to_owned());
            if let Some(verification_code) = code {
                let certificate = hub.certificates.first().unwrap();
                self.status.certificates = vec![CertificateStatus {
                    name: certificate.name.clone(),
                    thumbprint: certificate.properties.thumbprint.clone().unwrap(),
                    verification_code: Some(verification_code),
                    ..CertificateStatus::default()
                }];
            }
        }
        Ok(done)
    }
}

#[tokio::test]
async fn what_is_written_is_there_and_what_is_taken_off_is_gone() -> TestResult {
    let hub = Hub::start().await?;
    let mut operator = Operator::of(&hub)?;
    let key = BTreeMap::from([("primaryKey".to_owned(), OTHER_KEY.to_owned())]);
    operator.secrets.insert("dashboard-keys".to_owned(), key);
    let authority = Authority::root("Factory root")?;
    let spec = json!({
        "policies": [
            { "name": "dashboard", "rights": ["RegistryRead", "ServiceConnect"], "keysSecret": { "name": "dashboard-keys" } },
            { "name": "drawn", "rights": ["DeviceConnect"] },
        ],
        "certificates": [{ "name": "factory", "certificate": authority.base64(), "isVerified": true }],
        "consumerGroups": ["analytics"],
        "settings": {
            "retentionTimeInDays": 2,
            "messageBytesMax": 65536,
            "cloudToDevice": { "defaultTtlAsIso8601": "PT60M", "feedback": { "maxDeliveryCount": 7 } },
        },
    });
    let made = ["PolicyWritten", "PolicyWritten", "CertificateWritten", "ConsumerGroupCreated", "SettingsWritten"];
    assert_eq!(operator.look(&spec).await?, made);
    assert!(operator.look(&spec).await?.is_empty(), "nothing is left to do");

    let get = async |path: &str| hub.call("GET", &format!("/ironhub/v1/{path}"), &[], &Value::Null).await?.json();
    assert_eq!(get("policies/dashboard").await?["primaryKey"], OTHER_KEY);
    assert_eq!(get("policies/drawn").await?["rights"], "DeviceConnect");
    assert_eq!(get("certificates/factory").await?["properties"]["isVerified"], true);
    let settings = get("settings").await?;
    assert_eq!((&settings["retentionTimeInHours"], &settings["messageBytesMax"]), (&json!(48), &json!(65536)));
    assert_eq!(settings["cloudToDevice"]["defaultTtlAsIso8601"], "PT1H");

    // Somebody else changes it: it is changed back. What was never in the spec stays.
    let rights = json!({ "rights": "ServiceConnect" });
    hub.call("PUT", "/ironhub/v1/policies/dashboard", &[], &rights).await?.expect(200)?;
    hub.call("PUT", "/ironhub/v1/policies/by-hand", &[], &rights).await?.expect(201)?;
    assert_eq!(operator.look(&spec).await?, ["PolicyWritten"]);
    let less = json!({ "policies": [spec["policies"][1]], "settings": {} });
    let gone = ["PolicyDeleted", "CertificateDeleted", "ConsumerGroupDeleted", "SettingsWritten"];
    assert_eq!(operator.look(&less).await?, gone);
    assert!(operator.look(&less).await?.is_empty());
    assert_eq!(get("policies/by-hand").await?["rights"], "ServiceConnect");
    assert_eq!(operator.look(&json!({})).await?, ["PolicyDeleted"]);
    assert_eq!(get("policies").await?["value"].as_array().unwrap().len(), 6, "the built-in ones and that by hand");
    Ok(())
}

#[tokio::test]
async fn an_authority_is_verified_by_a_proof() -> TestResult {
    let hub = Hub::start().await?;
    let mut operator = Operator::of(&hub)?;
    let authority = Authority::root("Factory root")?;
    let mut spec = json!({ "certificates": [{ "name": "factory", "certificate": authority.base64() }] });
    assert_eq!(operator.look(&spec).await?, ["CertificateWritten"]);
    assert_eq!(operator.look(&spec).await?, ["VerificationCodeGenerated"]);
    assert!(operator.look(&spec).await?.is_empty(), "it waits for the proof");
    let code = operator.status.certificates[0].verification_code.clone().unwrap();
    spec["certificates"][0]["proof"] = BASE64_STANDARD.encode(&authority.sign(&code)?.chain[0]).into();
    assert_eq!(operator.look(&spec).await?, ["CertificateVerified"]);
    assert!(operator.look(&spec).await?.is_empty());
    assert!(operator.client.state().await?.certificates[0].properties.is_verified);
    Ok(())
}

#[tokio::test]
async fn either_key_of_the_owner_opens() -> TestResult {
    let hub = Hub::start().await?;
    let operator = Operator::of(&hub)?;
    let secondary = operator.client.state().await?.policies[0].secondary_key.clone();
    std::fs::write(operator.keys.path().join("primaryKey"), OTHER_KEY)?;
    assert!(!operator.client.is_current(&operator.config), "the files are others");
    let error = HubClient::open(&operator.config)?.state().await.unwrap_err();
    assert!(matches!(error, HubError::Unauthorized { .. }), "{error}");
    std::fs::write(operator.keys.path().join("secondaryKey"), secondary)?;
    HubClient::open(&operator.config)?.state().await?;

    // The first one becomes the owner's while the second one opens: a rotation.
    let mut operator = operator;
    operator.client = HubClient::open(&operator.config)?;
    operator.secrets.insert("owner".to_owned(), BTreeMap::from([("primaryKey".to_owned(), OTHER_KEY.to_owned())]));
    let all = ["RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"];
    let spec = json!({ "policies": [{ "name": OWNER, "rights": all, "keysSecret": { "name": "owner" } }] });
    assert_eq!(operator.look(&spec).await?, ["PolicyWritten"]);
    std::fs::remove_file(operator.keys.path().join("secondaryKey"))?;
    let client = HubClient::open(&operator.config)?;
    eventually("the new key opens", async || Ok(client.state().await.is_ok())).await?;
    assert!(operator.status.managed.policies.is_empty(), "the policy that it acts by is never deleted");
    Ok(())
}

#[tokio::test]
async fn the_cluster_is_seen_and_changed() -> TestResult {
    let hub = Hub::start().await?;
    let operator = Operator::of(&hub)?;
    eventually("the node has registered", async || Ok(operator.client.state().await?.cluster.nodes.len() == 1)).await?;
    let cluster = operator.client.state().await?.cluster;
    let node = &cluster.nodes[0];
    assert!(cluster.is_settled && node.is_reachable && !node.is_empty(), "{cluster:?}");
    let drain = plan::Action::DrainNode { node_id: node.node_id.clone(), name: node.name.clone() };
    let error = change_hub(&operator.client, &drain).await.unwrap_err();
    assert!(
        matches!(&error, HubError::Refused { status: 409, text, .. } if text.contains("last active node")),
        "{error}"
    );
    change_hub(&operator.client, &plan::Action::SetReplication { replication: 1 }).await?;
    assert_eq!(operator.client.state().await?.cluster.replication, 1);
    Ok(())
}
