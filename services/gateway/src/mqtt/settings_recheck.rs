//! Whether a change of the hub's settings takes a live connection's credential away (security §9).

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use auth::{Fingerprint, Refusal, recheck};
use model::{Credentials, Principal};
use shard_client::SettingsWatch;

/// Follows the hub's settings for one connection.
pub(super) struct SettingsRecheck {
    settings: SettingsWatch,
    changed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// As the registry has them now.
    pub credentials: Credentials,
}

impl SettingsRecheck {
    pub fn new(settings: SettingsWatch, credentials: Credentials) -> Self {
        let changed = Self::next(&settings);
        Self { settings, changed, credentials }
    }

    /// Fails when the settings changed so that what the connection used opens nothing any more.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        fingerprint: &Fingerprint,
        principal: &Principal,
    ) -> Result<(), Refusal> {
        while let Poll::Ready(()) = self.changed.as_mut().poll(context) {
            let settings = self.settings.borrow_and_update().clone();
            self.changed = Self::next(&self.settings);
            if let Some(settings) = settings {
                recheck(fingerprint, principal, Some(&self.credentials), &settings)?;
            }
        }
        Ok(())
    }

    fn next(settings: &SettingsWatch) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut settings = settings.clone();
        Box::pin(async move {
            if settings.changed().await.is_err() {
                std::future::pending::<()>().await; // the client is gone, and with it the gateway
            }
        })
    }
}
