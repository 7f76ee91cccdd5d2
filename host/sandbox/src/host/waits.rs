//! `dacapo:workflow/waits`: points where a run stops until an event, a time or a person.

use dacapo_model::{Failure, Kind, Outcome, Timestamp};

use super::bindings::dacapo::workflow::types;
use super::bindings::dacapo::workflow::waits::Host;
use crate::guest::{Asked, Guest, OpenRow, Slot, cancelled, nothing};
use crate::journal::SuspendReason;

impl Host for Guest {
    async fn wait_for(
        &mut self,
        event: String,
        timeout_ms: Option<u64>,
    ) -> wasmtime::Result<Result<Option<String>, types::Failure>> {
        let mut slot = match self.ask(Kind::Wait, &event)? {
            Asked::Recorded(outcome) => return Ok(received(outcome)),
            Asked::Live(slot) => slot,
        };
        let row = self.reach(&slot, |now| timeout_ms.map(|ms| now.add_millis(ms)));
        loop {
            if self.heed_signals().await? {
                return Ok(Err(self.deliver_cancel(slot, row)));
            }
            // What was received in time counts, whichever is looked at first.
            if let Some(taken) = self.journal.take_event(&event, row.due) {
                let payload = taken.payload.as_str().to_owned();
                self.record_done(
                    slot,
                    row.started_at,
                    Outcome::Ok(taken.payload),
                    Some(taken.seq),
                );
                return Ok(Ok(Some(payload)));
            }
            if row.due.is_some_and(|due| self.journal.now() >= due) {
                self.record_done(slot, row.started_at, Outcome::TimedOut, None);
                return Ok(Ok(None));
            }
            if slot.open.is_none() {
                self.record_open(&mut slot, row);
            }
            self.suspend(SuspendReason::Event, Some(&event), row.due)
                .await?;
        }
    }

    async fn sleep(
        &mut self,
        name: String,
        ms: u64,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        self.sleep_to(&name, |now| now.add_millis(ms)).await
    }

    async fn sleep_until(
        &mut self,
        name: String,
        unix_ms: u64,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        let due = Timestamp::from_millis(i64::try_from(unix_ms).unwrap_or(i64::MAX));
        self.sleep_to(&name, |_| due).await
    }

    async fn pause(&mut self, name: String) -> wasmtime::Result<Result<(), types::Failure>> {
        let mut slot = match self.ask(Kind::Pause, &name)? {
            Asked::Recorded(outcome) => return Ok(over(outcome)),
            Asked::Live(slot) => slot,
        };
        let row = self.reach(&slot, |_| None);
        loop {
            if self.heed_signals().await? {
                return Ok(Err(self.deliver_cancel(slot, row)));
            }
            if slot.open.is_none() {
                self.record_open(&mut slot, row);
            }
            // Whoever resumes the run writes the outcome, so it is found as recorded the next time and never here.
            self.suspend(SuspendReason::Pause, None, None).await?;
        }
    }
}

impl Guest {
    async fn sleep_to(
        &mut self,
        name: &str,
        due: impl FnOnce(Timestamp) -> Timestamp,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        let mut slot = match self.ask(Kind::Sleep, name)? {
            Asked::Recorded(outcome) => return Ok(over(outcome)),
            Asked::Live(slot) => slot,
        };
        let row = self.reach(&slot, |now| Some(due(now)));
        loop {
            if self.heed_signals().await? {
                return Ok(Err(self.deliver_cancel(slot, row)));
            }
            if row.due.is_none_or(|due| self.journal.now() >= due) {
                self.record_done(slot, row.started_at, nothing(), None);
                return Ok(Ok(()));
            }
            if slot.open.is_none() {
                self.record_open(&mut slot, row);
            }
            self.suspend(SuspendReason::Time, None, row.due).await?;
        }
    }

    /// When the wait was first reached and when it is over: as recorded, or from now.
    fn reach(&self, slot: &Slot, due: impl FnOnce(Timestamp) -> Option<Timestamp>) -> OpenRow {
        slot.open.unwrap_or_else(|| {
            let started_at = self.journal.now();
            OpenRow {
                started_at,
                due: due(started_at),
            }
        })
    }

    fn deliver_cancel(&mut self, slot: Slot, row: OpenRow) -> types::Failure {
        self.record_done(slot, row.started_at, Outcome::Cancelled, None);
        cancelled().into()
    }
}

fn received(outcome: Outcome) -> Result<Option<String>, types::Failure> {
    match outcome {
        Outcome::Ok(payload) => Ok(Some(payload.into_string())),
        Outcome::TimedOut => Ok(None),
        Outcome::Failed(failure) => Err(failure.into()),
        Outcome::Cancelled => Err(cancelled().into()),
    }
}

fn over(outcome: Outcome) -> Result<(), types::Failure> {
    match outcome {
        Outcome::Ok(_) => Ok(()),
        Outcome::TimedOut => {
            Err(Failure::new(dacapo_model::TIMEOUT, "the wait ran out of time").into())
        }
        Outcome::Failed(failure) => Err(failure.into()),
        Outcome::Cancelled => Err(cancelled().into()),
    }
}
