//! Waiting longer and longer for a database that does not answer.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// From 50 ms to 2 s, with jitter so that many workers do not come back at once.
pub(crate) struct Backoff {
    delays: ExponentialBackoff,
    first: bool,
}

const LONGEST: Duration = Duration::from_secs(2);

impl Default for Backoff {
    fn default() -> Self {
        let delays = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(LONGEST)
            .with_jitter()
            .without_max_times()
            .build();
        Self {
            delays,
            first: true,
        }
    }
}

impl Backoff {
    /// Waits before the next try.
    pub(crate) async fn wait(&mut self) {
        self.first = false;
        tokio::time::sleep(self.delays.next().unwrap_or(LONGEST)).await;
    }

    /// It answered.
    pub(crate) fn reset(&mut self) {
        if !self.first {
            *self = Self::default();
        }
    }

    /// Whether nothing has failed since the last answer.
    pub(crate) fn is_first(&self) -> bool {
        self.first
    }
}
