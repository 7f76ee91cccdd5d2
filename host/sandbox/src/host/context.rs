//! `dacapo:workflow/context`: what a run may know about itself, and what it says about itself.

use dacapo_model::{Failure, SaidProgress, Timestamp};

use super::bindings::dacapo::workflow::context::Host;
use super::bindings::dacapo::workflow::types;
use super::steps::unrecordable;
use crate::guest::{Guest, hide_failure};
use crate::interrupt::Interrupt;
use crate::journal::Write;

impl Host for Guest {
    fn run_id(&mut self) -> wasmtime::Result<String> {
        Ok(self.go.run_id.to_string())
    }

    fn workflow(&mut self) -> wasmtime::Result<String> {
        Ok(self.go.workflow.clone())
    }

    fn created_at(&mut self) -> wasmtime::Result<u64> {
        Ok(unix_ms(self.go.created_at))
    }

    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(unix_ms(self.visible_now()))
    }

    fn labels(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.go.labels.clone())
    }

    fn idempotency_key(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.open_idempotency_key())
    }

    fn changed(&mut self, name: String) -> wasmtime::Result<bool> {
        Ok(self.take_new_way(&name)?)
    }

    fn set_progress(
        &mut self,
        done: u64,
        total: u64,
        note: Option<String>,
    ) -> wasmtime::Result<()> {
        // An attempt is only open when there is nothing left to replay.
        if !self.replay.is_replaying() {
            let note = note.map(|note| self.go.terms.grants.hide(note).into_owned());
            let said = SaidProgress::from_guest(done, total, note);
            self.journal.append(Write::Progress(said));
        }
        Ok(())
    }

    fn fail(&mut self, failure: types::Failure) -> wasmtime::Result<()> {
        // A kit sees some misuse before the host does, and says it in the words of its language.
        let is_misuse = self.attempt.is_some() && failure.code == dacapo_model::MISUSE;
        if let Some(attempt) = &self.attempt
            && !is_misuse
        {
            return Err(Interrupt::misuse(format!(
                "the run was to be failed inside step `{}` ({}: {}): end the attempt with the failure instead",
                attempt.slot.key, failure.code, failure.message
            ))
            .into());
        }
        // What is recorded and was not asked for is no reason to fail: the code is another.
        if !is_misuse {
            self.replay.finish().map_err(Interrupt::from)?;
        }
        let types::Failure {
            code,
            message,
            retryable,
            details,
        } = failure;
        let limits = &self.config.payload;
        let failure = Failure::from_guest(code, message, retryable, details.as_deref(), limits)
            .map_err(|error| unrecordable("the failure of the run", &error))?;
        Err(Interrupt::Failed(hide_failure(failure, &self.go.terms.grants)).into())
    }
}

/// Times before 1970 have no form in the interface, and no run was started then.
fn unix_ms(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0)
}
