//! The engine as a whole: real Postgres, real guests, workers in this process or in processes of their own.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod backoff;
mod branches;
mod broadcast;
mod chaos;
mod check;
mod children;
mod command;
mod conformance;
mod crash;
mod deadlines;
mod deployments;
mod deploys;
mod dev;
mod effects;
mod event_types;
mod events;
mod examples;
mod fencing;
mod finding;
mod following;
mod going_back;
mod hostile;
mod house;
mod incident;
mod isolation;
mod manifests;
mod outage;
mod parents;
mod plans;
mod progress;
mod proof;
mod queues;
#[path = "../../../model/tests/random/types.rs"]
mod random;
mod readme;
mod relatives;
mod requests;
mod retention;
mod retries;
mod schedules;
mod schema;
mod sdk;
mod semantics;
mod services;
mod sql_api;
mod sql_steps;
mod start_options;
mod starting;
mod steps;
mod testing;
mod timers;
mod transfer;
mod visible;
