use std::{future::Future, sync::Arc, time::Duration};

use model::GroupId;
use openraft::{
    BasicNode, RaftNetwork, RaftNetworkFactory, Snapshot,
    error::{Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse},
};
use proto::raft::v1::{request, response};

use super::{
    NodeId, Peers, TypeConfig, Vote, convert,
    exchange::Unanswered,
    peers::Peer,
    snapshots::{self, SendError},
};

/// A peer that cannot be reached is tried again after this.
const BACKOFF: Duration = Duration::from_millis(200);

/// Makes the links of one group.
pub struct Network {
    group: GroupId,
    peers: Arc<Peers>,
}

impl Network {
    /// Links of the group over the node's connections.
    pub fn new(group: GroupId, peers: Arc<Peers>) -> Self {
        Self { group, peers }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &BasicNode) -> Link {
        let peer = self.peers.peer(target, &node.addr).map_err(|error| {
            tracing::error!(node_id = target, address = node.addr, %error, "a node's address is no URI");
            Unreachable::new(&error)
        });
        Link { group: self.group, target, peer, peers: self.peers.clone() }
    }
}

/// One group's way to one other node.
pub struct Link {
    group: GroupId,
    target: NodeId,
    peer: Result<Peer, Unreachable>,
    peers: Arc<Peers>,
}

type CallError = RPCError<NodeId, BasicNode, RaftError<NodeId>>;

impl Link {
    async fn ask(&self, body: request::Body, option: &RPCOption) -> Result<response::Body, CallError> {
        let peer = self.peer.as_ref().map_err(|error| error.clone())?;
        peer.exchange.ask(body, option.hard_ttl()).await.map_err(|error| match error {
            // It may be slow only: asked again at once.
            Unanswered::TimedOut(_) => NetworkError::new(&error).into(),
            _ => Unreachable::new(&error).into(),
        })
    }
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, CallError> {
        let clocks = &self.peers.clocks;
        let sent = clocks.now();
        let request = convert::append_request_to_proto(self.group.0, &request, sent);
        let response::Body::AppendEntries(response) = self.ask(request::Body::AppendEntries(request), &option).await?
        else {
            return Err(Unreachable::new(&Unanswered::Odd("append_entries")).into());
        };
        clocks.measure(self.target, sent, response.received_time, clocks.now());
        convert::append_response(response).map_err(|missing| NetworkError::new(&missing).into())
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, CallError> {
        let request = convert::vote_request_to_proto(self.group.0, &request);
        let response::Body::Vote(response) = self.ask(request::Body::Vote(request), &option).await? else {
            return Err(Unreachable::new(&Unanswered::Odd("vote")).into());
        };
        convert::vote_response(response).map_err(|missing| NetworkError::new(&missing).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<TypeConfig, Fatal<NodeId>>> {
        let peer = self.peer.as_ref().map_err(|error| error.clone())?;
        let sending = snapshots::send(peer.client.clone(), &self.peers.transfers, self.group, vote, snapshot);
        let sent = tokio::select! {
            sent = sending => sent,
            closed = cancel => return Err(closed.into()),
        };
        sent.map_err(|error| {
            tracing::warn!(group = %self.group, node_id = self.target, %error, "a snapshot was not sent");
            match error {
                SendError::Unreachable(_) => Unreachable::new(&error).into(),
                _ => NetworkError::new(&error).into(),
            }
        })
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}
