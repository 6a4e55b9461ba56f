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

#[cfg(test)]
mod tests {
    use super::Unsettled;

    fn of(ids: impl IntoIterator<Item = u32>) -> Unsettled<()> {
        let mut unsettled = Unsettled::default();
        assert!(ids.into_iter().all(|id| unsettled.insert(id, ())));
        unsettled
    }

    fn drained(mut unsettled: Unsettled<()>, first: u32, last: u32) -> (Vec<u32>, usize) {
        let drained = unsettled.drain(first, last).map(|(id, ())| id).collect();
        (drained, unsettled.len())
    }

    #[test]
    fn ids_wrap_around() {
        let ids = [u32::MAX - 1, u32::MAX, 0, 1, 2];
        for id in ids {
            let mut unsettled = of(ids);
            assert_eq!((unsettled.remove(id), unsettled.remove(id), unsettled.len()), (Some(()), None, 4));
        }
        assert_eq!(drained(of(ids), u32::MAX, 1), (vec![u32::MAX, 0, 1], 2));
        assert!(!of(ids).insert(0, ()));
    }

    #[test]
    fn ranges_reach_over_gaps_and_beyond_the_ends() {
        let ids = || of([10, 12, 20]);
        assert_eq!(drained(ids(), 0, 11), (vec![10], 2));
        assert_eq!(drained(ids(), 11, 1_000_000), (vec![12, 20], 1));
        assert_eq!(drained(ids(), 13, 19), (vec![], 3));
        assert_eq!(drained(ids(), 20, 10), (vec![], 3), "backwards is nothing");
        assert_eq!(drained(Unsettled::default(), 0, 5), (vec![], 0));
        let mut late = of([10, 20]);
        assert!(late.insert(15, ()) && late.insert(5, ()));
        assert_eq!(late.range_mut(5, 15).map(|(id, ())| id).collect::<Vec<_>>(), [5, 10, 15]);
    }
}
