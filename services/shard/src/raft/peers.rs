use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use proto::raft::v1::raft_client::RaftClient;
use tonic::transport::{Channel, Endpoint};

use super::{Clocks, Transfers, exchange::Exchange};

/// Largest message between nodes: a request carries about 1 MiB of entries, and no entry is larger than that by much.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing comes is asked, and given up when there is no answer: the host may have lost power, and
/// what runs there now would hear nothing from us. Heartbeats answered are answer enough.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How another node is connected to: TCP, unless the nodes are simulated.
pub type Connect = Arc<dyn Fn(Endpoint) -> Channel + Send + Sync>;

/// The other nodes, one for each address: a connection and a stream, shared by all groups.
pub struct Peers {
    connect: Connect,
    peers: Mutex<HashMap<String, Peer>>,
    pub clocks: Arc<Clocks>,
    pub transfers: Transfers,
}

/// The ways to another node. Cheap to clone.
#[derive(Clone)]
pub struct Peer {
    /// For all that is short.
    pub exchange: Exchange,
    /// For snapshots, each in a stream of its own.
    pub client: RaftClient<Channel>,
}

impl Peers {
    /// No connection yet.
    pub fn new(connect: Connect, clocks: Arc<Clocks>, transfers: Transfers) -> Self {
        Self { connect, peers: Mutex::new(HashMap::new()), clocks, transfers }
    }

    /// The node at that URI. Must be called within a tokio runtime.
    pub fn peer(&self, address: &str) -> Result<Peer, tonic::transport::Error> {
        let mut peers = self.peers.lock();
        if let Some(peer) = peers.get(address) {
            return Ok(peer.clone());
        }
        let endpoint = Endpoint::from_shared(address.to_owned())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let client = RaftClient::new((self.connect)(endpoint))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let peer = Peer { exchange: Exchange::start(client.clone()), client };
        peers.insert(address.to_owned(), peer.clone());
        Ok(peer)
    }
}
