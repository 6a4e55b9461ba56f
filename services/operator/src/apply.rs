//! The fourth step: the plan is carried out.

use http::Method;
use serde_json::{Value, json};

use crate::{
    cluster::Kubernetes,
    hub::{HubClient, HubError, settings_to_json},
    observe::{Observed, StatefulSetState},
    plan::Action,
};

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    pub done: Vec<Action>,
    pub failed: Vec<Failure>,
    /// Verification codes that were drawn, by certificate.
    pub codes: Vec<(String, String)>,
}

/// A step that was not taken.
#[derive(Debug)]
pub struct Failure {
    pub action: Action,
    pub why: ApplyError,
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("Kubernetes refuses it: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error("the hub is not known")]
    NoHub,
}

/// Takes all steps about settings, whatever becomes of the others; steps about shards only as long as each one before was
/// taken.
pub async fn apply(
    actions: Vec<Action>,
    observed: &Observed,
    kubernetes: &Kubernetes,
    hub: Option<&HubClient>,
) -> Applied {
    let mut applied = Applied::default();
    let mut is_stopped = false;
    for action in actions {
        if action.is_of_shards() && is_stopped {
            continue;
        }
        match take(&action, observed.stateful_set.as_ref(), kubernetes, hub).await {
            Ok(code) => {
                if let (Some(code), Action::GenerateVerificationCode { name, .. }) = (code, &action) {
                    applied.codes.push((name.clone(), code));
                }
                applied.done.push(action);
            }
            Err(why) => {
                is_stopped |= action.is_of_shards();
                applied.failed.push(Failure { action, why });
            }
        }
    }
    applied
}

async fn take(
    action: &Action,
    set: Option<&StatefulSetState>,
    kubernetes: &Kubernetes,
    hub: Option<&HubClient>,
) -> Result<Option<String>, ApplyError> {
    match (action, set) {
        (Action::Resize { to, .. } | Action::CallBack { to, .. }, Some(set)) => kubernetes.resize(set, *to).await?,
        (Action::DeleteClaim { name, uid }, _) => kubernetes.delete_claim(name, uid).await?,
        _ => return Ok(change_hub(hub.ok_or(ApplyError::NoHub)?, action).await?),
    }
    Ok(None)
}

/// Takes a step that is the hub's. A verification code is answered when one was drawn.
pub async fn change_hub(hub: &HubClient, action: &Action) -> Result<Option<String>, HubError> {
    let call = async |method: Method, path: &[&str], etag: Option<&str>, body: Option<Value>| {
        hub.call(method, path, etag, body.as_ref()).await
    };
    match action {
        Action::PutPolicy { name, etag, rights, primary, secondary } => {
            let mut body = json!({ "rights": rights.names() });
            for (entry, key) in [("primaryKey", primary), ("secondaryKey", secondary)] {
                if let Some(key) = key {
                    body[entry] = key.as_base64().into();
                }
            }
            call(Method::PUT, &["policies", name], etag.as_deref(), Some(body)).await?;
        }
        Action::DeletePolicy { name, etag } => gone(call(Method::DELETE, &["policies", name], Some(etag), None).await)?,
        Action::PutCertificate { name, etag, certificate, is_verified } => {
            let mut properties = json!({ "certificate": certificate });
            if let Some(is_verified) = is_verified {
                properties["isVerified"] = (*is_verified).into();
            }
            let body = json!({ "properties": properties });
            call(Method::PUT, &["certificates", name], etag.as_deref(), Some(body)).await?;
        }
        Action::GenerateVerificationCode { name, etag } => {
            let path = ["certificates", name, "generate-verification-code"];
            let answer = call(Method::POST, &path, Some(etag), None).await?;
            let code = answer.pointer("/properties/verificationCode").and_then(Value::as_str);
            return Ok(code.map(str::to_owned));
        }
        Action::VerifyCertificate { name, etag, proof } => {
            let body = json!({ "certificate": proof });
            call(Method::POST, &["certificates", name, "verify"], Some(etag), Some(body)).await?;
        }
        Action::DeleteCertificate { name, etag } => {
            gone(call(Method::DELETE, &["certificates", name], Some(etag), None).await)?;
        }
        Action::PutConsumerGroup { name } => drop(call(Method::PUT, &["consumer-groups", name], None, None).await?),
        Action::DeleteConsumerGroup { name, etag } => {
            gone(call(Method::DELETE, &["consumer-groups", name], Some(etag), None).await)?;
        }
        Action::PutSettings { etag, settings } => {
            call(Method::PUT, &["settings"], Some(etag), Some(settings_to_json(settings))).await?;
        }
        Action::SetReplication { replication } => {
            let body = json!({ "replication": replication });
            call(Method::PUT, &["cluster", "replication"], None, Some(body)).await?;
        }
        Action::ActivateNode { node_id, .. } => {
            call(Method::POST, &["cluster", "nodes", node_id, "activate"], None, None).await?;
        }
        Action::DrainNode { node_id, .. } => {
            call(Method::POST, &["cluster", "nodes", node_id, "drain"], None, None).await?;
        }
        Action::RemoveNode { node_id, .. } => {
            call(Method::POST, &["cluster", "nodes", node_id, "remove"], None, None).await?;
        }
        Action::DeleteClaim { .. } | Action::Resize { .. } | Action::CallBack { .. } => {}
    }
    Ok(None)
}

/// What somebody else deleted meanwhile is gone as well.
fn gone(answer: Result<Value, HubError>) -> Result<(), HubError> {
    match answer {
        Err(HubError::Refused { status: 404, .. }) => Ok(()),
        answer => answer.map(drop),
    }
}
