//! What a run may know about itself, which is the same in every replay, and what it says about itself.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Failure, raw};

/// The run's id, a UUID in its usual text form.
///
/// ```no_run
/// let idempotency_key = format!("{}-charge", dacapo_guest::context::run_id());
/// ```
pub fn run_id() -> String {
    raw::context::run_id()
}

/// The full name of the workflow, `ns:pkg/interface.function`.
///
/// ```no_run
/// assert_eq!(dacapo_guest::context::workflow(), "shop:orders/orders.ship");
/// ```
pub fn workflow() -> String {
    raw::context::workflow()
}

/// When the run was started, to the millisecond.
///
/// ```no_run
/// use dacapo_guest::context;
///
/// let age = context::now().duration_since(context::created_at()).unwrap_or_default();
/// ```
pub fn created_at() -> SystemTime {
    from_unix_ms(raw::context::created_at())
}

/// The time by the journal, to the millisecond: when the last outcome that the guest has been given was recorded. Inside a
/// step: the real time.
///
/// ```no_run
/// use std::time::Duration;
///
/// let due = dacapo_guest::now() + Duration::from_secs(3_600);
/// dacapo_guest::sleep_until("an-hour", due)?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn now() -> SystemTime {
    from_unix_ms(raw::context::now())
}

/// The labels that the run was started with.
///
/// ```no_run
/// let tenant = dacapo_guest::context::labels().remove("tenant");
/// ```
pub fn labels() -> BTreeMap<String, String> {
    raw::context::labels().into_iter().collect()
}

/// Inside a step: a text that is the same in all tries of this step and at no other step of any run, for services that want to know
/// whether they have seen a request before. None outside of one.
///
/// ```no_run
/// use dacapo_guest::{context, http, step};
///
/// step("pay").run(|| {
///     let key = context::idempotency_key().unwrap_or_default();
///     http::post("https://bank.example.com/payments").header("x-request-id", key).send()?.success()?;
///     Ok(())
/// })?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn idempotency_key() -> Option<String> {
    raw::context::idempotency_key()
}

/// Whether this run takes the new way through a change of the code, by the change's name: false for a run that is past this point and went
/// the old way.
///
/// ```no_run
/// use dacapo_guest::{changed, step};
///
/// if changed("check-stock") {
///     step("check-stock").run(|| Ok(()))?;
/// }
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn changed(name: &str) -> bool {
    raw::context::changed(name)
}

/// Says how far the run is, for whoever looks at it: so much of so much, in whatever unit, and a note if there is something to say.
///
/// What was said last counts, and it may be said often: it is written with whatever the run writes next. Nothing is written while the
/// guest is being replayed over what it has already done. A `done` beyond `total` counts as `total`.
///
/// ```no_run
/// use dacapo_guest::{progress, step};
///
/// let files = ["a.png", "b.png"];
/// for (done, file) in files.iter().enumerate() {
///     progress(done as u64, files.len() as u64, *file);
///     step("resize").run(|| Ok(file.len()))?;
/// }
/// progress(2, 2, None);
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn progress<'a>(done: u64, total: u64, note: impl Into<Option<&'a str>>) {
    raw::context::set_progress(done, total, note.into());
}

/// Ends the run, which has failed with this failure whatever its workflow's type says. For code that cannot say it by its result; inside a
/// step end the step with the failure instead, or the run ends with an explanation.
pub fn fail(failure: Failure) -> ! {
    raw::context::fail(&failure.into());
    unreachable!("`fail` does not return")
}

fn from_unix_ms(ms: u64) -> SystemTime {
    // A host never sends a time that a clock cannot hold; the epoch is what is left to say if one does.
    UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .unwrap_or(UNIX_EPOCH)
}
