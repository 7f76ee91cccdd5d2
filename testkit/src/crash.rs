//! The same run again and again, with its worker crashing at another place each time.

use std::fmt;
use std::sync::Arc;

use dacapo_model::{Recorded, RecordedState};

use crate::error::Error;
use crate::journal::{Cut, MemoryJournal};
use crate::outcome::RunOutcome;
use crate::script::Item;
use crate::show;
use crate::stage::{Played, Stage};

/// The run did the same and had the same outcome after each crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crashes {
    /// How many crashes were tried, each in a run of its own.
    pub count: u32,
}

impl fmt::Display for Crashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.count == 1 { "" } else { "es" };
        write!(f, "{} crash{s}, each with the same outcome", self.count)
    }
}

/// Tries every crash. `outcome` and `rows` are what came of the run without one.
pub(crate) async fn everywhere(
    stage: &Stage,
    script: &[Item],
    outcome: RunOutcome,
    rows: &[Recorded],
) -> Result<Crashes, Error> {
    let whole = Arc::new(stage.journal(script, None));
    // What happens again without a crash is not to be blamed on one.
    let second = match stage.play(&whole, None).await? {
        Played::Ended(second) if second != outcome => second.to_string(),
        Played::Ended(_) if show::path(rows) == show::path(&whole.rows()) => String::new(),
        Played::Ended(second) => format!("{second}, by other steps"),
        Played::Waiting(waiting) => format!("waits for ever: {waiting}"),
        Played::Crashed(key) => format!("crashed at {key}"),
    };
    if !second.is_empty() {
        return Err(Error::NotRepeatable {
            first: Box::new(outcome),
            second,
        });
    }
    let written = whole.written();
    for nth in 1..=written {
        for cut in [Cut::Before(nth), Cut::After(nth)] {
            at(stage, script, cut, &outcome, &whole).await?;
        }
    }
    Ok(Crashes { count: 2 * written })
}

async fn at(
    stage: &Stage,
    script: &[Item],
    cut: Cut,
    outcome: &RunOutcome,
    whole: &MemoryJournal,
) -> Result<(), Error> {
    let journal = Arc::new(stage.journal(script, Some(cut)));
    let (when, nth) = match cut {
        Cut::Before(nth) => ("before", nth),
        Cut::After(nth) => ("after", nth),
    };
    let crash = |place: String, what: String, journal: &MemoryJournal| Error::Crash {
        at: format!("{when} {place} was recorded (write {nth})"),
        what,
        journals: show::diff(
            &show::journal(&whole.rows()),
            &show::journal(&journal.rows()),
        )
        .trim_end()
        .to_owned(),
    };
    let place = match stage.play(&journal, None).await? {
        Played::Crashed(key) => format!("`{key}`"),
        Played::Ended(_) | Played::Waiting(_) => {
            let what = format!("this time it recorded only {}", journal.written());
            return Err(crash("a row".to_owned(), what, &journal));
        }
    };
    let before = journal.rows();
    let ended = match stage.play(&journal, None).await? {
        Played::Ended(ended) if ended == *outcome => {
            kept(&before, &journal.rows())?;
            if show::path(&journal.rows()) == show::path(&whole.rows()) {
                return Ok(());
            }
            let what = format!("it {ended} all the same, but does other things on its way");
            return Err(crash(place, what, &journal));
        }
        Played::Ended(ended) => ended.to_string(),
        Played::Waiting(waiting) => format!("waits for ever: {waiting}"),
        Played::Crashed(key) => format!("crashed again at {key}"),
    };
    let what = format!("without it the run {outcome}, with it the run {ended}");
    Err(crash(place, what, &journal))
}

/// What was recorded when the worker crashed is still there as it was.
fn kept(before: &[Recorded], after: &[Recorded]) -> Result<(), Error> {
    let done = before
        .iter()
        .filter(|row| matches!(row.state, RecordedState::Done { .. }));
    for row in done {
        if !after.contains(row) {
            return Err(Error::Broken(format!(
                "`{}` was recorded and is another after a crash",
                row.key
            )));
        }
    }
    Ok(())
}
