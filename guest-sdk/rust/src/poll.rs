//! Looking again and again until something is there.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, StepError, now, sleep, step};

/// Looks again and again, with a pause in between; [`Poll::until`] says for what.
///
/// Each look is a step with this name, and each pause a sleep named after it, with `-pause` behind (so the name has at most
/// 194 bytes): the run is suspended meanwhile, and played again from the top for each look. Prefer an event where the other side can send one.
///
/// ```no_run
/// use std::time::Duration;
///
/// use dacapo_guest::poll;
///
/// # fn look_up() -> Result<Option<String>, std::io::Error> { Ok(None) }
/// let parcel: Option<String> = poll("parcel", Duration::from_secs(300))
///     .timeout(Duration::from_secs(86_400))
///     .until(|| Ok(look_up()?))?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
pub fn poll(name: &str, every: Duration) -> Poll<'_> {
    Poll {
        name,
        every: every.max(Poll::EVERY_MIN),
        timeout: None,
    }
}

/// Something that is looked for again and again, made by [`poll`].
#[must_use = "nothing is looked for until `until` is called"]
pub struct Poll<'a> {
    name: &'a str,
    every: Duration,
    timeout: Option<Duration>,
}

impl Poll<'_> {
    /// The shortest pause between two looks; a shorter one is taken for this. Each look and each pause is a row of the journal, of which
    /// a run has 100,000 where nobody configured another limit.
    pub const EVERY_MIN: Duration = Duration::from_millis(100);

    /// How long to look, counted from the first look. Without it: for as long as it takes.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Looks until there is something, and hands that over; `None` when the time is over. The last look is at the end of the time.
    /// A look is recorded as a list: `[]` for nothing, `[value]` for something.
    ///
    /// # Errors
    ///
    /// A look that fails is tried again as any step is; one that keeps failing, or fails for good, ends the looking with its failure.
    /// While the run is being ended the code is `cancelled`.
    pub fn until<T, F>(self, mut look: F) -> Result<Option<T>, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut() -> Result<Option<T>, StepError>,
    {
        let pause = format!("{}-pause", self.name);
        let mut ends: Option<Option<SystemTime>> = None;
        loop {
            // As a list, because an option whose value is `null` in JSON would come back as nothing.
            let mut found = step(self.name).run(|| Ok(Vec::from_iter(look()?)))?;
            if let Some(found) = found.pop() {
                return Ok(Some(found));
            }
            // By the journal: the same in every replay.
            let now = now();
            let ends = *ends.get_or_insert_with(|| now.checked_add(self.timeout?));
            let every = match ends.map(|ends| ends.duration_since(now)) {
                None => self.every,
                Some(Ok(left)) if !left.is_zero() => self.every.min(left),
                Some(_) => return Ok(None),
            };
            sleep(&pause, every)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_looks_no_more_often_than_its_floor_allows() {
        for every in [Duration::ZERO, Duration::from_millis(99)] {
            assert_eq!(poll("look", every).every, Poll::EVERY_MIN);
        }
        let second = Duration::from_secs(1);
        assert_eq!(poll("look", second).every, second);
    }
}
