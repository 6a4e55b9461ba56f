//! The other end of the one stream of a peer: what it asks of all groups, answered as soon as each group has.

use std::collections::HashMap;

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use proto::raft::v1::{self, request, response};
use tokio::{sync::mpsc, task::yield_now};
use tonic::{Status, Streaming};

use super::{NodeId, RaftService, convert::Missing, server::Unserved};

/// Requests of one group under way on one stream: a group that is stuck in its disk is asked again and again.
const GROUP_IN_FLIGHT_MAX: usize = 16;
/// Responses of one frame; as many wait at most.
const FRAME_RESPONSES_MAX: usize = 512;

type Frames = mpsc::Sender<Result<v1::Responses, Status>>;

/// Answers until the peer closes the stream, or it is lost; then somebody has to lead in its place. A slow group holds up none of the others.
pub async fn serve(service: &RaftService, mut requests: Streaming<v1::Requests>, frames: Frames) {
    let mut in_flight = FuturesUnordered::new();
    let mut groups = InFlight::default();
    let mut leading = HashMap::new();
    let mut answered: Vec<v1::Response> = Vec::new();
    loop {
        let has_room = answered.len() < FRAME_RESPONSES_MAX;
        tokio::select! {
            message = requests.message(), if has_room => {
                let Ok(Some(frame)) = message else { break };
                for request in frame.requests {
                    let group = group_of(&request);
                    leading.extend(leader_of(&request).map(|leader| (group, leader)));
                    if groups.begin(group) {
                        let answer = answer(service, request);
                        in_flight.push(async move { (group, answer.await) });
                    } else {
                        answered.push(refused(request.request_id, &Unserved::Busy));
                    }
                }
            },
            Some((group, response)) = in_flight.next(), if has_room => {
                groups.end(group);
                answered.push(response);
                // The groups beat together: what the others are about to answer goes into the same frame.
                yield_now().await;
                while answered.len() < FRAME_RESPONSES_MAX
                    && let Some(Some((group, response))) = in_flight.next().now_or_never()
                {
                    groups.end(group);
                    answered.push(response);
                }
            }
            permit = frames.reserve(), if !answered.is_empty() => match permit {
                Ok(permit) => permit.send(Ok(v1::Responses { responses: std::mem::take(&mut answered) })),
                Err(_) => break,
            },
        }
    }
    for (group, leader) in leading {
        service.leader_is_gone(group, leader);
    }
}

/// How many requests of each group are under way.
#[derive(Default)]
struct InFlight {
    groups: HashMap<u32, usize>,
}

impl InFlight {
    /// Whether one more may begin; then it has.
    fn begin(&mut self, group: u32) -> bool {
        let count = self.groups.entry(group).or_default();
        let may_begin = *count < GROUP_IN_FLIGHT_MAX;
        *count += usize::from(may_begin);
        may_begin
    }

    fn end(&mut self, group: u32) {
        if let Some(count) = self.groups.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(&group);
            }
        }
    }
}

fn group_of(request: &v1::Request) -> u32 {
    match &request.body {
        Some(request::Body::AppendEntries(append)) => append.group,
        Some(request::Body::Vote(vote)) => vote.group,
        None => 0,
    }
}

/// Only leaders send entries, and heartbeats.
fn leader_of(request: &v1::Request) -> Option<NodeId> {
    match &request.body {
        Some(request::Body::AppendEntries(append)) => Some(append.vote.as_ref()?.leader_id.as_ref()?.node_id),
        _ => None,
    }
}

async fn answer(service: &RaftService, request: v1::Request) -> v1::Response {
    let request_id = request.request_id;
    let body = match request.body {
        Some(request::Body::AppendEntries(append)) => {
            service.append_entries(append).await.map(response::Body::AppendEntries)
        }
        Some(request::Body::Vote(vote)) => service.vote(vote).await.map(response::Body::Vote),
        None => Err(Missing("request.body").into()),
    };
    match body {
        Ok(body) => v1::Response { request_id, body: Some(body) },
        Err(unserved) => refused(request_id, &unserved),
    }
}

fn refused(request_id: u64, unserved: &Unserved) -> v1::Response {
    let refusal = v1::Refusal { reason: unserved.to_string() };
    v1::Response { request_id, body: Some(response::Body::Refusal(refusal)) }
}
