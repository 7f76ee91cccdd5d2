//! What really breaks: machines, servers, networks, disks and clocks. Each test has a Postgres of its own and real worker processes, with
//! runs that go on while something breaks and afterwards; at the end all of them are checked in the same way (`Workload::check`).
//!
//! What a machine cannot do (mount a file system, lie about the time, pool connections) is left out, with a line that says so.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod backup;
mod by_transaction;
mod clocks;
mod disk;
mod fail_over;
mod network;
mod pooler;
mod private;
mod proxy;
mod ready;
mod server;
mod stops;
mod tls;
