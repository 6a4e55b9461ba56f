//! One direct method from its caller's side: waits for the device, then for its answer (twins §3.2).

use std::{sync::Arc, time::Duration};

use model::Principal;
use proto::shard::v1::{
    InvokeMethodRequest, InvokeMethodResponse, MethodAnswer, MethodFailure, invoke_method_response::Outcome,
};
use tokio::time::timeout;
use tonic::Status;

use super::{Leader, leader::UnderWay, not_leader_status};
use crate::{
    group::Refusal,
    sessions::{Call, EXPECTED_FOR},
    state,
};

/// Neither wait is longer (twins §3.1).
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// Invokes the method. An error means that nothing was delivered: this node cannot do it.
pub async fn invoke(leader: &Arc<Leader>, request: InvokeMethodRequest) -> Result<InvokeMethodResponse, Status> {
    let Some(Ok(principal)) = request.principal.as_ref().map(Principal::try_from) else {
        return Err(Status::invalid_argument("no principal"));
    };
    let view = leader.group.read().await.map_err(|refusal| match refusal {
        Refusal::NotLeader { .. } => not_leader_status(leader),
        _ => Status::unavailable("the group cannot be read now"),
    })?;
    let credentials = state::credentials(&view, &principal).map_err(|error| Status::unavailable(error.to_string()))?;
    drop(view);
    let is_there = credentials.is_some_and(|known| {
        let is_enabled = known.device.is_some_and(|device| !device.disabled);
        is_enabled && principal.module_id.is_some() == known.module.is_some()
    });
    let outcome = match is_there {
        true => call(leader, &principal, request).await?,
        false => Err(MethodFailure::NotFound),
    };
    let outcome = outcome.map_or_else(|failure| Outcome::Failure(failure as i32), Outcome::Answer);
    Ok(InvokeMethodResponse { outcome: Some(outcome) })
}

async fn call(
    leader: &Arc<Leader>,
    principal: &Principal,
    request: InvokeMethodRequest,
) -> Result<Result<MethodAnswer, MethodFailure>, Status> {
    let within = |milliseconds: u32| Duration::from_millis(milliseconds.into()).min(TIMEOUT_MAX);
    let mut connect_within = within(request.connect_timeout_milliseconds);
    // Right after a change of leader a device that was connected counts as one that connects.
    if leader.with_sessions(|sessions| sessions.is_expected(principal)).unwrap_or(false) {
        connect_within = connect_within.max(EXPECTED_FOR);
    }
    let call = Call { name: request.name, payload: request.payload };
    let under_way = match leader.call_method(principal, call) {
        None => return Err(not_leader_status(leader)),
        Some(Err(_)) => return Ok(Err(MethodFailure::TooMany)),
        Some(Ok(under_way)) => under_way,
    };
    let UnderWay { counter, delivered, answered } = under_way;
    // However this ends, also when the caller goes away.
    let _ends = EndsMethod { leader: leader.clone(), counter };
    match timeout(connect_within, delivered).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Ok(Err(MethodFailure::LeaderLost)),
        Err(_) => return Ok(Err(MethodFailure::NotOnline)),
    }
    Ok(match timeout(within(request.response_timeout_milliseconds), answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(MethodFailure::LeaderLost),
        Err(_) => Err(MethodFailure::TimedOut),
    })
}

struct EndsMethod {
    leader: Arc<Leader>,
    counter: u64,
}

impl Drop for EndsMethod {
    fn drop(&mut self) {
        self.leader.end_method(self.counter);
    }
}
