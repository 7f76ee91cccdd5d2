//! The server: its routes, who gets in, and what it says to whom.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod access;
mod oidc;
mod tls;
