//! Real guests in the sandbox, over a journal in memory.

mod cache;
mod changes;
mod describe;
mod durable;
mod limits;
mod memory_journal;
mod outside;
mod protocol;
mod shapes;
mod signals;
mod support;
mod visible;
