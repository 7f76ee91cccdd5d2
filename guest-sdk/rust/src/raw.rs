//! The imported WIT functions as they are, without the kit's serde and error handling.
//!
//! For what the kit does not offer: forwarding JSON text untouched, or testing how a host answers a guest that breaks the
//! protocol. The documentation of each function is that of package `dacapo:workflow`.
//!
//! ```no_run
//! use dacapo_guest::raw::waits;
//!
//! let text: Option<String> = waits::wait_for("approved", None)?;
//! # Ok::<(), dacapo_guest::raw::types::Failure>(())
//! ```

pub use bindings::dacapo::workflow::{
    children, context, forks, http, log, secrets, sql, steps, types, waits,
};

// Generated code is fenced off here; the house's lints are not its subject.
#[allow(missing_docs, unsafe_code, clippy::all, clippy::unwrap_used)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "dacapo:workflow/imports",
        generate_all,
    });
}
