//! The engine as a whole: real Postgres, real guests, workers in this process or in processes of their own.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod check;
mod crash;
mod deploys;
mod events;
mod fencing;
mod isolation;
mod outage;
mod requests;
mod steps;
mod timers;
mod visible;
