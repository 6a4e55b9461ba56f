//! A disk in memory that behaves as badly as disks may: what was not synced is forgotten or half kept when the power
//! fails, it runs out of room, and a failed sync throws writes away while reads still show them.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile, Durability};

/// The unit of which a torn write keeps some and loses others.
const SECTOR_BYTES: usize = 512;

/// What goes wrong at the next opportunity, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next write finds no room, after a part of it was written.
    WriteFull,
    /// The next write fails, after a part of it was written.
    WriteBroken,
    /// The next sync fails; what waited for it is partly lost, and later syncs do not know.
    SyncBroken,
    /// The next replacement of a file fails, with the old or the new content there.
    ReplaceBroken,
}

/// See the module's description. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<String, u64>,
    contents: HashMap<u64, Content>,
    next_content: u64,
    capacity: u64,
    faults: Vec<Fault>,
    /// Calls that still succeed before the power fails.
    power: Option<u64>,
    random: Random,
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// What readers see.
    seen: Vec<u8>,
    /// What survives.
    synced: Vec<u8>,
    /// Changes since the last sync.
    pending: Vec<Change>,
    /// Came by an unsynced replacement: may be gone.
    loose: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Content {
    fn change(&mut self, change: Change) {
        apply(&mut self.seen, &change);
        self.pending.push(change);
    }

    /// Each pending change reaches the disk wholly, partly or not; a change of the length wholly or not.
    fn tear(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            let all = random.below(3) == 0;
            match change {
                Change::Write(position, bytes) if !all => {
                    for (sector, part) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        let kept = &part[..[0, part.len(), random.below(part.len() + 1)][random.below(3)]];
                        let position = position + (sector * SECTOR_BYTES) as u64;
                        apply(&mut self.synced, &Change::Write(position, kept.to_vec()));
                    }
                }
                change if all || random.below(2) == 0 => apply(&mut self.synced, &change),
                _ => {}
            }
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(_, written) if written.is_empty() => {}
        Change::Write(position, written) => {
            let (start, end) = (*position as usize, *position as usize + written.len());
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(written);
        }
        Change::Length(length) => bytes.resize(*length as usize, 0),
    }
}

impl MemoryDisk {
    /// An empty disk of that size; `seed` decides how it misbehaves.
    pub fn new(capacity_bytes: u64, seed: u64) -> Self {
        let state = State {
            files: BTreeMap::new(),
            contents: HashMap::new(),
            next_content: 0,
            capacity: capacity_bytes,
            faults: Vec::new(),
            power: None,
            random: Random(seed),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// That fault happens at the next call it fits.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// No fault waits any more.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// After that many more calls that change something, every call fails and nothing reaches the disk any more.
    pub fn lose_power_after(&self, calls: u64) {
        self.state.lock().power = Some(calls);
    }

    /// Changes the size of the disk.
    pub fn resize(&self, capacity_bytes: u64) {
        self.state.lock().capacity = capacity_bytes;
    }

    /// The disk as it is after a loss of power now, working again. This one fails from now on.
    pub fn reboot(&self) -> Self {
        let mut state = self.state.lock();
        state.power = Some(0);
        let mut random = Random(state.random.next());
        let rebooted = Self::new(state.capacity, random.next());
        for (name, content) in &state.files {
            let Some(mut content) = state.contents.get(content).cloned() else { continue };
            if content.loose && random.below(2) == 0 {
                continue;
            }
            content.tear(&mut random);
            rebooted.put(name, content.synced);
        }
        drop(state);
        rebooted
    }

    /// The disk after only the process was killed: what was written is still there, synced or not. This one fails from
    /// now on.
    pub fn restart(&self) -> Self {
        let mut state = self.state.lock();
        state.power = Some(0);
        let restarted = Self::new(state.capacity, state.random.next());
        let mut new = restarted.state.lock();
        new.files = state.files.clone();
        new.contents = state.contents.clone();
        new.next_content = state.next_content;
        drop(new);
        restarted
    }

    /// The content of a file as readers see it.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.files.get(name).and_then(|file| state.contents.get(file)).map(|content| content.seen.clone())
    }

    /// Puts a file there, durably; for tests that damage files.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let content = Content { seen: bytes.clone(), synced: bytes, ..Content::default() };
        self.state.lock().insert(name, content);
    }
}

