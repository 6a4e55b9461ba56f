//! How everyone but the shards speaks to the shards.
//!
//! ```text
//!   callers --request--> queue of a node --batched frames--> Exchange stream --> node --> leader of the group
//!   connections --attach--> attachments of a group --------> Attach stream ----> leader of the group
//!           <--mailbox--                            <------- replaced, deleted, identity changed
//!   readers of the events --claim-----------------------------> ClaimReceiver --> leader of the hub group
//!   everyone <--settings() watch------------------- WatchSettings stream <------ leader of the hub group
//! ```
//!
//! It finds the nodes (a fixed list, or discovery from a few seeds) and the leaders (hints of refusals, or trying around), sends a command again under the same id until it is
//! answered or its time is over, and attaches live connections again after a change of leader. It knows nothing of
//! protocols, credentials or what the state means. Requests end in an answer or in [`Unavailable`], never in silence.

use std::sync::Arc;

use model::{DeviceId, GroupId, HubSettings, Principal, group_of};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

mod attach;
mod backup;
mod bulk;
mod cluster;
mod commands;
mod config;
mod discovery;
mod error;
mod exchange;
mod file_notifications;
mod mailbox;
mod messages;
mod methods;
mod nodes;
mod receivers;
mod registry;
mod request;
mod session;
mod settings;
mod trying;
mod twin;

pub use attach::{Attachment, NewAttachment};
pub use backup::{BackupError, RestoreError, Restored};
pub use bulk::{Change, Changed};
pub use cluster::{ClusterDescription, ClusterError, ClusterGroup, ClusterNode, NodeState, Replica};
pub use config::{Config, Node};
pub use discovery::{Connect, DescribedNode, Discovery, Undescribed};
pub use error::{AttachError, MessageError, RegistryError, SessionError, SettingsError, TwinError, Unavailable};
pub use file_notifications::{FileNotification, UploadedFile};
pub use mailbox::{DesiredUpdate, Mailbox, MethodCall, SessionEvent};
pub use messages::{
    Acknowledge, Feedback, FeedbackBatch, FeedbackOutcome, Holder, NewMessage, NoticeId, Received, ReceivedMessage,
    Settle,
};
pub use methods::{MethodAnswer, MethodCallId, MethodError, MethodRequest};
pub use receivers::{ClaimError, ClaimedReceiver, Displaced, Displacer, NewReceiver};
pub use registry::{Precondition, Statistics};
pub use settings::SettingsWatch;
pub use twin::TwinDocument;

/// A client of all shard nodes of a hub. Cheap to clone; the last clone takes the streams with it.
#[derive(Clone)]
pub struct ShardClient {
    inner: Arc<Inner>,
    running: Arc<DropGuard>,
}

/// What callers and background tasks share.
struct Inner {
    config: Config,
    nodes: nodes::Nodes,
    /// One for each group, the hub group first.
    command_ids: Vec<commands::CommandIds>,
    /// One for each device group.
    attachments: Vec<Arc<attach::Attachments>>,
    settings: watch::Receiver<Option<Arc<HubSettings>>>,
    /// The client is at its end.
    ended: CancellationToken,
}

impl Inner {
    fn group_of(&self, device_id: &DeviceId) -> GroupId {
        group_of(device_id, self.config.groups)
    }

    fn attachments_of(&self, principal: &Principal) -> Option<&Arc<attach::Attachments>> {
        self.attachments.get(self.group_of(&principal.device_id).0.checked_sub(1)? as usize)
    }
}

impl ShardClient {
    /// Starts the client's streams. Nodes need not be there yet; requests wait for them until their time is over.
    /// Must be called within a tokio runtime.
    pub async fn connect(config: Config) -> Self {
        let cancelled = CancellationToken::new();
        let nodes = nodes::Nodes::new(config.groups, config.queue_length_max);
        config.nodes.iter().for_each(|node| nodes.put(node.clone(), &cancelled));
        let (settings_sender, settings) = watch::channel(None);
        let inner = Arc::new(Inner {
            nodes,
            command_ids: (0..=config.groups).map(|_| commands::CommandIds::default()).collect(),
            attachments: GroupId::devices(config.groups)
                .map(|group| Arc::new(attach::Attachments::new(group)))
                .collect(),
            config,
            settings,
            ended: cancelled.clone(),
        });
        for attachments in &inner.attachments {
            let work = attach::run(inner.clone(), attachments.clone());
            spawn_until(&cancelled, work);
        }
        spawn_until(&cancelled, settings::watch_settings(inner.clone(), settings_sender));
        if let Some(discovery) = &inner.config.discovery {
            spawn_until(&cancelled, discovery::run(inner.clone(), discovery.clone(), cancelled.clone()));
        }
        Self { inner, running: Arc::new(cancelled.drop_guard()) }
    }

    /// Ends all streams; requests under way end in [`Unavailable`]. The shards keep the connections of this gateway for
    /// the time that streams have to come back, so detach them first.
    pub fn shutdown(&self) {
        self.running.token().cancel();
    }

    /// Device groups of the hub.
    pub fn groups(&self) -> u32 {
        self.inner.config.groups
    }
}

fn spawn_until(cancelled: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let cancelled = cancelled.clone();
    tokio::spawn(async move { cancelled.run_until_cancelled(work).await });
}
