//! Which operation a request is (rest §1.4, §1.12).

use std::{fmt::Display, str::FromStr, time::Duration};

use http::{HeaderValue, Method, Request, Response, request::Parts};
use hyper::body::Incoming;
use model::{DeviceId, ModuleId, Principal};
use shard_client::Settle;
use tokio::time::timeout;

use super::{
    Context, backup,
    body::Body,
    bulk, cluster, device_bound, devices,
    error::ApiError,
    events, explain, feedback, header_case, methods, modules,
    path::segments,
    query::Query,
    regenerate_keys, settings, statistics, telemetry,
    twins::{self, Part, Write},
    websocket,
};
use crate::{tracking::tracking_id, websocket::SubProtocol};

/// A longer path is cut in the log.
const LOGGED_PATH_LENGTH_MAX: usize = 300;

/// A request, understood as far as all operations need it.
pub(super) struct Call<'a> {
    pub context: &'a Context,
    pub parts: Parts,
    pub query: Query,
    pub body: Incoming,
}

/// Answers a request; every error becomes a response.
pub(super) async fn answer(context: &Context, request: Request<Incoming>) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let within = match segments(&path).last() {
        // How long a method may take is its caller's to say.
        Some(last) if last.eq_ignore_ascii_case("methods") => methods::REQUEST_MAX,
        _ => Duration::from_secs(context.front.config.https.request_timeout_seconds),
    };
    let outcome = timeout(within, run(context, request)).await.unwrap_or_else(|_| Err(ApiError::timeout()));
    let mut response = outcome.unwrap_or_else(|error| fail(context, &method, &path, error));
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        response.headers_mut().insert("x-ms-request-id", id);
    }
    context.front.metrics.https_responses.with_label_values(&[response.status().as_str()]).inc();
    header_case::apply(&mut response).await;
    response
}

/// The error as a response, and a line in the log that its tracking id leads to.
fn fail(context: &Context, method: &Method, path: &str, error: ApiError) -> Response<Body> {
    let (tracking_id, status, code, peer) = (tracking_id(), error.status().as_u16(), error.name(), context.peer);
    let path: String = path.chars().take(LOGGED_PATH_LENGTH_MAX).collect();
    // Who is not let in, and what the hub cannot do, is an operator's business; other mistakes are their caller's.
    if status == 401 || status >= 500 {
        tracing::warn!(tracking_id, status, code, %method, path, %peer, reason = %error, "a request failed");
    } else {
        tracing::debug!(tracking_id, status, code, %method, path, %peer, reason = %error, "a request failed");
    }
    error.into_response(&tracking_id)
}

async fn run(context: &Context, request: Request<Incoming>) -> Result<Response<Body>, ApiError> {
    let (parts, body) = request.into_parts();
    let method = method(&parts);
    let segments = segments(parts.uri.path());
    let query = Query::parse(parts.uri.query());
    let call = Call { context, parts, query, body };
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let literal: Vec<&str> = lower.iter().map(String::as_str).collect();
    let id = |position: usize| segments.get(position).map(String::as_str).unwrap_or_default();
    if literal == ["ironhub", "v1", "events"] {
        return only(method, "GET")?.then(events::read(call)).await;
    }
    if let ["ironhub", "v1", "explain", _] | ["ironhub", "v1", "explain", _, "modules", _] = literal.as_slice() {
        let path: Vec<&str> = segments.iter().skip(3).map(String::as_str).collect();
        return only(method, "GET")?.then(explain::explain(call, &path)).await;
    }
    if literal == ["ironhub", "v1", "backup"] {
        return only(method, "GET")?.then(backup::backup(call)).await;
    }
    if literal == ["ironhub", "v1", "restore"] {
        return only(method, "POST")?.then(backup::restore(call)).await;
    }
    if let ["ironhub", "v1", "cluster", rest @ ..] = literal.as_slice() {
        return cluster::answer(call, &method, rest).await;
    }
    if let ["ironhub", "v1", rest @ ..] = literal.as_slice() {
        let name = segments.get(3).map(String::as_str).unwrap_or_default();
        return settings::answer(call, &method, rest, name).await;
    }
    if literal == ["$iothub", "websocket"] {
        return only(method, "GET")?.then(websocket::open(call, &[SubProtocol::Mqtt, SubProtocol::Amqp])).await;
    }
    // Where Event Hubs readers look.
    if literal == ["$servicebus", "websocket"] {
        return only(method, "GET")?.then(websocket::open(call, &[SubProtocol::Amqp])).await;
    }
    call.query.check_api_version()?;
    match *literal.as_slice() {
        ["devices"] => match method {
            Method::GET => devices::list(call).await,
            Method::POST => bulk::change(call).await,
            _ => Err(ApiError::method_not_allowed("GET, POST")),
        },
        ["devices", "keys", "regenerate"] => only(method, "POST")?.then(regenerate_keys::run(call)).await,
        ["devices", _] => match method {
            Method::GET => devices::get(call, device_id(id(1))?).await,
            Method::PUT => devices::put(call, device_id(id(1))?).await,
            Method::DELETE => devices::delete(call, device_id(id(1))?).await,
            _ => Err(ApiError::method_not_allowed("GET, PUT, DELETE")),
        },
        ["devices", _, "modules"] => only(method, "GET")?.then(modules::list(call, device_id(id(1))?)).await,
        ["devices", _, "modules", _] => {
            let (device_id, module_id) = (device_id(id(1))?, module_id(id(3))?);
            match method {
                Method::GET => modules::get(call, device_id, module_id).await,
                Method::PUT => modules::put(call, device_id, module_id).await,
                Method::DELETE => modules::delete(call, device_id, module_id).await,
                _ => Err(ApiError::method_not_allowed("GET, PUT, DELETE")),
            }
        }
        ["devices", _, "commands"] => only(method, "DELETE")?.then(device_bound::purge(call, device_id(id(1))?)).await,
        ["devices", _, "messages", "devicebound", ref rest @ ..] => {
            device_bound(call, method, device_id(id(1))?, rest, id(4)).await
        }
        ["messages", "servicebound", "feedback", ref rest @ ..] => match (method, rest) {
            (Method::GET, []) => feedback::receive(call).await,
            (Method::DELETE, [_]) => feedback::settle(call, id(3), true).await,
            (Method::POST, [_, "abandon"]) => feedback::settle(call, id(3), false).await,
            (_, []) => Err(ApiError::method_not_allowed("GET")),
            (_, [_]) => Err(ApiError::method_not_allowed("DELETE")),
            (_, [_, "abandon"]) => Err(ApiError::method_not_allowed("POST")),
            _ => Err(ApiError::not_found()),
        },
        ["twins", _, "methods"] => {
            let principal = Principal::device(device_id(id(1))?);
            only(method, "POST")?.then(methods::invoke(call, principal)).await
        }
        ["twins", _, "modules", _, "methods"] => {
            let principal = Principal::module(device_id(id(1))?, module_id(id(3))?);
            only(method, "POST")?.then(methods::invoke(call, principal)).await
        }
        ["twins", _, ref part @ ..] if let Some(part) = twin_part(part) => {
            let principal = Principal::device(device_id(id(1))?);
            twin(call, method, principal, part).await
        }
        ["twins", _, "modules", _, ref part @ ..] if let Some(part) = twin_part(part) => {
            let principal = Principal::module(device_id(id(1))?, module_id(id(3))?);
            twin(call, method, principal, part).await
        }
        ["statistics", "devices"] => only(method, "GET")?.then(statistics::of_registry(call)).await,
        ["statistics", "service"] => only(method, "GET")?.then(statistics::of_service(call)).await,
        ["devices", _, "messages", "events"] => {
            let sender = Principal::device(device_id(id(1))?);
            only(method, "POST")?.then(telemetry::send(call, sender)).await
        }
        ["devices", _, "modules", _, "messages", "events"] => {
            let sender = Principal::module(device_id(id(1))?, module_id(id(3))?);
            only(method, "POST")?.then(telemetry::send(call, sender)).await
        }
        _ => Err(ApiError::not_found()),
    }
}

