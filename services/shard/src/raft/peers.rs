use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use proto::raft::v1::raft_client::RaftClient;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::{Clocks, NodeId, ToNode, Transfers, exchange::Exchange};

/// Largest message between nodes: a request carries about 1 MiB of entries, and no entry is larger than that by much.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing comes is asked, and given up when there is no answer: the host may have lost power, and
/// what runs there now would hear nothing from us. Heartbeats answered are answer enough.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How another node is connected to: TCP, unless the nodes are simulated.
pub type Connect = Arc<dyn Fn(Endpoint) -> Channel + Send + Sync>;

/// The service of one node.
pub type Client = RaftClient<InterceptedService<Channel, ToNode>>;

/// The other nodes, each where it is: a connection and a stream, shared by all groups.
pub struct Peers {
    connect: Connect,
    peers: Mutex<HashMap<(NodeId, String), Peer>>,
    pub clocks: Arc<Clocks>,
    pub transfers: Transfers,
}

/// The ways to another node. Cheap to clone.
#[derive(Clone)]
pub struct Peer {
    /// For all that is short.
    pub exchange: Exchange,
    /// For snapshots, each in a stream of its own.
    pub client: Client,
}

impl Peers {
    /// No connection yet.
    pub fn new(connect: Connect, clocks: Arc<Clocks>, transfers: Transfers) -> Self {
        Self { connect, peers: Mutex::new(HashMap::new()), clocks, transfers }
    }

    /// That node at that URI. Must be called within a tokio runtime.
    pub fn peer(&self, node_id: NodeId, address: &str) -> Result<Peer, tonic::transport::Error> {
        let mut peers = self.peers.lock();
        let key = (node_id, address.to_owned());
        if let Some(peer) = peers.get(&key) {
            return Ok(peer.clone());
        }
        let endpoint = Endpoint::from_shared(address.to_owned())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let client = client((self.connect)(endpoint), node_id);
        let peer = Peer { exchange: Exchange::start(client.clone()), client };
        peers.insert(key, peer.clone());
        Ok(peer)
    }
}

/// The service of that node, when the channel leads to it.
pub fn client(channel: Channel, node_id: NodeId) -> Client {
    RaftClient::with_interceptor(channel, ToNode(Some(node_id)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}
