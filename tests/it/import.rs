//! `ironhub device import`: the real binary on files of both kinds against a running hub (rest §4).

use std::process::Stdio;

use ironhub_tests::{Hub, OTHER_KEY, PATIENCE, TestResult, binary};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

const LINE_BYTES_MAX: usize = 256 * 1024;

/// What an import left behind.
struct Imported {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    /// The lines of the result file.
    failures: Vec<Value>,
}

/// Line, id, module and code of a failure.
type Failed<'a> = (u64, Option<&'a str>, Option<&'a str>, Option<u64>);

impl Imported {
    /// Fails unless all went well.
    fn all(self, count: u64) -> TestResult {
        anyhow::ensure!(self.code == Some(0) && self.failures.is_empty(), "{}{:#?}", self.stderr, self.failures);
        anyhow::ensure!(self.counts()? == (count, 0), "{}", self.stdout);
        Ok(())
    }

    /// Done and failed, by the summary.
    fn counts(&self) -> TestResult<(u64, u64)> {
        let summary: Value = serde_json::from_str(&self.stdout)?;
        anyhow::ensure!(summary["seconds"].is_f64(), "{summary}");
        Ok((summary["done"].as_u64().unwrap(), summary["failed"].as_u64().unwrap()))
    }

    /// Every failure, in the order of lines.
    fn failed(&self) -> Vec<Failed<'_>> {
        let mut rows = Vec::new();
        for failure in &self.failures {
            let (id, module) = (failure["id"].as_str(), failure["moduleId"].as_str());
            rows.push((failure["line"].as_u64().unwrap(), id, module, failure["errorCode"].as_u64()));
        }
        rows.sort_unstable();
        rows
    }

    /// What is said of that line.
    fn error(&self, line: u64) -> &str {
        let failure = self.failures.iter().find(|failure| failure["line"] == line);
        failure.and_then(|failure| failure["error"].as_str()).unwrap_or_default()
    }
}

/// The command, without what says which hub is meant.
fn command(file: &str, more: &[&str]) -> TestResult<Command> {
    let mut command = Command::new(binary()?);
    command.args(["device", "import", file]).args(more).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

async fn run(mut command: Command, input: &[u8]) -> TestResult<Imported> {
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().unwrap();
    // One that stops early reads no more of it.
    let write = async move { _ = stdin.write_all(input).await };
    let (output, ()) = timeout(3 * PATIENCE, async { tokio::join!(child.wait_with_output(), write) }).await?;
    let output = output?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok(Imported { code: output.status.code(), stdout, stderr, failures: Vec::new() })
}

/// Imports a file of that content; its failures go to a result file.
async fn import(hub: &Hub, content: impl AsRef<[u8]>, more: &[&str]) -> TestResult<Imported> {
    let folder = TempDir::new()?;
    let (file, result) = (folder.path().join("devices"), folder.path().join("failed.jsonl"));
    std::fs::write(&file, content)?;
    let mut command = command(&file.to_string_lossy(), more)?;
    command.arg("--json").arg("--data-dir").arg(hub.data_dir()).arg("--result").arg(&result);
    let mut imported = run(command, b"").await?;
    let lines = std::fs::read_to_string(&result)?;
    imported.failures = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(imported)
}

async fn get(hub: &Hub, path: &str) -> TestResult<Value> {
    hub.call("GET", &format!("/devices/{path}"), &[], &Value::Null).await?.expect(200)?.json()
}

async fn is_missing(hub: &Hub, path: &str) -> TestResult<bool> {
    Ok(hub.call("GET", &format!("/devices/{path}"), &[], &Value::Null).await?.status == 404)
}

#[tokio::test]
async fn csv_has_a_column_for_everything() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_id();
    let (thumbprint, other) = ("AB".repeat(20), "cd".repeat(32));
    // Columns compare without case; empty cells say nothing; a cell in quotes holds commas, quotes and line ends.
    let csv = format!(
        "\u{feff}ID,moduleId,status,STATUSREASON,managedBy,type,primaryKey,secondaryKey,primaryThumbprint,\
         secondaryThumbprint,iotEdge\r\n\
         {id}-keys,,disabled,\"being \"\"repaired\"\",\nsince May ☃\",,sas,{OTHER_KEY},{OTHER_KEY},,,\r\n\
         {id}-thumbprint,,,,,selfSigned,,,{thumbprint},{other},\r\n\
         \r\n\
         {id}-authority,,enabled,,,certificateAuthority,,,,,false\r\n\
         {id}-edge,,,,,,,,,,TRUE\r\n\
         {id}-keys,m1,,,me,,,,,,"
    );
    import(&hub, csv, &[]).await?.all(5)?;
    let keys = get(&hub, &format!("{id}-keys")).await?;
    assert_eq!(
        (&keys["status"], &keys["statusReason"]),
        (&json!("disabled"), &json!("being \"repaired\",\nsince May ☃"))
    );
    assert_eq!(keys["authentication"]["symmetricKey"], json!({ "primaryKey": OTHER_KEY, "secondaryKey": OTHER_KEY }));
    let by_thumbprint = get(&hub, &format!("{id}-thumbprint")).await?;
    let thumbprints = json!({ "primaryThumbprint": thumbprint, "secondaryThumbprint": other });
    assert_eq!(by_thumbprint["authentication"]["x509Thumbprint"], thumbprints);
    assert_eq!(get(&hub, &format!("{id}-authority")).await?["authentication"]["type"], "certificateAuthority");
    let edge = get(&hub, &format!("{id}-edge")).await?;
    assert_eq!(edge["capabilities"]["iotEdge"], true);
    assert!(edge["authentication"]["symmetricKey"]["primaryKey"].is_string(), "the hub made keys: {edge}");
    assert_eq!(get(&hub, &format!("{id}-keys/modules/m1")).await?["managedBy"], "me");
    let scope = edge["deviceScope"].as_str().unwrap();
    import(&hub, format!("id,deviceScope\n{id}-leaf,{scope}\n"), &[]).await?.all(1)?;
    assert_eq!(get(&hub, &format!("{id}-leaf")).await?["parentScopes"], json!([scope]));
    Ok(())
}

