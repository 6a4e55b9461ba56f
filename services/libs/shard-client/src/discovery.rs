//! Finding shard nodes: from a few addresses to all members of a hub, and to those that lead.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use model::GroupId;
use proto::shard::v1::{self, shard_client::ShardClient as Stub};
use tokio::{
    net::lookup_host,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::{Inner, Node, config::endpoint};

/// How often the known nodes are asked whom they know and what they lead.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Not more often than that, however lost everybody is.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// The seeds are asked in every round of so many, for nodes that no group has among its members yet.
const SEEDS_EVERY: u32 = 6;
/// A node has to answer within it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Nodes asked at the same time.
const ASKED_AT_ONCE_MAX: usize = 32;
/// A node that no other names for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// How a node is connected to.
pub type Connect = Arc<dyn Fn(Endpoint) -> Channel + Send + Sync>;

/// Where to begin to look for nodes.
#[derive(Clone)]
pub struct Discovery {
    /// `host:port` each. Every address that a name stands for is asked: a headless service has one for each of its pods.
    pub seeds: Vec<String>,
    pub connect: Connect,
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedNode {
    pub node_id: u64,
    /// Device groups of the hub.
    pub groups: u32,
    /// It belongs to a hub that was founded.
    pub is_member: bool,
    /// The members of its groups with the URIs of their services.
    pub nodes: BTreeMap<u64, String>,
    /// What it leads now.
    pub led_groups: Vec<GroupId>,
}

/// Why a node did not describe itself.
#[derive(Debug, thiserror::Error)]
pub enum Undescribed {
    /// The address is none.
    #[error("{0} is no address of a shard node: host:port is expected")]
    Address(String),
    /// It cannot be reached, or refuses.
    #[error("the shard node at {address} does not answer: {cause}")]
    Silent { address: String, cause: String },
}

impl Discovery {
    /// Asks the node at `host:port`.
    pub async fn describe(&self, address: &str) -> Result<DescribedNode, Undescribed> {
        let uri = format!("http://{address}");
        let endpoint = Endpoint::from_shared(uri).map_err(|_| Undescribed::Address(address.to_owned()))?;
        let channel = (self.connect)(endpoint.connect_timeout(ANSWER_TIMEOUT));
        let silent = |cause| Undescribed::Silent { address: address.to_owned(), cause };
        match timeout(ANSWER_TIMEOUT, ask(channel)).await {
            Ok(answer) => answer.map_err(|status| silent(status.to_string())),
            Err(_) => Err(silent("no answer in time".to_owned())),
        }
    }

    /// Number of device groups of the hub, as soon as a node that belongs to one answers.
    pub async fn wait_for_groups(&self) -> u32 {
        loop {
            if let Some(member) = self.ask_seeds().await.into_iter().find(|node| node.is_member) {
                return member.groups;
            }
            tracing::info!(seeds = self.seeds.join(", "), "waits for the shards of the hub");
            sleep(ASK_EVERY / 5).await;
        }
    }

    async fn ask_seeds(&self) -> Vec<DescribedNode> {
        let resolved = stream::iter(&self.seeds).then(|seed| async move { (seed, lookup_host(seed).await) });
        let mut addresses = BTreeSet::new();
        let mut resolved = std::pin::pin!(resolved);
        while let Some((seed, found)) = resolved.next().await {
            match found {
                Ok(found) => addresses.extend(found),
                Err(error) => tracing::debug!(seed, %error, "a seed has no address"),
            }
        }
        let described = stream::iter(addresses)
            .map(|address| async move { self.describe(&address.to_string()).await })
            .buffer_unordered(ASKED_AT_ONCE_MAX);
        described
            .filter_map(|node| async { node.inspect_err(|error| tracing::debug!(%error, "a seed is silent")).ok() })
            .collect()
            .await
    }
}

async fn ask(channel: Channel) -> Result<DescribedNode, tonic::Status> {
    let description = Stub::new(channel).describe_node(v1::DescribeNodeRequest {}).await?.into_inner();
    Ok(DescribedNode {
        node_id: description.node_id,
        groups: description.groups,
        is_member: description.is_member,
        nodes: description.nodes.into_iter().map(|node| (node.node_id, node.address)).collect(),
        led_groups: description.led_groups.into_iter().map(GroupId).collect(),
    })
}

/// Keeps the client's nodes and its beliefs current, for ever.
pub(crate) async fn run(client: Arc<Inner>, discovery: Discovery, cancelled: CancellationToken) {
    let mut round = Round { client, discovery, cancelled, addresses: BTreeMap::new(), named: BTreeMap::new() };
    let mut count: u32 = 0;
    loop {
        let asked_seeds = count.is_multiple_of(SEEDS_EVERY);
        let answered = round.run(asked_seeds).await;
        count = if answered { count.wrapping_add(1) } else { 0 };
        sleep(ASK_AGAIN_AFTER).await;
        tokio::select! {
            () = round.client.nodes.lost.notified() => {}
            () = sleep(ASK_EVERY) => {}
        }
    }
}

struct Round {
    client: Arc<Inner>,
    discovery: Discovery,
    cancelled: CancellationToken,
    /// Where each known node is.
    addresses: BTreeMap<u64, String>,
    /// When each was named last.
    named: BTreeMap<u64, Instant>,
}

impl Round {
    /// Whether a member of the hub answered.
    async fn run(&mut self, with_seeds: bool) -> bool {
        let mut described = self.ask_known().await;
        if with_seeds || described.is_empty() {
            described.extend(self.discovery.ask_seeds().await);
        }
        described.retain(|node| node.is_member && node.groups == self.client.config.groups);
        for node in &described {
            node.nodes.iter().for_each(|(id, address)| self.named(*id, address));
        }
        for node in &described {
            node.led_groups.iter().for_each(|group| self.client.nodes.believe(*group, node.node_id));
        }
        if !described.is_empty() {
            self.forget();
        }
        !described.is_empty()
    }

    async fn ask_known(&self) -> Vec<DescribedNode> {
        let known = self.client.nodes.known();
        let channels: Vec<_> = known.iter().map(|node| node.channel.clone()).collect();
        let described = stream::iter(channels)
            .map(|channel| timeout(ANSWER_TIMEOUT, ask(channel)))
            .buffer_unordered(ASKED_AT_ONCE_MAX);
        described.filter_map(|answer| async { answer.ok()?.ok() }).collect().await
    }

    fn named(&mut self, id: u64, address: &str) {
        self.named.insert(id, Instant::now());
        if self.addresses.get(&id).is_some_and(|known| known == address) {
            return;
        }
        match Endpoint::from_shared(address.to_owned()) {
            Ok(found) => {
                tracing::info!(node_id = id, address, "a shard node was found");
                let channel = (self.discovery.connect)(endpoint(found));
                self.client.nodes.put(Node { id, channel }, &self.cancelled);
                self.addresses.insert(id, address.to_owned());
            }
            Err(error) => tracing::warn!(node_id = id, address, %error, "a node's address is no URI"),
        }
    }

    fn forget(&mut self) {
        let outdated = self.named.extract_if(.., |_, named| named.elapsed() > FORGOTTEN_AFTER);
        for (id, _) in outdated.collect::<Vec<_>>() {
            tracing::info!(node_id = id, "no group has the shard node as a member any more");
            self.addresses.remove(&id);
            self.client.nodes.remove(id);
        }
    }
}
