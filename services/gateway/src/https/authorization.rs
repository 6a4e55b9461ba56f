//! Who calls, and may they (rest §2).

use auth::{Authenticated, Operation, Presented, Refusal, SasToken};
use http::{HeaderMap, header};
use model::{Credentials, DeviceId, Principal};

use super::{Context, error::ApiError};
use crate::history::Incident;

/// Checks a service operation on a resource, given as path segments.
pub(super) fn authorize(
    context: &Context,
    headers: &HeaderMap,
    operation: Operation,
    resource: &[&str],
) -> Result<(), ApiError> {
    let front = &context.front;
    let token = token(headers).ok_or_else(ApiError::no_credential)?;
    let settings = front.settings().ok_or_else(ApiError::settings_missing)?;
    let authorized = auth::authorize(token, operation, resource, &settings, &front.host_names, front.now());
    authorized.map(drop).map_err(|refusal| refuse(context, &refusal))
}

/// Checks an operation on the modules of a device, which the device itself may do as well: the runtime of IoT Edge
/// manages its modules so (rest §2.4, §19.3).
pub(super) async fn authorize_modules(
    context: &Context,
    headers: &HeaderMap,
    operation: Operation,
    device_id: &DeviceId,
    resource: &[&str],
) -> Result<(), ApiError> {
    let by_identity = match token(headers) {
        Some(token) => SasToken::parse(token).is_ok_and(|token| token.is_of_identity()),
        None => context.certificate.is_some(),
    };
    if !by_identity {
        return authorize(context, headers, operation, resource);
    }
    authenticate(context, headers, &Principal::device(device_id.clone())).await.map(drop)
}

/// A device or module proves who it is: its own token or certificate, or a policy's token with DeviceConnect.
pub(super) async fn authenticate(
    context: &Context,
    headers: &HeaderMap,
    principal: &Principal,
) -> Result<(Credentials, Authenticated), ApiError> {
    let front = &context.front;
    let settings = front.settings().ok_or_else(ApiError::settings_missing)?;
    let presented = match (token(headers), &context.certificate) {
        (Some(token), _) => Presented::Token(token),
        (None, Some(certificate)) => Presented::Certificate(certificate),
        (None, None) => return Err(ApiError::no_credential()),
    };
    let credentials = front.shard_client.get_credentials(principal).await?;
    let (hosts, now) = (&front.host_names, front.now());
    match auth::authenticate(principal, credentials.as_ref(), presented, &settings, hosts, now) {
        Ok(authenticated) => Ok((credentials.ok_or_else(ApiError::no_credential)?, authenticated)),
        Err(Refusal::UnknownIdentity) if may_know(context, headers, principal) => Err(unknown(principal)),
        Err(refusal) => {
            let (cause, reason) = (refusal.name(), refusal.to_string());
            let incident = Incident { time: front.now(), peer: context.peer, protocol: "HTTPS", cause, reason };
            front.history.refused(&principal.to_string(), incident);
            Err(refuse(context, &refusal))
        }
    }
}

/// Only who could act for every device learns that there is none of that name.
fn may_know(context: &Context, headers: &HeaderMap, principal: &Principal) -> bool {
    let resource = ["devices", principal.device_id.as_str()];
    authorize(context, headers, Operation::SendTelemetry, &resource).is_ok()
}

fn unknown(principal: &Principal) -> ApiError {
    match &principal.module_id {
        None => ApiError::device_not_found(&principal.device_id),
        Some(module_id) => ApiError::module_not_found(&principal.device_id, module_id),
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()
}

/// Counted by cause; the line in the log is that of the failed request.
fn refuse(context: &Context, refusal: &Refusal) -> ApiError {
    context.front.metrics.refusals.with_label_values(&[refusal.name()]).inc();
    refusal.clone().into()
}
