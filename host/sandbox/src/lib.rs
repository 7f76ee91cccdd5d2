//! Runs workflow components: one instance per go at a run, played from the top over its journal.
//!
//! This crate alone knows wasmtime. It knows no database, no lease and no other run: what it has to write, and what it wants to
//! know from outside, goes through [`Journal`].
//!
//! A go at a run takes these turns: [`Sandbox::run`] checks and lifts the input, takes a place in the pool and instantiates the
//! component; the guest calls the functions in `host/`, which ask the run's [`Replay`](dacapo_replay::Replay) first and the
//! [`Journal`] after; it ends by returning, by a fault, or by a host function that unwinds it because the run has to wait. Each way
//! becomes an [`Ending`].
//!
//! [`describe`] needs none of that: it reads a component's workflows and their types from its bytes.

mod alarm;
mod attempt;
mod branches;
mod cache;
mod compilers;
mod config;
mod console;
mod contract;
mod describe;
mod ending;
mod engine;
mod fault;
mod go;
mod guest;
mod history;
mod host;
mod interrupt;
mod journal;
mod lines;
mod memory;
mod meter;
mod prove;
mod result;
mod run;
mod sandbox;
mod sql;
mod terms;
mod text;
mod ticker;
mod value;

pub use config::SandboxConfig;
pub use contract::{CONTRACT_VERSION, Lack};
pub use describe::{DescribeError, Described, describe, describe_interfaces, wit_of};
pub use ending::{BlockCode, BlockReason, Ending, RunSpec};
#[cfg(feature = "test-effects")]
pub use host::effects::{EffectWatcher, watch_effects};
pub use journal::{
    ChildStart, ChildState, ChildWorkflow, Event, Journal, Level, LogLine, LogSource, RecordWrite,
    Seen, Signal, Stop, SuspendReason, Suspended, Suspension, Write,
};
pub use prove::{Observer, Proof};
pub use sandbox::{PrepareError, Prepared, Sandbox, SandboxError, describe_metrics};
pub use sql::{SqlRefusal, SqlStep, SqlTransaction};
pub use terms::Terms;
