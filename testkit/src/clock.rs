//! The time of a run in a test.

use std::time::Duration;

use dacapo_model::Timestamp;
use tokio::time::Instant;

/// How long a body may take by the real clock before it sees that time passes. A body that waits for the clock, by looking at it again
/// and again, would otherwise never end; one that is merely slow must not make the times of a test differ.
const REAL_AFTER: Duration = Duration::from_secs(1);

/// A clock that stands still unless it is moved, or a body takes long.
#[derive(Debug)]
pub(crate) struct Clock {
    now: Timestamp,
    /// When the guest was last let go on.
    since: Instant,
}

impl Clock {
    pub(crate) fn new(now: Timestamp) -> Clock {
        Clock {
            now,
            since: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let spent = self.since.elapsed();
        if spent < REAL_AFTER {
            return self.now;
        }
        after(self.now, spent)
    }

    /// The guest goes on from here: what was spent before does not count.
    pub(crate) fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// The guest has done something that has this time.
    pub(crate) fn pin(&mut self) {
        self.now = self.now();
        self.restart();
    }

    /// Moves on to this time; never back.
    pub(crate) fn jump(&mut self, to: Timestamp) {
        self.now = self.now.max(to);
        self.restart();
    }
}

/// The time that much later, at most the last one there is.
pub(crate) fn after(time: Timestamp, duration: Duration) -> Timestamp {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_add(micros))
}

/// How much later the second time is; nothing if it is earlier.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    let micros = to.as_micros().saturating_sub(from.as_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A duration for people, in a form that `dacapo` reads too: `1h 30m`.
pub(crate) fn text(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(
        |_| format!("{duration:?}"),
        |duration| format!("{duration:#}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_unless_a_body_takes_long() {
        let start = Timestamp::from_millis(1_000);
        let mut clock = Clock::new(start);
        assert_eq!(clock.now(), start);
        clock.since -= Duration::from_millis(1_500);
        assert!(clock.now() >= Timestamp::from_millis(2_500));
        clock.restart();
        assert_eq!(clock.now(), start, "what was spent before does not count");
        clock.since -= Duration::from_millis(1_500);
        clock.pin();
        let pinned = clock.now();
        assert!(pinned >= Timestamp::from_millis(2_500));
        assert_eq!(clock.now(), pinned);
        clock.jump(start);
        assert_eq!(clock.now(), pinned, "never back");
    }
}
