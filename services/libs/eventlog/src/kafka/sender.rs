//! The one thread that sends: takes all that waits, hands it to the library, hears what became of it, resolves receipts.
//!
//! ```text
//!   wait for calls -> pace -> lanes, one per partition -> hand over -> deliveries, as they come -> resolve calls
//!                                                             |
//!                                                             failed for good: give up what is under way, begin with
//!                                                             a new client
//! ```
//!
//! One thread for both directions: memory is given back where it was taken.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use model::Timestamp;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use slab::Slab;
use tokio::sync::oneshot;

use super::{
    Config,
    lanes::{Lane, Lanes, Record},
    message,
    native::{Client, Deliveries, Event},
    producer::{Call, Shared, queued_bytes},
    topics::{Topics, unavailable},
};
use crate::{Append, AppendError, Appended};

/// How long the library is told to send at once what it got. Deliveries wait meanwhile, which is less than they take.
const FLUSH: Duration = Duration::from_millis(1);
/// Without anything to do.
const IDLE: Duration = Duration::from_secs(60);
/// How often an ending producer looks whether it is done.
const ENDING: Duration = Duration::from_millis(100);
/// Until a client that failed for good has told all.
const PURGE_MAX: Duration = Duration::from_secs(2);
/// An acknowledgement that takes longer is a reason to say that the log is unwell.
const LATE: Duration = Duration::from_secs(5);
/// How often that is looked at.
const WATCH: Duration = Duration::from_secs(1);
/// Between two tries to make a client.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// A call whose records are not all known.
struct Pending {
    left: usize,
    outcome: Result<Vec<Appended>, AppendError>,
    receipt: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
}

pub(super) struct Sender {
    config: Config,
    topics: Arc<Topics>,
    shared: Arc<Shared>,
    client: Client,
    lanes: Lanes,
    pending: Slab<Pending>,
    next_round: Instant,
    /// The client has failed for good.
    is_fatal: bool,
    renew_at: Instant,
}

impl Sender {
    pub fn new(config: Config, topics: Arc<Topics>, shared: Arc<Shared>) -> KafkaResult<Self> {
        let now = Instant::now();
        Ok(Self {
            client: Client::new(&config.producer())?,
            config,
            topics,
            shared,
            lanes: Lanes::default(),
            pending: Slab::new(),
            next_round: now,
            is_fatal: false,
            renew_at: now,
        })
    }

    /// Works until it is told to end and nothing is left, or it is late.
    pub fn run(mut self) {
        let mut calls = Vec::new();
        while let Some(wait) = self.round(&mut calls) {
            let mut event = self.client.poll(wait);
            // All that is known, so that the next round is one of many lanes.
            while let Some(heard) = event {
                self.hear(heard);
                event = self.client.poll(Duration::ZERO);
            }
            self.watch();
            if self.is_fatal && Instant::now() >= self.renew_at {
                self.renew();
            }
        }
        self.give_up(&AppendError::ShuttingDown);
    }

    /// Sends what waits if it is time; how long to listen then. `None`: it is over.
    fn round(&mut self, calls: &mut Vec<Call>) -> Option<Duration> {
        let now = Instant::now();
        let early = self.next_round.saturating_duration_since(now);
        if !early.is_zero() {
            return Some(early);
        }
        std::mem::swap(&mut self.shared.waiting.lock().calls, calls);
        for call in calls.drain(..) {
            self.admit(call, now);
        }
        if self.lanes.is_ready() {
            self.next_round = now + self.config.linger();
            self.hand_over(now);
            return Some(Duration::ZERO);
        }
        self.rest(now)
    }

    /// Nothing can be sent: how long to listen, unless something has just come.
    fn rest(&mut self, now: Instant) -> Option<Duration> {
        let mut waiting = self.shared.waiting.lock();
        if std::mem::take(&mut waiting.fail_for_good) {
            self.client.fail_for_good();
        }
        match waiting.ends_at {
            _ if !waiting.calls.is_empty() => Some(Duration::ZERO),
            Some(ends_at) if self.lanes.is_empty() || ends_at <= now => None,
            Some(_) => Some(ENDING),
            None => {
                waiting.sleeper = Some(self.client.queue());
                Some(if self.is_fatal || !self.lanes.is_empty() { WATCH } else { IDLE })
            }
        }
    }

    /// Says it when Kafka acknowledges too late, which it does without an error when copies are missing.
    fn watch(&self) {
        if self.lanes.is_late(Instant::now(), LATE) {
            self.shared.unwell(format!("Kafka has not acknowledged a batch for {} seconds", LATE.as_secs()));
        }
    }

    /// Puts all records of a call into their lanes, or none.
    fn admit(&mut self, call: Call, now: Instant) {
        let Call { records, receipt } = call;
        if let Err(error) = records.iter().try_for_each(|append| self.lane(append).map(drop)) {
            self.shared.statistics.queue_bytes.fetch_sub(records.iter().map(queued_bytes).sum(), Relaxed);
            let _ = receipt.send(Err(error));
            return;
        }
        let nowhere = Appended { offset: 0, time: Timestamp::from_unix_milliseconds(0) };
        let outcome = Ok(vec![nowhere; records.len()]);
        let call = self.pending.insert(Pending { left: records.len(), outcome, receipt });
        for (index, append) in records.into_iter().enumerate() {
            if let Ok(lane) = self.lane(&append) {
                self.lanes.push(lane, append, call, index, now);
            }
        }
    }

