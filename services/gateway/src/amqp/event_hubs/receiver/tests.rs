//! Receivers over the embedded event log.

use std::{future::poll_fn, time::Duration};

use amqp::{Message, Value};
use bytes::Bytes;
use eventlog::{
    Append,
    embedded::{Config, EmbeddedLog, MemoryDisk},
    encode_record,
};
use model::{Annotation, Record};
use tokio::time::timeout;

use super::*;
use crate::amqp::event_hubs::{StartPosition, start_position::Position};

type Failed = Box<dyn std::error::Error>;

const PATIENCE: Duration = Duration::from_secs(20);

struct Log {
    log: Arc<EmbeddedLog>,
    events: Topic,
}

impl Log {
    async fn open(config: Config) -> Result<Self, Failed> {
        let config = Config { disk_reserve_bytes: 0, ..config };
        let log = Arc::new(EmbeddedLog::open_on(Arc::new(MemoryDisk::new(1 << 30, 1)), config)?);
        let events = Topic::new("events");
        log.create_topic(&events, 2).await?;
        Ok(Self { log, events })
    }

    /// Appends bodies to a partition.
    async fn append(&self, partition: EventPartition, bodies: impl IntoIterator<Item = String>) -> Result<(), Failed> {
        let append = |body: String| {
            let annotations = vec![(Annotation::ConnectionDeviceId, "d1".into())];
            let mut record = Vec::new();
            encode_record(&Record { annotations, body: body.into(), ..Record::default() }, &mut record);
            Append { topic: self.events.clone(), partition, record: record.into() }
        };
        self.log.append(bodies.into_iter().map(append).collect()).await?;
        Ok(())
    }

    async fn receiver(&self, start: StartPosition) -> Result<Receiver, Refusal> {
        let options = ReceiverOptions { start, epoch: None, name: "r".into(), wants_last_enqueued: false };
        Receiver::open(self.log.clone(), self.events.clone(), 0, &options).await
    }
}

/// Sequence number and body of the next event.
async fn next(receiver: &mut Receiver) -> Result<(i64, String), Failed> {
    let next = poll_fn(|context| receiver.poll_next(context).map(|result| result.map(<[u8]>::to_vec)));
    let payload = timeout(PATIENCE, next).await??;
    let message = Message::decode(&payload)?;
    let number = message.message_annotations.and_then(|all| all.get("x-opt-sequence-number"));
    let Some(Value::Long(number)) = number else { return Err("no sequence number".into()) };
    Ok((number, String::from_utf8(message.body.data().unwrap_or_default().to_vec())?))
}

async fn is_waiting(receiver: &mut Receiver) -> bool {
    let next = poll_fn(|context| receiver.poll_next(context).map(|result| result.map(<[u8]>::to_vec)));
    timeout(Duration::from_millis(50), next).await.is_err()
}

fn numbers(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

#[tokio::test]
async fn everything_in_order_and_then_what_comes() -> Result<(), Failed> {
    let log = Log::open(Config::default()).await?;
    log.append(0, numbers(0..1000)).await?;
    let mut receiver = log.receiver(StartPosition::EARLIEST).await?;
    for number in 0..1000 {
        assert!(!receiver.is_at_end(), "before {number}");
        assert_eq!(next(&mut receiver).await?, (number, number.to_string()));
    }
    assert!(is_waiting(&mut receiver).await && receiver.is_at_end());
    log.append(1, numbers(0..3)).await?;
    assert!(is_waiting(&mut receiver).await && receiver.is_at_end(), "another partition");
    for number in 1000..1100 {
        log.append(0, numbers(number..number + 1)).await?;
        assert_eq!(next(&mut receiver).await?, (number, number.to_string()));
    }
    Ok(())
}

#[tokio::test]
async fn a_waiting_receiver_is_woken_by_an_append() -> Result<(), Failed> {
    let log = Log::open(Config::default()).await?;
    let mut receiver = log.receiver(StartPosition::Latest).await?;
    let (told, appended) = tokio::join!(next(&mut receiver), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        log.append(0, numbers(7..8)).await
    });
    appended?;
    assert_eq!(told?, (0, "7".to_owned()));
    Ok(())
}

