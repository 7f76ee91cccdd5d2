//! The HTTP side of a Dacapo process. So far it tells whether the process works, and what it is:
//!
//! | path | answer |
//! |---|---|
//! | `GET /health/live` | 200 as long as the process answers at all |
//! | `GET /health/ready` | 200 when it does its work, else 503 with the reason |
//! | `GET /version` | name and version |
//!
//! All bodies are JSON. What "does its work" means is for the process to say: it hands in a [`Probe`]. This crate knows no worker.
//!
//! [`health`] is what a worker shows to whoever looks after it. [`everything`] is for a process that people and services use, too: it
//! has an [`App`], which knows the database.

#![forbid(unsafe_code)]

mod app;
mod dashboard;
mod health;
mod server;

pub use app::{App, everything};
pub use axum::Router;
pub use health::{Probe, Readiness, health};
pub use server::{Server, ServerError};
