//! Waits: points where the run stops until an event, a time or a person, at the cost of rows in the database only.

use std::marker::PhantomData;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;

use crate::Failure;
use crate::raw::waits;

/// Waits for the event with this name; [`WaitFor::recv`] takes it.
///
/// Events are kept from the moment they are sent, even if the run does not wait for them yet. Each is taken once, the oldest
/// first.
///
/// ```no_run
/// use std::time::Duration;
///
/// use dacapo_guest::wait_for;
///
/// let signature: String = wait_for("signed").recv()?;
/// let reminder = wait_for::<u32>("paid").timeout(Duration::from_secs(60)).recv()?;
/// if reminder.is_none() {
///     // Nobody paid within a minute.
/// }
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn wait_for<T: DeserializeOwned>(event: &str) -> WaitFor<'_, T> {
    WaitFor {
        event,
        payload: PhantomData,
    }
}

/// A wait for an event, made by [`wait_for`]. It waits for as long as it takes, unless it is given a [`timeout`](Self::timeout).
#[must_use = "nothing is waited for until `recv` is called"]
pub struct WaitFor<'a, T> {
    event: &'a str,
    payload: PhantomData<T>,
}

impl<'a, T: DeserializeOwned> WaitFor<'a, T> {
    /// Waits at most this long, counted from when the run first reaches the wait, in whole milliseconds (rounded up).
    pub fn timeout(self, limit: Duration) -> WaitForAtMost<'a, T> {
        WaitForAtMost { wait: self, limit }
    }

    /// Takes the event's payload.
    ///
    /// # Errors
    ///
    /// A payload that is not a `T` is a failure with the code `decode`, and the event is taken all the same. While the run is
    /// being ended the code is `cancelled`.
    pub fn recv(self) -> Result<T, Failure> {
        match waits::wait_for(self.event, None)? {
            Some(payload) => decode(self.event, &payload),
            // The contract rules this out, and a guest can only say so.
            None => Err(Failure::fatal(
                "timeout",
                format!("the wait for \"{}\" ended without an event", self.event),
            )),
        }
    }
}

/// A wait for an event with a time-out, made by [`WaitFor::timeout`].
#[must_use = "nothing is waited for until `recv` is called"]
pub struct WaitForAtMost<'a, T> {
    wait: WaitFor<'a, T>,
    limit: Duration,
}

impl<T: DeserializeOwned> WaitForAtMost<'_, T> {
    /// Takes the event's payload, or `None` when no event was received in time.
    ///
    /// # Errors
    ///
    /// As for [`WaitFor::recv`].
    pub fn recv(self) -> Result<Option<T>, Failure> {
        let event = self.wait.event;
        waits::wait_for(event, Some(whole_ms(self.limit)))?
            .map(|payload| decode(event, &payload))
            .transpose()
    }
}

/// Waits for whichever of these events comes first, under a name of its own; [`WaitForAny::recv`] takes it.
///
/// ```no_run
/// use dacapo_guest::wait_for_any;
///
/// let (event, by): (String, String) = wait_for_any("decision", &["approved", "rejected"]).recv()?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn wait_for_any<'a, T: DeserializeOwned>(
    name: &'a str,
    events: &'a [&'a str],
) -> WaitForAny<'a, T> {
    WaitForAny {
        name,
        events,
        payload: PhantomData,
    }
}

/// A wait for any of several events, made by [`wait_for_any`].
#[must_use = "nothing is waited for until `recv` is called"]
pub struct WaitForAny<'a, T> {
    name: &'a str,
    events: &'a [&'a str],
    payload: PhantomData<T>,
}

impl<'a, T: DeserializeOwned> WaitForAny<'a, T> {
    /// Waits at most this long, counted from when the run first reaches the wait, in whole milliseconds (rounded up).
    pub fn timeout(self, limit: Duration) -> WaitForAnyAtMost<'a, T> {
        WaitForAnyAtMost { wait: self, limit }
    }

    /// Takes the oldest of these events: its name and its payload.
    ///
    /// # Errors
    ///
    /// As for [`WaitFor::recv`].
    pub fn recv(self) -> Result<(String, T), Failure> {
        let name = self.name;
        self.take(None)?.ok_or_else(|| {
            // The contract rules this out, and a guest can only say so.
            let message = format!("the wait \"{name}\" ended without an event");
            Failure::fatal("timeout", message)
        })
    }

    fn take(self, timeout_ms: Option<u64>) -> Result<Option<(String, T)>, Failure> {
        let events: Vec<String> = self.events.iter().map(|&event| event.to_owned()).collect();
        waits::wait_for_any(self.name, &events, timeout_ms)?
            .map(|(event, payload)| {
                let payload = decode(&event, &payload)?;
                Ok((event, payload))
            })
            .transpose()
    }
}

