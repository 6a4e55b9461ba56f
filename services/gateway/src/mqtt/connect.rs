//! From a connection that may begin to an admitted one (mqtt §2.3).

use std::{net::SocketAddr, sync::Arc, time::Instant};

use auth::{ClientCertificate, Presented, Refusal};
use model::{Credentials, Principal};
use mqtt::{Connect, ConnectReturnCode, Event, ServerConnection, Violation};
use shard_client::{Attachment, SessionError, Unavailable};
use tokio::time::timeout_at;

use super::{Head, close::Close, connection::Connection, username::Username, will::Will};
use crate::{
    Front, announce,
    arrival::{Arrived, say_goodbye},
    history::Incident,
    telemetry::Stamp,
    tls::ReadOutcome,
    transport::Transport,
};

/// CONNECT, credential, attach, CONNACK. `None`: refused or gone; said and logged already.
pub(super) async fn introduce(head: Head, arrived: Arrived) -> Option<Connection> {
    let Arrived { mut socket, certificate, peer, place, unproved, since, mut plain } = arrived;
    let mut protocol = ServerConnection::new(&head.limits, since);
    let connect = tokio::select! {
        connect = read_connect(&head, &mut socket, &mut protocol, &mut plain) => connect,
        () = place.draining() => return None,
        () = unproved.evicted() => return None,
    };
    drop(unproved);
    let connect = match connect {
        Ok(connect) => connect,
        Err(close) => {
            let mut last_words = Vec::new();
            if let Close::Violation(violation) = &close {
                protocol.answer_violation(*violation, &mut last_words);
            }
            say(&mut socket, &last_words).await;
            tracing::debug!(%peer, reason = %close, "no CONNECT");
            return None;
        }
    };
    match admit(&head.front, &connect, certificate.as_deref()).await {
        Ok(admitted) => {
            let mut answer = Vec::new();
            protocol.accept(admitted.attachment.session_present, &mut answer);
            plain.shrink_to_fit();
            Some(Connection::new(&head, socket, protocol, place, peer, plain, admitted, answer))
        }
        Err(refused) => {
            refused.log(&head.front, &connect, peer);
            let mut answer = Vec::new();
            protocol.refuse(refused.return_code(), &mut answer);
            say(&mut socket, &answer).await;
            None
        }
    }
}

/// Reads until the CONNECT is complete; what came behind it stays in `plain`.
async fn read_connect(
    head: &Head,
    socket: &mut Transport,
    protocol: &mut ServerConnection,
    plain: &mut Vec<u8>,
) -> Result<Box<Connect>, Close> {
    let mut out = Vec::new();
    loop {
        match protocol.receive(plain, &head.limits, Instant::now(), &mut out)? {
            Some((Event::Connect(connect), length)) => {
                plain.drain(..length);
                return Ok(connect);
            }
            Some(_) => return Err(Violation::NotConnect.into()),
            None => {}
        }
        let read = std::future::poll_fn(|context| socket.poll_read(context, plain));
        match timeout_at(protocol.deadline().into(), read).await {
            Ok(Ok(ReadOutcome::Some)) => {}
            Ok(Ok(ReadOutcome::End)) => return Err(Close::PeerClosed),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(Violation::ConnectTimeout.into()),
        }
    }
}

async fn say(socket: &mut Transport, words: &[u8]) {
    let written = std::future::poll_fn(|context| std::task::Poll::Ready(socket.write(context, words))).await;
    if written.is_ok() {
        socket.queue_close();
        say_goodbye(socket).await;
    }
}

/// What a connection needs to know of its identity.
pub(super) struct Admitted {
    pub principal: Principal,
    pub authenticated: auth::Authenticated,
    pub attachment: Attachment,
    pub stamp: Stamp,
    pub clean_session: bool,
    pub will: Option<Box<Will>>,
    /// As they were when the credential was verified.
    pub credentials: Credentials,
}

