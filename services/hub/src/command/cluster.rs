//! `ironhub cluster ...`

use std::time::Duration;

use anyhow::{Context, bail};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    api_client::{ApiClient, Call},
    output::{Output, table},
    target::Target,
};
use crate::{
    arguments::{ClusterCommand, TargetArguments, WaitArguments},
    configuration::Environment,
};

const PATH: [&str; 3] = ["ironhub", "v1", "cluster"];
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs one command against the hub that the arguments name.
pub async fn run(arguments: TargetArguments, command: ClusterCommand, environment: &Environment) -> anyhow::Result<()> {
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let wait = match command {
        ClusterCommand::Status { wait } => wait,
        ClusterCommand::Add { node, within } => {
            let has_share = |status: &Value| is_settled(status) && carries(status, &node);
            let status = wait_for(&client, within, &format!("{node} did not get its share"), has_share).await?;
            print(status, arguments.json);
            return Ok(());
        }
        ClusterCommand::Drain { node, wait } => change(&client, &node, "drain", wait).await?,
        ClusterCommand::Remove { node, wait } => change(&client, &node, "remove", wait).await?,
        ClusterCommand::Activate { node, wait } => change(&client, &node, "activate", wait).await?,
        ClusterCommand::Balance => {
            client.call(Call::new(Method::POST, &[&PATH[..], &["balance"]].concat())).await?;
            WaitArguments { wait: false, within: 0 }
        }
        ClusterCommand::Replication { replicas, wait } => {
            let path = [&PATH[..], &["replication"]].concat();
            let body = Some(json!({ "replication": replicas }));
            client.call(Call { body, ..Call::new(Method::PUT, &path) }).await?;
            wait
        }
    };
    let status = match wait.wait {
        true => wait_for(&client, wait.within, "the cluster is not settled", is_settled).await?,
        false => status(&client).await?,
    };
    print(status, arguments.json);
    Ok(())
}

async fn change(client: &ApiClient, node: &str, action: &str, wait: WaitArguments) -> anyhow::Result<WaitArguments> {
    let status = status(client).await?;
    let node_id = node_id(&status, node)?;
    client.call(Call::new(Method::POST, &[&PATH[..], &["nodes", node_id, action]].concat())).await?;
    Ok(wait)
}

async fn status(client: &ApiClient) -> anyhow::Result<Value> {
    client.call(Call::new(Method::GET, &PATH)).await
}

async fn wait_for(
    client: &ApiClient,
    seconds: u64,
    unless: &str,
    is_it: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let status = status(client).await?;
        if is_it(&status) {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            bail!("{unless} within {seconds} s:\n{}", text(&status));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_settled(status: &Value) -> bool {
    status["isSettled"] == true
}

/// Whether the node of that name or id carries replicas.
fn carries(status: &Value, node: &str) -> bool {
    let is_it = |it: &&Value| it["name"] == node || it["nodeId"] == node;
    nodes(status).find(is_it).is_some_and(|node| node["replicas"].as_u64() > Some(0))
}

/// The id of the node of that name or id. A name that several have had means the one that was not removed.
fn node_id<'s>(status: &'s Value, node: &str) -> anyhow::Result<&'s str> {
    let id = |node: &'s Value| node["nodeId"].as_str();
    let named: Vec<&str> =
        nodes(status).filter(|it| it["name"] == node && it["state"] != "removed").filter_map(id).collect();
    match named.as_slice() {
        [one] => Ok(one),
        [] => {
            let by_id = nodes(status).filter_map(id).find(|it| *it == node);
            by_id.with_context(|| format!("the hub has no node {node:?}; `ironhub cluster status` lists them"))
        }
        several => bail!("{node:?} is the name of several nodes; name one by its id: {}", several.join(", ")),
    }
}

fn nodes(status: &Value) -> impl Iterator<Item = &Value> {
    status["nodes"].as_array().into_iter().flatten()
}

