//! The service and its client over an in-process connection, one voter, a real disk.

use std::{sync::Arc, time::Duration};

use model::{
    Authentication, ConnectionId, Credentials, DeviceId, DeviceIdentity, DeviceStatus, ETag, HubSettings, Interests,
    ModuleId, ModuleIdentity, Principal, QualityOfService, Record, Rights, SharedAccessPolicy, Subscription,
    SymmetricKey, SymmetricKeys, Timestamp,
};
use proto::shard::v1::{self, gateway_frame, shard_client::ShardClient as Stub, shard_frame};
use shard::{Config, Shard};
use shard_client::{
    Acknowledge, AttachError, Attachment, NewAttachment, NewMessage, Node, Precondition, RegistryError, SessionError,
    SessionEvent, SettingsError, ShardClient,
};
use tokio::{io::DuplexStream, net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::StreamExt;
use tonic::transport::Channel;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Checked = Result<(), Failure>;

const GROUPS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(10);

struct Hub {
    shard: Shard,
    connector: mpsc::Sender<DuplexStream>,
    directory: tempfile::TempDir,
}

impl Hub {
    async fn start() -> Result<Self, Failure> {
        Self::start_in(tempfile::tempdir()?).await
    }

    async fn start_in(directory: tempfile::TempDir) -> Result<Self, Failure> {
        let config = Config { directory: directory.path().into(), groups: GROUPS, ..Config::default() };
        let mut shard = Shard::start(config).await?;
        let connector = shard.serve_in_process();
        Ok(Self { shard, connector, directory })
    }

    /// A gateway of its own.
    async fn client(&self) -> ShardClient {
        let node = Node::in_process(1, self.connector.clone());
        ShardClient::connect(shard_client::Config::new(vec![node], GROUPS)).await
    }

    async fn stop(self) -> tempfile::TempDir {
        self.shard.shutdown().await;
        self.directory
    }
}

fn keys() -> SymmetricKeys {
    SymmetricKeys { primary: SymmetricKey::from_bytes(&[1; 32]), secondary: SymmetricKey::from_bytes(&[2; 32]) }
}

fn device(device_id: &str) -> Result<DeviceIdentity, Failure> {
    Ok(DeviceIdentity {
        device_id: device_id.parse()?,
        generation_id: "638000000000000000".into(),
        etag: ETag(0),
        status: DeviceStatus::Enabled,
        status_reason: None,
        status_updated_time: None,
        authentication: Authentication::Sas(keys()),
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
        cloud_to_device_message_count: 0,
    })
}

fn module(device_id: &str, module_id: &str) -> Result<ModuleIdentity, Failure> {
    Ok(ModuleIdentity {
        device_id: device_id.parse()?,
        module_id: module_id.parse()?,
        generation_id: "638000000000000001".into(),
        etag: ETag(0),
        managed_by: None,
        authentication: Authentication::Sas(keys()),
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
        cloud_to_device_message_count: 0,
    })
}

fn principal(device_id: &str) -> Result<Principal, Failure> {
    Ok(Principal::device(device_id.parse()?))
}

async fn connect(client: &ShardClient, principal: &Principal) -> Result<Attachment, Failure> {
    let credentials = client.get_credentials(principal).await?.ok_or("not registered")?;
    Ok(client.attach(new_attachment(principal, credentials)).await?)
}

fn new_attachment(principal: &Principal, credentials: Credentials) -> NewAttachment {
    NewAttachment { principal: principal.clone(), credentials, clean_session: false, model_id: None }
}

const NONE: Interests = Interests { methods: false, desired_properties: false, device_bound_messages: false };

fn subscription(filter: &str) -> Subscription {
    Subscription { filter: filter.into(), quality_of_service: QualityOfService::AtLeastOnce, interests: NONE }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_created_read_replaced_and_deleted() -> Checked {
    let hub = Hub::start().await?;
    let client = hub.client().await;
    let wanted = device("d1")?;
    let created = client.put_device(&wanted, Precondition::Absent).await?;
    assert_eq!(created.generation_id, wanted.generation_id);
    assert_eq!(client.get_device(&wanted.device_id).await?, Some(created.clone()));
    assert_eq!(client.put_device(&wanted, Precondition::Absent).await, Err(RegistryError::DeviceAlreadyExists));

    let disabled = DeviceIdentity { status: DeviceStatus::Disabled, ..wanted.clone() };
    let replaced = client.put_device(&disabled, Precondition::ETag(created.etag)).await?;
    assert!(replaced.etag > created.etag && replaced.status_updated_time.is_some());
    let outdated = client.put_device(&wanted, Precondition::ETag(created.etag)).await;
    assert_eq!(outdated, Err(RegistryError::PreconditionFailed));
    assert_eq!(client.get_device(&wanted.device_id).await?, Some(replaced));

    let wrong = client.delete_device(&wanted.device_id, Precondition::Unmatchable).await;
    assert_eq!(wrong, Err(RegistryError::PreconditionFailed));
    client.delete_device(&wanted.device_id, Precondition::Present).await?;
    assert_eq!(client.get_device(&wanted.device_id).await?, None);
    let gone = client.delete_device(&wanted.device_id, Precondition::Present).await;
    assert_eq!(gone, Err(RegistryError::DeviceNotFound));
    hub.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modules_lists_and_statistics_span_groups() -> Checked {
    let hub = Hub::start().await?;
    let client = hub.client().await;
    for number in 0..20 {
        client.put_device(&device(&format!("d{number}"))?, Precondition::Absent).await?;
    }
    let orphan = client.put_module(&module("nobody", "m1")?, Precondition::Absent).await;
    assert_eq!(orphan, Err(RegistryError::DeviceNotFound));
    let created = client.put_module(&module("d1", "m1")?, Precondition::Absent).await?;
    let (device_id, module_id): (DeviceId, ModuleId) = ("d1".parse()?, "m1".parse()?);
    assert_eq!(client.get_module(&device_id, &module_id).await?, Some(created.clone()));
    assert_eq!(client.list_modules(&device_id).await?, Some(vec![created]));
    assert_eq!(client.list_modules(&"nobody".parse()?).await?, None);

    assert_eq!(client.list_devices(1000).await?.len(), 20);
    assert_eq!(client.list_devices(7).await?.len(), 7);
    let statistics = client.statistics().await?;
    assert_eq!((statistics.total_device_count, statistics.enabled_device_count), (20, 20));
    assert_eq!((statistics.module_count, statistics.connected_device_count), (1, 0));
    client.delete_module(&device_id, &module_id, Precondition::Present).await?;
    assert_eq!(client.get_module(&device_id, &module_id).await?, None);
    hub.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_is_there_after_a_restart() -> Checked {
    let hub = Hub::start().await?;
    let client = hub.client().await;
    let created = client.put_device(&device("d1")?, Precondition::Absent).await?;
    let attachment = connect(&client, &principal("d1")?).await?;
    client.subscribe(&principal("d1")?, attachment.connection_id, &[subscription("devices/d1/#")], NONE).await?;
    drop(client);
    let hub = Hub::start_in(hub.stop().await).await?;
    let client = hub.client().await;
    let read = client.get_device(&created.device_id).await?.ok_or("lost")?;
    assert_eq!((read.etag, read.authentication), (created.etag, created.authentication));
    let again = connect(&client, &principal("d1")?).await?;
    assert!(again.session_present && again.connection_id > attachment.connection_id);
    assert_eq!(again.subscriptions, [subscription("devices/d1/#")]);
    hub.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_connection_wins_across_gateways() -> Checked {
    let hub = Hub::start().await?;
    let (first, second) = (hub.client().await, hub.client().await);
    let device_id = principal("d1")?;
    first.put_device(&device("d1")?, Precondition::Absent).await?;
    let old = connect(&first, &device_id).await?;
    assert_eq!(old.mailbox.take(), None);
    assert!(first.get_device(&device_id.device_id).await?.is_some_and(|device| device.connected));

    let new = connect(&second, &device_id).await?;
    assert!(new.connection_id > old.connection_id);
    assert_eq!(timeout(PATIENCE, old.mailbox.next()).await?, SessionEvent::Replaced);
    // What the old connection does now changes nothing any more.
    first.detach(&device_id, old.connection_id);
    let late = first.subscribe(&device_id, old.connection_id, &[subscription("a")], NONE).await;
    assert_eq!(late, Err(SessionError::ConnectionReplaced));
    assert!(second.get_device(&device_id.device_id).await?.is_some_and(|device| device.connected));
    second.subscribe(&device_id, new.connection_id, &[subscription("a")], NONE).await?;
    assert_eq!(second.statistics().await?.connected_device_count, 1);

    second.detach(&device_id, new.connection_id);
    disconnected(&first, &device_id.device_id).await?;
    assert_eq!(first.statistics().await?.connected_device_count, 0);
    hub.stop().await;
    Ok(())
}

async fn disconnected(client: &ShardClient, device_id: &DeviceId) -> Checked {
    let wait = async {
        while client.get_device(device_id).await?.is_some_and(|device| device.connected) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    timeout(PATIENCE, wait).await?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_over_on_the_same_gateway_ends_the_old_connection() -> Checked {
    let hub = Hub::start().await?;
    let client = hub.client().await;
    client.put_device(&device("d1")?, Precondition::Absent).await?;
    let old = connect(&client, &principal("d1")?).await?;
    let new = connect(&client, &principal("d1")?).await?;
    assert_eq!(timeout(PATIENCE, old.mailbox.next()).await?, SessionEvent::Replaced);
    assert_eq!(new.mailbox.take(), None);
    hub.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_an_identity_reach_its_connections() -> Checked {
    let hub = Hub::start().await?;
    let client = hub.client().await;
    let created = client.put_device(&device("d1")?, Precondition::Absent).await?;
    client.put_module(&module("d1", "m1")?, Precondition::Absent).await?;
    let of_module = Principal::module("d1".parse()?, "m1".parse()?);
    let (on_device, on_module) = (connect(&client, &principal("d1")?).await?, connect(&client, &of_module).await?);

    let disabled = DeviceIdentity { status: DeviceStatus::Disabled, ..created };
    client.put_device(&disabled, Precondition::Present).await?;
    for mailbox in [&on_device.mailbox, &on_module.mailbox] {
        match timeout(PATIENCE, mailbox.next()).await? {
            SessionEvent::IdentityChanged(Some(now)) => assert_eq!(now.device.status, DeviceStatus::Disabled),
            other => return Err(format!("{other:?}").into()),
        }
    }
    client.put_module(&module("d1", "m1")?, Precondition::Present).await?;
    match timeout(PATIENCE, on_module.mailbox.next()).await? {
        SessionEvent::IdentityChanged(Some(now)) => assert!(now.module.is_some()),
        other => return Err(format!("{other:?}").into()),
    }
    assert_eq!(on_device.mailbox.take(), None);
    client.delete_device(&"d1".parse()?, Precondition::Present).await?;
    assert_eq!(timeout(PATIENCE, on_device.mailbox.next()).await?, SessionEvent::Deleted);
    assert_eq!(timeout(PATIENCE, on_module.mailbox.next()).await?, SessionEvent::Deleted);
    hub.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attach_with_an_outdated_identity_is_refused() -> Checked {
    let hub = Hub::start().await?;
    let client = hub.client().await;
    let created = client.put_device(&device("d1")?, Precondition::Absent).await?;
    let verified = Credentials { device: created.clone(), module: None };
    client.put_device(&created, Precondition::Present).await?;
    let refused = client.attach(new_attachment(&principal("d1")?, verified)).await;
    assert!(matches!(refused, Err(AttachError::IdentityChanged)), "{refused:?}");
    hub.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_sessions_live_until_they_are_cleared() -> Checked {
    let hub = Hub::start().await?;
    let client = hub.client().await;
    let device_id = principal("d1")?;
    client.put_device(&device("d1")?, Precondition::Absent).await?;
    let first = connect(&client, &device_id).await?;
    assert!(!first.session_present);
    client.subscribe(&device_id, first.connection_id, &[subscription("a"), subscription("b")], NONE).await?;
    client.subscribe(&device_id, first.connection_id, &[subscription("a")], NONE).await?;
    client.unsubscribe(&device_id, first.connection_id, &["b".into()], NONE).await?;
    let second = connect(&client, &device_id).await?;
    assert_eq!((second.session_present, second.subscriptions), (true, vec![subscription("a")]));
    let many: Vec<_> = (0..50).map(|number| subscription(&format!("f{number}"))).collect();
    let too_many = client.subscribe(&device_id, second.connection_id, &many, NONE).await;
    assert_eq!(too_many, Err(SessionError::TooManySubscriptions));
    client.clear_session(&device_id).await?;
    assert!(!connect(&client, &device_id).await?.session_present);
    let stranger = client.subscribe(&principal("d2")?, second.connection_id, &[subscription("a")], NONE).await;
    assert_eq!(stranger, Err(SessionError::NotFound));
    hub.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_made_once_and_watched() -> Checked {
    let hub = Hub::start().await?;
    let client = hub.client().await;
    let mut watched = client.settings();
    assert_eq!(client.get_settings().await?, None);
    let rights = Rights::parse("RegistryWrite, ServiceConnect, DeviceConnect").ok_or("rights")?;
    let policy = SharedAccessPolicy { name: "owner".into(), keys: keys(), rights, etag: ETag(2) };
    let no_hub = client.put_policies(0, std::slice::from_ref(&policy)).await;
    assert_eq!(no_hub, Err(SettingsError::NotInitialized));
    let first = client.initialize_hub(&HubSettings { groups: GROUPS, ..HubSettings::default() }).await?;
    assert_eq!((first.revision, first.groups), (1, GROUPS));
    let again = client.initialize_hub(&HubSettings { revision: 9, groups: 9, ..HubSettings::default() }).await?;
    assert_eq!(again, first);
    timeout(PATIENCE, watched.wait_for(|known| known.as_deref() == Some(&first))).await??;

    let revision = client.get_settings().await?.ok_or("no settings")?.revision;
    let changed = client.put_policies(revision, std::slice::from_ref(&policy)).await?;
    assert_eq!((changed.revision, &changed.policies), (revision + 1, &vec![policy]));
    assert_eq!(client.put_policies(revision, &[]).await, Err(SettingsError::PreconditionFailed));
    timeout(PATIENCE, watched.wait_for(|known| known.as_deref() == Some(&changed))).await??;
    hub.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_are_all_answered() -> Checked {
    let hub = Hub::start().await?;
    let client = Arc::new(hub.client().await);
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64 {
        let client = client.clone();
        callers.spawn(async move {
            for number in 0..20 {
                client.put_device(&device(&format!("d{caller}-{number}"))?, Precondition::Absent).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    assert_eq!(client.statistics().await?.total_device_count, 64 * 20);
    hub.stop().await;
    Ok(())
}

/// As a gateway sends it after it lost its stream; answers what it is told until then and until the message.
async fn attach_again(stub: &mut Stub<Channel>, attach: v1::Attach) -> Result<Vec<shard_frame::Body>, Failure> {
    let group = model::group_of(&"d".parse()?, GROUPS).0;
    let hello = gateway_frame::Body::Hello(v1::Hello { group, gateway_id: "again".into() });
    let frames = [hello, gateway_frame::Body::Attach(attach)].map(|body| v1::GatewayFrame { body: Some(body) });
    let outgoing = tokio_stream::once(v1::GatewayFrames { frames: frames.into() }).chain(tokio_stream::pending());
    let mut incoming = stub.attach(outgoing).await?.into_inner();
    let mut told = Vec::new();
    while !matches!(told.last(), Some(shard_frame::Body::MessagesWaiting(_))) {
        let frames = timeout(PATIENCE, incoming.message()).await??.ok_or("the stream ended")?.frames;
        told.extend(frames.into_iter().filter_map(|frame| frame.body));
    }
    Ok(told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_attaches_again_is_told_of_messages_that_came_meanwhile() -> Checked {
    let mut hub = Hub::start().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    hub.shard.serve_tcp(listener);
    let client = hub.client().await;
    client.put_device(&device("d")?, Precondition::Absent).await?;
    let attachment = connect(&client, &principal("d")?).await?;
    let message = NewMessage {
        record: Record::default(),
        acknowledgement: Acknowledge::None,
        expires: Timestamp::from_unix_microseconds(i64::MAX),
        delivery_count_max: 10,
        feedback_kept: Duration::ZERO,
    };
    client.enqueue_message(&principal("d")?, &message).await?;
    let known = client.get_device(&"d".parse()?).await?.ok_or("not registered")?;
    let wants_messages = Interests { device_bound_messages: true, ..NONE };
    let attach = v1::Attach {
        attach_id: 1,
        principal: Some((&principal("d")?).into()),
        device_generation_id: known.generation_id,
        device_etag: known.etag.0,
        previous: Some(attachment.connection_id.into()),
        clean_session: true,
        interests: wants_messages.to_bits(),
        ..v1::Attach::default()
    };
    let told = attach_again(&mut Stub::connect(address).await?, attach).await?;
    assert!(
        matches!(
            told[..],
            [shard_frame::Body::Welcome(_), shard_frame::Body::Attached(_), shard_frame::Body::MessagesWaiting(_)]
        ),
        "{told:?}"
    );
    hub.stop().await;
    Ok(())
}

#[test]
fn connection_ids_grow_with_the_leadership_first() {
    let old = ConnectionId { leadership: 3, counter: 900 };
    assert!(ConnectionId { leadership: 4, counter: 1 } > old);
}
