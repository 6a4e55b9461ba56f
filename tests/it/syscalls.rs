//! By the system calls of the real process: the journal is synced before the acknowledgement is written to the socket.

use std::time::Duration;

use anyhow::Context;
use ironhub_tests::{Hub, HubOptions, TestResult};

const MESSAGES: usize = 10;

/// One line of strace: which thread, and the call or the second half of one that was interrupted.
struct Line<'a> {
    thread: &'a str,
    text: &'a str,
}

fn lines(trace: &str) -> impl Iterator<Item = Line<'_>> {
    trace.lines().filter_map(|line| {
        let (thread, text) = line.trim_start().split_once(' ')?;
        Some(Line { thread, text: text.trim_start() })
    })
}

/// Where the call that begins in that line returns 0: there, or where its thread says that it resumed.
fn returns_zero(lines: &[Line<'_>], begin: usize) -> Option<usize> {
    let line = lines.get(begin)?;
    if !line.text.contains("<unfinished ...>") {
        return line.text.ends_with("= 0").then_some(begin);
    }
    let resumed = |other: &Line<'_>| other.thread == line.thread && other.text.contains("resumed>");
    let position = begin + 1 + lines.get(begin + 1..)?.iter().position(resumed)?;
    lines.get(position)?.text.ends_with("= 0").then_some(position)
}

#[tokio::test]
async fn fdatasync_comes_before_puback() -> TestResult {
    let folder = tempfile::tempdir()?;
    let trace_file = folder.path().join("trace");
    let calls = "trace=fdatasync,fsync,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg";
    let wrapper = ["strace", "-f", "-q", "-yy", "-s", "4096", "-e", calls, "-o"].map(str::to_owned).to_vec();
    let wrapper = wrapper.into_iter().chain([trace_file.display().to_string()]).collect();
    let mut hub = Hub::start_with(HubOptions { wrapper, ..HubOptions::default() }).await?;
    let device = hub.new_device().await?;
    let mut client = hub.connect(&device).await?;
    for number in 0..MESSAGES {
        client.publish_acknowledged(&device.events_topic(), format!("marker-{number}-").as_bytes()).await?;
    }
    // One moment for strace to write down what it saw.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let port = hub.mqtt.port();
    end_traced(&mut hub).await?;
    let trace = std::fs::read_to_string(&trace_file)?;
    let lines: Vec<_> = lines(&trace).collect();
    let mut after = 0;
    for number in 0..MESSAGES {
        let marker = format!("marker-{number}-");
        let written = lines
            .iter()
            .position(|line| line.text.contains(&marker))
            .with_context(|| format!("{marker} is never written"))?;
        let file = file_of(lines.get(written).context("a line")?.text).context("no file descriptor")?;
        let is_sync = |line: &Line<'_>| {
            (line.text.starts_with("fdatasync(") || line.text.starts_with("fsync(")) && file_of(line.text) == Some(file)
        };
        let sync =
            written + lines.get(written..).unwrap_or_default().iter().position(is_sync).context("no sync follows")?;
        let synced = returns_zero(&lines, sync).context("the sync fails")?;
        let socket = |line: &Line<'_>| is_send(line.text) && line.text.contains(&format!(":{port}->"));
        let sent =
            lines.iter().enumerate().skip(after.max(written)).find(|(_, line)| socket(line)).map(|(index, _)| index);
        let sent = sent.context("no acknowledgement is sent")?;
        assert!(synced < sent, "{marker} is acknowledged in line {sent} but synced in line {synced}");
        after = sent + 1;
    }
    Ok(())
}

fn is_send(text: &str) -> bool {
    ["sendto(", "sendmsg(", "write(", "writev("].iter().any(|call| text.starts_with(call)) && text.contains("<TCP")
}

/// `12</path>` of `pwrite64(12</path>, ...`.
fn file_of(text: &str) -> Option<&str> {
    let rest = text.split_once('(')?.1;
    rest.find('>').and_then(|end| rest.get(..=end))
}

/// strace ignores SIGTERM while what it traces lives.
async fn end_traced(hub: &mut Hub) -> TestResult {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", hub.process_id()))?;
    for child in children.split_whitespace() {
        std::process::Command::new("kill").args(["-KILL", child]).status()?;
    }
    hub.ended().await.map(drop)
}
