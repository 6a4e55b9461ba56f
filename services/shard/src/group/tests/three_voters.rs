use std::{net::SocketAddr, path::PathBuf, sync::atomic::Ordering, time::Instant};

use futures::{StreamExt, stream};
use proto::raft::v1::{self, raft_client::RaftClient, request, response};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    group::{ChangeError, Member, MemberChange, TransferError, WipeError},
    raft::{LogId, convert},
};

/// Three nodes, each with a disk and a gRPC server of its own.
struct Cluster {
    folder: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
    nodes: Vec<Option<Running>>,
    adjust: fn(Config) -> Config,
}

struct Running {
    node: Node,
    server: JoinHandle<bool>,
    stop: CancellationToken,
}

impl Cluster {
    async fn start(adjust: fn(Config) -> Config) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        let mut cluster = Self { folder: tempfile::tempdir()?, addresses, nodes: vec![None, None, None], adjust };
        for (position, listener) in listeners.into_iter().enumerate() {
            cluster.run(position, listener).await?;
        }
        Ok(cluster)
    }

    fn config(&self, position: usize) -> Config {
        let member = |(position, address): (usize, &SocketAddr)| Member {
            node_id: position as u64 + 1,
            address: format!("http://{address}"),
        };
        let directory: PathBuf = self.folder.path().join(position.to_string());
        (self.adjust)(Config {
            node_id: position as u64 + 1,
            groups: 1,
            initial_members: self.addresses.iter().enumerate().map(member).collect(),
            ..config(&directory)
        })
    }

    async fn run(&mut self, position: usize, listener: TcpListener) -> TestResult {
        let node = Node::open(self.config(position)).await?;
        let stop = CancellationToken::new();
        let service = node.raft_service(stop.clone());
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let serving = tonic::transport::Server::builder().add_service(service);
            serving.serve_with_incoming_shutdown(incoming, stopped).await.is_ok()
        });
        self.nodes[position] = Some(Running { node, server, stop });
        Ok(())
    }

    async fn stop(&mut self, position: usize) -> TestResult {
        let running = self.nodes[position].take().ok_or("it does not run")?;
        running.stop.cancel();
        assert!(running.server.await?, "the server ended well");
        running.node.shutdown().await;
        Ok(())
    }

    async fn restart(&mut self, position: usize) -> TestResult {
        let listener = TcpListener::bind(self.addresses[position]).await?;
        self.run(position, listener).await
    }

    fn group(&self, position: usize) -> Option<&Group> {
        self.nodes[position].as_ref()?.node.group(GROUP)
    }

    /// The node that leads the group.
    async fn leader(&self) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for position in 0..3 {
                let Some(group) = self.group(position) else { continue };
                if matches!(*group.leadership().borrow(), Leadership::Leading { .. }) {
                    return Ok(position);
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err("nobody leads".into())
    }

    /// Creates the device, asking whoever leads, until somebody says that it is there.
    async fn create(&self, device_id: &str, filler_bytes: usize) -> TestResult {
        let command = create(device_id, filler_bytes);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let leader = self.leader().await?;
            let Some(group) = self.group(leader) else { continue };
            match group.propose(command.clone()).await {
                Ok(result) if is_created(&result) => return Ok(()),
                Ok(other) => return Err(format!("{other:?}").into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        Err("not created in time".into())
    }

    async fn finish(mut self) -> TestResult {
        for position in 0..3 {
            if self.nodes[position].is_some() {
                self.stop(position).await?;
            }
        }
        Ok(())
    }
}

fn unchanged(config: Config) -> Config {
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_when_the_leader_is_gone() -> TestResult {
    let mut cluster = Cluster::start(unchanged).await?;
    for n in 0..20 {
        cluster.create(&format!("before-{n}"), 0).await?;
    }
    let old = cluster.leader().await?;
    let old_fence = leading(cluster.group(old).ok_or("gone")?).await?;
    cluster.stop(old).await?;
    let begin = Instant::now();
    cluster.create("after", 0).await?;
    println!("a write succeeded {:?} after the leader was stopped", begin.elapsed());
    let leader = cluster.leader().await?;
    let group = cluster.group(leader).ok_or("gone")?;
    assert!(leading(group).await? > old_fence);
    let rows = group.read().await?;
    for n in 0..20 {
        assert!(has_device(&rows, &format!("before-{n}"))?, "before-{n}");
    }
    drop(rows);
    cluster.restart(old).await?;
    let returned = cluster.group(old).ok_or("gone")?;
    eventually("the old leader has caught up", || {
        returned.view().is_ok_and(|view| has_device(&view, "after").unwrap_or(false))
    })
    .await?;
    cluster.finish().await
}

fn short_log(config: Config) -> Config {
    Config { log_entries_max: 40, log_entries_kept: 10, ..config }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_far_behind_comes_back_by_a_snapshot() -> TestResult {
    let mut cluster = Cluster::start(short_log).await?;
    cluster.create("first", 0).await?;
    let follower = (cluster.leader().await? + 1) % 3;
    cluster.stop(follower).await?;
    let behind = 400;
    for n in 0..behind {
        cluster.create(&format!("missed-{n}"), 1000).await?;
    }
    let leader = cluster.leader().await?;
    let purged = {
        let mut log = cluster.group(leader).ok_or("gone")?.inner().log.clone();
        openraft::storage::RaftLogStorage::get_log_state(&mut log).await?.last_purged_log_id
    };
    assert!(purged.is_some_and(|purged| purged.index > 200), "the leader has cut its log: {purged:?}");
    cluster.restart(follower).await?;
    let returned = cluster.group(follower).ok_or("gone")?.clone();
    let last = format!("missed-{}", behind - 1);
    eventually("the follower has the newest row", || {
        returned.view().is_ok_and(|view| has_device(&view, &last).unwrap_or(false))
    })
    .await?;
    let rows = returned.view()?;
    for n in 0..behind {
        assert!(has_device(&rows, &format!("missed-{n}"))?, "missed-{n}");
    }
    let mut log = returned.inner().log.clone();
    let state = openraft::storage::RaftLogStorage::get_log_state(&mut log).await?;
    assert!(state.last_purged_log_id >= purged, "it came by a snapshot: {state:?}");
    cluster.create("again", 0).await?;
    eventually("the follower follows", || {
        returned.view().is_ok_and(|view| has_device(&view, "again").unwrap_or(false))
    })
    .await?;
    drop((rows, returned, log));
    // What it received survives its next restart, when it may have to lead.
    cluster.stop(follower).await?;
    cluster.restart(follower).await?;
    let view = cluster.group(follower).ok_or("gone")?.view()?;
    assert!(has_device(&view, "missed-0")?);
    drop(view);
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_majority_refuses_and_steps_down() -> TestResult {
    let mut cluster = Cluster::start(unchanged).await?;
    cluster.create("first", 0).await?;
    let leader = cluster.leader().await?;
    cluster.stop((leader + 1) % 3).await?;
    cluster.create("two are a majority", 0).await.err();
    cluster.create("two", 0).await?;
    cluster.stop((leader + 2) % 3).await?;
    let alone = cluster.group(leader).ok_or("gone")?.clone();
    let begin = Instant::now();
    let read = alone.read().await;
    assert!(matches!(read, Err(Refusal::NotLeader { .. })), "{:?}", read.map(|_| ()));
    let mut leadership = alone.leadership();
    let down = leadership.wait_for(|known| matches!(known, Leadership::Following { .. }));
    tokio::time::timeout(PATIENCE, down).await??;
    println!("stepped down after {:?}", begin.elapsed());
    let refused = alone.propose(create("alone", 0)).await;
    assert!(matches!(refused, Err(Refusal::NotLeader { .. })), "{refused:?}");
    drop(alone);
    cluster.restart((leader + 1) % 3).await?;
    cluster.create("again", 0).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_see_every_write_acknowledged_before_them() -> TestResult {
    let cluster = Cluster::start(unchanged).await?;
    let leader = cluster.leader().await?;
    let group = cluster.group(leader).ok_or("gone")?.clone();
    let readers = (0..32).map(|n| {
        let group = group.clone();
        async move {
            for round in 0..10 {
                let device_id = format!("{n}-{round}");
                assert!(is_created(&group.propose(create(&device_id, 0)).await?));
                assert!(has_device(&group.read().await?, &device_id)?, "{device_id}");
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        }
    });
    futures::future::try_join_all(readers).await?;
    let follower = cluster.group((leader + 1) % 3).ok_or("gone")?;
    let refused = follower.read().await;
    assert!(matches!(refused, Err(Refusal::NotLeader { leader: Some(id) }) if id == leader as u64 + 1));
    drop((group, refused));
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_clock_jumped_proposes_nothing_until_it_is_right_again() -> TestResult {
    const HOUR: i64 = 3_600_000_000;
    let cluster = Cluster::start(unchanged).await?;
    cluster.create("before", 0).await?;
    let group = cluster.group(cluster.leader().await?).ok_or("gone")?;
    let clock_error = &group.inner().clock.clocks.error_microseconds;
    clock_error.store(HOUR, Ordering::Relaxed);
    assert_eq!(group.propose(create("at once", 0)).await, Err(Refusal::ClockSkew));
    // Several heartbeats: clocks have been compared again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(group.propose(create("later", 0)).await, Err(Refusal::ClockSkew));
    assert!(has_device(&group.read().await?, "before")?, "reads go on");

    clock_error.store(0, Ordering::Relaxed);
    cluster.create("after", 0).await?;
    let time = state::entry_time(&group.view()?)?;
    assert!((group.inner().clock.clocks.now() - time).abs() < HOUR / 2, "no entry got the wrong time");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leadership_moves_to_the_node_that_is_named() -> TestResult {
    let cluster = Cluster::start(unchanged).await?;
    cluster.create("before", 0).await?;
    for round in 0..4 {
        let from = cluster.leader().await?;
        let to = (from + 1 + round % 2) % 3;
        let (group, successor) = (cluster.group(from).ok_or("gone")?, cluster.group(to).ok_or("gone")?);
        // Commands that come meanwhile wait, and are answered by who led when they came or by whom it names.
        let under_way = tokio::spawn({
            let group = group.clone();
            async move { group.propose(create(&format!("meanwhile-{round}"), 0)).await }
        });
        let elect = async |last| successor.elect(last).await.map_err(str::to_owned);
        let gap = group.transfer_leadership(to as u64 + 1, elect).await?;
        leading(successor).await?;
        println!("no leader for {gap:?}");
        let answered = under_way.await?;
        assert!(matches!(answered, Ok(_) | Err(Refusal::NotLeader { .. })), "{answered:?}");
        cluster.create(&format!("after-{round}"), 0).await?;
        assert_eq!(cluster.leader().await?, to);
    }
    let leader = cluster.leader().await?;
    let group = cluster.group(leader).ok_or("gone")?;
    let refused = group.transfer_leadership(9, async |_| Ok(())).await;
    assert_eq!(refused, Err(TransferError::NotAVoter));
    let unasked = group.transfer_leadership((leader as u64 + 1) % 3 + 1, async |_| Err("no".into())).await;
    assert_eq!(unasked, Err(TransferError::NotAsked("no".into())));
    cluster.create("it-goes-on", 0).await?;
    cluster.finish().await
}

/// Its log is gone, and with it what kept it from voting for somebody who knows less than it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_replica_votes_for_nobody_who_knows_less_than_it_did() -> TestResult {
    let mut cluster = Cluster::start(unchanged).await?;
    cluster.create("first", 0).await?;
    let leader = cluster.leader().await?;
    let left = (leader + 1) % 3;
    let stay = [leader as u64 + 1, (leader as u64 + 2) % 3 + 1].into();
    let group = cluster.group(leader).ok_or("gone")?.clone();
    let membership = async || group.describe().await.membership.log_id().ok_or("no membership");
    let wiping = cluster.group(left).ok_or("gone")?.wipe(membership().await?).await;
    assert!(matches!(wiping, Err(WipeError::Followed)), "{wiping:?}");
    group.change_members(membership().await?, MemberChange::SetVoters(stay)).await?;
    group.change_members(membership().await?, MemberChange::RemoveLearners([left as u64 + 1].into())).await?;
    let outdated = group.change_members(LogId::default(), MemberChange::SetVoters([1].into())).await;
    assert_eq!(outdated, Err(ChangeError::OtherMembers));

    let wiped = cluster.group(left).ok_or("gone")?.clone();
    let floor = membership().await?;
    tokio::time::timeout(PATIENCE, async {
        while wiped.wipe(floor).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await?;
    assert!(!wiped.describe().await.has_data && !has_device(&wiped.view()?, "first")?);
    drop(wiped);
    // Also after its next start.
    for restarted in [false, true] {
        if restarted {
            cluster.stop(left).await?;
            cluster.restart(left).await?;
        }
        let mut peer = RaftClient::connect(format!("http://{}", cluster.addresses[left])).await?;
        let mut vote = async |term: u64, last: LogId| {
            let leader_id = Some(v1::LeaderId { term, node_id: 9 });
            let request = v1::VoteRequest {
                group: GROUP.0,
                vote: Some(v1::Vote { leader_id, committed: false }),
                last_log_id: Some(convert::log_id_to_proto(&last)),
            };
            let request = v1::Request { request_id: 1, body: Some(request::Body::Vote(request)) };
            let requests = stream::iter([v1::Requests { requests: vec![request] }]).chain(stream::pending());
            let answer = peer.exchange(requests).await?.into_inner().message().await?;
            match answer.and_then(|frame| frame.responses.into_iter().next()?.body) {
                Some(response::Body::Vote(vote)) => Ok(vote.vote_granted),
                other => Err(tonic::Status::unknown(format!("{other:?}"))),
            }
        };
        let less = LogId::new(floor.leader_id, floor.index - 1);
        let term = 100 + 10 * u64::from(restarted);
        assert!(!vote(term, less).await?);
        eventually_votes(&mut vote, term + 1, floor).await?;
        assert!(!vote(term, floor).await?, "it voted in a later term");
    }
    drop(group);
    cluster.finish().await
}

/// It may have heard of the leader just now.
async fn eventually_votes(
    vote: &mut impl AsyncFnMut(u64, LogId) -> Result<bool, tonic::Status>,
    term: u64,
    last: LogId,
) -> TestResult {
    let deadline = Instant::now() + PATIENCE;
    while !vote(term, last).await? {
        if Instant::now() > deadline {
            return Err("it never votes".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