    /// Where a record goes.
    fn lane(&mut self, append: &Append) -> Result<usize, AppendError> {
        let Append { topic, partition, .. } = append;
        if !self.lanes.has(topic) {
            let partitions = self.topics.all_partitions(topic);
            if let Some(first) = partitions.first() {
                let number = self.client.topic(&first.topic).map_err(unavailable)?;
                self.lanes.add(topic.clone(), number, partitions, Instant::now());
            }
        }
        let unknown = || AppendError::UnknownPartition(topic.as_str().to_owned(), *partition);
        self.lanes.find(topic, *partition).ok_or_else(unknown)
    }

    fn hand_over(&mut self, now: Instant) {
        let unix_milliseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let Self { lanes, client, config, .. } = self;
        let give = |id: usize, lane: &Lane, record: &Record| {
            if now.saturating_duration_since(record.since) > config.delivery_timeout() {
                return Err(RDKafkaErrorCode::MessageTimedOut);
            }
            let message = message::of_record(&record.wire, lane.topic, lane.partition.number, unix_milliseconds, id);
            // What is no record was never encoded by us.
            client.send(message.map_err(|_| RDKafkaErrorCode::InvalidArgument)?)
        };
        for (id, code) in lanes.hand_over(now, give) {
            self.is_fatal |= code == RDKafkaErrorCode::Fatal;
            self.fail(id, code);
        }
        self.client.flush(FLUSH);
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Deliveries(deliveries) => self.deliver(deliveries),
            Event::Error { code, reason } => {
                self.is_fatal |= code == RDKafkaErrorCode::Fatal;
                if matches!(code, RDKafkaErrorCode::Fatal | RDKafkaErrorCode::AllBrokersDown) {
                    self.shared.unwell(reason.clone());
                }
                tracing::warn!(%code, "Kafka: {reason}");
            }
            Event::Log(line) => tracing::debug!("{line}"),
            Event::Other => {}
        }
    }

    fn deliver(&mut self, deliveries: Deliveries) {
        let mut is_any = false;
        for delivery in deliveries {
            match delivery.result {
                Ok((offset, unix_milliseconds)) => {
                    is_any = true;
                    let offset = offset.try_into().unwrap_or_default();
                    let time = Timestamp::from_unix_milliseconds(unix_milliseconds);
                    if let Some((record, partition)) = self.lanes.settle(delivery.id) {
                        partition.acknowledged(offset + 1);
                        self.resolve(&record, Ok(Appended { offset, time }));
                    }
                }
                Err(code) => self.fail(delivery.id, code),
            }
        }
        if is_any && self.shared.is_unwell() && !self.lanes.is_late(Instant::now(), LATE) {
            self.shared.well();
        }
    }

    fn fail(&mut self, id: usize, code: RDKafkaErrorCode) {
        self.shared.unwell(code.to_string());
        if let Some((record, _)) = self.lanes.settle(id) {
            self.resolve(&record, Err(AppendError::Unavailable(code.to_string())));
        }
    }

    /// Notes what became of a record; the last one resolves its call.
    fn resolve(&mut self, record: &Record, result: Result<Appended, AppendError>) {
        let statistics = &self.shared.statistics;
        statistics.queue_bytes.fetch_sub(record.queued_bytes, Relaxed);
        let counter = if result.is_ok() { &statistics.records } else { &statistics.failed_records };
        counter.fetch_add(1, Relaxed);
        let Some(pending) = self.pending.get_mut(record.call) else { return };
        match (result, &mut pending.outcome) {
            (Ok(appended), Ok(places)) => {
                places.iter_mut().skip(record.index).take(1).for_each(|place| *place = appended);
            }
            (Err(error), Ok(_)) => pending.outcome = Err(error),
            (_, Err(_)) => {}
        }
        pending.left -= 1;
        if pending.left == 0
            && let Some(Pending { outcome, receipt, .. }) = self.pending.try_remove(record.call)
        {
            let _ = receipt.send(outcome);
        }
    }

    /// Another client in place of one that failed for good. What that one had fails with it, and what waits behind: a
    /// later record of a connection must not be acknowledged where an earlier one is not.
    fn renew(&mut self) {
        self.client.purge();
        let deadline = Instant::now() + PURGE_MAX;
        while let Some(event) = self.client.poll(ENDING)
            && Instant::now() < deadline
        {
            self.hear(event);
        }
        self.give_up(&AppendError::Unavailable("the producer of Kafka failed for good".to_owned()));
        match Client::new(&self.config.producer()) {
            Ok(client) => {
                tracing::warn!("the producer of Kafka failed for good and was made anew");
                self.is_fatal = false;
                let old = std::mem::replace(&mut self.client, client);
                // It waits for its threads.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => {
                tracing::warn!(%error, "the producer of Kafka cannot be made anew");
                self.renew_at = Instant::now() + RENEW_EVERY;
            }
        }
    }

    /// Fails all that is under way; what the library says of it later is not heard.
    fn give_up(&mut self, error: &AppendError) {
        for record in self.lanes.clear() {
            self.resolve(&record, Err(error.clone()));
        }
    }
}
