//! `ironhub explain`

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    api_client::{ApiClient, Call, Refused},
    output::Output,
    target::Target,
};
use crate::{
    arguments::{ExplainArguments, TargetArguments},
    configuration::Environment,
};

/// Says why a device was last refused or disconnected, and what to do about it.
pub async fn run(
    arguments: TargetArguments,
    command: ExplainArguments,
    environment: &Environment,
) -> anyhow::Result<()> {
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let (id, module) = (command.id.as_str(), command.module.as_ref().map(|id| id.as_str()));
    let mut path = vec!["ironhub", "v1", "explain", id];
    path.extend(module.into_iter().flat_map(|module| ["modules", module]));
    let mut json = client.call(Call::new(Method::GET, &path)).await?;
    json["device"] = device(&client, id).await?;
    let text = describe(&json, module.map_or_else(|| id.to_owned(), |module| format!("{id}/{module}")).as_str());
    Output { json, text }.print(arguments.json);
    Ok(())
}

/// What the registry says; `null` when it has no such device, or this policy may not read it.
async fn device(client: &ApiClient, id: &str) -> anyhow::Result<Value> {
    match client.call(Call::new(Method::GET, &["devices", id])).await {
        Ok(device) => Ok(json!({ "status": device["status"], "connectionState": device["connectionState"] })),
        Err(error) => match error.downcast_ref::<Refused>().map(|refused| refused.status) {
            Some(StatusCode::NOT_FOUND) => Ok(Value::Null),
            Some(StatusCode::UNAUTHORIZED) => Ok(json!({ "status": "unknown", "connectionState": "unknown" })),
            _ => Err(error),
        },
    }
}

fn describe(json: &Value, identity: &str) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let device = match &json["device"] {
        Value::Null => format!("{identity}: no such device; `ironhub device create` makes one"),
        device => format!("{identity}: {}, {}", word(&device["status"]), word(&device["connectionState"])),
    };
    let mut lines = vec![device];
    for (what, incident) in [("refused", &json["lastRefusal"]), ("disconnected", &json["lastDisconnection"])] {
        if incident.is_null() {
            continue;
        }
        let [time, peer, protocol, cause, reason] =
            ["time", "peer", "protocol", "cause", "reason"].map(|name| word(&incident[name]));
        lines.push(format!("last {what} {time}, {protocol} from {peer}: {reason}"));
        lines.extend(advice(&cause).map(|advice| format!("  {advice}")));
    }
    if lines.len() == 1 {
        lines.push(format!("nothing was refused or ended since {}", word(&json["since"])));
    }
    lines.join("\n")
}

/// What helps against a cause, by its name in metrics and logs.
fn advice(cause: &str) -> Option<&'static str> {
    Some(match cause {
        "wrong_signature" => "The key is not one of the two that the registry has: compare `ironhub device show ID`.",
        "token_expired" => {
            "Make a new token; if it is new, the clocks of device and hub differ by more than 5 minutes."
        }
        "unknown_identity" | "deleted" => "Create it, or correct the id; ids are case-sensitive.",
        "disabled" => "`ironhub device update ID --status enabled` lets it in again.",
        "wrong_audience" => "The token was made for another resource; sign HOST/devices/ID.",
        "host" => "The user name names another host: start the hub with that --host-name, or correct the client.",
        "client_id" => "The MQTT client id must be the device id (or DEVICE/MODULE), as in the user name.",
        "token_not_allowed" | "certificate_not_allowed" => {
            "The identity has another authentication type: see `ironhub device show ID`."
        }
        "wrong_thumbprint" => "Register the certificate's thumbprint, or present the right certificate.",
        "untrusted_certificate" => {
            "Register the authority with `ironhub certificate add`, and send the intermediates along."
        }
        "replaced" => "Two clients use one identity, or a client connected anew; give each an identity of its own.",
        "keep_alive" | "peer_closed" => "The network or the device went away; it may connect again at any time.",
        "credential_removed" => "The key or certificate it used was taken away; give it the new one.",
        "too_large" => "A message has at most 256 KiB with its properties.",
        "not_durable" | "unavailable" => "See /healthz of the hub: its disk or a group is in trouble.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_what_helps() {
        let incident = json!({
            "time": "2026-01-01T00:00:00Z", "peer": "127.0.0.1:5", "protocol": "MQTT", "cause": "wrong_signature",
            "reason": "the signature of the token is wrong",
        });
        let json = json!({ "since": "2026", "lastRefusal": incident, "device": null });
        let text = describe(&json, "d");
        for words in ["no such device", "last refused 2026-01-01", "from 127.0.0.1:5", "compare"] {
            assert!(text.contains(words), "{text}");
        }
    }
}
