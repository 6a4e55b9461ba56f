//! A node makes itself known to the hub.

use std::{sync::Arc, time::Duration};

use proto::shard::v1::RegisterNode;
use tonic::Status;

use super::MembershipService;

const RETRY: Duration = Duration::from_secs(1);

/// Registers the node, by itself when it knows who leads the hub group, or by one of the addresses. Tries until it is
/// registered, or until it is known that it was removed.
pub async fn register(service: Arc<MembershipService>, node: RegisterNode, addresses: Vec<String>) {
    loop {
        match register_once(&service, &node, &addresses).await {
            Ok(false) => {
                tracing::info!(node_id = node.node_id, address = node.address, "registered with the hub");
                return;
            }
            Ok(true) => {
                tracing::error!(
                    node_id = node.node_id,
                    "this node was removed from the hub; only an empty disk, which is another node, can join it"
                );
                return;
            }
            Err(status) => tracing::debug!(%status, "not registered with the hub yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// True when the node was removed.
async fn register_once(
    service: &Arc<MembershipService>,
    node: &RegisterNode,
    addresses: &[String],
) -> Result<bool, Status> {
    let mut answer = service.client(node.node_id, "")?.register_node(node.clone(), false).await;
    for address in addresses {
        if answer.is_ok() {
            break;
        }
        answer = service.at(address)?.register_node(node.clone(), false).await;
    }
    answer
}
