//! The words of Dacapo: ids, statuses, times, payloads, failures, the journal, and the types of workflows with their one JSON
//! form.
//!
//! Everything else in Dacapo may know this crate, and it knows nothing of them: no async, no I/O, no clocks, no WebAssembly.

#![forbid(unsafe_code)]

mod access;
mod blocked;
mod changes;
mod check_type;
mod compatibility;
mod events;
mod export;
mod failure;
mod from_json;
mod grants;
mod id;
mod input;
mod journal;
mod json;
mod json_schema;
mod key;
mod label;
mod manifest;
mod mismatch;
mod payload;
mod priority;
mod progress;
mod retention;
mod retry;
mod rollout;
mod same_types;
mod schedule;
mod schema;
mod secret_fields;
mod spelled_out;
mod sql;
mod status;
mod text;
mod time;
mod to_json;
mod trace;
mod value;
mod workflow_name;

pub use access::*;
pub use blocked::Obstacle;
pub use changes::Changes;
pub use check_type::*;
pub use compatibility::*;
pub use events::EventError;
pub use export::*;
pub use failure::*;
pub use from_json::from_json;
pub use grants::*;
pub use id::*;
pub use journal::*;
pub use json_schema::*;
pub use key::*;
pub use label::*;
pub use manifest::*;
pub use mismatch::{InputError, Mismatch};
pub use payload::*;
pub use priority::*;
pub use progress::*;
pub use retention::*;
pub use retry::*;
pub use rollout::*;
pub use schedule::*;
pub use schema::*;
pub use secret_fields::{REDACTED, SecretFields, SecretPath, SecretPathError, WITHHELD};
pub use spelled_out::spelled_out;
pub use sql::*;
pub use status::*;
pub use text::*;
pub use time::*;
pub use to_json::*;
pub use trace::*;
pub use value::*;
pub use workflow_name::*;
