//! The stream between two nodes: one end with a peer that behaves in odd ways, and both ends with real groups.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{FutureExt, future::join_all};
use proto::raft::v1::{self, raft_server, request, response};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Endpoint, Server, server::Router},
};

use super::{
    exchange::{Exchange, Unanswered},
    peers::client,
};
use crate::{
    group::{Config, Environment, Node},
    store::MemoryStore,
};

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Longer than any test needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that only speaks.
#[derive(Clone, Copy)]
enum Peer {
    /// Collects so many requests, and answers the last one first.
    LastFirst(usize),
    /// Closes its first stream after so many requests, unanswered, and answers on later ones.
    ClosesFirstStream(usize),
    /// Answers every second request.
    ForgetsEverySecond,
}

#[derive(Clone)]
struct OddPeer {
    behaviour: Peer,
    streams: Arc<AtomicUsize>,
}

impl OddPeer {
    async fn answer(
        self,
        mut requests: Streaming<v1::Requests>,
        frames: mpsc::Sender<Result<v1::Responses, Status>>,
    ) -> Option<()> {
        let is_first = self.streams.fetch_add(1, Ordering::Relaxed) == 0;
        let mut held = Vec::new();
        loop {
            held.extend(requests.message().await.ok()??.requests);
            match self.behaviour {
                Peer::LastFirst(count) if held.len() < count => continue,
                Peer::ClosesFirstStream(count) if is_first && held.len() < count => continue,
                Peer::ClosesFirstStream(_) if is_first => return None,
                Peer::LastFirst(_) => held.reverse(),
                Peer::ForgetsEverySecond => held.retain(|request| request.request_id % 2 == 0),
                Peer::ClosesFirstStream(_) => {}
            }
            let responses = held.drain(..).filter_map(echo).collect();
            frames.send(Ok(v1::Responses { responses })).await.ok()?;
        }
    }
}

/// The term that a vote was asked for comes back.
fn echo(request: v1::Request) -> Option<v1::Response> {
    let request::Body::Vote(vote) = request.body? else { return None };
    let response = v1::VoteResponse { vote: vote.vote, vote_granted: true, last_log_id: None };
    Some(v1::Response { request_id: request.request_id, body: Some(response::Body::Vote(response)) })
}

#[tonic::async_trait]
impl raft_server::Raft for OddPeer {
    type ExchangeStream = ReceiverStream<Result<v1::Responses, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<v1::Requests>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (frames, receiver) = mpsc::channel(1);
        tokio::spawn(self.clone().answer(request.into_inner(), frames));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn install_snapshot(
        &self,
        _: Request<Streaming<v1::SnapshotChunk>>,
    ) -> Result<Response<v1::SnapshotResponse>, Status> {
        Err(Status::unimplemented("only speaks"))
    }
}

async fn serve(router: Router) -> TestResult<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    Ok(address)
}

fn exchange_with(address: SocketAddr) -> TestResult<Exchange> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(Exchange::start(client(endpoint.connect_lazy(), 1)))
}

async fn odd_peer(behaviour: Peer) -> TestResult<Exchange> {
    let peer = OddPeer { behaviour, streams: Arc::default() };
    exchange_with(serve(Server::builder().add_service(raft_server::RaftServer::new(peer))).await?)
}

fn vote(group: u32, term: u64) -> request::Body {
    let leader_id = v1::LeaderId { term, node_id: 9 };
    let vote = v1::Vote { leader_id: Some(leader_id), committed: false };
    request::Body::Vote(v1::VoteRequest { group, vote: Some(vote), last_log_id: None })
}

/// From a leader that nobody has heard of.
fn append(group: u32, term: u64) -> request::Body {
    let leader_id = v1::LeaderId { term, node_id: 9 };
    let vote = v1::Vote { leader_id: Some(leader_id), committed: true };
    request::Body::AppendEntries(v1::AppendEntriesRequest { group, vote: Some(vote), ..Default::default() })
}

fn term(body: Result<response::Body, Unanswered>) -> Result<u64, Unanswered> {
    match body? {
        response::Body::Vote(v1::VoteResponse { vote: Some(v1::Vote { leader_id: Some(id), .. }), .. }) => Ok(id.term),
        _ => Err(Unanswered::Odd("test")),
    }
}

