//! How many requests may wait at once: of all clients, and of one.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All places are taken.
    All,
    /// This client has so many already.
    Own(u32),
}

/// Places for requests that stay.
pub struct Places {
    max: u32,
    max_of_one: u32,
    taken: Arc<Mutex<Taken>>,
    hasher: RandomState,
}

#[derive(Default)]
struct Taken {
    all: u32,
    /// By a keyed hash of who it is; those who have none are not in it.
    of_one: HashMap<u64, u32>,
}

/// A place, given back when it is dropped.
pub struct Place {
    who: u64,
    taken: Arc<Mutex<Taken>>,
}

impl Places {
    pub fn new(max: u32, max_of_one: u32) -> Self {
        Self { max, max_of_one, taken: Arc::default(), hasher: RandomState::new() }
    }

    /// A place for a request of this client.
    ///
    /// # Errors
    /// [`Full`].
    pub fn take(&self, who: &impl Hash) -> Result<Place, Full> {
        let who = self.hasher.hash_one(who);
        let mut taken = lock(&self.taken);
        let own = taken.of_one.get(&who).copied().unwrap_or(0);
        if own >= self.max_of_one {
            return Err(Full::Own(self.max_of_one));
        }
        if taken.all >= self.max {
            return Err(Full::All);
        }
        taken.all += 1;
        taken.of_one.insert(who, own + 1);
        Ok(Place { who, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all = taken.all.saturating_sub(1);
        match taken.of_one.get_mut(&self.who) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.of_one.remove(&self.who);
            }
        }
    }
}

/// What is counted is right between any two statements, whoever panicked.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_for_one_and_for_all_and_are_given_back() {
        let places = Places::new(3, 2);
        let first = places.take(&"one").expect("a place");
        let _second = places.take(&"one").expect("a place");
        assert_eq!(places.take(&"one").err(), Some(Full::Own(2)));
        let _third = places.take(&"two").expect("a place");
        assert_eq!(places.take(&"three").err(), Some(Full::All));
        drop(first);
        let again = places.take(&"one").expect("a place");
        assert_eq!(lock(&places.taken).of_one.len(), 2);
        drop((again, _second, _third));
        let left = lock(&places.taken);
        assert_eq!((left.all, left.of_one.len()), (0, 0));
    }
}