/// A wait for any of several events with a time-out, made by [`WaitForAny::timeout`].
#[must_use = "nothing is waited for until `recv` is called"]
pub struct WaitForAnyAtMost<'a, T> {
    wait: WaitForAny<'a, T>,
    limit: Duration,
}

impl<T: DeserializeOwned> WaitForAnyAtMost<'_, T> {
    /// Takes the oldest of these events, or `None` when none was received in time.
    ///
    /// # Errors
    ///
    /// As for [`WaitFor::recv`].
    pub fn recv(self) -> Result<Option<(String, T)>, Failure> {
        self.wait.take(Some(whole_ms(self.limit)))
    }
}

/// Continues no earlier than this long after the run first reaches the call, in whole milliseconds (rounded up).
///
/// ```no_run
/// use std::time::Duration;
///
/// dacapo_guest::sleep("cooling-off", Duration::from_secs(14 * 86_400))?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
///
/// # Errors
///
/// The code is `cancelled` while the run is being ended.
pub fn sleep(name: &str, duration: Duration) -> Result<(), Failure> {
    Ok(waits::sleep(name, whole_ms(duration))?)
}

/// Continues no earlier than this time, at once if it has passed. Times before 1970 count as 1970.
///
/// ```no_run
/// use std::time::Duration;
///
/// let trial_ends = dacapo_guest::context::created_at() + Duration::from_secs(30 * 86_400);
/// dacapo_guest::sleep_until("trial", trial_ends)?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
///
/// # Errors
///
/// The code is `cancelled` while the run is being ended.
#[doc(alias = "wait_until")]
pub fn sleep_until(name: &str, at: SystemTime) -> Result<(), Failure> {
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(waits::sleep_until(name, whole_ms(since_epoch))?)
}

/// Continues when an operator resumes the run.
///
/// ```no_run
/// dacapo_guest::pause("four-eyes")?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
///
/// # Errors
///
/// The code is `cancelled` while the run is being ended.
pub fn pause(name: &str) -> Result<(), Failure> {
    Ok(waits::pause(name)?)
}

fn decode<T: DeserializeOwned>(event: &str, payload: &str) -> Result<T, Failure> {
    crate::json::read(payload).map_err(|error| unexpected(event, &error))
}

// Apart from `decode`, so that it is not compiled once for every type.
#[cold]
fn unexpected(event: &str, error: &serde_json::Error) -> Failure {
    Failure::fatal(
        "decode",
        format!("the payload of the event \"{event}\" is not what the workflow expects: {error}"),
    )
}

/// Rounded up, since a wait must not end before its time.
pub(crate) fn whole_ms(duration: Duration) -> u64 {
    let below_a_second = u64::from(duration.subsec_nanos().div_ceil(1_000_000));
    duration
        .as_secs()
        .saturating_mul(1_000)
        .saturating_add(below_a_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_shorter_than_asked() {
        assert_eq!(whole_ms(Duration::ZERO), 0);
        assert_eq!(whole_ms(Duration::from_micros(1)), 1);
        assert_eq!(whole_ms(Duration::from_millis(7)), 7);
        assert_eq!(whole_ms(Duration::MAX), u64::MAX);
    }

    #[test]
    fn a_payload_of_the_wrong_shape_names_the_event() {
        let failure = decode::<u32>("paid", "\"soon\"").expect_err("a string is no number");
        assert_eq!(failure.code, "decode");
        assert!(!failure.retryable);
        assert!(failure.message.contains("\"paid\""), "{}", failure.message);
        assert!(
            failure.message.contains("expected u32"),
            "{}",
            failure.message
        );
    }
}