#[tokio::test]
async fn answers_out_of_order_find_who_asked() -> TestResult {
    let exchange = odd_peer(Peer::LastFirst(20)).await?;
    let asked = (0..20).map(|number| exchange.ask(vote(1, number), PATIENCE));
    for (number, answer) in (0..).zip(join_all(asked).await) {
        assert_eq!(term(answer), Ok(number));
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_stream_fails_all_that_is_under_way_and_is_opened_again() -> TestResult {
    let exchange = odd_peer(Peer::ClosesFirstStream(3)).await?;
    let began = Instant::now();
    let asked = (0..3).map(|number| exchange.ask(vote(1, number), PATIENCE));
    for answer in join_all(asked).await {
        assert_eq!(term(answer), Err(Unanswered::Lost));
    }
    assert!(began.elapsed() < PATIENCE / 2, "they were told at once");
    // For a moment requests are refused.
    let mut answer = Err(Unanswered::Lost);
    while answer == Err(Unanswered::Lost) && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
        answer = term(exchange.ask(vote(1, 7), PATIENCE).await);
    }
    assert_eq!(answer, Ok(7));
    Ok(())
}

#[tokio::test]
async fn who_is_not_answered_in_time_stops_waiting_and_holds_up_nobody() -> TestResult {
    let exchange = odd_peer(Peer::ForgetsEverySecond).await?;
    let wait = Duration::from_millis(100);
    // Request ids count from 1: odd ones are forgotten.
    for number in 0..10 {
        let (forgotten, answered) =
            tokio::join!(exchange.ask(vote(1, number), wait), exchange.ask(vote(1, number + 100), PATIENCE));
        assert_eq!(term(forgotten), Err(Unanswered::TimedOut(wait)));
        assert_eq!(term(answered), Ok(number + 100));
    }
    Ok(())
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_lost_at_once() -> TestResult {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    drop(listener);
    let answer = exchange_with(address)?.ask(vote(1, 1), PATIENCE).await;
    assert_eq!(term(answer), Err(Unanswered::Lost));
    Ok(())
}

#[tokio::test]
async fn what_a_silent_peer_does_not_take_is_bounded() -> TestResult {
    // Connections wait to be accepted, for ever.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let exchange = exchange_with(listener.local_addr()?)?;
    let mut asked: Vec<_> = (0..5000).map(|number| Box::pin(exchange.ask(vote(1, number), PATIENCE))).collect();
    let refused = asked.iter_mut().filter_map(|ask| ask.now_or_never()).collect::<Vec<_>>();
    assert!(refused.len() > 500 && refused.len() < 1000, "{}", refused.len());
    assert!(refused.into_iter().all(|answer| term(answer) == Err(Unanswered::Full)));
    Ok(())
}

/// A node with two device groups that it leads alone, and its server.
async fn node(disk: Arc<MemoryStore>) -> TestResult<(Node, Exchange)> {
    let config = Config { groups: 2, disk_reserve_bytes: 0, ..Config::default() };
    let connect = Arc::new(|endpoint: Endpoint| endpoint.connect_lazy());
    let node = Node::open_in(config, Environment { store: disk, connect }).await?;
    let service = node.raft_service(CancellationToken::new());
    let exchange = exchange_with(serve(Server::builder().add_service(service)).await?)?;
    Ok((node, exchange))
}

#[tokio::test]
async fn a_group_that_is_stuck_holds_up_no_other_and_is_asked_so_often_at_most() -> TestResult {
    let disk = Arc::new(MemoryStore::default());
    let (node, exchange) = node(disk.clone()).await?;
    tokio::time::timeout(PATIENCE, node.ready()).await?;
    // A leader of a newer term makes a group write that term down before it answers.
    disk.set_sync_time(PATIENCE * 2);
    let mut stuck: Vec<_> = (0..20).map(|_| Box::pin(exchange.ask(append(1, 1000), PATIENCE))).collect();
    let mut refused = Vec::new();
    let began = Instant::now();
    while refused.len() < 4 && began.elapsed() < PATIENCE {
        stuck.retain_mut(|ask| match ask.as_mut().now_or_never() {
            Some(answer) => {
                refused.push(term(answer));
                false
            }
            None => true,
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((refused.len(), stuck.len()), (4, 16));
    let busy = "too many requests for the group are under way";
    assert!(refused.iter().all(|answer| *answer == Err(Unanswered::Refused(busy.into()))), "{refused:?}");
    let other = exchange.ask(vote(2, 0), PATIENCE / 2).await?;
    assert!(matches!(other, response::Body::Vote(v1::VoteResponse { vote_granted: false, .. })), "{other:?}");
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_not_there_is_said_so() -> TestResult {
    let (_node, exchange) = node(Arc::default()).await?;
    let answer = exchange.ask(vote(77, 1), PATIENCE).await;
    assert_eq!(term(answer), Err(Unanswered::Refused("no group 77 here".into())));
    Ok(())
}
