//! Epochs and limits, claim by claim.

use proptest::{collection::vec, prelude::*};

use super::*;

fn place() -> Place {
    Place { consumer_group: "$default".into(), partition: 0 }
}

fn claim(epoch: Option<i64>, name: &str) -> Claim {
    Claim { epoch, name: name.into(), previous: None }
}

/// Ids that lost their place, and to whom.
fn displaced(receivers: &mut Receivers) -> Vec<(u64, String)> {
    receivers.take_displaced().into_iter().map(|lost| (lost.id.counter, lost.by.name)).collect()
}

#[test]
fn the_newest_of_the_highest_epoch_reads() -> Result<(), Reason> {
    let mut receivers = Receivers::new(7);
    let a = receivers.claim(&place(), claim(Some(1), "a"))?;
    assert_eq!(a, ClaimId { leadership: 7, counter: 1 });
    let b = receivers.claim(&place(), claim(Some(1), "b"))?;
    assert_eq!(displaced(&mut receivers), [(1, "b".to_owned())], "of equal epochs the newer one");
    assert_eq!(receivers.claim(&place(), claim(Some(0), "c")), Err(Reason::HigherEpoch(1)));
    receivers.claim(&place(), claim(Some(9), "d"))?;
    assert_eq!(displaced(&mut receivers), [(2, "d".to_owned())]);
    // Late words of those who lost change nothing.
    receivers.release(&place(), a);
    receivers.release(&place(), b);
    assert_eq!(receivers.claim(&place(), claim(Some(8), "e")), Err(Reason::HigherEpoch(9)));
    Ok(())
}

#[test]
fn epochs_are_remembered_only_while_their_receiver_is_there() -> Result<(), Reason> {
    let mut receivers = Receivers::new(1);
    let high = receivers.claim(&place(), claim(Some(9), "high"))?;
    assert_eq!(receivers.claim(&place(), claim(None, "plain")), Err(Reason::EpochReceiver(9)));
    receivers.release(&place(), high);
    receivers.claim(&place(), claim(None, "plain"))?;
    receivers.claim(&place(), claim(None, "other"))?;
    receivers.claim(&place(), claim(Some(0), "low"))?;
    assert_eq!(displaced(&mut receivers), [(2, "low".to_owned()), (3, "low".to_owned())], "all without epoch go");
    Ok(())
}

#[test]
fn a_few_without_epoch_share_a_partition() -> Result<(), Reason> {
    let mut receivers = Receivers::new(1);
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        ids.push(receivers.claim(&place(), claim(None, name))?);
    }
    let names = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    let refused = receivers.claim(&place(), claim(None, "f"));
    assert_eq!(refused, Err(Reason::TooMany(v1::ConnectedReceivers { names })));
    for elsewhere in [Place { partition: 1, ..place() }, Place { consumer_group: "own".into(), ..place() }] {
        receivers.claim(&elsewhere, claim(None, "f"))?;
    }
    receivers.release(&place(), ids[2]);
    receivers.claim(&place(), claim(None, "f"))?;
    assert_eq!(displaced(&mut receivers), []);
    Ok(())
}

#[test]
fn under_a_new_leader_everyone_gets_back_what_was_not_taken() -> Result<(), Reason> {
    let old = |counter| Some(ClaimId { leadership: 1, counter });
    let again = |epoch, counter| Claim { previous: old(counter), ..claim(epoch, "again") };
    let mut receivers = Receivers::new(5);
    // It comes first and gets its id back; a fresh one of the same epoch is newer.
    let first = receivers.claim(&place(), again(Some(0), 3))?;
    assert_eq!(Some(first), old(3));
    let fresh = receivers.claim(&place(), claim(Some(0), "fresh"))?;
    assert!(fresh > first);
    // It comes last.
    assert_eq!(receivers.claim(&place(), again(Some(0), 3)), Err(Reason::Newer(fresh.into())));
    // A fresh one that would have been refused gives the place back.
    displaced(&mut receivers);
    receivers.claim(&place(), again(Some(4), 2))?;
    assert_eq!(displaced(&mut receivers).len(), 1);
    // Of two that held the place one after the other, the newer one.
    receivers.claim(&place(), again(Some(4), 9))?;
    assert_eq!(
        receivers.claim(&place(), again(Some(4), 2)),
        Err(Reason::Newer(ClaimId { leadership: 1, counter: 9 }.into()))
    );
    // Who claims again what it holds displaces nobody.
    displaced(&mut receivers);
    assert_eq!(Some(receivers.claim(&place(), again(Some(4), 9))?), old(9));
    assert_eq!((displaced(&mut receivers), receivers.count), (vec![], 1));
    Ok(())
}

#[test]
fn all_receivers_together_are_bounded_and_an_epoch_may_still_be_taken_over() -> Result<(), Reason> {
    let mut receivers = Receivers::new(1);
    let elsewhere = |partition| Place { partition, ..place() };
    for partition in 0..RECEIVERS_MAX as u32 {
        receivers.claim(&elsewhere(partition), claim(Some(0), "r"))?;
    }
    for epoch in [None, Some(9)] {
        let refused = receivers.claim(&elsewhere(u32::MAX), claim(epoch, "one more"));
        assert_eq!(refused, Err(Reason::TooMany(v1::ConnectedReceivers::default())));
    }
    receivers.claim(&place(), claim(Some(0), "newer"))?;
    assert_eq!(displaced(&mut receivers), [(1, "newer".to_owned())]);
    assert_eq!(receivers.count, RECEIVERS_MAX);
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    Claim { epoch: Option<i64> },
    Release { which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        proptest::option::of(0..3_i64).prop_map(|epoch| Step::Claim { epoch }),
        (0..16_usize).prop_map(|which| Step::Release { which }),
    ]
}

proptest! {
    /// Whatever comes: one with an epoch alone, or a few without, and everyone hears of a loss exactly once.
    #[test]
    fn who_reads_is_who_was_granted_and_neither_left_nor_displaced(steps in vec(step(), 0..60)) {
        let mut receivers = Receivers::new(1);
        let mut reading: Vec<(ClaimId, Option<i64>)> = Vec::new();
        for step in steps {
            match step {
                Step::Claim { epoch } => {
                    let before = reading.clone();
                    let granted = receivers.claim(&place(), claim(epoch, "r"));
                    let lost: Vec<_> = receivers.take_displaced().into_iter().map(|lost| lost.id).collect();
                    prop_assert!(lost.iter().all(|id| before.iter().any(|(there, _)| there == id)));
                    reading.retain(|(id, _)| !lost.contains(id));
                    match granted {
                        Ok(id) => reading.push((id, epoch)),
                        Err(_) => prop_assert_eq!(&reading, &before, "a refusal changes nothing"),
                    }
                }
                Step::Release { which } if which < reading.len() => {
                    let (id, _) = reading.remove(which);
                    receivers.release(&place(), id);
                }
                Step::Release { .. } => {}
            }
            let with_epoch = reading.iter().filter(|(_, epoch)| epoch.is_some()).count();
            prop_assert!(reading.len() <= SHARED_MAX);
            prop_assert!(with_epoch == 0 || reading.len() == 1);
            prop_assert_eq!(receivers.count, reading.len());
        }
        for (id, _) in reading {
            receivers.release(&place(), id);
        }
        prop_assert_eq!((receivers.count, receivers.places.len()), (0, 0));
    }
}