impl State {
    /// Counts a call that changes something.
    fn spend_power(&mut self) -> io::Result<()> {
        match &mut self.power {
            Some(0) => Err(io::Error::other("the power is off")),
            Some(calls) => {
                *calls -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn fault(&mut self, fault: Fault) -> bool {
        let position = self.faults.iter().position(|waiting| *waiting == fault);
        position.map(|position| self.faults.remove(position)).is_some()
    }

    fn free(&self) -> u64 {
        let lengths = self.files.values().filter_map(|file| self.contents.get(file));
        self.capacity.saturating_sub(lengths.map(|content| content.seen.len() as u64).sum())
    }

    fn insert(&mut self, name: &str, content: Content) {
        self.next_content += 1;
        self.contents.insert(self.next_content, content);
        self.files.insert(name.to_owned(), self.next_content);
    }

    fn replace(&mut self, name: &str, bytes: &[u8], durability: Durability) -> io::Result<()> {
        self.spend_power()?;
        let broken = durability == Durability::Synced && self.fault(Fault::ReplaceBroken);
        if broken && self.random.below(2) == 0 {
            return Err(io::Error::other("injected: replace"));
        }
        if bytes.len() as u64 > self.free() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut content = Content { seen: bytes.to_vec(), ..Content::default() };
        match durability {
            Durability::Synced => content.synced = bytes.to_vec(),
            Durability::Unsynced => {
                content.loose = true;
                content.pending.push(Change::Write(0, bytes.to_vec()));
            }
        }
        self.insert(name, content);
        if broken { Err(io::Error::other("injected: replace")) } else { Ok(()) }
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.state.lock().files.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile { state: self.state.clone(), content }))
    }

    fn replace(&self, name: &str, content: &[u8], durability: Durability) -> io::Result<()> {
        self.state.lock().replace(name, content, durability)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.spend_power()?;
        state.files.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.state.lock().free())
    }
}

#[derive(Debug)]
struct MemoryFile {
    state: Arc<Mutex<State>>,
    content: u64,
}

impl MemoryFile {
    fn with<T>(&self, work: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        self.state.lock().contents.get_mut(&self.content).map(work).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl DiskFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        self.with(|content| content.seen.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.with(|content| {
            let bytes = content.seen.get(position as usize..).and_then(|rest| rest.get(..buffer.len()));
            bytes.map(|bytes| buffer.copy_from_slice(bytes)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        })?
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.spend_power()?;
        let full = state.fault(Fault::WriteFull);
        let broken = state.fault(Fault::WriteBroken);
        let room = state.free().min(bytes.len() as u64) as usize;
        let kept = if full || broken { state.random.below(room + 1) } else { room };
        drop(state);
        self.with(|content| content.change(Change::Write(position, bytes[..kept].to_vec())))?;
        match kept == bytes.len() && !full && !broken {
            true => Ok(()),
            false if broken => Err(io::Error::other("injected: write")),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.state.lock().spend_power()?;
        self.with(|content| content.change(Change::Length(length)))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.spend_power()?;
        let broken = state.fault(Fault::SyncBroken);
        let mut random = Random(state.random.next());
        drop(state);
        self.with(|content| {
            if broken {
                content.tear(&mut random);
                return Err(io::Error::other("injected: sync"));
            }
            for change in std::mem::take(&mut content.pending) {
                apply(&mut content.synced, &change);
            }
            Ok(())
        })?
    }
}

/// splitmix64.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
