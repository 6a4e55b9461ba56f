//! A back end that reads what became of messages.

use std::time::Duration;

use super::Actor;
use crate::run::Phase;

const LOCK: Duration = Duration::from_secs(3);

pub async fn read(mut actor: Actor) {
    while actor.shared.phase() == Phase::Working {
        let pause = actor.random.milliseconds(100, 2000);
        tokio::time::sleep(pause).await;
        let complete = actor.random.percent(70);
        read_once(&mut actor, complete).await;
    }
}

/// Reads and settles one batch; whether there was one, or might have been.
pub async fn read_once(actor: &mut Actor, complete: bool) -> bool {
    let token = actor.random.draw();
    let batch = match actor.client.receive_feedback(token, LOCK, Duration::from_millis(500)).await {
        Ok(Some(batch)) => batch,
        Ok(None) => return false,
        Err(_) => return true,
    };
    let id = (batch.id.group, batch.id.number);
    {
        let mut oracle = actor.shared.oracle.lock();
        oracle.note(|| format!("feedback {id:?}: {} outcomes", batch.feedback.len()));
        for feedback in batch.feedback {
            oracle.count("feedback", format!("{:?}", feedback.outcome));
            let message = feedback.original_message_id.parse().unwrap_or_default();
            let result = oracle.messages.told(id, message, feedback.outcome);
            oracle.expect(result);
        }
    }
    if complete && actor.client.complete_feedback(batch.id).await.is_ok() {
        actor.shared.oracle.lock().messages.batch_settled(id);
    } else if !complete {
        let _ = actor.client.abandon_feedback(batch.id, 1000).await; // else its lock ends some time
    }
    true
}
