//! The custom resource's definition, as Kubernetes takes it.

use kube::CustomResourceExt;

use super::IotHub;

const HEAD: &str = "\
# Made by `ironhub operator --print-crd`. Helm installs it once and never upgrades it: before an upgrade of the chart,
# `kubectl apply --server-side -f` this file.
";

/// YAML, what `helm/ironhub/crds` holds.
pub fn definition() -> String {
    // Plain data of our own; the tests print it.
    let yaml = serde_saphyr::to_string(&IotHub::crd()).unwrap_or_default();
    format!("{HEAD}{yaml}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use model::{CloudToDeviceOverrides, Overrides};
    use serde_json::{Value, json};

    use super::*;

    fn schema(pointer: &str) -> Value {
        let crd = serde_json::to_value(IotHub::crd()).unwrap();
        let path = format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{pointer}");
        crd.pointer(&path).unwrap_or_else(|| panic!("{path} in {crd}")).clone()
    }

    #[test]
    fn the_chart_has_this_definition() {
        let file = std::fs::read_to_string("../../helm/ironhub/crds/iothub.yaml").unwrap_or_default();
        assert!(
            file == definition(),
            "helm/ironhub/crds/iothub.yaml is not current: write there what `ironhub operator --print-crd` prints"
        );
    }

    #[test]
    fn the_schema_has_the_limits_of_the_settings() {
        let count = CloudToDeviceOverrides::DELIVERY_COUNT;
        for (pointer, range) in [
            ("settings/properties/retentionTimeInHours", Overrides::EVENT_RETENTION_HOURS),
            ("settings/properties/messageBytesMax", Overrides::MESSAGE_BYTES),
            ("settings/properties/subscriptionsMax", Overrides::SUBSCRIPTIONS),
            ("settings/properties/connectionsMax", Overrides::CONNECTIONS),
            ("settings/properties/tokenGraceSeconds", Overrides::TOKEN_GRACE_SECONDS),
            ("settings/properties/cloudToDevice/properties/maxDeliveryCount", count.clone()),
            ("settings/properties/cloudToDevice/properties/feedback/properties/maxDeliveryCount", count),
        ] {
            let schema = schema(pointer);
            let limits = [&schema["minimum"], &schema["maximum"]].map(|limit| limit.as_f64().unwrap());
            assert_eq!(limits, [f64::from(*range.start()), f64::from(*range.end())], "{pointer}");
        }
        let days = schema("settings/properties/retentionTimeInDays");
        assert_eq!(days["maximum"].as_f64(), Some(f64::from(*Overrides::EVENT_RETENTION_HOURS.end() / 24)));
    }

    #[test]
    fn the_schema_refuses_what_the_hub_would() {
        assert_eq!(schema("replication")["enum"], json!([1, 3, 5, null]));
        let rights = schema("policies/items/properties/rights/items");
        assert_eq!(rights["enum"], json!(["RegistryRead", "RegistryWrite", "ServiceConnect", "DeviceConnect"]));
        assert_eq!(schema("policies")["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(schema("consumerGroups")["x-kubernetes-list-type"], "set");
        assert_eq!(schema("consumerGroups/items")["pattern"], "^[A-Za-z0-9_.-]{1,64}$");
        let either = schema("certificates/items");
        assert!(either["x-kubernetes-validations"][0]["rule"].as_str().unwrap().contains("certificateSecret"));
    }
}
