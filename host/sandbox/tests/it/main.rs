//! Real guests in the sandbox, over a journal in memory.
#![allow(clippy::unwrap_used)] // What a test does not expect may end it, in its helpers too.

mod branches;
mod cache;
mod changes;
mod describe;
mod durable;
mod gate;
mod limits;
mod lines;
mod memory_journal;
mod outside;
mod protocol;
mod scratch;
mod shapes;
mod signals;
mod support;
mod visible;
