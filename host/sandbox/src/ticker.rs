//! Interrupts computing guests at regular intervals, and sleeps when there are none.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

/// After this many ticks in a row with no guest on any thread the ticker sleeps until there is one. Going to sleep at once would cost a
/// wake-up for every short slice.
const LINGER_TICKS: u32 = 50;

/// Owns the thread that advances the engine's epoch.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Guests that are on a thread right now.
    on_thread: AtomicUsize,
    /// The thread sleeps, or is about to.
    asleep: AtomicBool,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    awake: bool,
    stop: bool,
}

/// A guest is on a thread for as long as this lives.
pub(crate) struct OnThread<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: &Engine, tick: Duration) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new()
            .name("dacapo-ticker".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                let engine = engine.clone();
                move || shared.run(&engine, tick)
            })?;
        Ok(Ticker {
            shared,
            thread: Some(thread),
        })
    }

    /// Says that a guest is on a thread, so that it is interrupted.
    pub(crate) fn guest_on_thread(&self) -> OnThread<'_> {
        let shared = &*self.shared;
        // Sequentially consistent on both sides: either the ticker sees this guest before it sleeps, or this sees it asleep.
        shared.on_thread.fetch_add(1, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) {
            shared
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .awake = true;
            shared.wake.notify_one();
        }
        OnThread(shared)
    }
}

impl Drop for OnThread<'_> {
    fn drop(&mut self) {
        self.0.on_thread.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn run(&self, engine: &Engine, tick: Duration) {
        let mut idle_ticks = 0;
        loop {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let (state, _) = self
                .wake
                .wait_timeout_while(state, tick, |state| !state.stop)
                .unwrap_or_else(PoisonError::into_inner);
            if state.stop {
                return;
            }
            drop(state);
            engine.increment_epoch();
            if self.on_thread.load(Ordering::SeqCst) > 0 {
                idle_ticks = 0;
                continue;
            }
            idle_ticks += 1;
            if idle_ticks >= LINGER_TICKS {
                self.sleep();
                idle_ticks = 0;
            }
        }
    }

    fn sleep(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.awake = false;
        self.asleep.store(true, Ordering::SeqCst);
        if self.on_thread.load(Ordering::SeqCst) == 0 {
            state = self
                .wake
                .wait_while(state, |state| !state.awake && !state.stop)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.store(false, Ordering::SeqCst);
        drop(state);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stop = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // The thread runs no code that panics; and a panic there would have nothing to tell here.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn wait_until(what: impl Fn() -> bool) {
        let started = Instant::now();
        while !what() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "it did not happen in 20 s"
            );
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_sleeps_while_no_guest_computes() {
        let ticker = Ticker::start(&Engine::default(), Duration::from_millis(1))
            .expect("a thread can be started");
        for _ in 0..3 {
            wait_until(|| ticker.shared.asleep.load(Ordering::SeqCst));
            let on_thread = ticker.guest_on_thread();
            wait_until(|| !ticker.shared.asleep.load(Ordering::SeqCst));
            drop(on_thread);
        }
    }
}
