//! The hub's settings: changed by commands to the hub group, watched by everyone.

use std::sync::Arc;

use model::{ConsumerGroup, GroupId, HubSettings, Overrides, RegisteredCertificate, SharedAccessPolicy};
use proto::shard::v1::{
    self, command::Operation, command_result::Outcome, read::Query, read_result::Result as Answer,
    shard_client::ShardClient as Stub,
};
use tokio::sync::watch;

use crate::{
    Inner, SettingsError, ShardClient, Unavailable,
    exchange::MESSAGE_BYTES_MAX,
    nodes::KnownNode,
    trying::{Backoff, leader_hint},
};

/// The settings as of the last word from the hub group; `None` before the first.
pub type SettingsWatch = watch::Receiver<Option<Arc<HubSettings>>>;

impl ShardClient {
    /// The hub's settings, kept current. Stale at most for as long as the hub group has no leader that can be reached.
    pub fn settings(&self) -> SettingsWatch {
        self.inner.settings.clone()
    }

    /// Makes the first settings of a hub; answers the ones that are there when it has some.
    pub async fn initialize_hub(&self, settings: &HubSettings) -> Result<HubSettings, SettingsError> {
        let command = v1::InitializeHub { settings: Some(settings.into()) };
        self.change_settings(Operation::InitializeHub(command)).await
    }

    /// Replaces all policies, unless the settings have changed since the revision that the caller saw.
    pub async fn put_policies(
        &self,
        expected_revision: u64,
        policies: &[SharedAccessPolicy],
    ) -> Result<HubSettings, SettingsError> {
        let command = v1::PutPolicies { expected_revision, policies: policies.iter().map(Into::into).collect() };
        self.change_settings(Operation::PutPolicies(command)).await
    }

    /// Replaces all registered certificates, on the same condition.
    pub async fn put_certificates(
        &self,
        expected_revision: u64,
        certificates: &[RegisteredCertificate],
    ) -> Result<HubSettings, SettingsError> {
        let certificates = certificates.iter().map(Into::into).collect();
        let command = v1::PutCertificates { expected_revision, certificates };
        self.change_settings(Operation::PutCertificates(command)).await
    }

    /// Replaces all consumer groups, on the same condition.
    pub async fn put_consumer_groups(
        &self,
        expected_revision: u64,
        groups: &[ConsumerGroup],
    ) -> Result<HubSettings, SettingsError> {
        let consumer_groups = groups.iter().map(Into::into).collect();
        let command = v1::PutConsumerGroups { expected_revision, consumer_groups };
        self.change_settings(Operation::PutConsumerGroups(command)).await
    }

    /// Replaces what is set for the whole hub, on the same condition.
    pub async fn put_overrides(
        &self,
        expected_revision: u64,
        overrides: &Overrides,
    ) -> Result<HubSettings, SettingsError> {
        let command = v1::PutOverrides { expected_revision, overrides: Some(overrides.into()) };
        self.change_settings(Operation::PutOverrides(command)).await
    }

    /// The settings as they are now; `None` before the hub is initialised.
    pub async fn get_settings(&self) -> Result<Option<HubSettings>, Unavailable> {
        match self.inner.read(GroupId::HUB, Query::GetSettings(v1::GetSettings {})).await? {
            Answer::Settings(settings) => Ok(Some(settings.try_into()?)),
            Answer::NotFound(_) => Ok(None),
            _ => Err(Unavailable::Protocol("a read's answer is of another kind")),
        }
    }

    pub(crate) async fn change_settings(&self, operation: Operation) -> Result<HubSettings, SettingsError> {
        match self.inner.command(GroupId::HUB, operation).await? {
            Outcome::Settings(settings) => Ok(settings.try_into().map_err(Unavailable::from)?),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(Unavailable::Protocol("a command's outcome is of another kind").into()),
        }
    }
}

/// Follows the hub group's leader and keeps `settings` current, for ever.
pub(crate) async fn watch_settings(client: Arc<Inner>, settings: watch::Sender<Option<Arc<HubSettings>>>) {
    let mut backoff = Backoff::new();
    loop {
        let node = client.nodes.leader_of(GroupId::HUB);
        match follow(node.as_deref(), &settings).await {
            Ok(()) => backoff = Backoff::new(),
            Err(status) => {
                tracing::debug!(%status, "no watch of the hub's settings");
                let asked = node.map_or(0, |node| node.id);
                client.nodes.correct(GroupId::HUB, asked, leader_hint(&status));
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Until the stream ends.
async fn follow(
    node: Option<&KnownNode>,
    settings: &watch::Sender<Option<Arc<HubSettings>>>,
) -> Result<(), tonic::Status> {
    let node = node.ok_or_else(|| tonic::Status::unavailable("no node is known"))?;
    let mut stub = Stub::new(node.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut stream = stub.watch_settings(v1::WatchSettingsRequest {}).await?.into_inner();
    while let Some(message) = stream.message().await? {
        let newer = HubSettings::try_from(message).map_err(|error| tonic::Status::internal(error.to_string()))?;
        settings.send_if_modified(|held| {
            // A new leader may be read before an old one's last word arrives.
            let news = held.as_ref().is_none_or(|held| held.revision < newer.revision);
            if news {
                *held = Some(Arc::new(newer));
            }
            news
        });
    }
    Ok(())
}
