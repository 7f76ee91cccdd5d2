//! The kit, with guests that `./x guests` builds.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod bad_input;
mod branches;
mod children;
mod crashes;
mod process_payment;
mod scripts;
mod support;
mod time;
