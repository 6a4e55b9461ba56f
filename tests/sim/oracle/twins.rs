//! Twins are linearizable, their versions without gaps or repeats, and nothing is applied twice.
//!
//! Every write adds one property of its own, so a document tells which writes it is made of: the document of version `v`
//! has `v - 1` of them, and the one of a later version has all of these.

use std::collections::{BTreeMap, BTreeSet};

/// Names a write of any twin.
pub type WriteId = u64;

/// The sections of all twins, by a name.
#[derive(Default)]
pub struct Twins {
    sections: BTreeMap<String, Section>,
    last_write: WriteId,
}

#[derive(Default)]
struct Section {
    writes: BTreeMap<WriteId, Write>,
    /// What each version that was seen is made of.
    documents: BTreeMap<u64, BTreeSet<WriteId>>,
    /// The newest version that anybody has seen.
    newest: u64,
}

/// What is known of a write: it makes a version larger than `floor`, not larger than `ceiling`.
struct Write {
    /// At first the newest version that was seen before it began.
    floor: u64,
    /// `u64::MAX`: it may never become any.
    ceiling: u64,
    refused: bool,
}

/// A document that somebody saw.
#[derive(Debug)]
pub struct Seen {
    pub version: u64,
    pub writes: BTreeSet<WriteId>,
}

impl Twins {
    fn section(&mut self, name: &str) -> &mut Section {
        self.sections.entry(name.to_owned()).or_default()
    }

    /// A write begins; it is to add the property of this id.
    pub fn begin_write(&mut self, section: &str) -> WriteId {
        self.last_write += 1;
        let id = self.last_write;
        let section = self.section(section);
        section.writes.insert(id, Write { floor: section.newest, ceiling: u64::MAX, refused: false });
        id
    }

    /// It was acknowledged, and is in that version.
    pub fn acknowledged(&mut self, name: &str, id: WriteId, in_version: u64) -> Result<(), String> {
        self.learn(name, id, 0, in_version)
    }

    /// It became exactly that version: it was acknowledged so, or a device was told so.
    pub fn became(&mut self, name: &str, id: WriteId, version: u64) -> Result<(), String> {
        self.learn(name, id, version.saturating_sub(1), version)
    }

    fn learn(&mut self, name: &str, id: WriteId, floor: u64, ceiling: u64) -> Result<(), String> {
        let section = self.section(name);
        section.newest = section.newest.max(ceiling);
        let Some(write) = section.writes.get_mut(&id) else { return Err(format!("{name}: write {id} never began")) };
        let known = (write.floor, write.ceiling);
        (write.floor, write.ceiling) = (known.0.max(floor), known.1.min(ceiling));
        if write.refused || write.floor >= write.ceiling {
            let refused = if write.refused { "refused" } else { "not" };
            return Err(format!("{name}: write {id} in {:?}, but {refused} in {known:?}", (floor, ceiling)));
        }
        section.documents.iter().try_for_each(|(version, writes)| section.check(name, *version, writes))
    }

    /// It was refused: it never takes effect.
    pub fn refused(&mut self, name: &str, id: WriteId) -> Result<(), String> {
        let section = self.section(name);
        if let Some(write) = section.writes.get_mut(&id) {
            write.refused = true;
        }
        match section.documents.values().any(|writes| writes.contains(&id)) {
            true => Err(format!("{name}: write {id} was refused, and is in the twin")),
            false => Ok(()),
        }
    }

    /// A read begins; answers what it must not be older than.
    pub fn begin_read(&mut self, section: &str) -> u64 {
        self.section(section).newest
    }

    /// It has ended with a document.
    pub fn read(&mut self, name: &str, floor: u64, seen: Seen) -> Result<(), String> {
        let section = self.section(name);
        let Seen { version, writes } = seen;
        if version < floor {
            return Err(format!("{name}: read version {version}, {floor} was seen before"));
        }
        if writes.len() as u64 + 1 != version {
            return Err(format!("{name}: version {version} is made of {} writes", writes.len()));
        }
        section.newest = section.newest.max(version);
        section.check(name, version, &writes)?;
        section.check_neighbours(name, version, &writes)?;
        section.documents.insert(version, writes);
        Ok(())
    }

    /// Every twin was read at last: what was seen is there still.
    pub fn check_end(&self) -> Result<(), String> {
        for (name, section) in &self.sections {
            let last = section.documents.last_key_value().map_or(0, |(version, _)| *version);
            if last < section.newest {
                return Err(format!("{name}: the last document is version {last}, {} was seen", section.newest));
            }
        }
        Ok(())
    }
}

impl Section {
    /// A document has the writes that it must have, and none that it must not have.
    fn check(&self, name: &str, version: u64, writes: &BTreeSet<WriteId>) -> Result<(), String> {
        for (id, write) in &self.writes {
            let must = version >= write.ceiling;
            let may = version > write.floor && !write.refused;
            let has = writes.contains(id);
            if (must && !has) || (has && !may) {
                return Err(format!("{name}: version {version} has {writes:?}; write {id}: must {must}, may {may}"));
            }
        }
        Ok(())
    }

    fn check_neighbours(&self, name: &str, version: u64, writes: &BTreeSet<WriteId>) -> Result<(), String> {
        let before = self.documents.range(..=version).next_back();
        let after = self.documents.range(version..).next();
        let follows = before.is_none_or(|(_, older)| older.is_subset(writes));
        let leads = after.is_none_or(|(_, newer)| writes.is_subset(newer));
        if follows && leads {
            return Ok(());
        }
        Err(format!("{name}: version {version} has {writes:?}, beside {before:?} and {after:?}"))
    }
}
