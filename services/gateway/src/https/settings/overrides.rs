//! What the owner sets for the whole hub at run time; `null` leaves it to the configuration of each process.

use http::Response;
use model::{HubSettings, Overrides};
use serde_json::{Map, Value, json};

use super::{Section, change, cloud_to_device, current};
use crate::https::{
    body::{self, Body},
    error::ApiError,
    if_match,
    route::Call,
};

const NAMES: &str = "retentionTimeInHours, retentionTimeInDays, messageBytesMax, subscriptionsMax, connectionsMax, \
                     tokenGraceSeconds, cloudToDevice";

/// `GET /ironhub/v1/settings`.
pub(super) async fn get(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    Ok(answer(&current(&call.context.front).await?))
}

/// `PATCH /ironhub/v1/settings`: what is not named stays.
pub(super) async fn patch(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    merge(call, |settings| settings.overrides.clone()).await
}

/// `PUT /ironhub/v1/settings`: what is not named is left to the processes.
pub(super) async fn put(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    merge(call, |settings| Overrides { etag: settings.overrides.etag, ..Overrides::default() }).await
}

async fn merge(call: Call<'_>, start: impl Fn(&HubSettings) -> Overrides) -> Result<Response<Body>, ApiError> {
    let front = &call.context.front;
    let input: Map<String, Value> = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    let (settings, ()) = change(front, Section::Overrides, |settings| {
        if_match::check(&call.parts.headers, Some(settings.overrides.etag))?;
        settings.overrides = merged(start(settings), &input)?;
        Ok(())
    })
    .await?;
    Ok(answer(&settings))
}

/// A body as the settings it makes, and as they are answered.
pub(in crate::https) fn read(bytes: &[u8]) -> Result<Value, ApiError> {
    let overrides = merged(Overrides::default(), &body::parse_json(bytes)?)?;
    overrides.check().map_err(ApiError::argument)?;
    Ok(json_of(&overrides))
}

fn merged(mut overrides: Overrides, input: &Map<String, Value>) -> Result<Overrides, ApiError> {
    let retention = |name: &str| input.get(name).map_or(Ok(None), |value| number(name, value));
    let hours = retention("retentionTimeInHours")?;
    let days = retention("retentionTimeInDays")?.map(|days| days.saturating_mul(24));
    // Null beside a number says nothing: the days are answered so when the hours are no whole days.
    if let (Some(hours), Some(days)) = (hours, days)
        && hours != days
    {
        return Err(ApiError::argument("retentionTimeInHours and retentionTimeInDays say different things"));
    }
    for (name, value) in input {
        match name.as_str() {
            "etag" => {}
            "retentionTimeInHours" | "retentionTimeInDays" => overrides.event_retention_hours = hours.or(days),
            "messageBytesMax" => overrides.message_bytes_max = number(name, value)?,
            "subscriptionsMax" => overrides.subscriptions_max = number(name, value)?,
            "connectionsMax" => overrides.connections_max = number(name, value)?,
            "tokenGraceSeconds" => overrides.token_grace_seconds = number(name, value)?,
            "cloudToDevice" => cloud_to_device::merge(&mut overrides.cloud_to_device, value)?,
            _ => return Err(ApiError::argument(format!("there is no setting '{name}', there are {NAMES}"))),
        }
    }
    Ok(overrides)
}

/// `None`: null.
pub(super) fn number(name: &str, value: &Value) -> Result<Option<u32>, ApiError> {
    if value.is_null() {
        return Ok(None);
    }
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .map(Some)
        .ok_or_else(|| ApiError::argument(format!("{name} is a whole number, or null for what the configuration says")))
}

fn answer(settings: &HubSettings) -> Response<Body> {
    body::versioned(&json_of(&settings.overrides), settings.overrides.etag, false)
}

fn json_of(overrides: &Overrides) -> Value {
    let hours = overrides.event_retention_hours;
    json!({
        "etag": overrides.etag.to_string(),
        "retentionTimeInHours": hours,
        "retentionTimeInDays": hours.filter(|hours| hours % 24 == 0).map(|hours| hours / 24),
        "messageBytesMax": overrides.message_bytes_max,
        "subscriptionsMax": overrides.subscriptions_max,
        "connectionsMax": overrides.connections_max,
        "tokenGraceSeconds": overrides.token_grace_seconds,
        "cloudToDevice": cloud_to_device::to_json(overrides.cloud_to_device),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;

    fn parsed(input: &Value) -> Result<Overrides, ApiError> {
        let before = Overrides { event_retention_hours: Some(5), subscriptions_max: Some(7), ..Overrides::default() };
        merged(before, input.as_object().unwrap())
    }

    #[test]
    fn what_is_named_changes_and_null_takes_it_back() {
        assert_eq!(parsed(&json!({ "retentionTimeInDays": 2 })).unwrap().event_retention_hours, Some(48));
        assert_eq!(parsed(&json!({ "retentionTimeInHours": null })).unwrap().event_retention_hours, None);
        let both = parsed(&json!({ "retentionTimeInDays": 1, "retentionTimeInHours": 24, "etag": "x" })).unwrap();
        assert_eq!((both.event_retention_hours, both.subscriptions_max), (Some(24), Some(7)));
    }

    #[test]
    fn what_is_answered_can_be_sent_back() {
        for hours in [5, 48] {
            let overrides = Overrides { event_retention_hours: Some(hours), ..Overrides::default() };
            let answered = json_of(&overrides);
            assert_eq!(merged(Overrides::default(), answered.as_object().unwrap()), Ok(overrides), "{answered}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for input in [
            json!({ "retentionTimeInDays": 1, "retentionTimeInHours": 25 }),
            json!({ "messageBytesMax": "1000" }),
            json!({ "messageBytesMax": -1 }),
            json!({ "connectionMax": 1 }),
        ] {
            assert!(parsed(&input).is_err(), "{input}");
        }
    }
}
