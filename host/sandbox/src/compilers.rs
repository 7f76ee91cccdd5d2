//! Threads that compile: their own, and only as many as there are cores.
//!
//! Guests that run come first: on Linux these threads are so much nicer than others that they get what those leave.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// How much nicer than the threads of guests.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// The threads, which are there from the first compilation on.
#[derive(Debug, Default)]
pub(crate) struct Compilers(OnceLock<Option<ThreadPool>>);

impl Compilers {
    /// Does this on these threads, and waits for it.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let pool = self.0.get_or_init(|| {
            let built = ThreadPoolBuilder::new()
                .thread_name(|_| "dacapo-compile".to_owned())
                .start_handler(|_| be_nicer())
                .build();
            if let Err(error) = &built {
                tracing::warn!(%error, "no threads for compiling; compiling on others");
            }
            built.ok()
        });
        match pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

/// Of the calling thread alone: that is what it means on Linux.
#[cfg(target_os = "linux")]
fn be_nicer() {
    if let Err(error) = rustix::process::nice(NICER) {
        tracing::debug!(%error, "compiling is as urgent as guests are");
    }
}

#[cfg(not(target_os = "linux"))]
fn be_nicer() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn compiling_is_less_urgent_than_everything_else() {
        let niceness = || rustix::process::nice(0).unwrap();
        let here = niceness();
        let there = Compilers::default().run(niceness);
        assert_eq!(there, (here + NICER).min(19));
        assert_eq!(niceness(), here, "of those threads alone");
    }
}
