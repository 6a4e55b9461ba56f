//! A client of the hub's HTTPS API that acts as its owner.

use std::{
    error::Error,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use model::{SymmetricKey, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{
    HubConfig, HubError,
    config::Files,
    connect::{HttpClient, http_client},
    state::HubState,
};

const API_VERSION: &str = "2021-04-12";
/// For a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// A token is made for every request; it must outlive clocks that differ.
const TOKEN_SECONDS: i64 = 3600;

/// Speaks to one hub with what was in the files when it was made.
pub struct HubClient {
    http: HttpClient,
    address: String,
    host_name: String,
    policy: String,
    keys: Vec<SymmetricKey>,
    /// Which of them opened last.
    key: AtomicUsize,
    files: Files,
}

impl HubClient {
    /// Reads the files. Nobody is asked yet.
    pub fn open(config: &HubConfig) -> Result<Self, HubError> {
        let files = Files::read(config)?;
        let keys: Vec<SymmetricKey> = files.keys.iter().filter_map(|key| key.parse().ok()).collect();
        if keys.is_empty() {
            let folder = config.owner_keys_directory.display();
            return Err(HubError::Files(format!(
                "{folder} has neither `primaryKey` nor `secondaryKey` with 16 to 64 bytes in base64: the Secret with the keys \
                 of the policy {}",
                config.owner_policy
            )));
        }
        Ok(Self {
            http: http_client(config, &files.authority)?,
            address: config.address.clone(),
            host_name: config.name().to_owned(),
            policy: config.owner_policy.clone(),
            keys,
            key: AtomicUsize::new(0),
            files,
        })
    }

    /// Whether the files still hold what this was made of.
    pub fn is_current(&self, config: &HubConfig) -> bool {
        Files::read(config).is_ok_and(|files| files == self.files)
    }

    /// Everything that an `IotHub` can name.
    pub async fn state(&self) -> Result<HubState, HubError> {
        HubState::read(self).await
    }

    /// Reads an object.
    pub async fn get<T: for<'de> Deserialize<'de>>(&self, path: &[&str]) -> Result<T, HubError> {
        let answer = self.call(Method::GET, path, None, None).await?;
        serde_json::from_value(answer)
            .map_err(|error| HubError::Answer { what: path.join("/"), cause: error.to_string() })
    }

    /// Asks below `/ironhub/v1`; `Null` when there is no body. The second key is tried when the first one does not open.
    pub async fn call(
        &self,
        method: Method,
        path: &[&str],
        if_match: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, HubError> {
        let what = format!("{method} {}", path.join("/"));
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut refusal = String::new();
        for attempt in 0..self.keys.len() {
            let index = (self.key.load(Ordering::Relaxed) + attempt) % self.keys.len();
            let Some(key) = self.keys.get(index) else { continue };
            let request = self.request(&method, path, if_match, &body, key)?;
            let exchange = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(request)).await;
            let (status, answer) =
                exchange.unwrap_or_else(|_| Err(self.unreachable("it takes too long".to_owned())))?;
            match status {
                StatusCode::UNAUTHORIZED => refusal = text_of(&answer),
                StatusCode::PRECONDITION_FAILED => return Err(HubError::Changed { what }),
                status if status.is_success() => {
                    self.key.store(index, Ordering::Relaxed);
                    return parsed(what, &answer);
                }
                status => return Err(HubError::Refused { what, status: status.as_u16(), text: text_of(&answer) }),
            }
        }
        Err(HubError::Unauthorized { policy: self.policy.clone(), text: refusal })
    }

    fn request(
        &self,
        method: &Method,
        path: &[&str],
        if_match: Option<&str>,
        body: &str,
        key: &SymmetricKey,
    ) -> Result<Request<Full<Bytes>>, HubError> {
        let path: String = path.iter().map(|segment| format!("/{}", encode(segment))).collect();
        let expires = Timestamp::from_unix_milliseconds((jiff::Timestamp::now().as_second() + TOKEN_SECONDS) * 1000);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{}/ironhub/v1{path}?api-version={API_VERSION}", self.address))
            .header(header::HOST, &self.host_name)
            .header(header::AUTHORIZATION, auth::sign(&self.host_name, key, Some(&self.policy), expires))
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .header(header::USER_AGENT, concat!("ironhub-operator/", env!("CARGO_PKG_VERSION")));
        if let Some(etag) = if_match {
            request = request.header(header::IF_MATCH, format!("\"{etag}\""));
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        request.map_err(|error| HubError::Files(format!("{:?} is no address: {error}", self.address)))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), HubError> {
        let response = self.http.request(request).await.map_err(|error| self.unreachable(causes(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| self.unreachable(causes(error.as_ref())))?.to_bytes()))
    }

    fn unreachable(&self, cause: String) -> HubError {
        HubError::Unreachable { address: self.address.clone(), cause }
    }
}

fn parsed(what: String, answer: &[u8]) -> Result<Value, HubError> {
    if answer.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(answer).map_err(|error| HubError::Answer { what, cause: error.to_string() })
}

/// The text of the error envelope, `{"Message": "ErrorCode:NAME;TEXT"}` (rest §21.1), else the body.
fn text_of(answer: &[u8]) -> String {
    let envelope: Option<Value> = serde_json::from_slice(answer).ok();
    let message = envelope.as_ref().and_then(|envelope| envelope.get("Message")?.as_str());
    match message {
        Some(message) => message.split_once(';').map_or(message, |(_, text)| text).to_owned(),
        None => String::from_utf8_lossy(answer).chars().take(200).collect(),
    }
}

/// An error and what is behind it, in one line.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Percent-encoding of all but unreserved characters.
fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_yields_its_text() {
        let body = br#"{"Message":"ErrorCode:GenericConflict;the last active node stays","ExceptionMessage":""}"#;
        assert_eq!(text_of(body), "the last active node stays");
        assert_eq!(text_of(b"<html>"), "<html>");
        assert_eq!(encode("a#b?c%d@e"), "a%23b%3Fc%25d%40e");
    }

    #[test]
    fn without_keys_or_authority_nobody_is_asked() {
        let config = HubConfig { authority_file: "nowhere.pem".into(), ..HubConfig::default() };
        let error = HubClient::open(&config).err().unwrap();
        assert!(error.to_string().contains("nowhere.pem"), "{error}");
    }
}