fn print(status: Value, as_json: bool) {
    Output { text: text(&status), json: status }.print(as_json);
}

fn text(status: &Value) -> String {
    let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let node = |node: &Value| {
        let reach = if node["isReachable"] == true { "yes" } else { "no" };
        let numbers = ["leaders", "replicas", "learners"].map(|name| cell(&node[name]));
        let [leaders, replicas, learners] = numbers;
        [cell(&node["name"]), cell(&node["nodeId"]), cell(&node["state"]), reach.into(), leaders, replicas, learners]
    };
    let head = ["NODE", "ID", "STATE", "REACHABLE", "LEADERS", "REPLICAS", "COMING"];
    let rows = nodes(status).map(node).collect();
    let groups = status["groups"].as_array().into_iter().flatten().map(|group| self::group(status, group)).collect();
    let summary = match is_settled(status) {
        true => "nothing is left to do",
        false => "not settled",
    };
    format!(
        "{}\n\n{}\n\nreplication {}: {summary}",
        table(head, rows),
        table(["GROUP", "LEADER", "VOTERS", "COMING", "DOING"], groups),
        status["replication"]
    )
}

fn group(status: &Value, group: &Value) -> [String; 5] {
    let name = |id: &Value| {
        let node = nodes(status).find(|node| node["nodeId"] == *id);
        node.and_then(|node| node["name"].as_str()).or(id.as_str()).unwrap_or("none").to_owned()
    };
    let replicas = |is_voter: bool| {
        let replicas = group["replicas"].as_array().into_iter().flatten();
        let replicas = replicas.filter(|replica| replica["isVoter"] == is_voter);
        let shown = replicas.map(|replica| match replica["entriesBehind"].as_u64() {
            Some(behind) if behind > 0 => format!("{}(-{behind})", name(&replica["nodeId"])),
            _ => name(&replica["nodeId"]),
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    [text(&group["group"]), name(&group["leader"]), replicas(true), replicas(false), text(&group["doing"])]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Value {
        json!({
            "replication": 3, "isSettled": false,
            "nodes": [
                { "nodeId": "11", "name": "shard-0", "state": "active", "isReachable": true, "leaders": 1, "replicas": 1, "learners": 0 },
                { "nodeId": "12", "name": "shard-1", "state": "removed", "isReachable": false, "leaders": 0, "replicas": 1, "learners": 0 },
                { "nodeId": "13", "name": "shard-1", "state": "active", "isReachable": true, "leaders": 0, "replicas": 0, "learners": 1 },
            ],
            "groups": [{
                "group": "hub", "leader": "11", "doing": "copies to 13",
                "replicas": [
                    { "nodeId": "11", "isVoter": true, "entriesBehind": 0 },
                    { "nodeId": "13", "isVoter": false, "entriesBehind": 40 },
                ],
            }],
        })
    }

    #[test]
    fn a_node_is_named_by_name_or_id() -> anyhow::Result<()> {
        let status = example();
        assert_eq!(node_id(&status, "shard-1")?, "13", "the other one was removed");
        assert_eq!(node_id(&status, "12")?, "12");
        assert!(node_id(&status, "shard-9").is_err());
        let mut twice = status.clone();
        twice["nodes"][1]["state"] = "draining".into();
        assert!(node_id(&twice, "shard-1").is_err_and(|error| error.to_string().contains("12, 13")));
        assert!(carries(&status, "shard-0") && !carries(&status, "13") && !carries(&status, "shard-9"));
        Ok(())
    }

    #[test]
    fn the_table_names_nodes() {
        let text = text(&example());
        let row = text.lines().find(|line| line.starts_with("hub")).unwrap_or_default();
        let cells: Vec<_> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells, ["hub", "shard-0", "shard-0", "shard-1(-40)", "copies to 13"]);
        assert!(text.ends_with("replication 3: not settled"), "{text}");
    }
}
