//! The shard nodes and where the groups are, for whoever operates them.

use model::{GroupId, Timestamp};
use proto::shard::v1::{
    self, CommandError, command::Operation, command_error::Code, command_result::Outcome,
    shard_client::ShardClient as Stub,
};
use tonic::transport::Channel;

use crate::{ShardClient, Unavailable, error::unexpected};

/// What is wanted of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It carries its share.
    Active,
    /// It leads nothing, then carries nothing, until it is active again.
    Draining,
    /// For ever.
    Removed,
}

/// What is wanted of the cluster, and what there was a moment ago.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterDescription {
    /// Wanted replicas of each group.
    pub replication: u32,
    pub nodes: Vec<ClusterNode>,
    /// The hub group first.
    pub groups: Vec<ClusterGroup>,
    /// Nothing is left to do.
    pub is_settled: bool,
}

/// A shard node.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterNode {
    pub node_id: u64,
    /// For people, such as the name of its pod.
    pub name: String,
    /// URI of its services; empty for one that is alone in its process.
    pub address: String,
    pub state: NodeState,
    pub registered: Timestamp,
    pub is_reachable: bool,
    /// Groups that it leads,
    pub leaders: u32,
    /// votes in,
    pub replicas: u32,
    /// or is being brought.
    pub learners: u32,
}

/// A group and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterGroup {
    /// 0 is the hub group.
    pub group: u32,
    /// `None`: nobody leads it, or nobody that can be reached.
    pub leader: Option<u64>,
    pub replicas: Vec<Replica>,
    /// For people: what is done next, or what is waited for. Empty when nothing is.
    pub doing: String,
}

/// A replica of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    pub node_id: u64,
    /// Else it is being brought the group.
    pub is_voter: bool,
    /// Of the leader's log.
    pub entries_behind: u64,
}

/// Why the cluster was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    #[error("no node of that id has registered")]
    NodeNotFound,
    #[error("the node was removed; it never comes back")]
    NodeRemoved,
    #[error("it is the last active node; the groups have to be somewhere")]
    LastActiveNode,
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl ShardClient {
    /// The nodes and the groups, as the leader of the hub group sees them now. Takes a second when nodes do not answer.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, Unavailable> {
        let ask = async |mut stub: Stub<Channel>| stub.describe_cluster(v1::DescribeClusterRequest {}).await;
        self.ask_leader(GroupId::HUB, ask).await?.try_into()
    }

    /// Spreads the leaders over the nodes as soon as nothing else moves.
    pub async fn balance_leaders(&self) -> Result<(), Unavailable> {
        let ask = async |mut stub: Stub<Channel>| stub.balance_leaders(v1::BalanceLeadersRequest {}).await;
        self.ask_leader(GroupId::HUB, ask).await.map(drop)
    }

    /// Changes what is wanted of a node. Answered when it is written down; the groups move afterwards.
    pub async fn change_node(&self, node_id: u64, state: NodeState) -> Result<(), ClusterError> {
        let state = v1::NodeState::from(state) as i32;
        self.change_cluster(Operation::ChangeNode(v1::ChangeNode { node_id, state })).await
    }

    /// Changes how many replicas each group has: 1, 3 or 5.
    pub async fn set_replication(&self, replication: u32) -> Result<(), ClusterError> {
        self.change_cluster(Operation::SetReplication(v1::SetReplication { replication })).await
    }

    async fn change_cluster(&self, operation: Operation) -> Result<(), ClusterError> {
        match self.inner.command(GroupId::HUB, operation).await? {
            Outcome::Done(_) => Ok(()),
            Outcome::Error(error) => Err(error.into()),
            _ => Err(Unavailable::Protocol("a command's outcome is of another kind").into()),
        }
    }
}

impl From<CommandError> for ClusterError {
    fn from(error: CommandError) -> Self {
        match error.code() {
            Code::NodeNotFound => Self::NodeNotFound,
            Code::NodeRemoved => Self::NodeRemoved,
            Code::LastActiveNode => Self::LastActiveNode,
            Code::Invalid => Self::Invalid(error.detail),
            _ => Self::Unavailable(unexpected(&error)),
        }
    }
}

impl From<NodeState> for v1::NodeState {
    fn from(state: NodeState) -> Self {
        match state {
            NodeState::Active => Self::Active,
            NodeState::Draining => Self::Draining,
            NodeState::Removed => Self::Removed,
        }
    }
}

impl TryFrom<v1::ClusterDescription> for ClusterDescription {
    type Error = Unavailable;

    fn try_from(message: v1::ClusterDescription) -> Result<Self, Unavailable> {
        Ok(Self {
            replication: message.replication,
            nodes: message.nodes.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            groups: message.groups.into_iter().map(Into::into).collect(),
            is_settled: message.is_settled,
        })
    }
}

impl TryFrom<v1::NodeStatus> for ClusterNode {
    type Error = Unavailable;

    fn try_from(message: v1::NodeStatus) -> Result<Self, Unavailable> {
        let node = message.node.ok_or(Unavailable::Protocol("a node without a row"))?;
        let state = match node.state() {
            v1::NodeState::Active => NodeState::Active,
            v1::NodeState::Draining => NodeState::Draining,
            v1::NodeState::Removed => NodeState::Removed,
            v1::NodeState::Unspecified => return Err(Unavailable::Protocol("a node of an unknown state")),
        };
        Ok(Self {
            node_id: node.node_id,
            name: node.name,
            address: node.address,
            state,
            registered: Timestamp::from_unix_microseconds(node.registered),
            is_reachable: message.is_reachable,
            leaders: message.leaders,
            replicas: message.replicas,
            learners: message.learners,
        })
    }
}

impl From<v1::GroupStatus> for ClusterGroup {
    fn from(message: v1::GroupStatus) -> Self {
        let replica = |replica: v1::ReplicaStatus| Replica {
            node_id: replica.node_id,
            is_voter: replica.is_voter,
            entries_behind: replica.entries_behind,
        };
        Self {
            group: message.group,
            leader: message.leader_node_id,
            replicas: message.replicas.into_iter().map(replica).collect(),
            doing: message.doing,
        }
    }
}
