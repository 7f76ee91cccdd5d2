//! `dacapo:workflow/waits`: points where a run stops until an event, a time or a person.

use dacapo_model::{Failure, Kind, Outcome, Payload, Timestamp};
use serde_json::value::RawValue;

use super::bindings::dacapo::workflow::types;
use super::bindings::dacapo::workflow::waits::Host;
use crate::ending::{BlockCode, BlockReason};
use crate::guest::{Asked, Guest, OpenRow, Slot, cancelled, nothing};
use crate::interrupt::Interrupt;
use crate::journal::{Event, Journal, SuspendReason};

/// Events that one wait may name.
const EVENTS_MAX: usize = 100;

impl Host for Guest {
    async fn wait_for(
        &mut self,
        event: String,
        timeout_ms: Option<u64>,
    ) -> wasmtime::Result<Result<Option<String>, types::Failure>> {
        let slot = match self.ask(Kind::Wait, &event)? {
            Asked::Recorded { outcome, .. } => return Ok(received(outcome)),
            Asked::Live(slot) => slot,
        };
        self.check_declared(&event)?;
        // Its key says what it waits for, unless it was recorded under another name.
        let plan = match slot.key.name() == event {
            true => None,
            false => serde_json::to_string(&[&event]).ok(),
        };
        let (events, plan) = ([event], plan.map(Payload::from_trusted));
        let waited =
            self.wait_until_received(slot, &events, plan, timeout_ms, |event| event.payload);
        Ok(received(waited.await?))
    }

    async fn wait_for_any(
        &mut self,
        name: String,
        events: Vec<String>,
        timeout_ms: Option<u64>,
    ) -> wasmtime::Result<Result<Option<(String, String)>, types::Failure>> {
        if events.is_empty() || events.len() > EVENTS_MAX {
            let message = format!(
                "the wait `{name}` names {} events: expected 1 to {EVENTS_MAX}",
                events.len()
            );
            return Err(Interrupt::misuse(message).into());
        }
        for event in &events {
            dacapo_model::check_name(event)
                .map_err(|error| Interrupt::misuse(error.to_string()))?;
        }
        let slot = match self.ask(Kind::Wait, &name)? {
            Asked::Recorded { outcome, .. } => return any_received(outcome),
            Asked::Live(slot) => slot,
        };
        for event in &events {
            self.check_declared(event)?;
        }
        let plan = serde_json::to_string(&events)
            .ok()
            .map(Payload::from_trusted);
        let waited = self.wait_until_received(slot, &events, plan, timeout_ms, named);
        any_received(waited.await?)
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
            Asked::Recorded { outcome, .. } => return Ok(over(outcome)),
            Asked::Live(slot) => slot,
        };
        let row = self.reach(&slot, |_| None);
        loop {
            if self.heed_signals().await? {
                return Ok(Err(self.deliver_cancel(slot, &row)));
            }
            if slot.open.is_none() {
                self.record_open(&mut slot, row.clone(), None);
            }
            // Whoever resumes the run writes the outcome, so it is found as recorded the next time and never here.
            self.suspend(SuspendReason::Pause, &[], None).await?;
        }
    }
}

/// What a wait for any of several events records: the event's name beside its payload, `["paid", {…}]`.
fn named(event: Event) -> Payload {
    let name = serde_json::Value::String(event.name);
    Payload::from_trusted(format!("[{name},{}]", event.payload))
}

/// How a wait for events stands to its time.
pub(crate) enum WaitEnd {
    /// Its time has not come, or what came in by then cannot be known now.
    NotYet,
    /// Its time has come, and what came in by then is known since this moment.
    LookAgain,
    /// Nothing came in time.
    Over,
}

/// Whether a wait for events is over because of its time. It is not before all is known that came in by then, whoever was told of it.
pub(crate) async fn wait_end(journal: &dyn Journal, due: Option<Timestamp>) -> WaitEnd {
    match due {
        Some(due) if journal.now() >= due => {
            if journal.has_looked_since(due) {
                return WaitEnd::Over;
            }
            journal.look().await;
            if journal.has_looked_since(due) {
                WaitEnd::LookAgain
            } else {
                // Who gives the run up finds out.
                WaitEnd::NotYet
            }
        }
        _ => WaitEnd::NotYet,
    }
}

