//! What the tests of the whole share: a private Postgres for each test process, a fresh database for each test, the guests that
//! `./x guests` has built, and real `dacapo` processes.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod database;
mod guests;
mod process;
mod sound;
mod workload;

pub use database::{Database, database, database_with, server_log};
pub use guests::{guest, guest_path};
pub use process::{Dacapo, Worker, dacapo_binary};
pub use sound::{sound, sound_to_the_doctor};
pub use workload::{Again, Workload};
