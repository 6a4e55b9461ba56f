//! Who may begin: connections that have not yet said who they are, bounded in all and for each source address.
//!
//! A full table does not keep good devices out: whoever has been silent for longer than a grace makes room. Younger ones
//! are left alone, so that an honest reconnect storm does not throw itself out; then newcomers wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio_util::sync::CancellationToken;

/// Where connections come from: an IPv4 address, or an IPv6 network of one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source(IpAddr);

impl Source {
    fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                Self(IpAddr::V6(Ipv6Addr::from(network)))
            }
            address => Self(address),
        }
    }
}

/// How many may be under way, and from when on they have to make room.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub total_max: usize,
    pub source_max: usize,
    pub grace: Duration,
}

/// Why a connection is not let in now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// All places are taken by young ones: try again in a moment.
    Busy,
    /// The source address has as many as one address may have.
    Source,
}

/// All connections that have not proved themselves.
#[derive(Debug)]
pub struct Admission {
    bounds: Bounds,
    table: Mutex<Table>,
    /// Those that had to make room.
    evicted: IntCounter,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// By number, so oldest first.
    entries: BTreeMap<u64, Entry>,
    by_source: BTreeSet<(Source, u64)>,
}

#[derive(Debug)]
struct Entry {
    /// `None`: a proxy has yet to say whose connection it is.
    source: Option<Source>,
    since: Instant,
    evicted: CancellationToken,
}

/// A place in the table, given back when it is dropped.
#[derive(Debug)]
pub struct Unproved {
    admission: Arc<Admission>,
    number: u64,
    evicted: CancellationToken,
}

impl Admission {
    /// An empty table; the counter gets those that have to make room.
    pub fn new(bounds: Bounds, evicted: IntCounter) -> Arc<Self> {
        Arc::new(Self { bounds, table: Mutex::default(), evicted })
    }

    /// A place for a connection from there; another one may have to make room for it. Without an address it counts for none
    /// until it is [named](Unproved::name).
    pub fn enter(self: &Arc<Self>, peer: Option<IpAddr>, now: Instant) -> Result<Unproved, Refused> {
        let source = peer.map(Source::of);
        let mut table = self.table.lock();
        source.map_or(Ok(()), |source| self.make_room_of(&mut table, source, now))?;
        if table.entries.len() >= self.bounds.total_max {
            let oldest = table.entries.keys().next().copied();
            self.evict(&mut table, oldest, now).ok_or(Refused::Busy)?;
        }
        let number = table.next;
        table.next += 1;
        let evicted = CancellationToken::new();
        table.entries.insert(number, Entry { source, since: now, evicted: evicted.clone() });
        table.by_source.extend(source.map(|source| (source, number)));
        Ok(Unproved { admission: self.clone(), number, evicted })
    }

    /// Whatever its age, the oldest one makes room: the process has run out of something else.
    pub fn evict_oldest(&self) {
        let mut table = self.table.lock();
        let oldest = table.entries.keys().next().copied();
        if let Some(entry) = oldest.and_then(|number| table.remove(number)) {
            self.end(&entry);
        }
    }

    /// One more of that address is allowed, or its oldest makes room.
    fn make_room_of(&self, table: &mut Table, source: Source, now: Instant) -> Result<(), Refused> {
        let of_source = table.by_source.range((source, 0)..=(source, u64::MAX));
        if of_source.clone().count() < self.bounds.source_max {
            return Ok(());
        }
        let oldest = of_source.map(|(_, number)| *number).next();
        self.evict(table, oldest, now).ok_or(Refused::Source)
    }

    /// Ends that connection if it is old enough.
    fn evict(&self, table: &mut Table, number: Option<u64>, now: Instant) -> Option<()> {
        let number = number?;
        let since = table.entries.get(&number)?.since;
        (now.saturating_duration_since(since) >= self.bounds.grace).then_some(())?;
        self.end(&table.remove(number)?);
        Some(())
    }

    fn end(&self, entry: &Entry) {
        entry.evicted.cancel();
        self.evicted.inc();
    }
}

impl Table {
    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        entry.source.inspect(|source| _ = self.by_source.remove(&(*source, number)));
        Some(entry)
    }
}

impl Unproved {
    /// A proxy has said whose connection it is: from now on it counts for that address.
    pub fn name(&self, peer: IpAddr, now: Instant) -> Result<(), Refused> {
        let source = Source::of(peer);
        let mut table = self.admission.table.lock();
        self.admission.make_room_of(&mut table, source, now)?;
        // It is gone if it had to make room meanwhile.
        let Some(entry) = table.entries.get_mut(&self.number) else { return Ok(()) };
        entry.source = Some(source);
        table.by_source.insert((source, self.number));
        Ok(())
    }

    /// Resolves when the connection has to make room for another one.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Unproved {
    fn drop(&mut self) {
        self.admission.table.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(1);

    fn admission(total_max: usize, source_max: usize) -> Arc<Admission> {
        let evicted = IntCounter::new("evicted", "evicted").unwrap_or_else(|_| unreachable!());
        Admission::new(Bounds { total_max, source_max, grace: GRACE }, evicted)
    }

    fn peer(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn the_oldest_makes_room_once_its_grace_is_over() {
        let (admission, begin) = (admission(2, 2), Instant::now());
        let first = admission.enter(peer(1), begin).unwrap_or_else(|_| unreachable!());
        let second = admission.enter(peer(2), begin + GRACE / 2).unwrap_or_else(|_| unreachable!());
        assert_eq!(admission.enter(peer(3), begin + GRACE / 2).err(), Some(Refused::Busy), "both are young");
        let third = admission.enter(peer(3), begin + GRACE);
        assert!(third.is_ok() && first.evicted.is_cancelled() && !second.evicted.is_cancelled());
        // Who was evicted gives nothing back twice.
        drop(first);
        assert_eq!(admission.enter(peer(4), begin + GRACE).err(), Some(Refused::Busy));
        drop(second);
        assert!(admission.enter(peer(4), begin + GRACE).is_ok());
    }

    #[test]
    fn one_source_makes_room_for_itself_only() {
        let (admission, begin) = (admission(10, 2), Instant::now());
        let other = admission.enter(peer(2), begin);
        let own: Vec<_> = (0..2).map(|_| admission.enter(peer(1), begin)).collect();
        assert_eq!(admission.enter(peer(1), begin).err(), Some(Refused::Source));
        assert!(admission.enter(peer(1), begin + GRACE).is_ok());
        let evicted = |place: &Result<Unproved, Refused>| place.as_ref().is_ok_and(|it| it.evicted.is_cancelled());
        assert_eq!((evicted(&other), own.iter().filter(|it| evicted(it)).count()), (false, 1));
    }

    #[test]
    fn who_comes_through_a_proxy_counts_for_the_address_that_it_says() {
        let (admission, begin) = (admission(3, 1), Instant::now());
        let unnamed: Vec<_> = (0..3).flat_map(|_| admission.enter(None, begin)).collect();
        assert_eq!((unnamed.len(), admission.enter(None, begin).err()), (3, Some(Refused::Busy)));
        let named: Vec<_> = [1, 1, 2].into_iter().flat_map(peer).zip(&unnamed).collect();
        let named: Vec<_> = named.into_iter().map(|(peer, place)| place.name(peer, begin)).collect();
        assert_eq!(named, [Ok(()), Err(Refused::Source), Ok(())]);
        drop(unnamed);
        assert!(admission.table.lock().by_source.is_empty() && admission.enter(peer(1), begin).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let source = |text: &str| text.parse().ok().map(Source::of);
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), source("2001:db8:1:2::1"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
    }
}
