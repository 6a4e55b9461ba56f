//! What one connection is told of the desired properties.

use super::{Actor, operations::update_id};

#[derive(Default)]
pub struct DesiredUpdates {
    /// The version that the connection read first.
    first_read: Option<u64>,
    last_told: Option<u64>,
}

impl DesiredUpdates {
    /// The connection has read the twin.
    pub fn read(&mut self, version: u64) {
        self.first_read.get_or_insert(version);
    }

    /// The version that was told last.
    pub fn last_told(&self) -> Option<u64> {
        self.last_told
    }

    /// An update came: in the order of versions, and none is left out.
    pub fn told(&mut self, actor: &Actor, connection: &str, version: u64, patch: &[u8]) {
        let name = actor.desired();
        let mut oracle = actor.shared.oracle.lock();
        oracle.note(|| format!("{name}: told {version} to {connection}"));
        oracle.count("desired update", "told");
        match update_id(patch) {
            Some((inside, id)) if inside == version => {
                let result = oracle.twins.became(&name, id, version);
                oracle.expect(result);
            }
            other => oracle.violation(&format!("{name}: update {version} carries {other:?}")),
        }
        let follows = match (self.last_told, self.first_read) {
            (Some(last), _) => version == last + 1,
            (None, Some(read)) => version <= read + 1,
            (None, None) => true,
        };
        if !follows {
            let (last, read) = (self.last_told, self.first_read);
            oracle.violation(&format!("{name}: told {version} after {last:?}, read {read:?}, to {connection}"));
        }
        self.last_told = Some(version);
    }
}
