//! Being asked to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Failed, Result};

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
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
