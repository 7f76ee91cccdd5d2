//! The HTTP side of a Dacapo process. So far it tells whether the process works, and what it is:
//!
//! | path | answer |
//! |---|---|
//! | `GET /health/live` | 200 as long as the process answers at all |
//! | `GET /health/ready` | 200 when it does its work, else 503 with the reason |
//! | `GET /version` | name and version |
//!
//! All bodies are JSON. What "does its work" means is for the process to say: it hands in a [`Probe`]. This crate knows no worker.

#![forbid(unsafe_code)]

mod health;
mod server;

pub use health::{Probe, Readiness, router};
pub use server::{Server, ServerError};
