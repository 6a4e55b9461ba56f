//! One client of an import: its batches one after the other, each until the hub has answered for every entry.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::sleep};

use super::{
    lines::{Batch, Entry},
    progress::{Failure, Progress},
};
use crate::{
    arguments::ImportMode,
    command::api_client::{Answer, ApiClient, Call},
};

/// Tries of one call until the import gives up: more than a minute.
const TRIES_MAX: u32 = 18;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

pub struct Caller {
    pub client: Arc<ApiClient>,
    pub progress: Arc<Progress>,
    pub mode: Option<ImportMode>,
}

impl Caller {
    /// Ends with the queue, or with the error that no further call would survive.
    pub async fn run(self, mut batches: mpsc::Receiver<Batch>) -> anyhow::Result<()> {
        while let Some(batch) = batches.recv().await {
            self.import(batch).await?;
        }
        Ok(())
    }

    async fn import(&self, mut batch: Batch) -> anyhow::Result<()> {
        if let Some(mode) = self.mode {
            for entry in &mut batch {
                entry.members.insert("importMode".to_owned(), json!(mode.as_str()));
            }
        }
        let mut tries = 0;
        while !batch.is_empty() {
            tries += 1;
            match self.call(&batch).await {
                Ok(answer) if is_passing(answer.status) && tries < TRIES_MAX => {}
                Ok(answer) => batch = self.conclude(batch, answer.result()?, tries == TRIES_MAX),
                Err(error) if tries == TRIES_MAX => return Err(error),
                Err(error) => self.progress.note(&error),
            }
            if !batch.is_empty() {
                sleep(pause(tries)).await;
            }
        }
        Ok(())
    }

    async fn call(&self, batch: &Batch) -> anyhow::Result<Answer> {
        let entries = batch.iter().map(|entry| Value::Object(entry.members.clone())).collect();
        let call = Call { body: Some(Value::Array(entries)), ..Call::new(Method::POST, &["devices"]) };
        self.client.answer(call).await.context("no answer to a call")
    }

    /// Counts what is done. Returns the entries that the hub could not do now, unless this was the last try.
    fn conclude(&self, batch: Batch, result: Value, is_last: bool) -> Batch {
        let errors = result.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut again = Batch::new();
        for entry in batch {
            match errors.iter().find(|error| is_about(error, &entry)) {
                None => self.progress.done(),
                Some(error) if !is_last && is_passing_code(error) => again.push(entry),
                Some(error) => self.progress.failed(&Failure::of_entry(&entry, error)),
            }
        }
        again
    }
}

/// The hub or its limits said no for now.
fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// The status is an error number's first three digits (rest §21.3).
fn is_passing_code(error: &Value) -> bool {
    let status = error.get("errorCode").and_then(Value::as_u64).and_then(|code| u16::try_from(code / 1000).ok());
    status.and_then(|status| StatusCode::from_u16(status).ok()).is_some_and(is_passing)
}

fn is_about(error: &Value, entry: &Entry) -> bool {
    let text = |name| error.get(name).and_then(Value::as_str);
    text("deviceId") == entry.text("id") && text("moduleId") == entry.text("moduleId")
}

fn pause(tries: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        for (code, passing) in [(503_005, true), (429_001, true), (504_101, true), (409_001, false), (403_002, false)] {
            assert_eq!(is_passing_code(&json!({ "errorCode": code })), passing, "{code}");
        }
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!((pause(1), pause(2), pause(TRIES_MAX)), (PAUSE_MIN, 2 * PAUSE_MIN, PAUSE_MAX));
    }
}
