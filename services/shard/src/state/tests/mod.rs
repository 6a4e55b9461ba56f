//! The state on rows in memory: each behaviour by example, then random commands against a toy model.

mod backup;
mod bulk;
mod cluster;
mod commands;
mod file_notifications;
mod model;
mod queue;
mod registry;
mod sessions;
mod settings;
mod twins;

use proto::{
    raft::v1::{Proposal, ProposedCommand, proposed_command::Kind},
    shard::v1::{
        self, Command, CommandId, CommandResult, DeviceIdentity, ModuleIdentity, Precondition, authentication,
        command::Operation, command_error::Code, command_result::Outcome, precondition, read::Query,
        read_result::Result as Answer,
    },
};

use super::{Effect, apply, read};
use crate::store::{MemoryRows, StoreError, Transaction};

/// A group without Raft: every command is an entry of its own.
#[derive(Default)]
struct Group {
    rows: MemoryRows,
    index: u64,
    sequence: u64,
    time: i64,
    effects: Vec<Effect>,
}

type Tested = Result<(), StoreError>;

impl Group {
    fn entry(&mut self, commands: Vec<ProposedCommand>) -> Result<Vec<CommandResult>, StoreError> {
        self.index += 1;
        self.time += 1_000_000;
        let mut transaction = Transaction::new(&self.rows);
        let applied = apply(&mut transaction, self.index, Proposal { time: self.time, commands })?;
        let changes = transaction.into_changes();
        self.rows.write(changes);
        self.effects.extend(applied.effects);
        Ok(applied.results)
    }

    fn kind(&mut self, kind: Kind) -> Result<Outcome, StoreError> {
        let results = self.entry(vec![ProposedCommand { kind: Some(kind) }])?;
        let outcome = results.into_iter().next().and_then(|result| result.outcome);
        outcome.ok_or_else(|| StoreError::Corrupt("no outcome".into()))
    }

    fn with_id(&mut self, id: CommandId, operation: Operation) -> Result<Outcome, StoreError> {
        self.kind(Kind::Client(Command { id: Some(id), operation: Some(operation) }))
    }

    /// A new command of one client.
    fn command(&mut self, operation: Operation) -> Result<Outcome, StoreError> {
        self.sequence += 1;
        let id = CommandId { incarnation: 1, sequence: self.sequence, lowest_unanswered: self.sequence };
        self.with_id(id, operation)
    }

    fn put(&mut self, identity: DeviceIdentity, precondition: precondition::Kind) -> Result<Outcome, StoreError> {
        self.command(put_device(identity, precondition))
    }

    fn read(&self, query: Query) -> Result<Answer, StoreError> {
        read(&self.rows, &query)?.result.ok_or_else(|| StoreError::Corrupt("no answer".into()))
    }

    fn device(&self, device_id: &str) -> Result<Answer, StoreError> {
        self.read(Query::GetDevice(v1::GetDevice { device_id: device_id.into() }))
    }

    fn statistics(&self) -> Result<(u64, u64, u64, u64), StoreError> {
        match self.read(Query::GetStatistics(v1::GetStatistics {}))? {
            Answer::Statistics(it) => {
                Ok((it.total_device_count, it.enabled_device_count, it.disabled_device_count, it.module_count))
            }
            _ => Err(StoreError::Corrupt("no statistics".into())),
        }
    }
}

const ABSENT: precondition::Kind = precondition::Kind::Absent(v1::Empty {});
const PRESENT: precondition::Kind = precondition::Kind::Present(v1::Empty {});
const DONE: Outcome = Outcome::Done(v1::Empty {});
const NOT_FOUND: Answer = Answer::NotFound(v1::Empty {});

fn no_authentication() -> Option<v1::Authentication> {
    Some(v1::Authentication { kind: Some(authentication::Kind::None(v1::Empty {})) })
}

fn device(device_id: &str) -> DeviceIdentity {
    DeviceIdentity {
        device_id: device_id.into(),
        generation_id: "1".into(),
        authentication: no_authentication(),
        ..DeviceIdentity::default()
    }
}

fn module(device_id: &str, module_id: &str) -> ModuleIdentity {
    ModuleIdentity {
        device_id: device_id.into(),
        module_id: module_id.into(),
        generation_id: "1".into(),
        authentication: no_authentication(),
        ..ModuleIdentity::default()
    }
}

fn principal(device_id: &str, module_id: Option<&str>) -> v1::Principal {
    v1::Principal { device_id: device_id.into(), module_id: module_id.map(Into::into) }
}

fn condition(kind: precondition::Kind) -> Option<Precondition> {
    Some(Precondition { kind: Some(kind) })
}

fn put_device(identity: DeviceIdentity, precondition: precondition::Kind) -> Operation {
    Operation::PutDevice(v1::PutDevice { identity: Some(identity), precondition: condition(precondition), twin: None })
}

fn delete_device(device_id: &str, precondition: precondition::Kind) -> Operation {
    Operation::DeleteDevice(v1::DeleteDevice { device_id: device_id.into(), precondition: condition(precondition) })
}

fn put_module(identity: ModuleIdentity, precondition: precondition::Kind) -> Operation {
    Operation::PutModule(v1::PutModule { identity: Some(identity), precondition: condition(precondition), twin: None })
}

fn delete_module(device_id: &str, module_id: &str, precondition: precondition::Kind) -> Operation {
    Operation::DeleteModule(v1::DeleteModule {
        device_id: device_id.into(),
        module_id: module_id.into(),
        precondition: condition(precondition),
    })
}

fn subscribe(principal: v1::Principal, filters: &[(&str, u32)]) -> Operation {
    let subscription = |(filter, quality_of_service): &(&str, u32)| v1::Subscription {
        filter: (*filter).into(),
        quality_of_service: *quality_of_service,
        interests: 0,
    };
    Operation::Subscribe(v1::Subscribe {
        principal: Some(principal),
        connection_id: None,
        subscriptions: filters.iter().map(subscription).collect(),
        interests: 0,
    })
}

/// The code of a refusal.
fn code(outcome: Outcome) -> Option<Code> {
    match outcome {
        Outcome::Error(error) => Some(error.code()),
        _ => None,
    }
}

fn etag(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Device(device) => device.etag,
        Outcome::Module(module) => module.etag,
        _ => 0,
    }
}
