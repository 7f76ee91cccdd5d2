//! Being asked to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Failed, Result};

/// The exit code of what Ctrl-C or SIGINT has stopped.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code of what SIGTERM has stopped.
const TERMINATED: u8 = 143;

/// Listens for Ctrl-C and SIGTERM.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Failed::new)?,
            terminate: signal(SignalKind::terminate()).map_err(Failed::new)?,
        })
    }

    /// Waits until the process is asked to stop.
    pub(crate) async fn asked(&mut self) {
        self.asked_by().await;
    }

    /// Waits until the process is asked to stop, and answers the exit code that says by which signal.
    pub(crate) async fn asked_by(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => TERMINATED,
        }
    }
}
