//! The cluster as its operators see it, over HTTPS and from the command line. More than one node: `services/shard/tests`.

use ironhub_tests::{Hub, TestResult, binary, eventually, token};
use serde_json::{Value, json};
use tokio::process::Command;

async fn describe(hub: &Hub) -> TestResult<Value> {
    hub.call("GET", "/ironhub/v1/cluster", &[], &Value::Null).await?.expect(200)?.json()
}

async fn status(hub: &Hub, method: &str, path: &str, body: Value) -> TestResult<u16> {
    Ok(hub.call(method, &format!("/ironhub/v1/cluster{path}"), &[], &body).await?.status)
}

#[tokio::test]
async fn a_hub_in_one_process_shows_its_one_node() -> TestResult {
    let hub = Hub::start().await?;
    eventually("the node has registered", async || Ok(describe(&hub).await?["nodes"].as_array().unwrap().len() == 1))
        .await?;
    let cluster = describe(&hub).await?;
    assert_eq!((&cluster["replication"], &cluster["isSettled"]), (&json!(3), &json!(true)), "{cluster}");
    let node = &cluster["nodes"][0];
    let groups = cluster["groups"].as_array().unwrap();
    assert_eq!((&node["nodeId"], &node["state"], &node["isReachable"]), (&json!("1"), &json!("active"), &json!(true)));
    assert_eq!((&node["leaders"], &node["replicas"]), (&json!(groups.len()), &json!(groups.len())), "{node}");
    assert_eq!(groups[0]["group"], "hub");
    for group in groups {
        assert_eq!(group["replicas"], json!([{ "nodeId": "1", "isVoter": true, "entriesBehind": 0 }]), "{group}");
        assert_eq!((&group["leader"], &group["doing"]), (&json!("1"), &json!("")), "{group}");
    }

    assert_eq!(status(&hub, "POST", "/nodes/1/drain", Value::Null).await?, 409, "the groups have to be somewhere");
    assert_eq!(status(&hub, "POST", "/nodes/1/remove", Value::Null).await?, 409);
    assert_eq!(status(&hub, "POST", "/nodes/1/activate", Value::Null).await?, 204);
    assert_eq!(status(&hub, "POST", "/nodes/2/drain", Value::Null).await?, 404);
    assert_eq!(status(&hub, "POST", "/nodes/x/drain", Value::Null).await?, 400);
    assert_eq!(status(&hub, "POST", "/balance", Value::Null).await?, 204);
    assert_eq!(status(&hub, "PUT", "/replication", json!({ "replication": 2 })).await?, 400);
    assert_eq!(status(&hub, "PUT", "/replication", json!({ "replication": 1 })).await?, 204);
    assert_eq!(status(&hub, "PUT", "", Value::Null).await?, 405);
    assert_eq!(status(&hub, "GET", "/nodes/1/drain", Value::Null).await?, 405);
    assert_eq!(status(&hub, "GET", "/nonsense", Value::Null).await?, 404);
    assert_eq!(describe(&hub).await?["replication"], 1);

    // What is wanted is the hub's, not the process's.
    let hub = hub.kill_and_restart().await?;
    eventually("it is settled", async || Ok(describe(&hub).await?["isSettled"] == true)).await?;
    assert_eq!(describe(&hub).await?["replication"], 1);
    Ok(())
}

#[tokio::test]
async fn only_who_has_all_rights_may() -> TestResult {
    let hub = Hub::start().await?;
    let rights = json!({ "rights": "RegistryRead, RegistryWrite, ServiceConnect" });
    let policy = hub.call("PUT", "/ironhub/v1/policies/some", &[], &rights).await?.expect(201)?.json()?;
    let by_policy = token(&hub.host_name, &policy["primaryKey"].as_str().unwrap().parse()?, Some("some"));
    eventually("the policy opens", async || {
        Ok(hub.call_as(&by_policy, "GET", "/devices", &[], b"").await?.status == 200)
    })
    .await?;
    for (method, path) in [("GET", ""), ("POST", "/nodes/1/drain"), ("POST", "/balance"), ("PUT", "/replication")] {
        let path = format!("/ironhub/v1/cluster{path}");
        assert_eq!(hub.call_as(&by_policy, method, &path, &[], b"").await?.status, 401, "{method} {path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_command_line_shows_and_changes_it() -> TestResult {
    let hub = Hub::start().await?;
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(binary()?);
        let output = command.arg("cluster").args(arguments).arg("--data-dir").arg(hub.data_dir()).output().await?;
        let text = String::from_utf8([output.stdout, output.stderr].concat())?;
        anyhow::ensure!(output.status.success(), "{arguments:?}: {text}");
        Ok(text)
    };
    let added = run(&["add", "1", "--within", "30"]).await?;
    assert!(added.contains("replication 3: nothing is left to do"), "{added}");
    let shown: Value = serde_json::from_str(&run(&["status", "--json"]).await?)?;
    assert_eq!(shown["nodes"].as_array().map(Vec::len), Some(1), "{shown}");
    let changed = run(&["replication", "1", "--wait", "--within", "30"]).await?;
    assert!(changed.contains("replication 1: nothing is left to do"), "{changed}");
    run(&["balance"]).await?;
    for refused in [&["drain", "1"][..], &["remove", "1"]] {
        let error = run(refused).await.unwrap_err().to_string();
        assert!(error.contains("last active node"), "{error}");
    }
    let unknown = run(&["drain", "shard-9"]).await.unwrap_err().to_string();
    assert!(unknown.contains("no node \"shard-9\""), "{unknown}");
    let late = run(&["add", "shard-9", "--within", "1"]).await.unwrap_err().to_string();
    assert!(late.contains("shard-9 did not get its share within 1 s"), "{late}");
    Ok(())
}
