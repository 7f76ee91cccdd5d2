//! What several streams look at, looked up once for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long somebody waits for what somebody else looks up, before they look themselves.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Things by their names, each for as long as somebody has it.
pub(crate) struct InUse<T>(Mutex<HashMap<String, Weak<T>>>);

impl<T> InUse<T> {
    /// The one with this name; `make` makes it, if nobody has it.
    pub(super) fn get(&self, name: String, make: impl FnOnce() -> T) -> Arc<T> {
        // The map is whole whenever the lock is free, whoever panicked.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = all.get(&name).and_then(Weak::upgrade) {
            return one;
        }
        all.retain(|_, one| one.strong_count() > 0);
        let one = Arc::new(make());
        all.insert(name, Arc::downgrade(&one));
        one
    }
}

impl<T> Default for InUse<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_the_same_for_all_who_name_it_for_as_long_as_somebody_has_it() {
        let things = InUse::default();
        let first = things.get("a".to_owned(), || 1);
        assert_eq!(*things.get("a".to_owned(), || 2), 1);
        let other = things.get("b".to_owned(), || 3);
        assert_eq!((*first, *other), (1, 3));
        drop(first);
        assert_eq!(*things.get("a".to_owned(), || 4), 4);
        drop(other);
        let _last = things.get("c".to_owned(), || 5);
        // Neither is kept whose last owner has gone.
        assert_eq!(things.0.lock().unwrap().len(), 1);
    }
}
