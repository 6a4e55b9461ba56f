//! The shard nodes of the hub and where its groups are, an API of IronHub: `/ironhub/v1/cluster`. For policies with all
//! four rights only.
//!
//! What is wanted is written down at once; replicas and leaders move afterwards, and `isSettled` says when nothing is left
//! to do. Node ids are texts: they have more digits than some readers of JSON keep.

use auth::Operation;
use http::{Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use shard_client::{ClusterDescription, ClusterGroup, ClusterNode, NodeState, Replica};

use super::{
    authorization::authorize,
    body::{self, Body},
    error::ApiError,
    route::Call,
};

/// Answers a request below `cluster`.
pub(super) async fn answer(call: Call<'_>, method: &Method, path: &[&str]) -> Result<Response<Body>, ApiError> {
    authorize(call.context, &call.parts.headers, Operation::ManageSettings, &["ironhub", "v1", "cluster"])?;
    match (path, method.as_str()) {
        ([], "GET") => describe(call).await,
        (["nodes", id, "activate"], "POST") => change(call, id, NodeState::Active).await,
        (["nodes", id, "drain"], "POST") => change(call, id, NodeState::Draining).await,
        (["nodes", id, "remove"], "POST") => change(call, id, NodeState::Removed).await,
        (["balance"], "POST") => balance(call).await,
        (["replication"], "PUT") => replicate(call).await,
        ([], _) => Err(ApiError::method_not_allowed("GET")),
        (["nodes", _, "activate" | "drain" | "remove"] | ["balance"], _) => Err(ApiError::method_not_allowed("POST")),
        (["replication"], _) => Err(ApiError::method_not_allowed("PUT")),
        _ => Err(ApiError::not_found()),
    }
}

/// `GET /ironhub/v1/cluster`.
async fn describe(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    let cluster = call.context.front.shard_client.describe_cluster().await?;
    Ok(body::json(&json_of(&cluster)))
}

/// `POST /ironhub/v1/cluster/nodes/{id}/{activate|drain|remove}`.
async fn change(call: Call<'_>, id: &str, state: NodeState) -> Result<Response<Body>, ApiError> {
    let node_id = id.parse().map_err(|_| ApiError::argument(format!("'{id}' is no node id, which is a number")))?;
    call.context.front.shard_client.change_node(node_id, state).await?;
    Ok(body::no_content())
}

/// `POST /ironhub/v1/cluster/balance`: spreads the leaders without waiting for a quiet time.
async fn balance(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    call.context.front.shard_client.balance_leaders().await?;
    Ok(body::no_content())
}

#[derive(Deserialize)]
struct ReplicationInput {
    replication: u32,
}

/// `PUT /ironhub/v1/cluster/replication`.
async fn replicate(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    let front = &call.context.front;
    let input: ReplicationInput = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    front.shard_client.set_replication(input.replication).await?;
    Ok(body::no_content())
}

fn json_of(cluster: &ClusterDescription) -> Value {
    json!({
        "replication": cluster.replication,
        "isSettled": cluster.is_settled,
        "nodes": cluster.nodes.iter().map(node).collect::<Vec<_>>(),
        "groups": cluster.groups.iter().map(group).collect::<Vec<_>>(),
    })
}

fn node(node: &ClusterNode) -> Value {
    let state = match node.state {
        NodeState::Active => "active",
        NodeState::Draining => "draining",
        NodeState::Removed => "removed",
    };
    json!({
        "nodeId": node.node_id.to_string(),
        "name": node.name,
        "address": node.address,
        "state": state,
        "registered": node.registered.to_string(),
        "isReachable": node.is_reachable,
        "leaders": node.leaders,
        "replicas": node.replicas,
        "learners": node.learners,
    })
}

fn group(group: &ClusterGroup) -> Value {
    let replica = |replica: &Replica| {
        json!({
            "nodeId": replica.node_id.to_string(),
            "isVoter": replica.is_voter,
            "entriesBehind": replica.entries_behind,
        })
    };
    json!({
        "group": if group.group == 0 { "hub".to_owned() } else { group.group.to_string() },
        "leader": group.leader.map(|leader| leader.to_string()),
        "replicas": group.replicas.iter().map(replica).collect::<Vec<_>>(),
        "doing": group.doing,
    })
}
