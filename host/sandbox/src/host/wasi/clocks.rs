//! `wasi:clocks`: the journal's time outside an attempt, real time inside.

use std::time::Duration;

use dacapo_model::Timestamp;
use dacapo_outbound::StepOver;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Instant};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::{self, Datetime};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::guest::Guest;

const NANOS_PER_MICRO: u64 = 1_000;
const MICROS_PER_SECOND: u64 = 1_000_000;

impl wall_clock::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        Ok(datetime(self.visible_now()))
    }

    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        Ok(Datetime {
            seconds: 0,
            nanoseconds: 1_000,
        })
    }
}

impl monotonic_clock::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<Instant> {
        Ok(self.since_start_ns())
    }

    fn resolution(&mut self) -> wasmtime::Result<Instant> {
        Ok(NANOS_PER_MICRO)
    }

    fn subscribe_instant(&mut self, when: Instant) -> wasmtime::Result<Resource<DynPollable>> {
        let delay_ns = when.saturating_sub(self.since_start_ns());
        self.subscribe_delay(delay_ns)
    }

    fn subscribe_duration(&mut self, delay_ns: Instant) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_delay(delay_ns)
    }
}

impl Guest {
    /// The monotonic clock starts with the run, not with the instance.
    fn since_start_ns(&self) -> u64 {
        let micros = self
            .visible_now()
            .as_micros()
            .saturating_sub(self.go.created_at.as_micros());
        u64::try_from(micros)
            .unwrap_or(0)
            .saturating_mul(NANOS_PER_MICRO)
    }

    fn subscribe_delay(&mut self, delay_ns: u64) -> wasmtime::Result<Resource<DynPollable>> {
        // Outside an attempt time stands still, so waiting for it would hold the instance for nothing, in every replay again.
        self.limit_attempt();
        let now = tokio::time::Instant::now();
        let timer = match &self.attempt {
            Some(attempt) => Timer {
                at: now.checked_add(Duration::from_nanos(delay_ns)),
                is_over: Some(attempt.is_over.flag()),
            },
            None => Timer {
                at: Some(now),
                is_over: None,
            },
        };
        let timer = self.table.push(timer)?;
        subscribe(&mut self.table, timer)
    }
}

/// A time as WASI has it.
pub(super) fn datetime(at: Timestamp) -> Datetime {
    let micros = u64::try_from(at.as_micros()).unwrap_or(0);
    let nanoseconds = (micros % MICROS_PER_SECOND) * NANOS_PER_MICRO;
    Datetime {
        seconds: micros / MICROS_PER_SECOND,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    }
}

/// Something that becomes ready when its time has come.
struct Timer {
    /// None: it never comes.
    at: Option<tokio::time::Instant>,
    /// Set once the attempt is over in which it was made: what was not awaited until then is not waited for outside.
    is_over: Option<StepOver>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        let is_over = self.is_over.as_ref();
        if is_over.is_some_and(|is_over| is_over.is_set()) {
            return tokio::task::yield_now().await;
        }
        match self.at {
            Some(at) if at <= tokio::time::Instant::now() => tokio::task::yield_now().await,
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}
