//! From the peer's numbers (channels, handles) to our places. Peers count from 0 or 1, but may use any number.

/// A sorted list of pairs: small, and found by halving.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pairs: Vec<(u32, u32)>,
    /// The highest number that was ever in it: below it, an unknown one may be late news of one that is gone.
    highest: Option<u32>,
}

impl Numbers {
    pub fn get(&self, number: u32) -> Option<u32> {
        let at = self.position(number).ok()?;
        self.pairs.get(at).map(|(_, place)| *place)
    }

    /// Whether the number may have been in it and is not any more.
    pub fn may_be_gone(&self, number: u32) -> bool {
        self.highest.is_some_and(|highest| number <= highest)
    }

    pub fn insert(&mut self, number: u32, place: u32) {
        match self.position(number) {
            Ok(at) => self.pairs[at].1 = place,
            Err(at) => self.pairs.insert(at, (number, place)),
        }
        self.highest = self.highest.max(Some(number));
    }

    pub fn remove(&mut self, number: u32) {
        if let Ok(at) = self.position(number) {
            self.pairs.remove(at);
        }
    }

    fn position(&self, number: u32) -> Result<usize, usize> {
        self.pairs.binary_search_by_key(&number, |(number, _)| *number)
    }
}

/// Numbers that wrap around (AMQP 1.0 §2.8.10, RFC 1982): how far `later` is ahead of `earlier`, negative if it is behind.
pub(super) fn distance(earlier: u32, later: u32) -> i32 {
    later.wrapping_sub(earlier).cast_signed()
}

/// Our places: the lowest free one is taken.
pub(super) fn lowest_free<T>(places: &mut Vec<Option<T>>) -> usize {
    places.iter().position(Option::is_none).unwrap_or_else(|| {
        places.push(None);
        places.len() - 1
    })
}
