//! The HTTP side of a Dacapo process:
//!
//! | path | answer |
//! |---|---|
//! | `GET /health/live` | 200 as long as the process answers at all |
//! | `GET /health/ready` | 200 when it does its work, else 503 with the reason |
//! | `GET /version` | name and version |
//! | `/api/v1/…` | what the command does with runs, deployments, schedules and queues: [`api`] |
//! | `/mcp` | workflows as tools, and tools for runs, by MCP |
//!
//! All bodies are JSON. What "does its work" means is for the process to say: it hands in a [`Probe`]. This crate knows no worker and no wasm:
//! who reads components is handed in, too ([`Code`]).
//!
//! [`health`] is what a worker shows to whoever looks after it. [`everything`] is for a process that people and services use, too: it
//! has an [`App`], which knows the database, and stands behind a [`Gate`], which knows who asks.

#![forbid(unsafe_code)]

mod access;
pub mod api;
mod app;
mod code;
mod dashboard;
mod guard;
mod health;
mod limits;
mod mcp;
mod metrics;
mod problem;
mod rate;
mod routes;
mod server;
mod tls;

pub use access::{AccessConfig, AccessError, Caller, Gate, OidcConfig, OidcError, OidcRule};
pub use app::{App, everything};
pub use async_trait::async_trait;
pub use axum::Router;
pub use code::{Code, Component, Proof, ProofFinding, Prove, Repair};
pub use health::{Probe, Readiness, health};
pub use limits::Limits;
pub use mcp::{McpConfig, McpError, mcp_over_stdio};
pub use metrics::{Render, metrics};
pub use problem::Problem;
pub use server::{Server, ServerError};
pub use tls::{Tls, TlsError};