#[tokio::test]
async fn json_lines_create_update_and_delete() -> TestResult {
    let hub = Hub::shared().await?;
    let ids: Vec<_> = (0..250).map(|_| hub.new_id()).collect();
    let lines = |line: &dyn Fn(&String) -> Value| ids.iter().map(|id| line(id).to_string() + "\n").collect::<String>();
    // An export of a hub has members that an import does not know, or null.
    let exported = lines(&|id| {
        json!({ "id": id, "eTag": "MQ==", "status": "enabled", "statusReason": null, "tags": { "floor": 1 },
                "properties": { "desired": {}, "reported": {} }, "capabilities": { "iotEdge": false } })
    });
    import(&hub, &exported, &["--mode", "create"]).await?.all(250)?;
    let created = get(&hub, &ids[249]).await?;
    let again = import(&hub, &exported, &["--mode", "create"]).await?;
    assert_eq!((again.code, again.counts()?), (Some(1), (0, 250)));
    assert!(again.failed().iter().zip(1..).all(|(row, line)| (row.0, row.3) == (line, Some(409_001))));
    import(&hub, &exported, &[]).await?.all(250)?;
    assert_ne!(get(&hub, &ids[249]).await?["etag"], created["etag"], "createOrUpdate is what a line does by itself");

    let disable = lines(&|id| json!({ "id": id, "status": "disabled", "statusReason": "all", "importMode": "delete" }));
    import(&hub, disable, &["--mode", "update", "--clients", "3"]).await?.all(250)?;
    let disabled = get(&hub, &ids[100]).await?;
    assert_eq!(disabled["statusReason"], "all", "--mode wins over what the lines say: {disabled}");
    import(&hub, format!("id\n{}\n", ids.join("\n")), &["--mode", "delete"]).await?.all(250)?;
    for id in [&ids[0], &ids[249]] {
        assert!(is_missing(&hub, id).await?, "{id}");
    }
    let missing = import(&hub, format!("id\n{}\n", ids[7]), &["--mode", "update"]).await?;
    assert_eq!(missing.failed(), [(2, Some(ids[7].as_str()), None, Some(404_001))]);
    Ok(())
}

#[tokio::test]
async fn etags_of_lines_decide_in_the_modes_that_ask_for_them() -> TestResult {
    let hub = Hub::shared().await?;
    let (device, other) = (hub.new_device().await?, hub.new_device().await?);
    let (id, other) = (device.device_id.as_str(), other.device_id.as_str());
    let csv = format!("id,eTag,statusReason\n{id},{},changed\n{other},AAAA,changed\n", device.etag);
    let updated = import(&hub, csv, &["--mode", "updateIfMatchETag"]).await?;
    assert_eq!((updated.counts()?, updated.failed()), ((1, 1), vec![(3, Some(other), None, Some(412_001))]));
    assert_eq!(get(&hub, id).await?["statusReason"], "changed");
    let csv = format!("id,eTag\n{id},{}\n{other},*\n", device.etag);
    let deleted = import(&hub, csv, &["--mode", "deleteIfMatchETag"]).await?;
    assert_eq!((deleted.counts()?, deleted.failed()), ((1, 1), vec![(2, Some(id), None, Some(412_001))]));
    assert!(is_missing(&hub, other).await? && !is_missing(&hub, id).await?);
    Ok(())
}

