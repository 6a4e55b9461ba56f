//! Two ends that do anything they may at any time, with words still on their way: neither ever breaks a rule of the
//! other, every delivery is told at most once, and when all is over nothing of the limits is used up.

use std::collections::HashSet;

use amqp::{
    Attach, AttachTarget, Config, Connection, DeliveryState, Event, LinkId, Role, SessionId, Source, Target, condition,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::pair::{Pair, send};

#[derive(Clone, Debug)]
enum Act {
    Begin,
    End(Index),
    Attach {
        session: Index,
        receives: bool,
        credit: u32,
    },
    Answer {
        link: Index,
        credit: Option<u32>,
    },
    Detach(Index),
    Send {
        link: Index,
        bytes: usize,
        settled: bool,
    },
    Settle(Index, bool),
    Credit(Index, u32),
    Drain(Index),
    Drained(Index),
    /// What this end has said arrives at the other.
    Arrive,
}

fn act() -> impl Strategy<Value = (bool, Act)> {
    let index = any::<Index>;
    let act = prop_oneof![
        1 => Just(Act::Begin),
        1 => index().prop_map(Act::End),
        4 => (index(), any::<bool>(), 0_u32..6)
            .prop_map(|(session, receives, credit)| Act::Attach { session, receives, credit }),
        6 => (index(), prop::option::weighted(0.8, 0_u32..6)).prop_map(|(link, credit)| Act::Answer { link, credit }),
        2 => index().prop_map(Act::Detach),
        10 => (index(), 0_usize..2_000, any::<bool>()).prop_map(|(link, bytes, settled)| Act::Send { link, bytes, settled }),
        8 => (index(), any::<bool>()).prop_map(|(delivery, accepted)| Act::Settle(delivery, accepted)),
        2 => (index(), 0_u32..6).prop_map(|(link, credit)| Act::Credit(link, credit)),
        1 => index().prop_map(Act::Drain),
        2 => index().prop_map(Act::Drained),
        10 => Just(Act::Arrive),
    ];
    (any::<bool>(), act)
}

/// What one end knows of.
#[derive(Default)]
struct Known {
    sessions: Vec<SessionId>,
    links: Vec<LinkId>,
    asked: Vec<(LinkId, Attach)>,
    /// Of the other end, and of our own whose outcome was told unsettled.
    deliveries: Vec<(LinkId, u32)>,
    told: HashSet<(LinkId, u32)>,
}

impl Known {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Begin(session) if !self.sessions.contains(&session) => self.sessions.push(session),
            Event::Attach { link, attach } => {
                self.links.push(link);
                self.asked.push((link, *attach));
            }
            Event::Delivery(delivery) => {
                assert!(self.told.insert((delivery.link, delivery.id)), "a delivery came twice");
                self.deliveries.push((delivery.link, delivery.id));
            }
            Event::Outcome(outcome) => {
                assert!(self.told.insert((outcome.link, outcome.id)), "an outcome was told twice");
                self.deliveries.push((outcome.link, outcome.id));
            }
            // Two of us break no rules, so no link ends by an error but those that were refused.
            Event::Detach { error: Some(error), .. } => assert_eq!(&*error.condition, condition::NOT_FOUND),
            Event::End { error, .. } => assert_eq!(error, None),
            _ => {}
        }
    }
}

fn pick<T: Clone>(from: &[T], index: Index) -> Option<T> {
    (!from.is_empty()).then(|| index.get(from).clone())
}

