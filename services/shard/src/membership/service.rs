//! What nodes ask of each other to move replicas. Translates between gRPC and [`crate::group`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use model::GroupId;
use proto::{
    raft::v1::{ProposedCommand, proposed_command::Kind},
    shard::v1::{
        self, CommandError,
        change_members_request::Change,
        command_error::Code,
        command_result::Outcome,
        membership_server::{Membership, MembershipServer},
    },
};
use tonic::{Request, Response, Status};

use super::nodes::{Client, Nodes};
use crate::{
    group::{Description, Group, MemberChange},
    raft::{Connect, LogId, NodeId, convert},
    service::{Groups, Leader},
    state,
};

/// The node, as other nodes reach it.
pub struct MembershipService {
    node_id: NodeId,
    groups: Arc<Groups>,
    nodes: Nodes,
}

impl MembershipService {
    /// The service over the groups of the node.
    pub fn new(node_id: NodeId, groups: Arc<Groups>, connect: Connect) -> Arc<Self> {
        Arc::new(Self { node_id, groups, nodes: Nodes::new(connect) })
    }

    /// For a tonic server.
    pub fn server(self: &Arc<Self>) -> MembershipServer<Self> {
        MembershipServer::from_arc(self.clone())
    }

    /// The service of a node.
    pub fn client(self: &Arc<Self>, node_id: NodeId, address: &str) -> Result<Client, Status> {
        if node_id == self.node_id { Ok(Client::Here(self.clone())) } else { self.nodes.at(Some(node_id), address) }
    }

    /// The node at an address.
    pub fn at(&self, address: &str) -> Result<Client, Status> {
        self.nodes.at(None, address)
    }

    /// The hub group on this node.
    pub fn hub(&self) -> Option<&Arc<Leader>> {
        self.groups.hub()
    }

    /// This node's id.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Every group of this node.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().map(|leader| &leader.group)
    }

    /// Gives a leadership of this node to that voter. Answers for how long the group took no commands.
    pub async fn transfer(&self, group: &Group, to: NodeId) -> Result<Duration, String> {
        let (group, id) = (group.clone(), group.id().0);
        let successor = self.member(&group, to).map_err(|status| status.message().to_owned())?;
        let elect = async move |last: LogId| {
            let last_log_id = Some(convert::log_id_to_proto(&last));
            let asked = successor.elect(v1::ElectRequest { group: id, last_log_id }).await;
            asked.map_err(|status| status.message().to_owned())
        };
        // It ends whatever becomes of who asked.
        let transferring = tokio::spawn(async move { group.transfer_leadership(to, elect).await });
        transferring.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    fn group(&self, group: u32) -> Result<&Group, Status> {
        let leader = self.groups.get(group).ok_or_else(|| Status::not_found(format!("no group {group} here")))?;
        Ok(&leader.group)
    }

    /// The service of a member of the group.
    fn member(&self, group: &Group, node_id: NodeId) -> Result<Client, Status> {
        let member = group.members().into_iter().find(|member| member.node_id == node_id);
        let member = member.ok_or_else(|| Status::failed_precondition("no such member"))?;
        self.nodes.at(Some(member.node_id), &member.address)
    }

    /// Writes it down unless it is what is written already. True when the node was removed.
    async fn register(&self, hub: &Group, node: v1::RegisterNode) -> Result<bool, Status> {
        let unavailable = |refusal| Status::unavailable(format!("the hub group cannot do it now: {refusal}"));
        let known = state::cluster(&hub.read().await.map_err(unavailable)?).map_err(internal)?;
        let known = known.nodes.into_iter().find(|known| known.node_id == node.node_id);
        if known.is_some_and(|known| known.address == node.address && known.name == node.name && !is_removed(&known)) {
            return Ok(false);
        }
        let command = ProposedCommand { kind: Some(Kind::RegisterNode(node)) };
        match hub.propose(command).await.map_err(unavailable)?.outcome {
            Some(Outcome::Done(_)) => Ok(false),
            Some(Outcome::Error(error)) if error.code() == Code::NodeRemoved => Ok(true),
            Some(Outcome::Error(CommandError { detail, .. })) => Err(Status::invalid_argument(detail)),
            _ => Err(Status::internal("an outcome of another kind")),
        }
    }
}

fn is_removed(node: &v1::ClusterNode) -> bool {
    node.state() == v1::NodeState::Removed
}

#[tonic::async_trait]
impl Membership for MembershipService {
    async fn register_node(
        &self,
        request: Request<v1::RegisterNodeRequest>,
    ) -> Result<Response<v1::RegisterNodeResponse>, Status> {
        let request = request.into_inner();
        let node = request.node.ok_or_else(|| Status::invalid_argument("no node"))?;
        let hub = self.group(GroupId::HUB.0)?;
        let leader = match hub.leader() {
            Some(leader) if leader == self.node_id => {
                let is_removed = self.register(hub, node).await?;
                return Ok(Response::new(v1::RegisterNodeResponse { is_removed }));
            }
            Some(leader) if !request.is_passed_on => leader,
            _ => return Err(Status::failed_precondition("this node does not lead the hub group")),
        };
        let is_removed = self.member(hub, leader)?.register_node(node, true).await?;
        Ok(Response::new(v1::RegisterNodeResponse { is_removed }))
    }