#[tokio::test]
async fn every_start_position() -> Result<(), Failed> {
    use Position::{EnqueuedTime, Number};
    let log = Log::open(Config::default()).await?;
    log.append(0, numbers(0..5)).await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    log.append(0, numbers(5..10)).await?;
    let stored = log.log.read(&log.events, 0, 0, READ).await?;
    let time = |offset: usize| stored.get(offset).map_or(0, |stored| stored.time.unix_milliseconds());
    for (start, first) in [
        (StartPosition::EARLIEST, 0),
        (StartPosition::At(Number(4)), 4),
        (StartPosition::After(Number(4)), 5),
        (StartPosition::At(EnqueuedTime(time(5))), 5),
        (StartPosition::After(EnqueuedTime(time(4))), 5),
        (StartPosition::After(EnqueuedTime(0)), 0),
    ] {
        assert_eq!(next(&mut log.receiver(start).await?).await?.0, first, "{start:?}");
    }
    for start in [StartPosition::Latest, StartPosition::After(Number(9)), StartPosition::After(EnqueuedTime(time(9)))] {
        let mut receiver = log.receiver(start).await?;
        assert!(is_waiting(&mut receiver).await, "{start:?}");
    }
    let beyond = log.receiver(StartPosition::After(Number(10))).await;
    assert!(matches!(beyond, Err(Refusal::BeyondEnd(_))));
    Ok(())
}

#[tokio::test]
async fn what_is_read_ahead_is_bounded() -> Result<(), Failed> {
    let log = Log::open(Config::default()).await?;
    for _ in 0..20 {
        log.append(0, (0..10).map(|_| "x".repeat(50_000))).await?;
    }
    log.append(0, numbers(0..5000)).await?;
    let mut receiver = log.receiver(StartPosition::EARLIEST).await?;
    for number in 0..1000 {
        assert_eq!(next(&mut receiver).await?.0, number);
        let bytes: usize = receiver.at_hand.iter().map(|stored| stored.record.len()).sum();
        assert!(bytes <= 2 * READ.bytes && receiver.at_hand.len() < AT_HAND_MIN + READ.records);
    }
    Ok(())
}

#[tokio::test]
async fn a_reader_that_retention_overtakes_goes_on_with_what_is_left() -> Result<(), Failed> {
    let config = Config { segment_bytes: 4096, retention_bytes: 16 * 1024, ..Config::default() };
    let log = Log::open(config).await?;
    log.append(0, numbers(0..1)).await?;
    let mut receiver = log.receiver(StartPosition::EARLIEST).await?;
    assert_eq!(next(&mut receiver).await?.0, 0);
    assert!(is_waiting(&mut receiver).await);
    let mut appended = 1;
    while log.log.bounds(&log.events, 0).await?.earliest == 0 {
        assert!(appended < 10_000, "retention removes nothing");
        log.append(0, numbers(appended..appended + 10)).await?;
        appended += 10;
    }
    let (mut number, _) = next(&mut receiver).await?;
    assert!(number >= 1);
    while number < appended - 1 {
        let following = next(&mut receiver).await?.0;
        assert!(following > number, "{following} after {number}");
        number = following;
    }
    Ok(())
}

#[tokio::test]
async fn a_record_that_cannot_be_decoded_is_left_out() -> Result<(), Failed> {
    let log = Log::open(Config::default()).await?;
    let bad = Append { topic: log.events.clone(), partition: 0, record: Bytes::from_static(b"\x0a\xff") };
    log.log.append(vec![bad]).await?;
    log.append(0, numbers(1..2)).await?;
    assert_eq!(next(&mut log.receiver(StartPosition::EARLIEST).await?).await?, (1, "1".to_owned()));
    Ok(())
}

#[tokio::test]
async fn who_wants_to_know_hears_of_the_newest_event() -> Result<(), Failed> {
    let log = Log::open(Config::default()).await?;
    log.append(0, numbers(0..3)).await?;
    let options =
        ReceiverOptions { start: StartPosition::EARLIEST, epoch: None, name: "r".into(), wants_last_enqueued: true };
    let mut receiver = Receiver::open(log.log.clone(), log.events.clone(), 0, &options).await?;
    let next = poll_fn(|context| receiver.poll_next(context).map(|result| result.map(<[u8]>::to_vec)));
    let payload = timeout(PATIENCE, next).await??;
    let message = Message::decode(&payload)?;
    let told = message.delivery_annotations.ok_or("nothing is told")?;
    assert_eq!(told.get("last_enqueued_sequence_number"), Some(Value::Long(2)));
    Ok(())
}
