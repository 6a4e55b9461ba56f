//! Ids of the commands of this incarnation to one group (design "Commands are applied once").

use std::collections::VecDeque;

use parking_lot::Mutex;
use proto::shard::v1;

/// How far commands may run ahead of the oldest unanswered one. A shard remembers more results than that.
const WINDOW: usize = 8192;

/// Gives out sequences and knows the lowest one that is not answered.
#[derive(Debug, Default)]
pub struct CommandIds {
    state: Mutex<Unanswered>,
}

#[derive(Debug, Default)]
struct Unanswered {
    /// The lowest unanswered sequence; of those from it on, whether each is answered.
    lowest: u64,
    answered: VecDeque<bool>,
}

/// A command under way; dropped when it is answered or given up.
#[derive(Debug)]
pub struct UnderWay<'a> {
    ids: &'a CommandIds,
    incarnation: u64,
    sequence: u64,
}

impl CommandIds {
    /// The next sequence; `None` while too many commands wait behind the oldest one.
    pub fn begin(&self, incarnation: u64) -> Option<UnderWay<'_>> {
        let mut state = self.state.lock();
        if state.answered.len() >= WINDOW {
            return None;
        }
        let sequence = state.lowest + state.answered.len() as u64;
        state.answered.push_back(false);
        Some(UnderWay { ids: self, incarnation, sequence })
    }
}

impl UnderWay<'_> {
    /// The id as it is sent now: the same sequence at every try.
    pub fn id(&self) -> v1::CommandId {
        let lowest_unanswered = self.ids.state.lock().lowest;
        v1::CommandId { incarnation: self.incarnation, sequence: self.sequence, lowest_unanswered }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.ids.state.lock();
        let position = (self.sequence - state.lowest) as usize;
        if let Some(answered) = state.answered.get_mut(position) {
            *answered = true;
        }
        while state.answered.front() == Some(&true) {
            state.answered.pop_front();
            state.lowest += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_unanswered_moves_when_the_oldest_is_answered() {
        let ids = CommandIds::default();
        let (Some(first), Some(second)) = (ids.begin(7), ids.begin(7)) else { panic!("the table is full") };
        let id = |sequence, lowest_unanswered| v1::CommandId { incarnation: 7, sequence, lowest_unanswered };
        assert_eq!((first.id(), second.id()), (id(0, 0), id(1, 0)));
        drop(second);
        assert_eq!(first.id(), id(0, 0));
        drop(first);
        assert_eq!(ids.begin(7).map(|third| third.id()), Some(id(2, 2)));
    }

    #[test]
    fn the_window_is_bounded_and_opens_again() {
        let ids = CommandIds::default();
        let mut under_way: Vec<_> = (0..WINDOW).map_while(|_| ids.begin(7)).collect();
        assert_eq!(under_way.len(), WINDOW);
        under_way.truncate(1);
        assert!(ids.begin(7).is_none());
        under_way.clear();
        assert!(ids.begin(7).is_some());
    }
}
