//! Random commands against a toy model, and the same proposals on two replicas.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What a registry is, in a few lines: (etag, disabled) of devices, and etags of their modules.
#[derive(Default)]
struct Toy {
    devices: BTreeMap<u8, (u64, bool)>,
    modules: BTreeMap<(u8, u8), u64>,
    etag: u64,
}

#[derive(Clone, Debug)]
enum Step {
    PutDevice {
        device: u8,
        disabled: bool,
        condition: Condition,
    },
    DeleteDevice {
        device: u8,
        condition: Condition,
    },
    PutModule {
        device: u8,
        module: u8,
        condition: Condition,
    },
    DeleteModule {
        device: u8,
        module: u8,
        condition: Condition,
    },
    /// The command before, sent again.
    Again,
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    Absent,
    Present,
    Current,
    Outdated,
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![Just(Condition::Absent), Just(Condition::Present), Just(Condition::Current), Just(Condition::Outdated)]
}

fn step() -> impl Strategy<Value = Step> {
    let (device, module) = (0..4u8, 0..3u8);
    prop_oneof![
        4 => (device.clone(), any::<bool>(), condition())
            .prop_map(|(device, disabled, condition)| Step::PutDevice { device, disabled, condition }),
        1 => (device.clone(), condition()).prop_map(|(device, condition)| Step::DeleteDevice { device, condition }),
        3 => (device.clone(), module.clone(), condition())
            .prop_map(|(device, module, condition)| Step::PutModule { device, module, condition }),
        1 => (device, module, condition())
            .prop_map(|(device, module, condition)| Step::DeleteModule { device, module, condition }),
        1 => Just(Step::Again),
    ]
}

impl Condition {
    fn kind(self, stored: Option<u64>) -> precondition::Kind {
        match self {
            Self::Absent => ABSENT,
            Self::Present => PRESENT,
            Self::Current => precondition::Kind::Etag(stored.unwrap_or(0)),
            Self::Outdated => precondition::Kind::Etag(u64::MAX),
        }
    }

    fn holds(self, stored: Option<u64>) -> bool {
        match self {
            Self::Absent => stored.is_none(),
            Self::Present | Self::Current => stored.is_some(),
            Self::Outdated => false,
        }
    }
}

impl Toy {
    /// The operation, and whether it will be done.
    fn step(&mut self, step: &Step) -> Option<(Operation, bool)> {
        let name = |kind: char, number: u8| format!("{kind}{number}");
        Some(match *step {
            Step::PutDevice { device: number, disabled, condition } => {
                let stored = self.devices.get(&number).map(|device| device.0);
                let identity = DeviceIdentity { disabled, ..device(&name('d', number)) };
                let done = condition.holds(stored);
                if done {
                    self.etag += 1;
                    self.devices.insert(number, (self.etag, disabled));
                }
                (put_device(identity, condition.kind(stored)), done)
            }
            Step::DeleteDevice { device, condition } => {
                let stored = self.devices.get(&device).map(|device| device.0);
                let done = condition.holds(stored) && stored.is_some();
                if done {
                    self.devices.remove(&device);
                    self.modules.retain(|(of, _), _| *of != device);
                }
                (delete_device(&name('d', device), condition.kind(stored)), done)
            }
            Step::PutModule { device, module: number, condition } => {
                let stored = self.modules.get(&(device, number)).copied();
                let done = condition.holds(stored) && self.devices.contains_key(&device);
                if done {
                    self.etag += 1;
                    self.modules.insert((device, number), self.etag);
                }
                (put_module(module(&name('d', device), &name('m', number)), condition.kind(stored)), done)
            }
            Step::DeleteModule { device, module, condition } => {
                let stored = self.modules.get(&(device, module)).copied();
                let done = condition.holds(stored) && stored.is_some();
                if done {
                    self.modules.remove(&(device, module));
                }
                (delete_module(&name('d', device), &name('m', module), condition.kind(stored)), done)
            }
            Step::Again => return None,
        })
    }

    fn statistics(&self) -> (u64, u64, u64, u64) {
        let disabled = self.devices.values().filter(|device| device.1).count() as u64;
        let total = self.devices.len() as u64;
        (total, total - disabled, disabled, self.modules.len() as u64)
    }
}

/// Runs the steps on a group and a toy, comparing after each.
fn run(steps: &[Step]) -> Result<Group, TestCaseError> {
    let failed = |error: StoreError| TestCaseError::fail(error.to_string());
    let (mut group, mut toy) = (Group::default(), Toy::default());
    let mut last: Option<(Operation, Outcome)> = None;
    for step in steps {
        match (toy.step(step), &last) {
            (Some((operation, done)), _) => {
                let outcome = group.command(operation.clone()).map_err(failed)?;
                prop_assert_eq!(code(outcome.clone()).is_none(), done, "{:?}: {:?}", step, outcome);
                last = Some((operation, outcome));
            }
            (None, Some((operation, outcome))) => {
                group.sequence -= 1;
                prop_assert_eq!(&group.command(operation.clone()).map_err(failed)?, outcome);
            }
            (None, None) => {}
        }
        prop_assert_eq!(group.statistics().map_err(failed)?, toy.statistics());
        for (device, (etag, disabled)) in &toy.devices {
            let Answer::Device(stored) = group.device(&format!("d{device}")).map_err(failed)? else {
                return Err(TestCaseError::fail("a device is lost"));
            };
            prop_assert_eq!((stored.etag, stored.disabled), (*etag, *disabled));
        }
    }
    Ok(group)
}

proptest! {
    #[test]
    fn the_registry_is_what_the_toy_says(steps in proptest::collection::vec(step(), 1..60)) {
        run(&steps)?;
    }

    #[test]
    fn the_same_proposals_give_the_same_rows_and_effects(steps in proptest::collection::vec(step(), 1..60)) {
        let (one, other) = (run(&steps)?, run(&steps)?);
        prop_assert_eq!(one.rows, other.rows);
        prop_assert_eq!(one.effects, other.effects);
    }
}
