//! Runs workflow components: one instance per go at a run, played from the top over its journal.
//!
//! This crate alone knows wasmtime. It knows no database, no lease and no other run: what it has to write, and what it wants to
//! know from outside, goes through [`Journal`].

mod config;
mod ending;
mod journal;

pub use config::SandboxConfig;
pub use ending::{BlockCode, BlockReason, Ending, RunSpec};
pub use journal::{
    Event, Journal, Level, LogLine, LogSource, RecordWrite, Signal, Stop, SuspendReason, Suspended, Suspension, Write,
};
