//! The client against a real Postgres, without any worker; and the types that it generates from WIT.

#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

mod database;
mod list;
mod refs;
mod requests;
mod start;
mod start_many;
mod transaction;
mod wait;
