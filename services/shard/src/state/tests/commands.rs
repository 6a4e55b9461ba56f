//! Commands are applied once (design).

use proto::raft::v1::{ExpireClients, LeadershipStarted};

use super::*;
use crate::state::expired_clients;

fn id(sequence: u64, lowest_unanswered: u64) -> CommandId {
    CommandId { incarnation: 7, sequence, lowest_unanswered }
}

#[test]
fn a_command_sent_again_gets_its_first_answer() -> Tested {
    let mut group = Group::default();
    let create = || put_device(device("d1"), ABSENT);
    let first = group.with_id(id(5, 5), create())?;
    assert_eq!(group.with_id(id(5, 5), create())?, first);
    group.with_id(id(6, 5), delete_device("d1", PRESENT))?;
    assert_eq!(group.with_id(id(5, 5), create())?, first);
    assert_eq!(group.device("d1")?, NOT_FOUND);
    // Refusals are remembered like everything else.
    assert_eq!(code(group.with_id(id(7, 5), delete_device("d1", PRESENT))?), Some(Code::DeviceNotFound));
    group.with_id(id(8, 5), create())?;
    assert_eq!(code(group.with_id(id(7, 5), delete_device("d1", PRESENT))?), Some(Code::DeviceNotFound));
    Ok(())
}

#[test]
fn commands_may_arrive_in_any_order_and_twice_in_one_entry() -> Tested {
    let mut group = Group::default();
    let of = |sequence, device_id: &str| {
        let operation = Some(put_device(device(device_id), ABSENT));
        ProposedCommand { kind: Some(Kind::Client(Command { id: Some(id(sequence, 1)), operation })) }
    };
    let results = group.entry(vec![of(3, "d3"), of(1, "d1"), of(3, "d3"), of(2, "d2"), of(1, "d1")])?;
    let etags: Vec<_> = results.iter().filter_map(|result| result.outcome.as_ref().map(etag)).collect();
    assert_eq!(etags, [1, 2, 1, 3, 2]);
    Ok(())
}

#[test]
fn results_below_the_floor_are_forgotten() -> Tested {
    let mut group = Group::default();
    let create = |name: &str| put_device(device(name), ABSENT);
    group.with_id(id(1, 1), create("d1"))?;
    group.with_id(id(2, 1), create("d2"))?;
    let before = group.rows.iter().count();
    group.with_id(id(3, 3), create("d3"))?;
    // Two results less; one result and one device more.
    assert_eq!(group.rows.iter().count(), before);
    assert_eq!(code(group.with_id(id(2, 3), create("d2"))?), Some(Code::ResultForgotten));
    assert_eq!(code(group.with_id(id(1, 1), create("d1"))?), Some(Code::ResultForgotten));
    assert_eq!(code(group.with_id(id(3, 3), create("d3"))?), None);
    Ok(())
}

#[test]
fn remembered_results_are_bounded_however_wild_the_sequences() -> Tested {
    let mut group = Group::default();
    for sequence in [0, 5, 1 << 40, u64::MAX, 1 << 20] {
        group.with_id(id(sequence, 0), delete_device("d1", PRESENT))?;
    }
    assert_eq!(code(group.with_id(id(5, 0), delete_device("d1", PRESENT))?), Some(Code::ResultForgotten));
    // Time, client, and one result.
    assert_eq!(group.rows.iter().count(), 3);
    Ok(())
}

#[test]
fn idle_clients_are_forgotten_with_their_results() -> Tested {
    let mut group = Group::default();
    group.with_id(CommandId { incarnation: 1, sequence: 1, lowest_unanswered: 1 }, put_device(device("d1"), ABSENT))?;
    let between = group.time + 1;
    group.with_id(CommandId { incarnation: 2, sequence: 1, lowest_unanswered: 1 }, put_device(device("d2"), ABSENT))?;
    let expired = expired_clients(&group.rows, between)?;
    assert_eq!(expired, Some(ExpireClients { incarnations: vec![1], idle_since: between }));
    // A client that was heard of since stays.
    let both = ExpireClients { incarnations: vec![1, 2, 3], idle_since: between };
    group.kind(Kind::ExpireClients(both))?;
    assert_eq!(expired_clients(&group.rows, between)?, None);
    let again = CommandId { incarnation: 2, sequence: 1, lowest_unanswered: 1 };
    assert_eq!(code(group.with_id(again, put_device(device("d2"), ABSENT))?), None);
    let forgotten = CommandId { incarnation: 1, sequence: 1, lowest_unanswered: 1 };
    let applied_anew = group.with_id(forgotten, put_device(device("d1"), ABSENT))?;
    assert_eq!(code(applied_anew), Some(Code::DeviceAlreadyExists));
    Ok(())
}

#[test]
fn time_never_goes_back() -> Tested {
    let mut group = Group { time: 1_000, ..Group::default() };
    group.put(device("d1"), ABSENT)?;
    let latest = group.time;
    group.time = 0;
    let Outcome::Device(disabled) = group.put(DeviceIdentity { disabled: true, ..device("d1") }, PRESENT)? else {
        panic!("refused")
    };
    assert_eq!(disabled.status_updated_time, latest);
    assert_eq!(crate::state::entry_time(&group.rows)?, latest);
    Ok(())
}

#[test]
fn a_leadership_is_fenced_by_the_index_of_its_entry() -> Tested {
    let mut group = Group { index: 41, ..Group::default() };
    group.kind(Kind::LeadershipStarted(LeadershipStarted { node_id: 3 }))?;
    assert_eq!(group.effects, [Effect::LeadershipStarted { node_id: 3, fence: 42 }]);
    Ok(())
}
