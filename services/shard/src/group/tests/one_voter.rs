use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use proto::shard::v1::command_error::Code;

use super::*;
use crate::state::Effect;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leads_at_once_applies_and_keeps_what_it_acknowledged() -> TestResult {
    let folder = tempfile::tempdir()?;
    let node = Node::open(config(folder.path())).await?;
    let group = group(&node)?;
    let first_fence = leading(&group).await?;
    assert!(is_created(&group.propose(create("a", 0)).await?));
    assert!(has_device(&group.read().await?, "a")?);
    drop(group);
    node.shutdown().await;

    let node = Node::open(config(folder.path())).await?;
    tokio::time::timeout(PATIENCE, node.ready()).await?;
    let group = super::group(&node)?;
    let fence = leading(&group).await?;
    assert!(fence > first_fence, "each leadership has a larger fence: {first_fence} {fence}");
    assert!(has_device(&group.read().await?, "a")?);
    assert!(!is_created(&group.propose(create("a", 0)).await?), "it is there already");
    assert_eq!(node.health(), crate::group::Health::default());
    drop(group);
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_entries() -> TestResult {
    let folder = tempfile::tempdir()?;
    let node = Node::open(config(folder.path())).await?;
    let group = group(&node)?;
    leading(&group).await?;
    let before = applied_index(&group)?;
    let writers = (0..256).map(|writer| {
        let group = group.clone();
        async move {
            for command in 0..8 {
                assert!(is_created(&group.propose(create(&format!("{writer}-{command}"), 0)).await?));
            }
            Ok::<_, Refusal>(())
        }
    });
    futures::future::try_join_all(writers).await?;
    let entries = applied_index(&group)? - before;
    assert!(entries < 256 * 8 / 8, "{entries} entries for {} commands", 256 * 8);
    drop(group);
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_bounded_by_bytes_and_count() -> TestResult {
    let folder = tempfile::tempdir()?;
    let limits = Config { entry_bytes_max: 64 << 10, commands_per_entry_max: 10, ..config(folder.path()) };
    let node = Node::open(limits).await?;
    let group = group(&node)?;
    leading(&group).await?;
    let before = applied_index(&group)?;
    let large = (0..40).map(|n| group.propose(create(&format!("large-{n}"), 20 << 10)));
    futures::future::try_join_all(large).await?;
    assert!(applied_index(&group)? - before >= 40 / 3, "three of 20 KiB fit into 64 KiB");
    let before = applied_index(&group)?;
    futures::future::try_join_all((0..100).map(|n| group.propose(create(&format!("small-{n}"), 0)))).await?;
    assert!(applied_index(&group)? - before >= 10, "ten fit into an entry");

    let mut log = group.inner().log.clone();
    let entries = openraft::RaftLogReader::try_get_log_entries(&mut log, 0..u64::MAX).await?;
    let sizes = entries.iter().map(|entry| match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => proposal.len(),
        _ => 0,
    });
    assert!(sizes.max() <= Some(64 << 10));

    let result = group.propose(create("too-large", 64 << 10)).await?;
    let Some(Outcome::Error(error)) = result.outcome else { return Err("it was accepted".into()) };
    assert_eq!(error.code, Code::Invalid as i32);
    drop((group, log));
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_busy() -> TestResult {
    let folder = tempfile::tempdir()?;
    let limits =
        Config { queued_commands_max: 2, commands_per_entry_max: 1, entries_in_flight_max: 1, ..config(folder.path()) };
    let node = Node::open(limits).await?;
    let group = group(&node)?;
    leading(&group).await?;
    let all = futures::future::join_all((0..100).map(|n| group.propose(create(&format!("{n}"), 0)))).await;
    assert!(all.iter().any(Result::is_ok) && all.contains(&Err(Refusal::Busy)), "{all:?}");
    assert!(is_created(&group.propose(create("later", 0)).await?), "the queue is empty again");
    drop(group);
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_commands_reads_go_on_and_it_recovers() -> TestResult {
    let folder = tempfile::tempdir()?;
    let node = Node::open(Config { disk_reserve_bytes: 1 << 20, ..config(folder.path()) }).await?;
    let group = group(&node)?;
    leading(&group).await?;
    assert!(is_created(&group.propose(create("before", 0)).await?));
    group.inner().disk.observe(1000);
    assert_eq!(group.propose(create("full", 0)).await, Err(Refusal::DiskFull));
    assert!(node.health().is_disk_full);
    assert!(has_device(&group.read().await?, "before")?);
    // The node measures by itself, and there is space in truth.
    eventually("there is space again", || !node.health().is_disk_full).await?;
    assert!(is_created(&group.propose(create("after", 0)).await?));
    assert!(!has_device(&group.read().await?, "full")?);
    drop(group);
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_come_in_order_and_too_many_begin_a_new_leadership() -> TestResult {
    let folder = tempfile::tempdir()?;
    let node = Node::open(Config { queued_effects_max: 4, ..config(folder.path()) }).await?;
    let group = group(&node)?;
    let fence = leading(&group).await?;
    let mut effects = group.effects().ok_or("taken")?;
    assert!(group.effects().is_none(), "there is one receiver");
    assert!(is_created(&group.propose(create("a", 0)).await?));
    let started =
        ProposedCommand { kind: Some(Kind::LeadershipStarted(proto::raft::v1::LeadershipStarted { node_id: 77 })) };
    group.propose(started.clone()).await?;
    let (index, effect) = tokio::time::timeout(PATIENCE, effects.recv()).await?.ok_or("closed")?;
    assert!(index > fence);
    assert_eq!(effect, Effect::LeadershipStarted { node_id: 77, fence: index });

    for _ in 0..5 {
        group.propose(started.clone()).await?;
    }
    let mut leadership = group.leadership();
    let newer = leadership.wait_for(|known| matches!(known, Leadership::Leading { fence: newer } if *newer > fence));
    tokio::time::timeout(PATIENCE, newer).await??;
    drop(group);
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_on_disk_stays_bounded() -> TestResult {
    let folder = tempfile::tempdir()?;
    let limits =
        Config { log_bytes_max: 2 << 20, memtable_bytes: 1 << 20, wal_bytes_max: 4 << 20, ..config(folder.path()) };
    let node = Node::open(limits.clone()).await?;
    let group = group(&node)?;
    leading(&group).await?;
    // The same few devices again and again, refused: only the log grows.
    for round in 0..40 {
        let all = (0..8).map(|n| group.propose(create(&format!("{n}"), 128 << 10)));
        futures::future::try_join_all(all).await?;
        if round % 8 == 0 {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }
    let mut log = group.inner().log.clone();
    let mut bytes = u64::MAX;
    for _ in 0..100 {
        let entries = openraft::RaftLogReader::try_get_log_entries(&mut log, 0..u64::MAX).await?;
        bytes = entries
            .iter()
            .map(|entry| match &entry.payload {
                openraft::EntryPayload::Normal(proposal) => proposal.len() as u64,
                _ => 0,
            })
            .sum();
        if bytes <= 4 << 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(bytes <= 4 << 20, "{bytes} bytes of log");
    drop((group, log));
    node.shutdown().await;
    let on_disk: u64 =
        fs::read_dir(&limits.directory)?.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum();
    assert!(on_disk < 30 << 20, "40 MiB were written, {on_disk} bytes are on disk");
    let node = Node::open(limits).await?;
    leading(&super::group(&node)?).await?;
    node.shutdown().await;
    Ok(())
}

/// A crash image under load: the files as they are, the write-ahead log cut somewhere behind the length that it had
/// at first, often in the middle of a record. The load is too small for other files to change.
async fn copy_image(from: &Path, to: &Path) -> Result<(), std::io::Error> {
    let is_log = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
    let files: Vec<PathBuf> =
        fs::read_dir(from)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    let lengths: Vec<u64> =
        files.iter().map(|path| Ok(path.metadata()?.len())).collect::<Result<_, std::io::Error>>()?;
    // Let more be written, so that there is something to cut.
    tokio::time::sleep(Duration::from_millis(3)).await;
    fs::create_dir_all(to)?;
    for (path, length) in files.iter().zip(lengths).filter(|(path, _)| path.is_file()) {
        let copy = to.join(path.file_name().unwrap_or_default());
        let copied = fs::copy(path, &copy)?;
        if is_log(path) {
            let kept = length + rand_incarnation() % (copied - length + 1);
            fs::OpenOptions::new().write(true).open(&copy)?.set_len(kept)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_image_of_the_disk_holds_what_was_acknowledged_before() -> TestResult {
    let folder = tempfile::tempdir()?;
    let live = config(folder.path());
    let node = Node::open(live.clone()).await?;
    let group = group(&node)?;
    leading(&group).await?;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let (group, acknowledged, stop) = (group.clone(), acknowledged.clone(), stop.clone());
            tokio::spawn(async move {
                for command in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let device_id = format!("{writer}-{command}");
                    if group.propose(create(&device_id, 100)).await.is_ok_and(|result| is_created(&result)) {
                        acknowledged.lock().push(device_id);
                    }
                }
            })
        })
        .collect();
    let mut images = Vec::new();
    for image in 0..8 {
        tokio::time::sleep(Duration::from_millis(37 + 29 * image)).await;
        let known = acknowledged.lock().clone();
        let to = folder.path().join(format!("image-{image}"));
        copy_image(&live.directory, &to.join("shard")).await?;
        images.push((to, known));
    }
    stop.store(true, Ordering::Relaxed);
    futures::future::try_join_all(writers).await?;
    drop(group);
    node.shutdown().await;

    assert!(images.last().is_some_and(|(_, known)| known.len() > 20), "there was some load");
    for (image, known) in images {
        let node = Node::open(config(&image)).await?;
        let group = super::group(&node)?;
        leading(&group).await?;
        let rows = group.read().await?;
        for device_id in &known {
            assert!(has_device(&rows, device_id)?, "{device_id} of {} is lost in {}", known.len(), image.display());
        }
        assert!(is_created(&group.propose(create("new", 0)).await?), "the image goes on");
        drop((rows, group));
        node.shutdown().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_cannot_apply_stops_and_the_others_go_on() -> TestResult {
    let folder = tempfile::tempdir()?;
    let node = Node::open(config(folder.path())).await?;
    let group = group(&node)?;
    leading(&group).await?;
    let garbage = group.inner().raft.client_write(bytes::Bytes::from_static(b"\xff\xff\xff")).await;
    assert!(garbage.is_err());
    eventually("health tells", || node.health().stopped_groups == [GROUP]).await?;
    eventually("it does not lead", || *group.leadership().borrow() == (Leadership::Following { leader: None })).await?;
    assert!(group.propose(create("a", 0)).await.is_err());
    let other = node.group(GroupId(2)).ok_or("no such group")?.clone();
    leading(&other).await?;
    assert!(is_created(&other.propose(create("a", 0)).await?));
    drop((group, other));
    node.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_belongs_to_its_node_and_its_number_of_groups() -> TestResult {
    use crate::store::OpenError;
    let folder = tempfile::tempdir()?;
    let node = Node::open(config(folder.path())).await?;
    let second = Node::open(config(folder.path())).await;
    assert!(matches!(second, Err(OpenError::InUse(_))));
    node.shutdown().await;
    let other = Node::open(Config { node_id: 9, ..config(folder.path()) }).await;
    assert!(matches!(other, Err(OpenError::NodeId { stored: 1, configured: 9 })));
    let other = Node::open(Config { groups: 3, ..config(folder.path()) }).await;
    assert!(matches!(other, Err(OpenError::Groups { stored: 2, configured: 3 })));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_gone_refuses_commands_and_health_says_so() -> TestResult {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().join("shard");
    let node = Node::open(Config { disk_reserve_bytes: 1 << 20, ..config(&directory) }).await?;
    let group = group(&node)?;
    leading(&group).await?;
    fs::rename(&directory, folder.path().join("elsewhere"))?;
    eventually("unknown free space counts as none", || node.health().is_disk_full).await?;
    assert_eq!(group.propose(create("gone", 0)).await, Err(Refusal::DiskFull));
    fs::rename(folder.path().join("elsewhere"), &directory)?;
    eventually("the folder is back", || !node.health().is_disk_full).await?;
    assert!(is_created(&group.propose(create("back", 0)).await?));
    drop(group);
    node.shutdown().await;
    Ok(())
}
