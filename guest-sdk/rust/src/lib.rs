//! Write durable Dacapo workflows in Rust.
//!
//! A workflow is an ordinary function that a component exports. It is played from the top whenever there is something to do:
//! steps that have a recorded outcome return it at once, and the function goes on from where it was. So everything that has an
//! effect, or that would not come out the same twice, goes into a [`step`], and what runs between steps stays cheap.
//!
//! ```ignore
//! // wit/world.wit:
//! //   package shop:orders@1.0.0;
//! //   interface orders { ship: func(order: u32) -> result<string, string>; }
//! //   world guest { export orders; }
//! use std::time::Duration;
//!
//! use dacapo_guest::{step, tracing::info, wait_for};
//!
//! dacapo_guest::workflows!(Shop);
//! use bindings::exports::shop::orders::orders::Guest;
//!
//! struct Shop;
//!
//! impl Guest for Shop {
//!     fn ship(order: u32) -> Result<String, String> {
//!         let parcel: String = step("pack").run(|| {
//!             info!("packing order {order}");
//!             Ok(format!("parcel-{order}"))
//!         })?;
//!         match wait_for::<String>("picked-up").timeout(Duration::from_secs(86_400)).recv()? {
//!             Some(carrier) => Ok(format!("{parcel} is with {carrier}")),
//!             None => Err(format!("nobody came for {parcel}")),
//!         }
//!     }
//! }
//! ```
//!
//! Build it with `cargo build --target wasm32-wasip2`; the crate needs `crate-type = ["cdylib"]` and the dependencies
//! `dacapo-guest` and `serde`. The component's imports of Dacapo come from this crate, so a guest's own WIT says only what the
//! guest exports.
//!
//! # The same way each time
//!
//! Outside of steps the clocks of `std` show the journal's time, and what asks the host for random bytes (such as the crate `getrandom`) gets
//! the same in each replay. The order of a `HashMap` is another one after a step that has made maps than after one whose outcome was handed
//! back: where it decides what happens, a `BTreeMap` is needed.
//!
//! # Errors
//!
//! A step's body may use `?` on any [`std::error::Error`], and on [`Retry`] and [`Fatal`]. What comes out of a step or a wait is
//! a [`Failure`]: a plain value that a workflow may look at, compensate for, or pass on with `?` — into a `Result<_, String>` or
//! into any error type that implements `From<Failure>`.
//!
//! # Panics
//!
//! A panic's message goes to the run's log and the instance traps. In a step's body that is the failure of one attempt, with the code
//! `trap`, and the step is tried again; elsewhere the run fails.

mod child;
pub mod context;
mod failure;
mod fork;
pub mod http;
pub mod json;
#[cfg(feature = "tracing")]
mod logging;
mod poll;
pub mod raw;
#[doc(hidden)]
pub mod rt;
mod saga;
mod secret;
pub mod sql;
mod step;
mod wait;
mod workflows;

pub use child::{Child, Started, child};
pub use context::{changed, now, progress};
pub use failure::{Failure, Fatal, Result, Retry, RetryAfter, StepError};
pub use fork::{Map, map};
pub use poll::{Poll, poll};
pub use saga::{Saga, saga};
pub use secret::{reveal, secret};
pub use step::{Step, step};
pub use wait::{
    WaitFor, WaitForAny, WaitForAnyAtMost, WaitForAtMost, pause, sleep, sleep_until, wait_for,
    wait_for_any,
};

/// The `tracing` crate that this kit listens to, so that a guest need not depend on it itself.
///
/// Events are sent to the run's log with their level, their message and their fields; spans are not kept. Nothing is written
/// while the guest is being replayed over what it has already done.
///
/// ```no_run
/// use dacapo_guest::tracing::info;
///
/// info!(order = 7, "charging");
/// ```
#[cfg(feature = "tracing")]
pub use tracing;

#[doc(hidden)]
pub use fork::{Branches, join, race};
#[doc(hidden)]
pub use {serde, wit_bindgen};
