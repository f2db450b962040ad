//! A cache of a fixed number of places, so that its memory is bounded whatever a file says.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;

/// Each key has one place, which the last one keeps that came for it. Neighbouring keys have different places, which is what
/// tables and parts of a disk are: a real replacement policy would find little more to do.
pub(crate) struct Slots<V> {
    places: Box<[Place<V>]>,
}

/// A key and its value.
type Place<V> = Mutex<Option<(u64, V)>>;

impl<V: Clone> Slots<V> {
    /// `count` is made at least one.
    pub(crate) fn new(count: usize) -> Self {
        Self { places: (0..count.max(1)).map(|_| Mutex::new(None)).collect() }
    }

    /// What is there for the key, or else what `load` gives, which is kept.
    pub(crate) fn get_or_load(&self, key: u64, load: impl FnOnce() -> Result<V>) -> Result<V> {
        let mut place = self.place(key);
        if let Some((of, value)) = &*place
            && *of == key
        {
            return Ok(value.clone());
        }
        let value = load()?;
        *place = Some((key, value.clone()));
        Ok(value)
    }

    pub(crate) fn put(&self, key: u64, value: V) {
        *self.place(key) = Some((key, value));
    }

    pub(crate) fn forget(&self, key: u64) {
        self.place(key).take_if(|(of, _)| *of == key);
    }

    fn place(&self, key: u64) -> MutexGuard<'_, Option<(u64, V)>> {
        let index = (key % self.places.len() as u64) as usize;
        // A panic of `load` leaves the place as it was.
        self.places[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_key_of_a_place_is_kept_and_others_are_loaded_again() {
        let slots = Slots::new(4);
        let load = |value| move || Ok(value);
        assert_eq!(slots.get_or_load(1, load("one")).ok(), Some("one"));
        assert_eq!(slots.get_or_load(1, load("not asked for")).ok(), Some("one"));
        assert_eq!(slots.get_or_load(5, load("five")).ok(), Some("five"));
        assert_eq!(slots.get_or_load(1, load("one again")).ok(), Some("one again"));
        slots.forget(5);
        assert_eq!(slots.get_or_load(1, load("not asked for")).ok(), Some("one again"));
        slots.forget(1);
        assert_eq!(slots.get_or_load(1, load("anew")).ok(), Some("anew"));
    }

    #[test]
    fn what_fails_to_load_is_not_kept() {
        let slots: Slots<u8> = Slots::new(1);
        assert!(slots.get_or_load(0, || Err(crate::Error::invalid("no"))).is_err());
        assert_eq!(slots.get_or_load(0, || Ok(7)).ok(), Some(7));
    }
}
