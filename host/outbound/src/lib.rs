//! Requests that steps make: which are granted, which addresses may be connected to, what stands for a secret, and the one client that
//! sends them all.
//!
//! This crate knows no wasm and no database. The sandbox asks it on behalf of a guest, with the [`Grants`] of the deployment; whatever
//! comes back is data for the guest ([`Refused::Failure`]) or a reason why its run cannot go on here ([`Refused::MissingSecret`]).

#![forbid(unsafe_code)]

mod address;
mod body;
mod client;
mod fetch;
mod grants;
mod hide;
mod over;
mod secrets;
#[cfg(test)]
mod tests;

pub use body::{Body, BodyError, hide_response};
pub use client::{Outbound, OutboundConfig, OutboundError, Sending};
pub use fetch::{FetchRequest, FetchResponse};
pub use grants::{Grants, Refused, Target};
pub use over::StepOver;
pub use secrets::Secrets;

/// Code of a failure for what the manifest does not grant.
pub const NOT_GRANTED: &str = "not-granted";
/// Code of a failure for a request that is none.
pub const BAD_REQUEST: &str = "http-bad-request";
/// Code of a failure for a host that cannot be reached, or breaks off.
pub const UNREACHABLE: &str = "http-unreachable";
/// Code of a failure for a response that takes too long.
pub const TOO_SLOW: &str = "http-timeout";
/// Code of a failure for a response that is longer than it may be.
pub const TOO_LARGE: &str = "http-too-large";
