//! Transcripts: what happens to the sessions of leadership 5, line by line, and what must come of it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use model::{ConnectionId, Interests, Principal, Timestamp};
use proto::{
    raft::v1::PresenceRow,
    shard::v1::{self, detached::Reason, shard_frame::Body},
};

use super::{Call, CallEvent, LinkId, Now, Push, Sessions, entry::Session};
use crate::state::StoredPresence;

type Failure = Box<dyn std::error::Error>;

struct Stage {
    sessions: Sessions,
    began: Instant,
    /// Milliseconds since.
    passed: u64,
}

impl Stage {
    fn new() -> Self {
        let began = Instant::now();
        let now = Now { instant: began, time: Timestamp::from_unix_milliseconds(0) };
        Self { sessions: Sessions::new(5, now), began, passed: 0 }
    }

    fn now(&self) -> Now {
        let instant = self.began + Duration::from_millis(self.passed);
        Now { instant, time: Timestamp::from_unix_milliseconds(self.passed as i64) }
    }

    /// Plays one line and says what came of it.
    fn play(&mut self, line: &str) -> Result<String, Failure> {
        let now = self.now();
        let words: Vec<_> = line.split_whitespace().collect();
        let mut said = match words.as_slice() {
            ["expect", id] => {
                let presence = v1::Presence { connected: true, ..v1::Presence::default() };
                self.sessions.expect(vec![StoredPresence { principal: principal(id)?, presence }]);
                vec![]
            }
            ["attach", link, id] => self.attach(link, id, None)?,
            ["attach", link, id, "as", previous] => self.attach(link, id, Some(connection(previous)?))?,
            ["detach", id, which] => {
                self.sessions.detach(&principal(id)?, connection(which)?, now);
                vec![]
            }
            ["close", link] => {
                self.sessions.close(LinkId(link.parse()?), now);
                vec![]
            }
            ["wait", milliseconds] => {
                self.passed += milliseconds.parse::<u64>()?;
                self.sessions.handle_timeout(self.now());
                vec![]
            }
            ["active", id] => {
                self.sessions.active(&principal(id)?, now);
                vec![]
            }
            ["change", id] => {
                let id = principal(id)?;
                for one in if id.module_id.is_none() { self.sessions.of_device(&id.device_id) } else { vec![id] } {
                    self.sessions.identity_changed(&one, v1::Credentials::default());
                }
                vec![]
            }
            ["delete", id] => {
                let id = principal(id)?;
                match id.module_id {
                    None => self.sessions.device_deleted(&id.device_id),
                    Some(_) => self.sessions.deleted(&id),
                }
                vec![]
            }
            ["interested", id, which, bits] => {
                let interests = Interests::from_bits(bits.parse()?);
                self.sessions.interested(&principal(id)?, connection(which)?, interests);
                vec![]
            }
            ["desired", id, version] => {
                let delta = v1::DesiredDelta { version: version.parse()?, patch: "{}".into() };
                self.sessions.desired_updated(&principal(id)?, delta);
                vec![]
            }
            ["desired", id, "is", "at", version] => {
                self.sessions.desired_is_at(&principal(id)?, version.parse()?);
                vec![]
            }
            ["missed", id, which] => {
                self.sessions.missed_updates(&principal(id)?, connection(which)?, now);
                vec![]
            }
            ["messages", id] => {
                self.sessions.messages_waiting(&principal(id)?);
                vec![]
            }
            ["call", id, name] => {
                let call = Call { name: (*name).to_owned(), payload: "null".into() };
                vec![
                    self.sessions
                        .call_method(&principal(id)?, call)
                        .map_or("too many".into(), |it| format!("call {it}")),
                ]
            }
            ["answer", id, which, status] => {
                let call_id = v1::MethodCallId { leadership: 5, counter: which.parse()? };
                let answer = v1::MethodAnswer { status: status.parse()?, payload: "1".into() };
                self.sessions.method_answered(&principal(id)?, call_id, answer);
                vec![]
            }
            ["end", which] => {
                self.sessions.end_method(which.parse()?);
                vec![]
            }
            ["expected", id] => vec![self.sessions.is_expected(&principal(id)?).to_string()],
            ["state", id] => vec![state(self.sessions.presence(&principal(id)?))],
            ["replaced", id, which] => {
                vec![self.sessions.is_replaced(&principal(id)?, connection(which)?).to_string()]
            }
            ["count"] => vec![self.sessions.connected_device_count().to_string()],
            ["write"] => self.write(true),
            ["write", "fails"] => self.write(false),
            _ => return Err(format!("no such line: {line}").into()),
        };
        said.extend(self.sessions.take_pushes().iter().map(told));
        said.extend(self.sessions.take_call_events().iter().map(|event| match event {
            CallEvent::Delivered(counter) => format!("call {counter} is delivered"),
            CallEvent::Answered(counter, answer) => format!("call {counter} is answered {}", answer.status),
        }));
        Ok(said.join(", "))
    }