fn perform(connection: &mut Connection, known: &mut Known, name: &str, act: &Act) -> Option<()> {
    match act {
        Act::Begin => known.sessions.extend(connection.begin()),
        Act::End(index) => _ = connection.end(pick(&known.sessions, *index)?, None),
        Act::Attach { session, receives, credit } => {
            let role = if *receives { Role::Receiver } else { Role::Sender };
            let attach = Attach {
                source: Some(Source::at("a")),
                target: Some(AttachTarget::Target(Target::at("a"))),
                ..Attach::new(format!("{name}{}", known.links.len()), role)
            };
            known.links.extend(connection.attach(pick(&known.sessions, *session)?, attach, *credit));
        }
        Act::Answer { link, credit } => {
            let (link, attach) = pick(&known.asked, *link)?;
            known.asked.retain(|(asked, _)| *asked != link);
            match credit {
                Some(credit) => _ = connection.accept(link, attach.answer(), *credit),
                None => _ = connection.refuse(link, amqp::Error::new(condition::NOT_FOUND, "no")),
            }
        }
        Act::Detach(index) => _ = connection.detach(pick(&known.links, *index)?, None),
        Act::Send { link, bytes, settled } => {
            let link = pick(&known.links, *link)?;
            let sendable = connection.sendable(link);
            let sent = send(connection, link, 1, &vec![7; *bytes], *settled);
            assert!(sendable == 0 || sent.is_ok(), "{sendable}: {sent:?}");
        }
        Act::Settle(index, accepted) => {
            let (link, id) = pick(&known.deliveries, *index)?;
            let state = if *accepted { DeliveryState::Accepted } else { DeliveryState::Released };
            connection.settle(link, id, state);
            assert!(!connection.settle(link, id, DeliveryState::Accepted), "settled twice");
        }
        Act::Credit(index, credit) => _ = connection.set_credit(pick(&known.links, *index)?, *credit),
        Act::Drain(index) => _ = connection.drain(pick(&known.links, *index)?),
        Act::Drained(index) => _ = connection.drained(pick(&known.links, *index)?),
        Act::Arrive => {}
    }
    Some(())
}

fn arrive(pair: &mut Pair, from_client: bool, knowns: &mut (Known, Known)) {
    let now = pair.now;
    let (from, to, known) = if from_client {
        (&mut pair.client, &mut pair.server, &mut knowns.1)
    } else {
        (&mut pair.server, &mut pair.client, &mut knowns.0)
    };
    let bytes = from.take_output(now);
    pair.referee.hear(usize::from(!from_client), &bytes);
    to.read(&bytes, pair.piece_bytes, now, |_, event| known.hear(event));
    assert_eq!(to.violation, None);
}

const LINKS: usize = 40;
/// More than the acts can need, and used to the last at the end.
const INCOMPLETE_BYTES: usize = 60_000;
const UNSETTLED: usize = 200;

fn config() -> Config {
    Config {
        frame_bytes_max: 512,
        incoming_window: 3,
        links_max: LINKS,
        incomplete_bytes_max: INCOMPLETE_BYTES,
        unsettled_incoming_max: UNSETTLED,
        ..Config::default()
    }
}

proptest! {
    #[test]
    fn both_ends_do_anything(acts in vec(act(), 1..200), piece_bytes in 1_usize..700) {
        let mut pair = Pair::open(config(), config());
        pair.piece_bytes = piece_bytes;
        let mut knowns = (Known::default(), Known::default());
        for (is_client, act) in &acts {
            match act {
                Act::Arrive => arrive(&mut pair, *is_client, &mut knowns),
                // More than the limit would rightly be refused.
                Act::Attach { .. } if knowns.0.links.len().max(knowns.1.links.len()) >= LINKS / 2 => {}
                _ if *is_client => _ = perform(&mut pair.client.connection, &mut knowns.0, "client", act),
                _ => _ = perform(&mut pair.server.connection, &mut knowns.1, "server", act),
            }
        }
        // All is ended, by both at once.
        for _ in 0..3 {
            for session in &knowns.0.sessions {
                pair.client.connection.end(*session, None);
            }
            arrive(&mut pair, false, &mut knowns);
            arrive(&mut pair, true, &mut knowns);
        }
        pair.forget_events();
        pair.pump();
        // Every limit is there again, to the last link, byte and delivery.
        let session = pair.begin();
        let links: Vec<(LinkId, LinkId)> =
            (0..LINKS).map(|number| pair.link(session, Role::Sender, &format!("again{number}"), UNSETTLED as u32)).collect();
        let sender = links[LINKS - 1].0;
        send(&mut pair.client.connection, sender, 1, &[1; INCOMPLETE_BYTES], false).unwrap();
        pair.pump();
        for _ in 1..UNSETTLED {
            send(&mut pair.client.connection, sender, 1, b"x", false).unwrap();
            pair.pump();
        }
        let arrived = pair.server_events.iter().filter(|event| matches!(event, Event::Delivery(_))).count();
        prop_assert_eq!((arrived, pair.server_events.len()), (UNSETTLED, UNSETTLED));
    }
}