impl Guest {
    /// A wait for an event that nobody could send would never end.
    fn check_declared(&self, event: &str) -> Result<(), Interrupt> {
        let declared = &self.go.events;
        if declared.is_empty() || declared.iter().any(|name| name == event) {
            return Ok(());
        }
        Err(Interrupt::misuse(format!(
            "the workflow waits for the event `{event}`, which is none of those that its WIT declares: {}",
            declared.join(", ")
        )))
    }

    /// Takes the oldest of these events, waiting for one if need be, and records what the wait makes of it.
    async fn wait_until_received(
        &mut self,
        mut slot: Slot,
        events: &[String],
        plan: Option<Payload>,
        timeout_ms: Option<u64>,
        payload: fn(Event) -> Payload,
    ) -> wasmtime::Result<Outcome> {
        let mut row = self.reach(&slot, |now| timeout_ms.map(|ms| now.add_millis(ms)));
        row.plan = plan;
        let (outcome, takes_event) = loop {
            if self.heed_signals().await? {
                break (Outcome::Cancelled, None);
            }
            // What was received in time counts, whichever is looked at first.
            if let Some(event) = self.journal.take_event(events, row.due) {
                let seq = event.seq;
                break (Outcome::Ok(payload(event)), Some(seq));
            }
            match wait_end(&*self.journal, row.due).await {
                WaitEnd::NotYet => {}
                WaitEnd::LookAgain => continue,
                WaitEnd::Over => break (Outcome::TimedOut, None),
            }
            // The code may name other events than it did when the wait was reached.
            if slot.open.as_ref().is_none_or(|open| open.plan != row.plan) {
                self.record_open(&mut slot, row.clone(), None);
            }
            self.suspend(SuspendReason::Event, events, row.due).await?;
        };
        self.record_done(slot, row.started_at, outcome.clone(), takes_event, None);
        Ok(outcome)
    }

    async fn sleep_to(
        &mut self,
        name: &str,
        due: impl FnOnce(Timestamp) -> Timestamp,
    ) -> wasmtime::Result<Result<(), types::Failure>> {
        let mut slot = match self.ask(Kind::Sleep, name)? {
            Asked::Recorded { outcome, .. } => return Ok(over(outcome)),
            Asked::Live(slot) => slot,
        };
        let row = self.reach(&slot, |now| Some(due(now)));
        loop {
            if self.heed_signals().await? {
                return Ok(Err(self.deliver_cancel(slot, &row)));
            }
            if row.due.is_none_or(|due| self.journal.now() >= due) {
                self.record_done(slot, row.started_at, nothing(), None, None);
                return Ok(Ok(()));
            }
            if slot.open.is_none() {
                self.record_open(&mut slot, row.clone(), None);
            }
            self.suspend(SuspendReason::Time, &[], row.due).await?;
        }
    }

    /// When the wait was first reached and when it is over: as recorded, or from now.
    pub(crate) fn reach(
        &self,
        slot: &Slot,
        due: impl FnOnce(Timestamp) -> Option<Timestamp>,
    ) -> OpenRow {
        slot.open.clone().unwrap_or_else(|| {
            let started_at = self.journal.now();
            OpenRow {
                started_at,
                due: due(started_at),
                failed_attempts: 0,
                plan: None,
            }
        })
    }

    fn deliver_cancel(&mut self, slot: Slot, row: &OpenRow) -> types::Failure {
        self.record_done(slot, row.started_at, Outcome::Cancelled, None, None);
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

fn any_received(
    outcome: Outcome,
) -> wasmtime::Result<Result<Option<(String, String)>, types::Failure>> {
    let text = match received(outcome) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(Ok(None)),
        Err(failure) => return Ok(Err(failure)),
    };
    // Also the first time the guest is given what is read from the record, so that a replay gives it the very same.
    match serde_json::from_str::<(String, &RawValue)>(&text) {
        Ok((name, payload)) => Ok(Ok(Some((name, payload.get().to_owned())))),
        // It was recorded by a wait for one event: the code has changed.
        Err(_) => Err(Interrupt::Blocked(BlockReason {
            code: BlockCode::Rejected,
            message: format!(
                "the code waits for any of several events, but what is recorded for the wait is not the name and the payload of one: {text}"
            ),
            details: None,
        })
        .into()),
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