    async fn describe_groups(
        &self,
        _: Request<v1::DescribeGroupsRequest>,
    ) -> Result<Response<v1::GroupDescriptions>, Status> {
        let mut groups = Vec::new();
        for leader in self.groups.iter() {
            groups.push(description(leader.group_id, leader.group.describe().await));
        }
        Ok(Response::new(v1::GroupDescriptions { node_id: self.node_id, groups }))
    }

    async fn change_members(
        &self,
        request: Request<v1::ChangeMembersRequest>,
    ) -> Result<Response<v1::ChangeMembersResponse>, Status> {
        let request = request.into_inner();
        let group = self.group(request.group)?.clone();
        let expected = log_id(request.expected_membership)?;
        let change = change(request.change.ok_or_else(|| Status::invalid_argument("no change"))?);
        // It ends whatever becomes of who asked: half a change is two sets of voters.
        let changing = tokio::spawn(async move { group.change_members(expected, change).await });
        let changed = changing.await.map_err(internal)?;
        changed.map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(Response::new(v1::ChangeMembersResponse {}))
    }

    async fn transfer_leadership(
        &self,
        request: Request<v1::TransferLeadershipRequest>,
    ) -> Result<Response<v1::TransferLeadershipResponse>, Status> {
        let request = request.into_inner();
        let gap = self.transfer(self.group(request.group)?, request.to_node_id).await;
        let gap = gap.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::TransferLeadershipResponse { gap_milliseconds: milliseconds(gap) }))
    }

    async fn elect(&self, request: Request<v1::ElectRequest>) -> Result<Response<v1::ElectResponse>, Status> {
        let request = request.into_inner();
        let asked = self.group(request.group)?.elect(log_id(request.last_log_id)?).await;
        asked.map_err(Status::failed_precondition)?;
        Ok(Response::new(v1::ElectResponse {}))
    }

    async fn wipe_replica(
        &self,
        request: Request<v1::WipeReplicaRequest>,
    ) -> Result<Response<v1::WipeReplicaResponse>, Status> {
        let request = request.into_inner();
        let group = self.group(request.group)?.clone();
        let membership = log_id(request.membership)?;
        // A replica that is half wiped is stopped.
        let wiping = tokio::spawn(async move { group.wipe(membership).await });
        wiping.await.map_err(internal)?.map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(Response::new(v1::WipeReplicaResponse {}))
    }
}

fn description(group: GroupId, described: Description) -> v1::GroupDescription {
    let leading = described
        .leading
        .map(|leading| v1::Leading { term: leading.term, matched_index: leading.matched_index.into_iter().collect() });
    v1::GroupDescription {
        group: group.0,
        membership: Some(convert::stored_membership_to_proto(&described.membership)),
        is_committed: described.is_committed,
        last_log_index: described.last_log_index,
        has_data: described.has_data,
        leading,
    }
}

fn change(change: Change) -> MemberChange {
    let addresses = |it: v1::MemberAddresses| it.addresses.into_iter().collect::<BTreeMap<_, _>>();
    let ids = |it: v1::NodeIds| it.node_ids.into_iter().collect::<BTreeSet<_>>();
    match change {
        Change::AddLearners(learners) => MemberChange::AddLearners(addresses(learners)),
        Change::Voters(voters) => MemberChange::SetVoters(ids(voters)),
        Change::RemoveLearners(learners) => MemberChange::RemoveLearners(ids(learners)),
        Change::Addresses(moved) => MemberChange::SetAddresses(addresses(moved)),
    }
}

/// The same on its way.
pub fn change_message(change: MemberChange) -> Change {
    let addresses = |it: BTreeMap<_, _>| v1::MemberAddresses { addresses: it.into_iter().collect() };
    let ids = |it: BTreeSet<_>| v1::NodeIds { node_ids: it.into_iter().collect() };
    match change {
        MemberChange::AddLearners(learners) => Change::AddLearners(addresses(learners)),
        MemberChange::SetVoters(voters) => Change::Voters(ids(voters)),
        MemberChange::RemoveLearners(learners) => Change::RemoveLearners(ids(learners)),
        MemberChange::SetAddresses(moved) => Change::Addresses(addresses(moved)),
    }
}

fn log_id(message: Option<proto::raft::v1::LogId>) -> Result<LogId, Status> {
    Ok(convert::log_id(message.ok_or_else(|| Status::invalid_argument("no log id"))?)?)
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}
