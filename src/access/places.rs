//! How much of something one asker may hold at once: connections of an address, watchers of a key. A place is held until it is dropped.
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Who holds how many. Nobody who holds none is remembered, so there are never more entries than places.
#[derive(Debug)]
pub struct Places<K> {
    each_max: usize,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Places { each_max: self.each_max, held: self.held.clone() }
    }
}

impl<K: Hash + Eq + Clone> Places<K> {
    /// Each may hold so many.
    pub fn new(each_max: usize) -> Places<K> {
        Places { each_max, held: Arc::default() }
    }

    /// One more, unless they have as many as one may.
    pub fn take(&self, whose: K) -> Option<Place<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.get(&whose).copied().unwrap_or(0);
        if count >= self.each_max {
            return None;
        }
        held.insert(whose.clone(), count + 1);
        Some(Place { whose, held: self.held.clone() })
    }
}

/// One place, given back when it is dropped.
#[derive(Debug)]
pub struct Place<K: Hash + Eq> {
    whose: K,
    held: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_takes_no_more_than_its_share_and_gives_it_back() {
        let places = Places::new(2);
        let first = places.take("a").expect("the first");
        let _second = places.take("a").expect("the second");
        assert!(places.take("a").is_none());
        assert!(places.take("b").is_some(), "another has a share of its own");
        drop(first);
        assert!(places.take("a").is_some());
        assert_eq!(places.held.lock().unwrap().len(), 1, "who holds none is forgotten");
    }
}
