//! Texts that are too long.

use dacapo_guest::raw::http::Options as HttpOptions;
use dacapo_guest::raw::log::{self, Level};
use dacapo_guest::raw::{children, forks, steps};
use dacapo_guest::step;

use crate::Hostile;
use crate::bindings::exports::test::hostile::texts::{Guest, Spoken, Trouble};

/// Longer than a name may be, and not longer than a call may hand over.
fn long() -> String {
    "x".repeat(4 << 20)
}

impl Guest for Hostile {
    fn in_step_name() -> Result<(), String> {
        Ok(step(&long()).run(|| Ok(()))?)
    }

    fn in_fork_name() {
        // The number of branches is looked at before the name is.
        let _ = forks::fork(&long(), 0, None);
    }

    fn in_child_name() -> Result<(), String> {
        children::start_child("child", &long(), "null", None)
            .map(drop)
            .map_err(|failure| failure.code)
    }

    fn in_child_id() -> Result<(), String> {
        children::await_child("child", &long(), None)
            .map(drop)
            .map_err(|failure| failure.code)
    }

    fn in_rejection() -> Result<(), String> {
        step("s").run(|| Ok(()))?;
        steps::step_reject("s", &long());
        Ok(())
    }

    fn in_log() {
        log::log(Level::Info, &long(), &[]);
    }

    fn in_log_fields() {
        let fields = vec![(String::new(), String::new()); 100_000];
        loop {
            log::log(Level::Info, "", &fields);
        }
    }

    fn in_result() -> String {
        long()
    }

    fn in_failure_code() -> Result<(), Spoken> {
        Err(Spoken {
            code: "c".repeat(100_000),
            message: "m".repeat(100_000),
        })
    }

    fn in_failure() -> Result<(), Trouble> {
        Err(Trouble::Long(long()))
    }

    fn in_header_name() -> Result<(), String> {
        let mut held = Vec::new();
        loop {
            let options = HttpOptions::new();
            options.set_idempotency_header(&long());
            held.push(options);
        }
    }

    fn in_panic() {
        panic!("{}", long());
    }
}