#[tokio::test]
async fn lines_of_one_device_keep_their_order() -> TestResult {
    let hub = Hub::shared().await?;
    let ids: Vec<_> = (0..60).map(|_| hub.new_id()).collect();
    let steps = [("create", "1"), ("update", "2"), ("update", "3"), ("delete", ""), ("create", "4"), ("update", "5")];
    let lines = steps.iter().flat_map(|(mode, reason)| {
        ids.iter().map(move |id| json!({ "id": id, "importMode": mode, "statusReason": reason }).to_string() + "\n")
    });
    import(&hub, lines.collect::<String>(), &["--clients", "8"]).await?.all(6 * 60)?;
    for id in &ids {
        assert_eq!(get(&hub, id).await?["statusReason"], "5", "{id}");
    }
    Ok(())
}

#[tokio::test]
async fn what_fails_is_found_by_its_line_and_the_rest_is_done() -> TestResult {
    let hub = Hub::shared().await?;
    let (there, id) = (hub.new_device().await?.device_id, hub.new_id());
    let csv = format!(
        "id,moduleId,importMode,status,statusReason,iotEdge\n\
         {id}-a,,create,,\"two\nlines\",\n\
         {there},,create,,,\n\
         ,,,,,\n\
         {id}-b,,create,asleep,,\n\
         {id}-c,,create,,,maybe\n\
         {id}-d,,create\n\
         ,,create,enabled,,\n\
         no id,,create,,,\n\
         {id}-a,$mine,create,,,\n\
         {id}-e,,upsert,,,\n\
         {id}-f,,create,,,\n"
    );
    let imported = import(&hub, csv, &[]).await?;
    assert_eq!((imported.code, imported.counts()?), (Some(1), (2, 8)));
    assert_eq!(imported.stderr.lines().last(), Some("ironhub: 8 of 10 lines failed"));
    let named = |suffix: &str| format!("{id}{suffix}");
    assert_eq!(
        imported.failed(),
        [
            (4, Some(there.as_str()), None, Some(409_001)),
            (6, Some(named("-b").as_str()), None, Some(400_004)),
            (7, None, None, None),
            (8, None, None, None),
            (9, None, None, None),
            (10, Some("no id"), None, Some(400_004)),
            (11, Some(named("-a").as_str()), Some("$mine"), Some(400_004)),
            (12, Some(named("-e").as_str()), None, Some(400_004)),
        ]
    );
    for (line, words) in [
        (4, "is already registered"),
        (6, "status is 'asleep', expected enabled or disabled"),
        (7, "iotEdge is \"maybe\", expected true or false"),
        (8, "3 cells, but 6 columns"),
        (9, "the line has no id"),
        (12, "importMode is 'upsert'"),
    ] {
        assert!(imported.error(line).contains(words), "{line}: {}", imported.error(line));
    }
    assert_eq!(get(&hub, &named("-a")).await?["statusReason"], "two\nlines");
    get(&hub, &named("-f")).await?;
    Ok(())
}