    fn attach(&mut self, link: &str, id: &str, previous: Option<ConnectionId>) -> Result<Vec<String>, Failure> {
        let answer = self.sessions.attach(LinkId(link.parse()?), &principal(id)?, previous, self.now());
        Ok(vec![answer.map_or("refused".into(), |it| format!("{}.{}", it.leadership, it.counter))])
    }

    fn write(&mut self, works: bool) -> Vec<String> {
        let rows = self.sessions.take_unwritten(100);
        match works {
            true => self.sessions.written(&rows),
            false => self.sessions.not_written(&rows),
        }
        rows.iter().map(written).collect()
    }
}

fn principal(id: &str) -> Result<Principal, Failure> {
    Ok(match id.split_once('/') {
        None => Principal::device(id.parse()?),
        Some((device_id, module_id)) => Principal::module(device_id.parse()?, module_id.parse()?),
    })
}

fn connection(text: &str) -> Result<ConnectionId, Failure> {
    let (leadership, counter) = text.split_once('.').ok_or("a connection is LEADERSHIP.COUNTER")?;
    Ok(ConnectionId { leadership: leadership.parse()?, counter: counter.parse()? })
}

fn name(principal: Option<&v1::Principal>) -> String {
    principal.map_or("nobody".into(), |it| match &it.module_id {
        None => it.device_id.clone(),
        Some(module_id) => format!("{}/{module_id}", it.device_id),
    })
}

fn told(push: &Push) -> String {
    let (who, which, what) = match &push.body {
        Body::Detached(detached) => {
            let what = match detached.reason() {
                Reason::Deleted => "deleted",
                Reason::MissedUpdates => "missed updates",
                _ => "replaced",
            };
            (name(detached.principal.as_ref()), detached.connection_id, what.to_owned())
        }
        Body::IdentityChanged(changed) => {
            (name(changed.principal.as_ref()), changed.connection_id, "changed".to_owned())
        }
        Body::DesiredUpdated(updated) => {
            let version = updated.delta.as_ref().map_or(0, |delta| delta.version);
            (name(updated.principal.as_ref()), updated.connection_id, format!("desired {version}"))
        }
        Body::MethodCalled(called) => {
            (name(called.principal.as_ref()), called.connection_id, format!("method {}", called.name))
        }
        Body::MessagesWaiting(waiting) => {
            (name(waiting.principal.as_ref()), waiting.connection_id, "messages".to_owned())
        }
        _ => (String::new(), None, "something else".to_owned()),
    };
    let which = which.unwrap_or_default();
    format!("{} hears {who} {}.{} {what}", push.link.0, which.leadership, which.counter)
}

fn state(presence: Option<v1::Presence>) -> String {
    let Some(presence) = presence else { return "unknown".into() };
    let word = if presence.connected { "connected" } else { "disconnected" };
    let milliseconds = |microseconds: i64| microseconds / 1000;
    let since = milliseconds(presence.connection_state_updated_time);
    format!("{word} since {since} active {}", milliseconds(presence.last_activity_time))
}

fn written(row: &PresenceRow) -> String {
    format!("{} {}", name(row.principal.as_ref()), state(row.presence))
}

/// `line => what comes of it`; `#` begins a comment, an empty line a new stage.
fn check(transcript: &str) -> Result<(), Failure> {
    let mut stage = Stage::new();
    for (number, line) in transcript.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            if transcript.lines().nth(number).is_some_and(|whole| whole.trim().is_empty()) {
                stage = Stage::new();
            }
            continue;
        }
        let (action, expected) = line.split_once("=>").unwrap_or((line, ""));
        let said = stage.play(action)?;
        if said != expected.trim() {
            return Err(format!("line {}: {action}=> {said}", number + 1).into());
        }
    }
    Ok(())
}

#[test]
fn transcripts() -> Result<(), Failure> {
    // Cargo runs tests in the package's folder. A path that is compiled in would be that of whoever built them.
    let folder = Path::new("src/sessions/tests/transcripts");
    let mut checked = 0;
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        check(&std::fs::read_to_string(&path)?).map_err(|error| format!("{}: {error}", path.display()))?;
        checked += 1;
    }
    assert!(checked >= 4, "only {checked} transcripts were found");
    Ok(())
}

#[test]
fn an_idle_device_costs_little() {
    // The entry of the tree with its slack, and the text of the id.
    let bytes = 2 * (size_of::<Principal>() + size_of::<Session>()) + 64;
    assert!(bytes <= 512, "{bytes}");
}
