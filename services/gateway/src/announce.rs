//! Announcing the connection of an identity whose credential was verified, the same for every protocol head.

use model::{Credentials, Principal};
use shard_client::{AttachError, Attachment, NewAttachment, TwinError, Unavailable};

use crate::Front;

/// An identity that keeps changing while it connects is given up after so many looks.
pub(crate) const TRIES_MAX: usize = 5;

/// Makes the connection the newest one, once what the device says it is (twins §7.1) is stored. `None`: the identity
/// changed since it was read; it has to be read and verified again.
pub(crate) async fn announce(
    front: &Front,
    principal: &Principal,
    credentials: &Credentials,
    clean_session: bool,
    model_id: Option<&str>,
) -> Result<Option<Attachment>, Unavailable> {
    if let Some(model_id) = model_id {
        match front.shard_client.announce_model(principal, model_id).await {
            Ok(()) => {}
            Err(TwinError::Unavailable(error)) => return Err(error),
            Err(_) => return Ok(None), // deleted since
        }
    }
    let attach = NewAttachment {
        principal: principal.clone(),
        credentials: credentials.clone(),
        clean_session,
        model_id: model_id.map(str::to_owned),
    };
    match front.shard_client.attach(attach).await {
        Ok(attachment) => Ok(Some(attachment)),
        Err(AttachError::IdentityChanged) => Ok(None),
        Err(AttachError::Unavailable(error)) => Err(error),
    }
}
