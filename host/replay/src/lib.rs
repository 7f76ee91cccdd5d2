//! Compares what a workflow's code asks for with what its journal holds.
//!
//! This crate is pure: no async, no I/O, no clock and no randomness. [`Replay`] is given the recorded rows of one run and answers
//! each durable call of the guest with what was recorded, with "this is new", or with a [`Mismatch`] that shows both sides.
//!
//! A key is `scope/name#occurrence`. Occurrences are counted for each name in each scope, over all kinds together, in the order in
//! which the code asks. The root scope is the empty string and leaves no slash: `charge#1`.

#![forbid(unsafe_code)]

mod mismatch;
mod replay;

pub use mismatch::{Mismatch, Side};
pub use replay::{Answer, Changed, Positions, Replay, is_dropped};