/// Why a CONNECT was answered with a refusal.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no user name")]
    NoUsername,
    #[error("{0}")]
    Username(#[from] super::username::InvalidUsername),
    #[error("the client id {0:?} is not the identity of the user name")]
    ClientId(String),
    #[error("the user name is for the host {0:?}, not for this hub")]
    Host(String),
    #[error("{0}")]
    Credential(#[from] Refusal),
    #[error("the registry cannot answer: {0}")]
    Unavailable(#[from] Unavailable),
    #[error("the hub's settings have not arrived yet")]
    NotReady,
    #[error("the identity keeps changing")]
    Unstable,
}

impl Refused {
    /// 5 for everything about the credential, 3 for what passes (mqtt §2.4).
    fn return_code(&self) -> ConnectReturnCode {
        match self {
            Self::Credential(refusal) if refusal.is_disabled() => ConnectReturnCode::ServerUnavailable,
            Self::Unavailable(_) | Self::NotReady | Self::Unstable => ConnectReturnCode::ServerUnavailable,
            _ => ConnectReturnCode::NotAuthorized,
        }
    }

    fn cause(&self) -> &'static str {
        match self {
            Self::NoUsername => "no_username",
            Self::Username(_) => "username",
            Self::ClientId(_) => "client_id",
            Self::Host(_) => "host",
            Self::Credential(refusal) => refusal.name(),
            Self::Unavailable(_) => "unavailable",
            Self::NotReady => "not_ready",
            Self::Unstable => "unstable",
        }
    }

    fn log(&self, front: &Front, connect: &Connect, peer: SocketAddr) {
        front.metrics.refusals.with_label_values(&[self.cause()]).inc();
        let client_id: String = connect.client_id.chars().take(257).collect();
        tracing::warn!(client_id, %peer, cause = self.cause(), reason = %self, "a device was refused");
        let (time, cause, reason) = (front.now(), self.cause(), self.to_string());
        front.history.refused(&client_id, Incident { time, peer, protocol: "MQTT", cause, reason });
    }
}

/// Checks in the order of mqtt §2.3, then announces the connection.
async fn admit(
    front: &Arc<Front>,
    connect: &Connect,
    certificate: Option<&ClientCertificate>,
) -> Result<Admitted, Refused> {
    let username = Username::parse(connect.username.as_deref().ok_or(Refused::NoUsername)?)?;
    let principal = username.principal.clone();
    if principal.to_string() != connect.client_id {
        return Err(Refused::ClientId(connect.client_id.chars().take(257).collect()));
    }
    if !front.host_names.contains(username.host) {
        return Err(Refused::Host(username.host.to_owned()));
    }
    let settings = front.settings().ok_or(Refused::NotReady)?;
    let presented = match (connect.password.as_deref().filter(|password| !password.is_empty()), certificate) {
        (Some(token), _) => Presented::Token(token),
        (None, Some(certificate)) => Presented::Certificate(certificate),
        (None, None) => Presented::Nothing,
    };
    for _ in 0..announce::TRIES_MAX {
        let credentials = front.shard_client.get_credentials(&principal).await?;
        let hosts = &front.host_names;
        let authenticated =
            auth::authenticate(&principal, credentials.as_ref(), presented, &settings, hosts, front.now())?;
        let credentials = credentials.ok_or(Refusal::UnknownIdentity)?;
        let model_id = username.model_id.as_deref();
        if connect.clean_session && !forget_session(front, &principal).await? {
            continue;
        }
        let announced = announce::announce(front, &principal, &credentials, connect.clean_session, model_id).await?;
        let Some(attachment) = announced else { continue };
        let stamp = Stamp::new(front, &principal, &credentials, authenticated.method, model_id);
        let will = connect.will.as_ref().and_then(|will| Will::of(will, &principal)).map(Box::new);
        let clean_session = connect.clean_session;
        return Ok(Admitted { principal, authenticated, attachment, stamp, clean_session, will, credentials });
    }
    Err(Refused::Unstable)
}

/// False: a newer connection came meanwhile; look again.
async fn forget_session(front: &Front, principal: &Principal) -> Result<bool, Unavailable> {
    match front.shard_client.clear_session(principal).await {
        Ok(()) | Err(SessionError::NotFound | SessionError::TooManySubscriptions) => Ok(true),
        Err(SessionError::ConnectionReplaced) => Ok(false),
        Err(SessionError::Unavailable(error)) => Err(error),
    }
}
