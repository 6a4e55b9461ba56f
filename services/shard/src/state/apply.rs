//! Applying one entry: its commands in order, each once.

use proto::{
    raft::v1::{Proposal, ProposedCommand, proposed_command::Kind},
    shard::v1::{self, command::Operation, command_result::Outcome},
};

use super::{
    Effect, backup, bulk, cluster, commands, feedback, file_notifications, keys, presence, queue, registry,
    rows::{DONE, Entry, Failure, entry_time, invalid},
    session, settings, twin,
};
use crate::store::{StoreError, Transaction};

/// What an entry gave.
#[derive(Debug, Default, PartialEq)]
pub struct Applied {
    /// One for each command, in their order.
    pub results: Vec<v1::CommandResult>,
    /// For the leader, in order.
    pub effects: Vec<Effect>,
}

/// Applies the proposal of the log entry `index` to the rows. The same rows and proposal give the same rows, results
/// and effects on every replica. An error is the disk's; nothing of the entry may be kept then.
pub fn apply(rows: &mut Transaction<'_>, index: u64, proposal: Proposal) -> Result<Applied, StoreError> {
    let time = entry_time(rows)?.max(proposal.time);
    rows.put(&keys::time(), time.to_be_bytes().to_vec());
    let mut entry = Entry { rows, index, time, effects: Vec::new() };
    let results = proposal.commands.into_iter().map(|command| apply_command(&mut entry, command));
    let results = results.collect::<Result<_, _>>()?;
    Ok(Applied { results, effects: entry.effects })
}

fn apply_command(entry: &mut Entry<'_, '_>, command: ProposedCommand) -> Result<v1::CommandResult, StoreError> {
    match command.kind {
        Some(Kind::Client(command)) => commands::apply_once(entry, command, operate),
        Some(Kind::LeadershipStarted(started)) => {
            entry.effects.push(Effect::LeadershipStarted { node_id: started.node_id, fence: entry.index });
            result_of(Ok(DONE))
        }
        Some(Kind::ExpireClients(expired)) => result_of(commands::expire(entry, &expired)),
        Some(Kind::ExpireMessages(_)) => result_of(queue::expire(entry)),
        Some(Kind::RecordPresence(rows)) => result_of(presence::record(entry, rows)),
        Some(Kind::RegisterNode(node)) => result_of(cluster::register(entry, node)),
        None => result_of(Err(invalid("a command of a newer version"))),
    }
}

fn operate(entry: &mut Entry<'_, '_>, operation: Option<Operation>) -> Result<v1::CommandResult, StoreError> {
    result_of(match operation {
        Some(Operation::PutDevice(command)) => registry::put_device(entry, command),
        Some(Operation::DeleteDevice(command)) => registry::delete_device(entry, &command),
        Some(Operation::PutModule(command)) => registry::put_module(entry, command),
        Some(Operation::DeleteModule(command)) => registry::delete_module(entry, &command),
        Some(Operation::Subscribe(command)) => session::subscribe(entry, command),
        Some(Operation::Unsubscribe(command)) => session::unsubscribe(entry, &command),
        Some(Operation::ClearSession(command)) => session::clear(entry, &command),
        Some(Operation::InitializeHub(command)) => settings::initialize(entry, command),
        Some(Operation::PutPolicies(command)) => settings::put_policies(entry, command),
        Some(Operation::PutCertificates(command)) => settings::put_certificates(entry, command),
        Some(Operation::PutConsumerGroups(command)) => settings::put_consumer_groups(entry, command),
        Some(Operation::PutOverrides(command)) => settings::put_overrides(entry, command),
        Some(Operation::ChangeIdentities(command)) => bulk::change_identities(entry, command),
        Some(Operation::UpdateTwin(command)) => twin::update(entry, &command),
        Some(Operation::UpdateReported(command)) => twin::report(entry, &command),
        Some(Operation::AnnounceModel(command)) => twin::announce_model(entry, command),
        Some(Operation::EnqueueMessage(command)) => queue::enqueue(entry, command),
        Some(Operation::ReceiveMessages(command)) => queue::receive(entry, &command),
        Some(Operation::SettleMessages(command)) => queue::settle(entry, &command),
        Some(Operation::PurgeMessages(command)) => queue::purge(entry, &command),
        Some(Operation::ReceiveFeedback(command)) => feedback::receive(entry, &command),
        Some(Operation::SettleFeedback(command)) => feedback::settle(entry, &command),
        Some(Operation::AddFileNotification(command)) => file_notifications::add(entry, command),
        Some(Operation::ReceiveFileNotification(command)) => file_notifications::receive(entry, &command),
        Some(Operation::SettleFileNotification(command)) => file_notifications::settle(entry, &command),
        Some(Operation::RestoreRows(command)) => backup::restore(entry, command),
        Some(Operation::RestoreSettings(command)) => settings::restore(entry, command),
        Some(Operation::ChangeNode(command)) => cluster::change_node(entry, &command),
        Some(Operation::SetReplication(command)) => cluster::set_replication(entry, &command),
        None => Err(invalid("an operation of a newer version")),
    })
}

fn result_of(outcome: Result<Outcome, Failure>) -> Result<v1::CommandResult, StoreError> {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(Failure::Refused(code, detail)) => Outcome::Error(v1::CommandError { code: code as i32, detail }),
        Err(Failure::Store(error)) => return Err(error),
    };
    Ok(v1::CommandResult { outcome: Some(outcome) })
}
