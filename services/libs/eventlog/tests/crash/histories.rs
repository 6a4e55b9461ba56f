//! Random histories of appends, faults, losses of power and restarts against what must hold after each.

use std::collections::BTreeMap;

use bytes::Bytes;
use eventlog::{
    Append, EventLog,
    embedded::{EmbeddedLog, Fault},
};
use proptest::prelude::*;

use super::{PARTITIONS, events, new_log, open, read_all, record, runtime};

#[derive(Clone, Debug)]
enum Step {
    /// Calls of `append` made one after the other without waiting; each a list of (partition, length).
    Append(Vec<Vec<(u32, usize)>>),
    Fail(Fault),
    Commit(u64),
    LosePowerAfter(u64),
    Reboot,
    Restart,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = prop::collection::vec((0..PARTITIONS, 0..2000_usize), 1..4);
    let fault =
        prop::sample::select(vec![Fault::WriteFull, Fault::WriteBroken, Fault::SyncBroken, Fault::ReplaceBroken]);
    let step = prop_oneof![
        8 => prop::collection::vec(call, 1..8).prop_map(Step::Append),
        3 => fault.prop_map(Step::Fail),
        1 => (0..100_u64).prop_map(Step::Commit),
        2 => (0..12_u64).prop_map(Step::LosePowerAfter),
        2 => Just(Step::Reboot),
        1 => Just(Step::Restart),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

/// What must be there, and what may be.
struct Model {
    acknowledged: BTreeMap<(u32, u64), Bytes>,
    /// By the number in front of each record.
    submitted: Vec<(u32, Bytes)>,
    /// What the consumer's place may be: the last one acknowledged, or one tried since.
    committed: Vec<Option<u64>>,
}

impl Model {
    fn new() -> Self {
        Self { acknowledged: BTreeMap::new(), submitted: Vec::new(), committed: vec![None] }
    }

    fn submit(&mut self, partition: u32, length: usize) -> Append {
        let number = self.submitted.len() as u64;
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.extend((0..length).map(|index| (index as u64 * 31 + number) as u8));
        self.submitted.push((partition, bytes.clone().into()));
        record(partition, bytes)
    }

    async fn append(&mut self, log: &EmbeddedLog, calls: &[Vec<(u32, usize)>]) {
        let mut receipts = Vec::new();
        for call in calls {
            let records: Vec<_> = call.iter().map(|(partition, length)| self.submit(*partition, *length)).collect();
            receipts.push((records.clone(), log.append(records)));
        }
        for (records, receipt) in receipts {
            let Ok(appended) = receipt.await else { continue };
            for (record, appended) in records.into_iter().zip(appended) {
                let before = self.acknowledged.insert((record.partition, appended.offset), record.record);
                assert_eq!(before, None, "an offset is given once");
            }
        }
    }

    async fn commit(&mut self, log: &EmbeddedLog, offset: u64) {
        match log.commit("router", &events(), 0, offset).await {
            Ok(()) => self.committed = vec![Some(offset)],
            Err(_) => self.committed.push(Some(offset)),
        }
    }

    async fn check(&mut self, log: &EmbeddedLog) {
        let mut found = 0;
        for partition in 0..PARTITIONS {
            let stored = read_all(log, partition).await;
            assert!(stored.is_sorted_by_key(|stored| stored.time));
            let mut numbers = Vec::new();
            for stored in stored {
                let number = u64::from_le_bytes(stored.record[..8].try_into().unwrap());
                assert_eq!(self.submitted[number as usize], (partition, stored.record.clone()), "not torn");
                numbers.push(number);
                if let Some(acknowledged) = self.acknowledged.get(&(partition, stored.offset)) {
                    assert_eq!(*acknowledged, stored.record, "what was acknowledged is where it was said to be");
                    found += 1;
                }
            }
            assert!(numbers.is_sorted_by(|a, b| a < b), "in the order of the calls, none twice");
        }
        assert_eq!(found, self.acknowledged.len(), "nothing acknowledged is lost");
        let committed = log.committed("router", &events(), 0).await.unwrap();
        assert!(self.committed.contains(&committed), "{committed:?} of {:?}", self.committed);
        self.committed = vec![committed];
    }
}

async fn live(seed: u64, steps: Vec<Step>) {
    let (mut disk, mut log) = new_log(seed).await;
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Append(calls) => model.append(&log, &calls).await,
            Step::Fail(fault) => disk.inject(fault),
            Step::Commit(offset) => model.commit(&log, offset).await,
            Step::LosePowerAfter(calls) => disk.lose_power_after(calls),
            Step::Reboot => {
                disk = disk.reboot();
                log = open(&disk);
                model.check(&log).await;
            }
            Step::Restart => {
                disk = disk.restart();
                log = open(&disk);
                model.check(&log).await;
            }
            Step::Reopen => {
                log.shutdown().await;
                drop(log);
                disk.heal();
                disk = disk.reboot(); // power may be off already
                log = open(&disk);
                model.check(&log).await;
            }
        }
    }
    disk = disk.reboot();
    model.check(&open(&disk)).await;
    model.check(&open(&disk.reboot())).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_nothing_acknowledged_is_lost(seed in any::<u64>(), steps in steps()) {
        runtime().block_on(live(seed, steps));
    }
}