/// What the end of the path, and the method, do to a device's queue.
async fn device_bound(
    call: Call<'_>,
    method: Method,
    device_id: DeviceId,
    rest: &[&str],
    lock_token: &str,
) -> Result<Response<Body>, ApiError> {
    // One client encodes the question mark of `?reject`, so that it ends up in the path.
    let (lock_token, in_path) = lock_token.split_once('?').unwrap_or((lock_token, ""));
    let rejects = call.query.get("reject").is_some() || in_path.starts_with("reject");
    match (method, rest) {
        (Method::GET, []) => device_bound::receive(call, device_id).await,
        (Method::POST, []) => device_bound::send(call, device_id).await,
        (Method::DELETE, [_]) => {
            let settle = if rejects { Settle::Reject } else { Settle::Complete };
            device_bound::settle(call, device_id, lock_token, settle).await
        }
        (Method::POST, [_, "abandon"]) => device_bound::settle(call, device_id, lock_token, Settle::Abandon).await,
        (_, []) => Err(ApiError::method_not_allowed("GET, POST")),
        (_, [_]) => Err(ApiError::method_not_allowed("DELETE")),
        (_, [_, "abandon"]) => Err(ApiError::method_not_allowed("POST")),
        _ => Err(ApiError::not_found()),
    }
}

/// The part of a twin that the end of its path names.
fn twin_part(path: &[&str]) -> Option<Part> {
    match path {
        [] => Some(Part::Whole),
        ["tags"] => Some(Part::Tags),
        ["properties", "desired"] => Some(Part::Desired),
        _ => None,
    }
}

async fn twin(call: Call<'_>, method: Method, principal: Principal, part: Part) -> Result<Response<Body>, ApiError> {
    match method {
        Method::GET if part == Part::Whole => twins::get(call, principal).await,
        Method::PATCH => twins::write(call, principal, part, Write::Merge).await,
        Method::PUT => twins::write(call, principal, part, Write::Replace).await,
        _ if part == Part::Whole => Err(ApiError::method_not_allowed("GET, PATCH, PUT")),
        _ => Err(ApiError::method_not_allowed("PATCH, PUT")),
    }
}

/// PATCH may come as POST with a header that says so.
fn method(parts: &Parts) -> Method {
    let overridden =
        parts.headers.get("x-http-method-override").and_then(|name| Method::from_bytes(name.as_bytes()).ok());
    overridden.filter(|_| parts.method == Method::POST).unwrap_or_else(|| parts.method.clone())
}

/// The method is the one that the path knows.
struct Allowed;

fn only(method: Method, allowed: &'static str) -> Result<Allowed, ApiError> {
    if method.as_str() == allowed { Ok(Allowed) } else { Err(ApiError::method_not_allowed(allowed)) }
}

impl Allowed {
    async fn then<T>(self, operation: impl Future<Output = T>) -> T {
        operation.await
    }
}

fn device_id(text: &str) -> Result<DeviceId, ApiError> {
    parse_id("device", text)
}

fn module_id(text: &str) -> Result<ModuleId, ApiError> {
    parse_id("module", text)
}

/// An id from a path or body; what is wrong with it is said.
pub(super) fn parse_id<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| ApiError::argument(format!("Invalid {what} id '{text}': {error}")))
}
