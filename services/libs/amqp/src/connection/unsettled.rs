//! Deliveries that are not settled, in the order of their ids.

use std::collections::VecDeque;

use super::numbers::distance;

/// Ids are given in order and mostly settled in order, so this is a queue that is searched by halving.
#[derive(Debug)]
pub(super) struct Unsettled<T> {
    deliveries: VecDeque<(u32, T)>,
}

impl<T> Default for Unsettled<T> {
    fn default() -> Self {
        Self { deliveries: VecDeque::new() }
    }
}

impl<T> Unsettled<T> {
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// `false` if the id is there already.
    pub fn insert(&mut self, id: u32, delivery: T) -> bool {
        match self.position(id) {
            Ok(_) => false,
            Err(at) if at == self.deliveries.len() => {
                self.deliveries.push_back((id, delivery));
                true
            }
            Err(at) => {
                self.deliveries.insert(at, (id, delivery));
                true
            }
        }
    }

    pub fn get(&self, id: u32) -> Option<&T> {
        let at = self.position(id).ok()?;
        self.deliveries.get(at).map(|(_, delivery)| delivery)
    }

    pub fn remove(&mut self, id: u32) -> Option<T> {
        let at = self.position(id).ok()?;
        self.deliveries.remove(at).map(|(_, delivery)| delivery)
    }

    /// Those from `first` to `last`, both included; however far apart the two are, only what is there is looked at.
    pub fn range_mut(&mut self, first: u32, last: u32) -> impl Iterator<Item = (u32, &mut T)> {
        let from = self.position(first).unwrap_or_else(|at| at);
        let until = self.deliveries.len().min(match self.position(last) {
            Ok(at) => at + 1,
            Err(at) => at,
        });
        let range = from..until.max(from);
        self.deliveries.range_mut(range).map(|(id, delivery)| (*id, delivery))
    }

    /// Takes those from `first` to `last` out.
    pub fn drain(&mut self, first: u32, last: u32) -> impl Iterator<Item = (u32, T)> {
        let from = self.position(first).unwrap_or_else(|at| at);
        let until = match self.position(last) {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        self.deliveries.drain(from..until.max(from))
    }

    /// Keeps what `keep` says, and returns how many went.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) -> usize {
        let before = self.deliveries.len();
        self.deliveries.retain(|(_, delivery)| keep(delivery));
        before - self.deliveries.len()
    }

    /// Gives memory back that is not needed now.
    pub fn shrink(&mut self) {
        self.deliveries.shrink_to_fit();
    }

    fn position(&self, id: u32) -> Result<usize, usize> {
        // New ids go to the end, and old ones are found at the front.
        match (self.deliveries.front(), self.deliveries.back()) {
            (_, Some((back, _))) if distance(*back, id) > 0 => Err(self.deliveries.len()),
            (Some((front, _)), _) if *front == id => Ok(0),
            _ => self.deliveries.binary_search_by(|(found, _)| distance(id, *found).cmp(&0)),
        }
    }
}
