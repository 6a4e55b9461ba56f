//! The membership service of every node, this one included.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use proto::shard::v1::{self, membership_client::MembershipClient, membership_server::Membership};
use tonic::{
    Request, Response, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::MembershipService;
use crate::raft::{Connect, NodeId, ToNode};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses that connections are kept to; over it all are made anew.
const CONNECTIONS_MAX: usize = 1024;

/// Connections to other nodes, one for each address.
pub struct Nodes {
    connect: Connect,
    channels: Mutex<HashMap<String, Channel>>,
}

impl Nodes {
    /// No connection yet.
    pub fn new(connect: Connect) -> Self {
        Self { connect, channels: Mutex::default() }
    }

    /// The service at an address, of that node if one is named. Connects when it is first called.
    pub fn at(&self, node_id: Option<NodeId>, address: &str) -> Result<Client, Status> {
        let channel = self.channel(address)?;
        Ok(Client::There(MembershipClient::with_interceptor(channel, ToNode(node_id))))
    }

    fn channel(&self, address: &str) -> Result<Channel, Status> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(|_| Status::invalid_argument(format!("the address of a node is no URI: {address:?}")))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .tcp_nodelay(true);
        let channel = (self.connect)(endpoint);
        if channels.len() == CONNECTIONS_MAX {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

/// One node's service.
pub enum Client {
    Here(Arc<MembershipService>),
    There(MembershipClient<InterceptedService<Channel, ToNode>>),
}

macro_rules! call {
    ($client:expr, $method:ident, $message:expr, $timeout:expr) => {{
        let mut request = Request::new($message);
        request.set_timeout($timeout);
        let call = async {
            match $client {
                Client::Here(service) => service.$method(request).await,
                Client::There(client) => client.clone().$method(request).await,
            }
        };
        let called = tokio::time::timeout($timeout, call).await;
        called.map_err(|_| Status::deadline_exceeded("no answer in time"))?.map(Response::into_inner)
    }};
}

impl Client {
    /// See the service in `proto`, as for all of these.
    pub async fn register_node(&self, node: v1::RegisterNode, is_passed_on: bool) -> Result<bool, Status> {
        let message = v1::RegisterNodeRequest { node: Some(node), is_passed_on };
        let answer: v1::RegisterNodeResponse = call!(self, register_node, message, Duration::from_secs(5))?;
        Ok(answer.is_removed)
    }

    pub async fn describe_groups(&self) -> Result<v1::GroupDescriptions, Status> {
        call!(self, describe_groups, v1::DescribeGroupsRequest {}, Duration::from_secs(1))
    }

    pub async fn change_members(&self, message: v1::ChangeMembersRequest) -> Result<(), Status> {
        call!(self, change_members, message, Duration::from_secs(10)).map(drop)
    }

    /// Answers for how long the group took no commands.
    pub async fn transfer_leadership(&self, group: u32, to_node_id: NodeId) -> Result<Duration, Status> {
        let message = v1::TransferLeadershipRequest { group, to_node_id };
        let answer = call!(self, transfer_leadership, message, Duration::from_secs(10))?;
        Ok(Duration::from_millis(u64::from(answer.gap_milliseconds)))
    }

    pub async fn elect(&self, message: v1::ElectRequest) -> Result<(), Status> {
        call!(self, elect, message, Duration::from_secs(1)).map(drop)
    }

    pub async fn wipe_replica(&self, message: v1::WipeReplicaRequest) -> Result<(), Status> {
        call!(self, wipe_replica, message, Duration::from_secs(20)).map(drop)
    }
}
