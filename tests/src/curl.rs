//! The real `curl`: what came over the wire, in the eyes of a program that is not ours.

use anyhow::Context;
use tokio::process::Command;

use crate::{Hub, https::Response, patience::PATIENCE};

/// Stands in curl's output around what it says of a transfer; in no header and in no JSON.
const MARK: char = '\u{1e}';

/// One request of curl's.
#[derive(Debug)]
pub struct Transfer {
    pub response: Response,
    /// `1.1` or `2`.
    pub http_version: String,
    /// Connections made for it: 0 when it went over the one of the transfer before.
    pub connections: u32,
}

impl Hub {
    /// Runs curl once: a transfer for each path, one after the other, with the same arguments.
    pub async fn curl(&self, arguments: &[&str], paths: &[&str]) -> anyhow::Result<Vec<Transfer>> {
        let mut command = Command::new("curl");
        // --disable: what the user's .curlrc says.
        command.args(["--disable", "--silent", "--show-error", "--include", "--path-as-is", "--globoff"]);
        command.args(["--noproxy", "*", "--max-time", &PATIENCE.as_secs().to_string()]);
        command.arg("--cacert").arg(&self.authority).arg("--connect-to").arg(format!("::{}", self.https));
        command.arg("--write-out").arg(format!("{MARK}%{{http_version}} %{{num_connects}}{MARK}"));
        command.args(arguments).args(paths.iter().map(|path| format!("https://{}{path}", self.host_name)));
        let ran = command.kill_on_drop(true).output().await;
        let output = ran.context("curl does not run; `deploy/development/prerequisites test` installs it")?;
        let text = String::from_utf8(output.stdout)?;
        anyhow::ensure!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stderr));
        let parts: Vec<&str> = text.split_terminator(MARK).collect();
        anyhow::ensure!(parts.len() == 2 * paths.len(), "{} transfers expected: {text}", paths.len());
        parts.chunks(2).map(|parts| parse(parts).with_context(|| format!("{parts:?}"))).collect()
    }
}

/// From the answer as it came and curl's own words.
fn parse(parts: &[&str]) -> anyhow::Result<Transfer> {
    let [answer, words] = parts else { anyhow::bail!("half a transfer") };
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let (http_version, connections) = words.split_once(' ').context("no words of curl")?;
    Ok(Transfer {
        response: Response { status, head: head.to_owned(), body: body.as_bytes().to_vec() },
        http_version: http_version.to_owned(),
        connections: connections.parse()?,
    })
}
