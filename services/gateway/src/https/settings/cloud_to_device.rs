//! `cloudToDevice` of the settings: messages for devices, and the feedback about them (messaging §4.3, rest §23).

use jiff::{SignedDuration, fmt::temporal::SpanPrinter};
use model::{CloudToDeviceOverrides, parse_duration_seconds};
use serde_json::{Value, json};

use super::overrides::number;
use crate::https::error::ApiError;

/// Puts what the object names over the settings; `null` takes it back, for one value or for all of an object.
pub(super) fn merge(settings: &mut CloudToDeviceOverrides, input: &Value) -> Result<(), ApiError> {
    let Some(input) = object("cloudToDevice", input)? else {
        *settings = CloudToDeviceOverrides::default();
        return Ok(());
    };
    for (name, value) in input {
        match name.as_str() {
            "defaultTtlAsIso8601" => settings.default_ttl_seconds = seconds(name, value)?,
            "maxDeliveryCount" => settings.delivery_count_max = number(name, value)?,
            "feedback" => merge_feedback(settings, value)?,
            _ => return Err(unknown("cloudToDevice", name, "defaultTtlAsIso8601, maxDeliveryCount, feedback")),
        }
    }
    Ok(())
}

fn merge_feedback(settings: &mut CloudToDeviceOverrides, input: &Value) -> Result<(), ApiError> {
    let Some(input) = object("cloudToDevice.feedback", input)? else {
        settings.feedback_ttl_seconds = None;
        settings.feedback_lock_seconds = None;
        settings.feedback_delivery_count_max = None;
        return Ok(());
    };
    for (name, value) in input {
        match name.as_str() {
            "ttlAsIso8601" => settings.feedback_ttl_seconds = seconds(name, value)?,
            "lockDurationAsIso8601" => settings.feedback_lock_seconds = seconds(name, value)?,
            "maxDeliveryCount" => settings.feedback_delivery_count_max = number(name, value)?,
            _ => {
                let names = "ttlAsIso8601, lockDurationAsIso8601, maxDeliveryCount";
                return Err(unknown("cloudToDevice.feedback", name, names));
            }
        }
    }
    Ok(())
}

/// The settings as the management plane spells them; `null` is what the configuration of each process says.
pub(super) fn to_json(settings: CloudToDeviceOverrides) -> Value {
    let duration = |seconds: Option<u32>| {
        seconds.map(|seconds| SpanPrinter::new().duration_to_string(&SignedDuration::from_secs(seconds.into())))
    };
    json!({
        "defaultTtlAsIso8601": duration(settings.default_ttl_seconds),
        "maxDeliveryCount": settings.delivery_count_max,
        "feedback": {
            "ttlAsIso8601": duration(settings.feedback_ttl_seconds),
            "lockDurationAsIso8601": duration(settings.feedback_lock_seconds),
            "maxDeliveryCount": settings.feedback_delivery_count_max,
        },
    })
}

/// `None`: null.
fn object<'a>(name: &str, value: &'a Value) -> Result<Option<&'a serde_json::Map<String, Value>>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::Object(object) => Ok(Some(object)),
        _ => Err(ApiError::argument(format!("{name} is an object, or null for what the configuration says"))),
    }
}

/// See [`parse_duration_seconds`].
fn seconds(name: &str, value: &Value) -> Result<Option<u32>, ApiError> {
    if value.is_null() {
        return Ok(None);
    }
    let seconds = value.as_str().and_then(parse_duration_seconds);
    seconds.map(Some).ok_or_else(|| {
        ApiError::argument(format!("{name} is an ISO 8601 duration of whole seconds such as PT1H, not {value}"))
    })
}

fn unknown(section: &str, name: &str, names: &str) -> ApiError {
    ApiError::argument(format!("{section} has no setting '{name}', it has {names}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_changes_and_null_takes_it_back() {
        let mut settings = CloudToDeviceOverrides { delivery_count_max: Some(3), ..CloudToDeviceOverrides::default() };
        let change = json!({ "defaultTtlAsIso8601": "P1D", "feedback": { "lockDurationAsIso8601": "PT60S" } });
        merge(&mut settings, &change).unwrap();
        assert_eq!(settings.delivery_count_max, Some(3));
        assert_eq!((settings.default_ttl_seconds, settings.feedback_lock_seconds), (Some(86_400), Some(60)));
        let answered = to_json(settings);
        assert_eq!(answered["feedback"]["lockDurationAsIso8601"], "PT1M");
        let mut again = CloudToDeviceOverrides::default();
        merge(&mut again, &answered).unwrap();
        assert_eq!(again, settings, "what is answered can be sent back");
        merge(&mut settings, &json!({ "maxDeliveryCount": null, "feedback": null })).unwrap();
        assert_eq!((settings.delivery_count_max, settings.feedback_lock_seconds), (None, None));
        merge(&mut settings, &Value::Null).unwrap();
        assert_eq!(settings, CloudToDeviceOverrides::default());
    }

    #[test]
    fn nonsense_is_refused() {
        for input in [
            json!(5),
            json!({ "maxDeliveryCount": "ten" }),
            json!({ "defaultTtlAsIso8601": 3600 }),
            json!({ "defaultTtl": "PT1H" }),
            json!({ "feedback": "PT1H" }),
            json!({ "feedback": { "lockSeconds": 5 } }),
        ] {
            assert!(merge(&mut CloudToDeviceOverrides::default(), &input).is_err(), "{input}");
        }
    }
}
