//! Direct methods for back ends (rest §10).

use std::time::{Duration, Instant};

use auth::Operation;
use http::Response;
use model::Principal;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use shard_client::{MethodAnswer, MethodRequest};

use super::{
    authorization::authorize,
    body::{self, Body},
    error::ApiError,
    route::Call,
    twins,
};

/// Seconds that a device may take to answer, and to connect (twins §3.1).
const RESPONSE_SECONDS: std::ops::RangeInclusive<u64> = 5..=300;
const RESPONSE_SECONDS_DEFAULT: u64 = 30;
const CONNECT_SECONDS: std::ops::RangeInclusive<u64> = 0..=300;
/// The longest request: both times, and what the hub needs itself.
pub(super) const REQUEST_MAX: Duration = Duration::from_secs(615);
/// The answer leaves so much before the time is over: some callers wait not a moment longer.
const EARLIER: Duration = Duration::from_millis(250);
const NAME_CHARACTERS_MAX: usize = 100;
const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// Payload and the members around it.
const BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 4096;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    method_name: Option<String>,
    payload: Option<Box<RawValue>>,
    response_timeout_in_seconds: Option<u64>,
    connect_timeout_in_seconds: Option<u64>,
}

/// `POST /twins/{id}[/modules/{mid}]/methods`: 200 with whatever the device answers.
pub(super) async fn invoke(call: Call<'_>, principal: Principal) -> Result<Response<Body>, ApiError> {
    let metrics = &call.context.front.metrics.methods;
    let outcome = run(call, &principal).await;
    metrics.ended(ApiError::result_of(&outcome));
    outcome
}

async fn run(call: Call<'_>, principal: &Principal) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::InvokeMethod, &twins::resource(principal))?;
    let front = &call.context.front;
    let input: Input = body::read_json(front, call.body, BODY_BYTES_MAX).await?;
    let request = input.into_request()?;
    let invoked_at = Instant::now();
    let answer = front.shard_client.invoke_method(principal, &request).await;
    let answer = answer.map_err(|error| ApiError::method(error, principal))?;
    front.metrics.methods.answered(invoked_at.elapsed());
    Ok(body::json(&json!({ "status": answer.status, "payload": payload(&answer)? })))
}

impl Input {
    /// The call, when all of it is within its limits.
    pub fn into_request(self) -> Result<MethodRequest, ApiError> {
        let name = self.method_name.filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(|| ApiError::argument("methodName is missing"))?;
        if name.chars().count() > NAME_CHARACTERS_MAX {
            return Err(ApiError::argument(format!("methodName has more than {NAME_CHARACTERS_MAX} characters")));
        }
        let payload = self.payload.map_or_else(|| b"null".to_vec(), |payload| payload.get().as_bytes().to_vec());
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(ApiError::message_too_large(PAYLOAD_BYTES_MAX));
        }
        let response = self.response_timeout_in_seconds.unwrap_or(RESPONSE_SECONDS_DEFAULT);
        let connect = self.connect_timeout_in_seconds.unwrap_or(0);
        Ok(MethodRequest {
            name,
            payload: payload.into(),
            connect_timeout: seconds("connectTimeoutInSeconds", connect, &CONNECT_SECONDS)?,
            response_timeout: seconds("responseTimeoutInSeconds", response, &RESPONSE_SECONDS)?,
        })
    }
}

fn seconds(member: &str, value: u64, range: &std::ops::RangeInclusive<u64>) -> Result<Duration, ApiError> {
    match range.contains(&value) {
        true => Ok(Duration::from_secs(value).saturating_sub(EARLIER)),
        false => {
            let (from, to) = (range.start(), range.end());
            Err(ApiError::argument(format!("{member} is {value}, it must be from {from} to {to} seconds")))
        }
    }
}

/// Nothing counts as null; what is not JSON is a bad answer.
fn payload(answer: &MethodAnswer) -> Result<Value, ApiError> {
    if answer.payload.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    if answer.payload.len() > PAYLOAD_BYTES_MAX {
        return Err(ApiError::bad_answer(format!("it has more than {PAYLOAD_BYTES_MAX} bytes")));
    }
    serde_json::from_slice(&answer.payload).map_err(|error| ApiError::bad_answer(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<MethodRequest, String> {
        let input: Input = serde_json::from_str(text).map_err(|error| error.to_string())?;
        input.into_request().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_has_its_default() -> Result<(), String> {
        let made = request(r#"{"methodName":"reboot"}"#)?;
        assert_eq!((made.name.as_str(), &*made.payload), ("reboot", &b"null"[..]));
        assert_eq!((made.connect_timeout, made.response_timeout), (Duration::ZERO, Duration::from_millis(29_750)));
        for (payload, passed) in [("null", "null"), ("\"\"", "\"\""), ("[1, 2]", "[1, 2]"), ("{}", "{}")] {
            let made = request(&format!(r#"{{"methodName":"m","payload":{payload}}}"#))?;
            assert_eq!(&*made.payload, passed.as_bytes());
        }
        Ok(())
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let long = "m".repeat(101);
        for text in [
            "{}".to_owned(),
            r#"{"methodName":" "}"#.into(),
            format!(r#"{{"methodName":"{long}"}}"#),
            r#"{"methodName":"m","responseTimeoutInSeconds":4}"#.into(),
            r#"{"methodName":"m","responseTimeoutInSeconds":301}"#.into(),
            r#"{"methodName":"m","connectTimeoutInSeconds":301}"#.into(),
            r#"{"methodName":"m","connectTimeoutInSeconds":-1}"#.into(),
        ] {
            assert!(request(&text).is_err(), "{text}");
        }
        // The C service SDK always asks for that much, whatever the time to answer.
        assert!(request(r#"{"methodName":"m","connectTimeoutInSeconds":60,"responseTimeoutInSeconds":30}"#).is_ok());
    }
}
