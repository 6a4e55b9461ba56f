//! What people hear while it happens: lines of the log, and events of the resource.

use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{
    apply::Applied,
    resource::{Condition, IotHub, IotHubStatus},
};

/// Kubernetes takes a kilobyte.
const NOTE_CHARS_MAX: usize = 900;

/// Tells steps and turns. An event that cannot be written is not worth an error.
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Through that client.
    pub fn new(client: Client) -> Self {
        let reporter = Reporter { controller: "ironhub-operator".to_owned(), instance: None };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// What became of a plan.
    pub async fn steps(&self, resource: &IotHub, applied: &Applied) {
        for action in &applied.done {
            tracing::info!(reason = action.reason(), "{action}");
            self.publish(resource, EventType::Normal, action.reason(), action.to_string()).await;
        }
        for failure in &applied.failed {
            tracing::warn!(action = %failure.action, error = %failure.why, "a step was not taken");
        }
    }

    /// Conditions that are not what they were.
    pub async fn turns(&self, resource: &IotHub, before: &IotHubStatus, after: &IotHubStatus) {
        for condition in after.conditions.iter().filter(|condition| has_turned(condition, before)) {
            let is_good = condition.is_true() != (condition.type_ == Condition::DEGRADED);
            let kind = if is_good || condition.status == "Unknown" { EventType::Normal } else { EventType::Warning };
            let note = format!("{} is {}: {}", condition.type_, condition.status, condition.message);
            tracing::info!(reason = condition.reason, "{note}");
            self.publish(resource, kind, &condition.reason, note).await;
        }
    }

    async fn publish(&self, resource: &IotHub, type_: EventType, reason: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(NOTE_CHARS_MAX).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &resource.object_ref(&())).await {
            tracing::debug!(%error, "an event was not written");
        }
    }
}

fn has_turned(condition: &Condition, before: &IotHubStatus) -> bool {
    let before = before.condition(&condition.type_);
    before.is_none_or(|before| (&before.status, &before.reason) != (&condition.status, &condition.reason))
}
