//! How long a guest has computed since it last did something durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts the time that a guest spends on a thread, from one durable call to the next.
///
/// The time is taken around each poll of the guest's future, so waiting for a commit, or for other guests that share the thread, is not
/// counted. Only one thread polls a guest at a time; the atomics are there because the guest's future and its interrupts both hold it.
#[derive(Debug, Clone)]
pub(crate) struct Meter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Instant,
    /// When the current slice began, in nanoseconds since `origin`.
    slice_started: AtomicU64,
    /// Computed before the current slice, in nanoseconds.
    spent: AtomicU64,
    /// The guest did something durable, and nobody has looked since. A guest that replays does that a million times a second, and
    /// reading the clock would take it a fifth of its time.
    anew: AtomicBool,
    /// The guest was interrupted in the middle of computing, and nobody has looked since.
    interrupted: AtomicBool,
}

impl Meter {
    pub(crate) fn new() -> Meter {
        Meter(Arc::new(Inner {
            origin: Instant::now(),
            slice_started: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            anew: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
        }))
    }

    /// The guest is about to be polled.
    pub(crate) fn start_slice(&self) {
        self.0
            .slice_started
            .store(self.elapsed_ns(), Ordering::Relaxed);
    }

    /// The guest's poll is over.
    pub(crate) fn end_slice(&self) {
        self.0.spent.store(self.spent_ns(), Ordering::Relaxed);
        self.start_slice();
    }

    /// The guest did something durable: counting starts anew when somebody next looks, which is at the next tick.
    pub(crate) fn reset(&self) {
        self.0.anew.store(true, Ordering::Relaxed);
    }

    /// The guest is made to let others run.
    pub(crate) fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::Relaxed);
    }

    /// Whether the guest was made to let others run, and has not been asked for that since.
    pub(crate) fn take_interrupted(&self) -> bool {
        self.0.interrupted.load(Ordering::Relaxed)
            && self.0.interrupted.swap(false, Ordering::Relaxed)
    }

    /// Computed since the first look after the last reset, as seen from inside a poll.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent_ns())
    }

    fn spent_ns(&self) -> u64 {
        if self.0.anew.swap(false, Ordering::Relaxed) {
            self.0.spent.store(0, Ordering::Relaxed);
            self.start_slice();
            return 0;
        }
        let slice = self
            .elapsed_ns()
            .saturating_sub(self.0.slice_started.load(Ordering::Relaxed));
        self.0.spent.load(Ordering::Relaxed).saturating_add(slice)
    }

    fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.0.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