/// The hub cannot read some of them either; they are no less failed.
#[tokio::test]
async fn json_lines_of_every_wrong_shape_are_failures() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_id();
    let lines = [
        format!(r#"{{"id":"{id}"}}"#),
        "{".to_owned(),
        "[]".to_owned(),
        r#"{"id":7}"#.to_owned(),
        format!(r#"{{"id":"{id}-a","importMode":7}}"#),
        format!(r#"{{"id":"{id}-b","moduleId":7}}"#),
        format!(r#"{{"id":"{id}-c","status":{{}}}}"#),
        format!(r#"{{"id":"{id}-d","importMode":"updateTwin"}}"#),
    ];
    let imported = import(&hub, lines.join("\n"), &[]).await?;
    assert_eq!((imported.code, imported.counts()?), (Some(1), (1, 7)), "{:#?}", imported.failures);
    let named = |suffix: &str| format!("{id}{suffix}");
    assert_eq!(
        imported.failed(),
        [
            (2, None, None, None),
            (3, None, None, None),
            (4, None, None, None),
            (5, Some(named("-a").as_str()), None, Some(400_006)),
            (6, Some(named("-b").as_str()), None, Some(400_006)),
            (7, Some(named("-c").as_str()), None, Some(400_006)),
            (8, Some(named("-d").as_str()), None, Some(400_004)),
        ]
    );
    Ok(())
}

#[tokio::test]
async fn people_see_the_first_failures_and_the_counts() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_id();
    let lines: String = (0..12).map(|number| format!("{{\"id\":\"{id}-{number}\",\"status\":\"?\"}}\n")).collect();
    let mut command = command("-", &["--clients", "1"])?;
    command.arg("--data-dir").arg(hub.data_dir());
    let imported = run(command, format!("{lines}{{\"id\":\"{id}\"}}\n").as_bytes()).await?;
    assert_eq!(imported.code, Some(1));
    assert!(imported.stdout.starts_with("1 done, 12 failed in "), "{}", imported.stdout);
    let said: Vec<_> = imported.stderr.lines().collect();
    assert_eq!(said.len(), 12, "{}", imported.stderr);
    assert!(said[0].starts_with(&format!("line 1 ({id}-0): status is '?'")), "{}", said[0]);
    assert_eq!(said[10..], ["more lines failed; --result FILE keeps them all", "ironhub: 12 of 13 lines failed"]);
    Ok(())
}

/// What is wrong, where, and what is expected; what stands before it is imported.
#[tokio::test]
async fn bad_files_are_explained() -> TestResult {
    let hub = Hub::shared().await?;
    let id = hub.new_id();
    let header = format!("id,statusReason\n{id}-1,x\n");
    let open_quote = format!("{header}{id}-2,\"{}", "x\n".repeat(LINE_BYTES_MAX));
    let long_line = format!("{{\"id\":\"{id}-3\"}}\n\n{{\"id\":\"{}\"}}\n", "x".repeat(LINE_BYTES_MAX));
    for (content, line, words) in [
        (Vec::new(), 1, "the file is empty"),
        (b"id,colour\nd1,red\n".to_vec(), 1, "the column \"colour\" is unknown; known are id, moduleId, importMode"),
        (b"status\nenabled\n".to_vec(), 1, "the first line must name the columns, and one of them must be id"),
        (b"\xff\xfei\0d\0\n\0".to_vec(), 1, "the file is not UTF-8"),
        ([header.as_bytes(), b"\xff,y\n"].concat(), 3, "the file is not UTF-8"),
        (open_quote.into_bytes(), 3, "a record is longer than 262144 bytes; is a quote open?"),
        (long_line.into_bytes(), 3, "a line is longer than 262144 bytes"),
    ] {
        let imported = import(&hub, content, &[]).await?;
        assert_eq!(imported.code, Some(1), "{words}");
        let message = imported.stderr.lines().last().unwrap_or_default();
        assert!(message.contains(words) && message.contains(&format!("line {line}:")), "{words}: {message}");
        assert!(message.contains("/devices: line "), "the file is named: {message}");
        assert_eq!(imported.failures, Vec::<Value>::new());
    }
    for imported in [format!("{id}-1"), format!("{id}-3")] {
        get(&hub, &imported).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_import_that_cannot_begin_or_go_on_says_why() -> TestResult {
    let hub = Hub::shared().await?;
    let folder = TempDir::new()?;
    let (missing, result) = (folder.path().join("missing.csv"), folder.path().join("no/failed.jsonl"));
    let (missing, result) = (missing.to_string_lossy(), result.to_string_lossy());
    let (data_dir, reader) = (hub.data_dir(), hub.json["connectionStrings"]["registryRead"].as_str().unwrap());
    let data_dir = data_dir.to_string_lossy();
    // The port is not in it.
    let reader = reader.replace(&hub.host_name, &hub.https.to_string());
    let authority = hub.authority.to_string_lossy();
    let by_reader = ["--connection-string", &reader, "--certificate-authority-file", &authority];
    for (file, more, words) in [
        (&*missing, &["--data-dir", &*data_dir][..], format!("cannot read {missing}")),
        ("-", &["--data-dir", &*data_dir, "--result", &result], format!("cannot write {result}")),
        ("-", &by_reader, "grants RegistryRead, needed is RegistryWrite".to_owned()),
    ] {
        let imported = run(command(file, more)?, b"id\nd1\n").await?;
        assert_eq!(imported.code, Some(1), "{words}");
        assert!(imported.stderr.contains(&words), "{words}: {}", imported.stderr);
    }
    let wrong_mode = run(command("-", &["--mode", "upsert"])?, b"").await?;
    assert_eq!(wrong_mode.code, Some(2), "{}", wrong_mode.stderr);
    assert!(wrong_mode.stderr.contains("createOrUpdateIfMatchETag"), "the modes are listed: {}", wrong_mode.stderr);
    Ok(())
}
