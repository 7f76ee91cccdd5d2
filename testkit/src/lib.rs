//! Tests of workflows, in memory: a `.wasm` component runs as it would in production, on a clock that skips whatever it waits for.
//!
//! ```no_run
//! use dacapo_testkit::{Component, json};
//!
//! # async fn test() -> Result<(), dacapo_testkit::Error> {
//! let payments = Component::load("target/wasm32-wasip2/release/process_payment.wasm")?;
//! let input = json!({ "orderId": 7, "amountCents": 5, "currency": "eur", "items": [{ "sku": "tea", "price": 5 }] });
//! let mut run = payments.run("process", input)?;
//! run.script_step("charge", Ok(json!("ch_1")));
//! run.send_event("settled", json!({ "reference": "bank-1" }));
//! let outcome = run.run_to_completion().await?;
//! assert_eq!(outcome.output::<dacapo_testkit::Value>()?["charge"], "ch_1");
//! run.assert_journal(
//!     r#"reserve#1 step ok "hold-7"
//!        charge#1 step ok "ch_1"
//!        settled#1 wait ok …"#,
//! );
//! run.crash_everywhere().await?;
//! # Ok(())
//! # }
//! ```
//!
//! There is no database and no worker: the sandbox of the workers plays the component over a journal in memory. Each time that the
//! run has to wait, the instance is dropped and played again from the top, as in production.
//!
//! **Time** stands still while the workflow computes, so that times are the same in each test, and jumps to the next due time when
//! the run waits: a year of sleep takes milliseconds. Only a body that takes longer than a second sees the time that it took.
//!
//! **Scripts** say what comes from outside: events, and a person's pause, resume and cancel, now or at a time after the run's start;
//! outcomes of steps whose bodies are not to run; and what becomes of [children](Child), since a test plays one run. A mistake in a script is reported when the run is played.

#![forbid(unsafe_code)]

mod child;
mod clock;
mod component;
mod crash;
mod error;
mod journal;
mod outcome;
mod run;
mod script;
mod show;
mod stage;

pub use child::{Child, StartedChild};
pub use component::Component;
pub use crash::Crashes;
pub use error::Error;
pub use outcome::{RunOutcome, Standing, Waiting};
pub use run::Run;

pub use dacapo_model::{
    Failure, Kind, Outcome, Payload, PayloadLimits, Recorded, RecordedState, RunId, SaidProgress,
    Status, StepKey, Timestamp,
};
pub use dacapo_sandbox::{
    BlockCode, BlockReason, Level, LogLine, LogSource, SandboxConfig, SuspendReason,
};
pub use serde_json::{Value, json};
