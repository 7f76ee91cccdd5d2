//! The database's clock, kept going between two looks at it. Workers whose own clocks differ agree by it.

use dacapo_model::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::time::Instant;

/// Tells the database's time without asking the database.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// Database time at `origin`, in microseconds.
    at_origin: AtomicI64,
}

impl Clock {
    /// A clock that starts with this time of the database.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            origin: Instant::now(),
            at_origin: AtomicI64::new(now.as_micros()),
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(
            self.at_origin
                .load(Ordering::Relaxed)
                .saturating_add(self.elapsed_micros()),
        )
    }

    /// Corrects the clock by what the database said just now.
    pub(crate) fn set(&self, now: Timestamp) {
        self.at_origin.store(
            now.as_micros().saturating_sub(self.elapsed_micros()),
            Ordering::Relaxed,
        );
    }

    fn elapsed_micros(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}
