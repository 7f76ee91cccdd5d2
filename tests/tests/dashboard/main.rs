//! The dashboard in a real browser, over a real database with a real worker.
//!
//! Where there is no browser these tests fail and say how to get one; `DACAPO_BROWSER=none` leaves them out. What the browser shows is kept
//! in `target/screenshots/`.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod access;
mod browser;
mod figures;
mod forms;
mod looks;
mod paths;
mod scene;
