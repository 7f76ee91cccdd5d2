//! Guests in each language that has a kit, built by the real command and the languages' own tools.
//!
//! A language whose tools are not installed is left out, with a line that says so; `DACAPO_LANGUAGES=required`, which `./x test` sets,
//! makes that a failure.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod bare;
mod beginning;
mod bench;
mod c;
mod freight;
mod heavy;
mod mistakes;
mod order;
mod projects;
mod tour;
