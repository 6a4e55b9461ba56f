//! Three nodes over TCP in one process: what gateways see when a leader goes away.

use std::time::{Duration, Instant};

use model::{
    Authentication, Credentials, DeviceIdentity, DeviceStatus, ETag, GroupId, Interests, Principal, QualityOfService,
    Subscription, SymmetricKey, SymmetricKeys,
};
use shard_client::{NewAttachment, Precondition, RegistryError, SessionEvent};
use tokio::time::timeout;

mod cluster_of_three;

use cluster_of_three::{Cluster, Failure, PATIENCE};

fn device(device_id: &str) -> Result<DeviceIdentity, Failure> {
    let key = || SymmetricKey::from_bytes(&[7; 32]);
    Ok(DeviceIdentity {
        device_id: device_id.parse()?,
        generation_id: "638000000000000000".into(),
        etag: ETag(0),
        status: DeviceStatus::Enabled,
        status_reason: None,
        status_updated_time: None,
        authentication: Authentication::Sas(SymmetricKeys { primary: key(), secondary: key() }),
        iot_edge: false,
        device_scope: None,
        parent_scopes: Vec::new(),
        connected: false,
        connection_state_updated_time: None,
        last_activity_time: None,
        cloud_to_device_message_count: 0,
    })
}

fn new_attachment(identity: DeviceIdentity) -> NewAttachment {
    NewAttachment {
        principal: Principal::device(identity.device_id.clone()),
        credentials: Credentials { device: identity, module: None },
        clean_session: false,
        model_id: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_commands_survive_the_leader() -> Result<(), Failure> {
    let mut cluster = Cluster::start().await?;
    let (first, second) = (cluster.client().await?, cluster.client().await?);
    let created = first.put_device(&device("d1")?, Precondition::Absent).await?;
    let other = first.put_device(&device("d2")?, Precondition::Absent).await?;
    let id = Principal::device(created.device_id.clone());
    let on_first = first.attach(new_attachment(created.clone())).await?;
    let of_other = second.attach(new_attachment(other.clone())).await?;

    // Commands under way while the leader goes: each is applied once, none is lost.
    let writer = {
        let first = first.clone();
        tokio::spawn(async move {
            let mut created = Vec::new();
            for number in 0..200 {
                let identity = device(&format!("n{number}"))?;
                first.put_device(&identity, Precondition::Absent).await?;
                created.push(identity.device_id);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok::<_, Failure>(created)
        })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    cluster.stop_leader(GroupId(1)).await?;
    let written = writer.await??;
    for device_id in &written {
        let again = first.put_device(&device(device_id.as_str())?, Precondition::Absent).await;
        assert_eq!(again, Err(RegistryError::DeviceAlreadyExists));
    }
    assert_eq!(first.statistics().await?.total_device_count, 202);

    // The connections are attached again under the ids they had, and hear of what happens under the new leader.
    let subscription = Subscription {
        filter: "a".into(),
        quality_of_service: QualityOfService::AtMostOnce,
        interests: Interests::default(),
    };
    first.subscribe(&id, on_first.connection_id, &[subscription], Interests::default()).await?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(7) {
        let seen = first.get_device(&id.device_id).await?.ok_or("lost")?;
        assert!(seen.connected, "reported disconnected after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(first.statistics().await?.connected_device_count, 2);
    assert_eq!((on_first.mailbox.take(), of_other.mailbox.take()), (None, None));
    second.put_device(&other, Precondition::Present).await?;
    let told = timeout(PATIENCE, of_other.mailbox.next()).await?;
    assert!(matches!(told, SessionEvent::IdentityChanged(Some(_))), "{told:?}");
    let on_second = second.attach(new_attachment(created)).await?;
    assert!(on_second.connection_id > on_first.connection_id && on_second.session_present);
    assert_eq!(timeout(PATIENCE, on_first.mailbox.next()).await?, SessionEvent::Replaced);
    cluster.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_a_connection_missed_is_told_when_it_is_attached_again() -> Result<(), Failure> {
    let mut cluster = Cluster::start().await?;
    let (gateway, service) = (cluster.client().await?, cluster.client().await?);
    let mut identities = Vec::new();
    let mut attachments = Vec::new();
    for number in 0..20 {
        let created = gateway.put_device(&device(&format!("d{number}"))?, Precondition::Absent).await?;
        attachments.push(gateway.attach(new_attachment(created.clone())).await?);
        identities.push(created);
    }
    // The gateway's streams end first, so that it misses what is written under the new leader at once.
    cluster.stop_leader(GroupId(1)).await?;
    for identity in &identities {
        let disabled = DeviceIdentity { status: DeviceStatus::Disabled, ..identity.clone() };
        service.put_device(&disabled, Precondition::Present).await?;
    }
    for attachment in &attachments {
        match timeout(PATIENCE, attachment.mailbox.next()).await? {
            SessionEvent::IdentityChanged(Some(now)) => assert_eq!(now.device.status, DeviceStatus::Disabled),
            told => return Err(format!("{told:?}").into()),
        }
    }
    cluster.stop().await;
    Ok(())
}
