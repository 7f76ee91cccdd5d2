//! `dacapo:workflow/log`: lines for the run's log.

use super::bindings::dacapo::workflow::log::{Host, Level as GuestLevel};
use crate::guest::Guest;
use crate::interrupt::Interrupt;
use crate::journal::Level;

impl Host for Guest {
    async fn log(
        &mut self,
        level: GuestLevel,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        // A guest that logs faster than the journal writes has to wait for it.
        self.console.relieve().await.map_err(Interrupt::from)?;
        self.console.log(level.into(), &message, fields);
        Ok(())
    }
}

impl From<GuestLevel> for Level {
    fn from(level: GuestLevel) -> Level {
        match level {
            GuestLevel::Trace => Level::Trace,
            GuestLevel::Debug => Level::Debug,
            GuestLevel::Info => Level::Info,
            GuestLevel::Warn => Level::Warn,
            GuestLevel::Error => Level::Error,
        }
    }
}
