//! The one thread that writes: takes all that waits, writes it with one call, syncs once, then resolves the receipts.
//!
//! ```text
//!   wait for records -> pace -> take all -> write -> fdatasync -> publish to readers -> resolve receipts -> again
//!                                             |          |
//!                          no room: cut back to the      failed: the segment is abandoned where it was durable and a
//!                          durable position, try again   new one begins; never synced again and believed
//! ```

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use model::Timestamp;

use super::{
    Shared,
    disk::{DiskFile, Durability, is_full},
    durable_mark::DurableMark,
    format::{FRAME_BYTES, Frame, SegmentHeader, Tail, tail_mut},
    journal::Place,
    queue::{Batch, Wake},
    retention,
    segment::{Active, entry_of, segment_name, sidecar_name},
};
use crate::{AppendError, Appended, Health};

/// How often free space is looked at, at most.
const SPACE_INTERVAL: Duration = Duration::from_millis(100);
/// How often a log that cannot write tries whether it can again.
const RECOVERY_INTERVAL: Duration = Duration::from_millis(250);
/// A larger buffer is given back after the commit that needed it.
const BUFFER_BYTES_KEPT: usize = 4 << 20;
/// File written to learn whether the disk takes writes again.
pub(super) const PROBE: &str = "probe";

pub(super) struct Writer {
    shared: Arc<Shared>,
    file: Arc<dyn DiskFile>,
    sequence: u64,
    /// Durable bytes of the active segment.
    position: u64,
    mark: DurableMark,
    /// False: the end of the active segment is unknown, nothing may be appended to it.
    usable: bool,
    tails: Vec<Tail>,
    last_time: i64,
    batch: Batch,
    buffer: Vec<u8>,
    places: Vec<Place>,
    free_bytes: u64,
    free_known: Option<Instant>,
    started: Option<Instant>,
    next_upkeep: Instant,
    healthy: bool,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, last_time: i64) -> Self {
        let journal = shared.journal.read();
        let (file, sequence, position) = (journal.active.file.clone(), journal.active.sequence, journal.active.length);
        let tails = journal.tails.clone();
        drop(journal);
        Self {
            shared,
            file,
            sequence,
            position,
            mark: DurableMark::new(position),
            usable: true,
            tails,
            last_time,
            batch: Batch::default(),
            buffer: Vec::new(),
            places: Vec::new(),
            free_bytes: 0,
            free_known: None,
            started: None,
            next_upkeep: Instant::now(),
            healthy: true,
        }
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self) {
        loop {
            match self.shared.queue.wait(self.next_upkeep) {
                Wake::Records => {
                    self.pace();
                    self.commit();
                }
                Wake::Deadline => {}
                Wake::Upkeep => self.next_upkeep = Instant::now(),
                Wake::Closed => return self.mark.finish(&*self.shared.disk, self.sequence, self.position),
            }
            if Instant::now() >= self.next_upkeep {
                self.upkeep();
            }
        }
    }

    /// Leaves the commit interval between the starts of two commits, so that one commit gathers more.
    fn pace(&mut self) {
        let interval = self.shared.config.commit_interval();
        let early = self.started.and_then(|started| interval.checked_sub(started.elapsed()));
        if let Some(early) = early {
            self.shared.queue.pause(early);
        }
        self.started = Some(Instant::now());
    }

    fn commit(&mut self) {
        let started = Instant::now();
        self.shared.queue.take(&mut self.batch);
        match self.make_durable() {
            Ok(()) => self.publish(started.elapsed()),
            Err(error) => self.refuse(&error),
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.places.clear();
    }

    /// One write, one sync.
    fn make_durable(&mut self) -> Result<(), AppendError> {
        self.check_space()?;
        self.prepare()?;
        self.encode();
        if let Err(error) = self.file.write_all_at(&self.buffer, self.position) {
            return Err(self.undo(&error));
        }
        if let Err(error) = self.file.sync() {
            self.abandon();
            return Err(refusal(&error));
        }
        Ok(())
    }

    /// Fails while the file system has less free space than the reserve.
    fn check_space(&mut self) -> Result<(), AppendError> {
        if self.free_known.is_none_or(|known| known.elapsed() >= SPACE_INTERVAL) {
            self.free_bytes = self.shared.disk.free_bytes().map_err(|error| refusal(&error))?;
            self.free_known = Some(Instant::now());
            self.shared.statistics.disk_free_bytes.store(self.free_bytes, Relaxed);
        }
        let reserve = self.shared.config.disk_reserve_bytes;
        if self.free_bytes < reserve {
            let free = self.free_bytes;
            return Err(AppendError::DiskFull(format!("{free} bytes are free, {reserve} are kept in reserve")));
        }
        Ok(())
    }

    /// Goes on with a new segment when this one is full, or its end is unknown.
    fn prepare(&mut self) -> Result<(), AppendError> {
        let bytes: usize = self.batch.records.iter().map(|(_, record)| FRAME_BYTES + record.len()).sum();
        let full = self.position + bytes as u64 > self.shared.config.segment_bytes;
        let empty = self.shared.journal.read().active.first_time.is_none();
        if !self.usable || (full && !empty) {
            self.roll().map_err(|error| refusal(&error))?;
        }
        Ok(())
    }

    /// Seals the active segment at its durable position.
    fn roll(&mut self) -> io::Result<()> {
        let header = SegmentHeader {
            sequence: self.sequence + 1,
            previous_length: self.position,
            last_time: self.last_time,
            tails: self.tails.clone(),
        };
        // Once a header may be on disk that says where this segment ends, nothing may follow here; a failed attempt is
        // repeated with the same header.
        self.usable = false;
        let active = Active::create(&*self.shared.disk, header)?;
        (self.file, self.sequence, self.position) = (active.file.clone(), active.sequence, active.length);
        self.mark = DurableMark::new(self.position);
        self.usable = true;
        let sealed = self.shared.journal.write().roll(active);
        sealed.store_sidecar(&*self.shared.disk);
        self.next_upkeep = Instant::now(); // there may be one too many now
        Ok(())
    }

    /// Gives every record its offset and time, and writes the frames into the buffer.
    fn encode(&mut self) {
        self.last_time = self.last_time.max(now());
        for (number, record) in &self.batch.records {
            let tail = tail_mut(&mut self.tails, *number);
            let frame = Frame { number: *number, offset: tail.next, time: self.last_time, record };
            let entry = entry_of(self.position + self.buffer.len() as u64, &frame);
            frame.encode(&mut self.buffer);
            self.places.push(Place { number: *number, offset: frame.offset, entry });
            *tail = Tail { next: frame.offset + 1, last_time: self.last_time };
        }
    }

    /// After a failed write. Only when there was no room is the segment itself in order.
    fn undo(&mut self, error: &io::Error) -> AppendError {
        let cut = || self.file.set_length(self.position).and_then(|()| self.file.sync());
        if !is_full(error) || cut().is_err() {
            self.abandon();
        }
        refusal(error)
    }

    /// After a failed sync nobody knows what the disk holds behind the durable position, and no later sync would tell.
    fn abandon(&mut self) {
        self.usable = false;
        let _ = self.file.set_length(self.position); // a courtesy: the next segment says where this one ends
        tracing::error!(segment = self.sequence, length = self.position, "abandoning a segment of the event log");
    }

    fn publish(&mut self, duration: Duration) {
        let bytes = self.buffer.len();
        self.position += bytes as u64;
        self.mark.advance(&*self.shared.disk, self.sequence, self.position);
        self.free_bytes = self.free_bytes.saturating_sub(bytes as u64);
        self.shared.journal.write().publish(&self.places, bytes as u64);
        let statistics = &self.shared.statistics;
        statistics.committed(self.places.len(), bytes, duration);
        statistics.segment_bytes.fetch_add(bytes as u64, Relaxed);
        self.shared.appended.send_modify(|commits| *commits += 1);
        self.shared.queue.release(&self.batch, statistics);
        self.batch.records.clear();
        self.set_health(Health::Writable);
        let mut places = self
            .places
            .iter()
            .map(|place| Appended { offset: place.offset, time: Timestamp::from_unix_microseconds(place.entry.time) });
        for call in self.batch.calls.drain(..) {
            let _ = call.sender.send(Ok(places.by_ref().take(call.records).collect()));
        }
    }

    fn refuse(&mut self, error: &AppendError) {
        self.tails.clone_from(&self.shared.journal.read().tails);
        self.shared.statistics.failed_commits.fetch_add(1, Relaxed);
        self.set_health(Health::ReadOnly(error.to_string()));
        self.shared.queue.release(&self.batch, &self.shared.statistics);
        self.batch.fail(error);
        self.free_known = None;
        self.next_upkeep = self.next_upkeep.min(Instant::now() + RECOVERY_INTERVAL);
    }

    fn set_health(&mut self, health: Health) {
        let healthy = health == Health::Writable;
        if healthy && self.healthy {
            return;
        }
        match (&health, self.healthy) {
            (Health::ReadOnly(why), true) => tracing::error!(why, "the event log refuses appends"),
            (Health::Writable, false) => tracing::info!("the event log accepts appends again"),
            _ => {}
        }
        self.healthy = healthy;
        *self.shared.health.lock() = health;
    }

    /// What has to be done from time to time.
    fn upkeep(&mut self) {
        if !self.healthy {
            match self.try_again() {
                Ok(()) => self.set_health(Health::Writable),
                Err(error) => self.set_health(Health::ReadOnly(error.to_string())),
            }
        }
        let now = now();
        let first_time = self.shared.journal.read().active.first_time;
        if self.healthy && retention::should_seal(first_time, self.shared.retention_microseconds(), now) {
            let rolled = self.roll();
            let _ = rolled.inspect_err(|error| tracing::warn!(%error, "cannot begin a new segment of the event log"));
        }
        self.remove_expired(now);
        self.next_upkeep = Instant::now() + self.upkeep_interval();
    }

    fn upkeep_interval(&self) -> Duration {
        let interval = Duration::from_micros(self.shared.retention_microseconds().unsigned_abs()) / 16;
        let interval = interval.clamp(Duration::from_millis(10), Duration::from_secs(60));
        if self.healthy { interval } else { interval.min(RECOVERY_INTERVAL) }
    }

    /// Whether the disk takes writes again.
    fn try_again(&mut self) -> Result<(), AppendError> {
        self.free_known = None;
        self.check_space()?;
        let disk = &self.shared.disk;
        let probe = disk.replace(PROBE, &[0; 4096], Durability::Synced).and_then(|()| disk.remove(PROBE));
        probe.map_err(|error| refusal(&error))?;
        if !self.usable {
            self.roll().map_err(|error| refusal(&error))?;
        }
        Ok(())
    }

    fn remove_expired(&mut self, now: i64) {
        let (retention, bytes_max) = (self.shared.retention_microseconds(), self.shared.config.retention_bytes);
        let count = retention::expired(&self.shared.journal.read(), retention, bytes_max, now);
        for _ in 0..count {
            let Some(sealed) = self.shared.journal.write().sealed.pop_front() else { break };
            if let Err(error) = self.shared.disk.remove(&segment_name(sealed.sequence)) {
                tracing::warn!(segment = sealed.sequence, %error, "cannot remove an expired segment of the event log");
                self.shared.journal.write().sealed.push_front(sealed);
                break;
            }
            let _ = self.shared.disk.remove(&sidecar_name(sealed.sequence)); // the next start removes it
            self.shared.statistics.removed_segments.fetch_add(1, Relaxed);
        }
        self.count_segments();
    }

    fn count_segments(&self) {
        let journal = self.shared.journal.read();
        self.shared.statistics.segments.store(journal.sealed.len() as u64 + 1, Relaxed);
        self.shared.statistics.segment_bytes.store(journal.bytes(), Relaxed);
    }
}

/// However the thread ends, nobody waits for ever.
impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue.close();
        self.shared.queue.take(&mut Batch::default());
        *self.shared.health.lock() = Health::ReadOnly("the event log is closed".to_owned());
        self.shared.closed.send_replace(true);
    }
}

fn refusal(error: &io::Error) -> AppendError {
    match is_full(error) {
        true => AppendError::DiskFull(error.to_string()),
        false => AppendError::Unavailable(error.to_string()),
    }
}

/// Microseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
