//! The server: a real `dacapo serve` over a real database, asked as services and people ask it. Whatever it answers is compared with its own
//! OpenAPI document.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod access;
mod api;
mod browsers;
mod calls;
mod deployments;
mod document;
mod errors;
mod example;
mod limits;
mod mcp;
mod oidc;
mod queues;
mod remote;
mod runs;
mod schedules;
mod site;
mod starting;
mod steering;
mod streams;
mod tls;
