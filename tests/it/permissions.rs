//! Every operation against every credential: who may do what (security §5, rest §2).

use ironhub_tests::{Hub, TestResult};
use serde_json::json;

/// The credentials of a hub, in the order of the columns below.
const CREDENTIALS: [&str; 9] = [
    "iothubowner",
    "service",
    "device",
    "registryRead",
    "registryReadWrite",
    "own device",
    "own module",
    "other device",
    "nobody",
];

/// Operation, and for every credential whether it may (x) or not (-).
const MATRIX: &[(&str, &str, &str)] = &[
    //                                                     owner service device read write own module other nobody
    ("GET", "/devices", "x - - x x - - - -"),
    ("POST", "/devices", "x - - - x - - - -"),
    ("POST", "/devices/keys/regenerate", "x - - - x - - - -"),
    ("GET", "/devices/{device}", "x - - x x - - - -"),
    ("PUT", "/devices/{new}", "x - - - x - - - -"),
    ("PUT+", "/devices/{device}", "x - - - x - - - -"),
    ("DELETE", "/devices/{missing}", "x - - - x - - - -"),
    ("GET", "/devices/{device}/modules", "x - - x x x - - -"),
    ("GET", "/devices/{device}/modules/m", "x - - x x x - - -"),
    ("PUT", "/devices/{device}/modules/{new}", "x - - - x x - - -"),
    ("DELETE", "/devices/{device}/modules/{missing}", "x - - - x x - - -"),
    ("GET", "/statistics/devices", "x x - x x - - - -"),
    ("GET", "/statistics/service", "x x - x x - - - -"),
    ("GET", "/twins/{device}", "x x - - - - - - -"),
    ("GET", "/twins/{device}/modules/m", "x x - - - - - - -"),
    ("PATCH", "/twins/{device}", "x x - - - - - - -"),
    ("PATCH", "/twins/{device}/modules/m", "x x - - - - - - -"),
    ("PUT", "/twins/{device}", "x x - - - - - - -"),
    ("PUT", "/twins/{device}/modules/m", "x x - - - - - - -"),
    ("PATCH", "/twins/{device}/tags", "x x - - - - - - -"),
    ("PUT", "/twins/{device}/properties/desired", "x x - - - - - - -"),
    ("POST", "/twins/{device}/methods", "x x - - - - - - -"),
    ("POST", "/twins/{device}/modules/m/methods", "x x - - - - - - -"),
    ("POST", "/devices/{device}/messages/devicebound", "x x - - - - - - -"),
    ("DELETE", "/devices/{device}/commands", "x x - - - - - - -"),
    ("GET", "/devices/{device}/messages/devicebound", "x - x - - x - - -"),
    ("DELETE", "/devices/{device}/messages/devicebound/{missing}", "x - x - - x - - -"),
    ("POST", "/devices/{device}/messages/devicebound/{missing}/abandon", "x - x - - x - - -"),
    ("GET", "/messages/servicebound/feedback", "x x - - - - - - -"),
    ("DELETE", "/messages/servicebound/feedback/{missing}", "x x - - - - - - -"),
    ("POST", "/messages/servicebound/feedback/{missing}/abandon", "x x - - - - - - -"),
    ("POST", "/devices/{device}/messages/events", "x - x - - x - - -"),
    ("POST", "/devices/{device}/modules/m/messages/events", "x - x - - - x - -"),
    ("GET", "/ironhub/v1/events?since=latest", "x x - - - - - - -"),
    ("GET", "/ironhub/v1/explain/{device}", "x x - x x - - - -"),
    ("GET", "/ironhub/v1/explain/{device}/modules/m", "x x - x x - - - -"),
    ("GET", "/ironhub/v1/policies", "x - - - - - - - -"),
    ("GET", "/ironhub/v1/policies/service", "x - - - - - - - -"),
    ("PUT", "/ironhub/v1/policies/{missing}", "x - - - - - - - -"),
    ("DELETE", "/ironhub/v1/policies/{missing}", "x - - - - - - - -"),
    ("POST", "/ironhub/v1/policies/{missing}/regenerate-key", "x - - - - - - - -"),
    ("GET", "/ironhub/v1/certificates", "x - - - - - - - -"),
    ("GET", "/ironhub/v1/certificates/{missing}", "x - - - - - - - -"),
    ("PUT", "/ironhub/v1/certificates/{missing}", "x - - - - - - - -"),
    ("DELETE", "/ironhub/v1/certificates/{missing}", "x - - - - - - - -"),
    ("POST", "/ironhub/v1/certificates/{missing}/generate-verification-code", "x - - - - - - - -"),
    ("POST", "/ironhub/v1/certificates/{missing}/verify", "x - - - - - - - -"),
    ("GET", "/ironhub/v1/consumer-groups", "x - - - - - - - -"),
    ("PUT", "/ironhub/v1/consumer-groups/$Default", "x - - - - - - - -"),
    ("DELETE", "/ironhub/v1/consumer-groups/{missing}", "x - - - - - - - -"),
    ("GET", "/ironhub/v1/settings", "x - - - - - - - -"),
    ("PATCH", "/ironhub/v1/settings", "x - - - - - - - -"),
    ("PUT", "/ironhub/v1/settings", "x - - - - - - - -"),
];

#[tokio::test]
async fn the_permission_table_holds() -> TestResult {
    let hub = Hub::shared().await?;
    let device = hub.new_device().await?;
    let module = hub.new_module(&device, "m").await?;
    let other = hub.new_device().await?;
    let mut wrong = Vec::new();
    for (method, path, row) in MATRIX {
        let allowed: Vec<_> = row.split(' ').map(|cell| cell == "x").collect();
        assert_eq!(allowed.len(), CREDENTIALS.len(), "{path}");
        for (credential, allowed) in CREDENTIALS.iter().zip(allowed) {
            let token = match *credential {
                "own device" => device.token(),
                "own module" => module.token(),
                "other device" => other.token(),
                "nobody" => String::new(),
                policy => hub.policy_token(policy)?,
            };
            let path = path
                .replace("{device}", &device.device_id)
                .replace("{new}", &hub.new_id())
                .replace("{missing}", "missing");
            let (method, if_match) = match *method {
                "PUT+" => ("PUT", true),
                method => (method, method == "DELETE"),
            };
            let headers: &[(&str, &str)] = if if_match { &[("If-Match", "*")] } else { &[] };
            let keys = json!({ "primaryKey": device.primary_key.as_base64(), "secondaryKey": device.secondary_key.as_base64() });
            let body = match method {
                "PUT" if if_match => json!({ "authentication": { "type": "sas", "symmetricKey": keys } }).to_string(),
                "PUT" => "{}".to_owned(),
                _ => String::new(),
            };
            let response = hub.call_as(&token, method, &path, headers, body.as_bytes()).await?;
            // Allowed means that the question of who is asking was passed.
            if (response.status != 401) != allowed || response.status >= 500 || (allowed && response.status == 403) {
                wrong.push(format!("{method} {path} by {credential}: {}", response.status));
            } else if !allowed {
                let name = response.error_name()?;
                assert!(name.starts_with("IotHubUnauthorized"), "{method} {path} by {credential}: {name}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
