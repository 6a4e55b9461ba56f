//! What a reader of a partition says in its attach besides the address (amqp §8.2 to §8.4).

use amqp::{Attach, AttachTarget, SenderSettleMode};

use super::{Refusal, StartPosition};

/// Bytes of a receiver's name that are kept.
const NAME_BYTES_MAX: usize = 128;

/// A receiver as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverOptions {
    pub start: StartPosition,
    /// Owner level: one receiver at a time, the newest of the highest epoch. `None`: one of several.
    pub epoch: Option<i64>,
    /// What people call it.
    pub name: String,
    /// It wants to know with each event which one is the newest.
    pub wants_last_enqueued: bool,
}

impl ReceiverOptions {
    /// Reads filter, properties and capabilities.
    pub fn of(attach: &Attach) -> Result<Self, Refusal> {
        let property = |name: &str| attach.properties.as_ref().and_then(|properties| properties.get(name));
        let epoch = property("com.microsoft:epoch").and_then(|epoch| epoch.as_i64());
        if let Some(negative) = epoch.filter(|epoch| *epoch < 0) {
            return Err(Refusal::Epoch(negative));
        }
        let target = match &attach.target {
            Some(AttachTarget::Target(target)) => target.address.as_deref(),
            _ => None,
        };
        let name = property("com.microsoft:receiver-name").and_then(|name| name.as_text()).or(target);
        let wants = |name: &str| attach.desired_capabilities.as_ref().is_some_and(|wanted| wanted.contains(name));
        Ok(Self {
            start: attach.source.as_ref().map_or(Ok(StartPosition::EARLIEST), StartPosition::of)?,
            epoch,
            name: shortened(name.filter(|name| !name.is_empty()).unwrap_or(&attach.name)).to_owned(),
            wants_last_enqueued: wants("com.microsoft:enable-receiver-runtime-metric"),
        })
    }

    /// The answer that takes the link: events are settled as they are sent, because some clients never settle them.
    pub fn answer(attach: &Attach) -> Attach {
        Attach { snd_settle_mode: Some(SenderSettleMode::Settled), ..attach.answer() }
    }
}

fn shortened(name: &str) -> &str {
    let end = (0..=NAME_BYTES_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    name.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use amqp::{Fields, Role, Source, Symbol, Symbols, Target, Value};

    use super::*;

    fn attach(properties: &[(&str, Value<'_>)]) -> Attach {
        let properties = Fields::new(|map| properties.iter().for_each(|(name, value)| map.symbol(name, value)));
        Attach {
            source: Some(Source::at("hub/ConsumerGroups/$Default/Partitions/0")),
            target: Some(AttachTarget::Target(Target::at("EHConsumer-1"))),
            properties: Some(properties),
            ..Attach::new("link", Role::Receiver)
        }
    }

    #[test]
    fn a_plain_receiver() {
        let expected = ReceiverOptions {
            start: StartPosition::EARLIEST,
            epoch: None,
            name: "EHConsumer-1".into(),
            wants_last_enqueued: false,
        };
        assert_eq!(ReceiverOptions::of(&attach(&[])), Ok(expected));
        let unnamed = Attach { target: None, ..attach(&[]) };
        assert_eq!(ReceiverOptions::of(&unnamed).map(|options| options.name), Ok("link".to_owned()));
    }

    #[test]
    fn properties_and_capabilities() {
        let name = "com.microsoft:receiver-name";
        let mut full = attach(&[("com.microsoft:epoch", Value::Long(3)), (name, Value::String("reader"))]);
        full.desired_capabilities = Some(Symbols(vec![Symbol::new("com.microsoft:enable-receiver-runtime-metric")]));
        let expected = ReceiverOptions {
            start: StartPosition::EARLIEST,
            epoch: Some(3),
            name: "reader".into(),
            wants_last_enqueued: true,
        };
        assert_eq!(ReceiverOptions::of(&full), Ok(expected));
        let negative = attach(&[("com.microsoft:epoch", Value::Long(-1))]);
        assert_eq!(ReceiverOptions::of(&negative), Err(Refusal::Epoch(-1)));
        let long = format!("{}ää", "x".repeat(125));
        let long = ReceiverOptions::of(&attach(&[(name, Value::String(&long))])).map(|options| options.name.len());
        assert_eq!(long, Ok(127), "cut between characters");
    }

    #[test]
    fn the_answer_settles_as_it_sends_and_repeats_the_rest() {
        let asked = attach(&[]);
        let answer = ReceiverOptions::answer(&asked);
        assert_eq!(answer.snd_settle_mode, Some(SenderSettleMode::Settled));
        assert_eq!((answer.role, &answer.source, &answer.target), (Role::Sender, &asked.source, &asked.target));
    }
}
