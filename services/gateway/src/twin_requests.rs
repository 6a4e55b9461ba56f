//! What a device asks of its twin, the same for every protocol head (mqtt §7, amqp §5.5).

use model::{
    ConnectionId, Principal,
    twin::{InvalidPatch, Patch},
};
use serde_json::json;
use shard_client::{TwinError, Unavailable};

use crate::{Front, metrics::TwinOperation, tracking::tracking_id};

/// A request of a device.
#[derive(Debug)]
pub(crate) enum TwinRequest {
    Get,
    /// JSON text.
    Patch {
        expected_version: Option<u64>,
        patch: Vec<u8>,
    },
}

impl TwinRequest {
    /// As it is counted.
    pub fn operation(&self) -> TwinOperation {
        match self {
            Self::Get => TwinOperation::Get,
            Self::Patch { .. } => TwinOperation::Report,
        }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum TwinOutcome {
    /// JSON text.
    Got(Vec<u8>),
    Reported {
        version: u64,
    },
    Failed(TwinFailure),
}

/// Number and name of an error; the status is the number's first three digits (rest §21.3).
#[derive(Clone, Copy, Debug)]
struct Code(u32, &'static str);

const ARGUMENT_INVALID: Code = Code(400_004, "ArgumentInvalid");
const PRECONDITION_FAILED: Code = Code(412_001, "PreconditionFailed");
const SERVER_BUSY: Code = Code(503_005, "ServerBusy");

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct TwinFailure {
    code: Code,
    message: String,
}

/// Some ends of a request are those of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    Deleted,
    Replaced,
}

/// Reads or writes the twin of the device that is connected so.
pub(crate) async fn run(
    front: &Front,
    principal: &Principal,
    connection_id: ConnectionId,
    request: TwinRequest,
) -> Result<TwinOutcome, SessionEnd> {
    match request {
        TwinRequest::Get => match front.shard_client.get_twin(principal).await {
            Ok(Some(document)) => Ok(TwinOutcome::Got(document.twin.to_device_json().to_string().into_bytes())),
            Ok(None) => Err(SessionEnd::Deleted),
            Err(unavailable) => Ok(unavailable.into()),
        },
        TwinRequest::Patch { expected_version, patch } => {
            let patch = match Patch::parse_text(&patch) {
                Ok(patch) => patch,
                Err(invalid) => return Ok(invalid.into()),
            };
            match front.shard_client.update_reported(principal, connection_id, expected_version, &patch).await {
                Ok(version) => Ok(TwinOutcome::Reported { version }),
                Err(TwinError::NotFound) => Err(SessionEnd::Deleted),
                Err(TwinError::ConnectionReplaced) => Err(SessionEnd::Replaced),
                Err(error @ TwinError::PreconditionFailed(_)) => {
                    Ok(TwinOutcome::Failed(TwinFailure::precondition_failed(error.to_string())))
                }
                Err(TwinError::TooLarge(message)) => Ok(TwinOutcome::failed(ARGUMENT_INVALID, message)),
                Err(TwinError::Unavailable(unavailable)) => Ok(unavailable.into()),
            }
        }
    }
}

impl From<InvalidPatch> for TwinOutcome {
    fn from(invalid: InvalidPatch) -> Self {
        Self::failed(ARGUMENT_INVALID, invalid.to_string())
    }
}

impl From<Unavailable> for TwinOutcome {
    fn from(unavailable: Unavailable) -> Self {
        Self::failed(SERVER_BUSY, format!("The registry cannot answer now: {unavailable}"))
    }
}

impl TwinOutcome {
    fn failed(code: Code, message: String) -> Self {
        Self::Failed(TwinFailure { code, message })
    }

    /// As it is counted.
    pub fn result(&self) -> &'static str {
        match self {
            Self::Got(_) | Self::Reported { .. } => "ok",
            Self::Failed(failure) => failure.code.1,
        }
    }
}

impl TwinFailure {
    /// The version that was expected is not the one there is.
    pub fn precondition_failed(message: impl Into<String>) -> Self {
        Self { code: PRECONDITION_FAILED, message: message.into() }
    }

    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { code: ARGUMENT_INVALID, message: message.into() }
    }

    /// Come again.
    pub fn busy() -> Self {
        Self { code: SERVER_BUSY, message: "The registry cannot answer now".to_owned() }
    }

    /// As in HTTP.
    pub fn status(&self) -> u32 {
        self.code.0 / 1000
    }

    /// JSON text for the device.
    pub fn body(&self) -> Vec<u8> {
        let body = json!({
            "errorCode": self.code.0,
            "trackingId": tracking_id(),
            "message": self.message,
            "timestampUtc": crate::front::now().to_string(),
            "info": null,
        });
        body.to_string().into_bytes()
    }
}
