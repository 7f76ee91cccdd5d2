//! A run's journal as a time line: its entries as a tree, in the order in which they were reached, each with its bars.

use std::collections::{BTreeSet, HashMap};

use dacapo_client::{Kind, Run, RunId, Step, StepOutcome, StepStatus, Timestamp};
use serde::{Deserialize, Serialize};

use super::runs::millis;

/// Rows of a page.
pub(crate) const ROWS: usize = 200;

/// Failed attempts of one step that have bars of their own.
const BARS_MAX: usize = 30;

/// A row: an entry of the journal, or a branch that has not ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) key: String,
    /// Its place among all rows, from 0.
    pub(crate) index: usize,
    name: String,
    /// Which use of the name it is, if it is not the first.
    occurrence: Option<u32>,
    kind: &'static str,
    pub(crate) status: &'static str,
    depth: usize,
    bars: Vec<Bar>,
    /// In milliseconds, until now if it has not ended.
    took: i64,
    is_open: bool,
    attempts: u32,
    /// When it ends by itself, or tries again.
    due: Option<String>,
    /// The run that it started.
    child: Option<String>,
    /// Why it failed, in a line.
    failure: Option<String>,
}

/// A part of the line, in hundredths of its whole length.
#[derive(Debug, Clone, Serialize)]
struct Bar {
    x: String,
    width: String,
    class: &'static str,
    title: String,
}

/// How long lengths of time are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// As long as they are.
    True,
    /// The stretches between what happens by their square roots: so that what took moments can be seen beside a wait of days.
    Even,
}

impl Lengths {
    /// What an address asks for.
    pub(crate) fn of(word: Option<&str>) -> Self {
        match word {
            Some("even") => Self::Even,
            _ => Self::True,
        }
    }

    /// The word of an address for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::True => "",
            Self::Even => "even",
        }
    }
}

/// Where times lie on a line: some of them with their places from 0 to 1, in their order; the others lie between these.
#[derive(Debug, Clone)]
struct Scale(Vec<(Timestamp, f64)>);

impl Scale {
    fn of(run: &Run, now: Timestamp, lengths: Lengths) -> Self {
        let from = run.started_at.unwrap_or(run.created_at);
        let until = run.finished_at.unwrap_or(now).max(from);
        let between: Vec<Timestamp> = match lengths {
            Lengths::True => Vec::new(),
            Lengths::Even => run
                .steps
                .iter()
                .flat_map(|step| [Some(step.started_at), step.finished_at])
                .flatten()
                .collect(),
        };
        Self::through(from, until, between)
    }

    fn through(from: Timestamp, until: Timestamp, mut between: Vec<Timestamp>) -> Self {
        between.retain(|at| *at > from && *at < until);
        between.sort_unstable();
        between.dedup();
        let mut places = vec![(from, 0.0)];
        let mut whole = 0.0;
        let mut last = from;
        for at in between.into_iter().chain([until]) {
            whole += ((at.as_micros() - last.as_micros()).max(0) as f64).sqrt();
            places.push((at, whole));
            last = at;
        }
        if whole > 0.0 {
            for (_, place) in &mut places {
                *place /= whole;
            }
        }
        Self(places)
    }

    /// Where a time lies, from 0 to 1.
    fn place(&self, at: Timestamp) -> f64 {
        let behind = self.0.partition_point(|(known, _)| *known <= at);
        let Some((after, end)) = self.0.get(behind) else {
            return 1.0;
        };
        let Some((before, begin)) = behind.checked_sub(1).and_then(|index| self.0.get(index))
        else {
            return 0.0;
        };
        let whole = (after.as_micros() - before.as_micros()).max(1) as f64;
        let part = (at.as_micros() - before.as_micros()) as f64 / whole;
        begin + (end - begin) * part
    }

    /// How long after the beginning it is at a place, in milliseconds.
    fn at(&self, place: f64) -> i64 {
        let Some((from, _)) = self.0.first() else {
            return 0;
        };
        let behind = self.0.partition_point(|(_, known)| *known <= place);
        let (before, after) = match (behind.checked_sub(1), self.0.get(behind)) {
            (Some(index), Some(after)) => (self.0[index], *after),
            (Some(index), None) => return millis(*from, self.0[index].0),
            (None, _) => return 0,
        };
        let part = (place - before.1) / (after.1 - before.1).max(f64::EPSILON);
        millis(*from, before.0) + (millis(before.0, after.0) as f64 * part) as i64
    }

    fn bar(&self, from: Timestamp, until: Timestamp, class: &'static str, what: &str) -> Bar {
        let (x, end) = (self.place(from) * 100.0, self.place(until) * 100.0);
        Bar {
            x: format!("{x:.3}%"),
            // What took no time is there to be seen all the same.
            width: format!("{:.3}%", (end - x).max(0.1)),
            class,
            title: format!("{what}: {}", super::page::took(millis(from, until))),
        }
    }
}

/// What of it a page shows.
#[derive(Debug, Serialize)]
pub(crate) struct TimeLine {
    pub(crate) rows: Vec<Row>,
    pub(crate) all: usize,
    /// The page, from 1.
    pub(crate) page: usize,
    pub(crate) pages: usize,
    /// Times below the line, at its beginning, its quarters and its end, from the beginning.
    ticks: Vec<String>,
    /// How it is drawn, as an address says it.
    pub(crate) scale: &'static str,
    /// The first row that failed or waits, and its page.
    pub(crate) trouble: Option<Trouble>,
}

/// A row that somebody would look for.
#[derive(Debug, Serialize)]
pub(crate) struct Trouble {
    page: usize,
    index: usize,
    key: String,
}

impl TimeLine {
    /// The page asked for; without one, that where somebody would look first.
    pub(crate) fn of(run: &Run, now: Timestamp, asked: Option<usize>, lengths: Lengths) -> Self {
        let scale = Scale::of(run, now, lengths);
        let order = in_order(&run.steps);
        let pages = order.len().div_ceil(ROWS).max(1);
        let is_over = run.finished_at.is_some();
        // Branches that have not ended are no steps of their own.
        let is_bad = |entry: &Entry<'_>| {
            entry.step.is_some_and(|step| {
                matches!(step.status, StepStatus::Failed) && step.kind != Kind::Branch
            })
        };
        let is_open = |entry: &Entry<'_>| {
            entry
                .step
                .is_some_and(|step| step.outcome.is_none() && step.kind != Kind::Fork)
        };
        // The last failure is what ended the run; those before it were caught.
        let trouble = match (&run.failure, is_over) {
            (Some(_), _) => order.iter().rposition(is_bad),
            (None, false) => order.iter().rposition(is_open),
            (None, true) => None,
        };
        let page = asked
            .unwrap_or_else(|| trouble.map_or(1, |index| index / ROWS + 1))
            .clamp(1, pages);
        let first = (page - 1) * ROWS;
        let rows = order
            .iter()
            .enumerate()
            .skip(first)
            .take(ROWS)
            .map(|(index, entry)| row(entry, index, &scale, now))
            .collect();
        let quarters = [0.0, 0.25, 0.5, 0.75, 1.0];
        let ticks = quarters.map(|place| super::page::took(scale.at(place)));
        Self {
            rows,
            all: order.len(),
            page,
            pages,
            ticks: ticks.into(),
            scale: lengths.as_str(),
            trouble: trouble.map(|index| Trouble {
                page: index / ROWS + 1,
                index,
                key: order[index].key.clone(),
            }),
        }
    }

    /// The row of this key alone.
    pub(crate) fn row_of(run: &Run, now: Timestamp, key: &str) -> Option<(Row, usize)> {
        let scale = Scale::of(run, now, Lengths::True);
        let order = in_order(&run.steps);
        let index = order.iter().position(|entry| entry.key == key)?;
        Some((row(&order[index], index, &scale, now), index / ROWS + 1))
    }
}

/// What the start of a child records.
#[derive(Deserialize)]
struct Child {
    run: RunId,
}

/// An entry with its place in the tree.
struct Entry<'a> {
    key: String,
    depth: usize,
    /// None: a branch that has not ended, which the journal does not have yet.
    step: Option<&'a Step>,
}

/// The tree, from the top down. Branches stand below their fork, by their number; what they do below them.
fn in_order(steps: &[Step]) -> Vec<Entry<'_>> {
    let known: HashMap<&str, &Step> = steps.iter().map(|step| (step.key.as_str(), step)).collect();
    let mut below: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut branches: HashMap<&str, BTreeSet<(u32, &str)>> = HashMap::new();
    let mut top = Vec::new();
    for step in steps {
        let key = step.key.as_str();
        let scope = step.key.scope();
        if step.kind == Kind::Branch {
            branches.entry(scope).or_default().insert(number_of(key));
            continue;
        }
        match scope {
            "" => top.push(key),
            _ => below.entry(scope).or_default().push(key),
        }
        // The branch that it belongs to, and the forks and branches around that, whether or not they are recorded.
        let mut inner = scope;
        while let Some((fork, _)) = inner.rsplit_once('/') {
            if !branches.entry(fork).or_default().insert(number_of(inner)) {
                break;
            }
            inner = fork.rsplit_once('/').map_or("", |(outer, _)| outer);
        }
    }
    let mut order = Vec::with_capacity(steps.len());
    // No recursion: a journal may nest as deep as it likes.
    let mut stack: Vec<(&str, usize)> = top.into_iter().rev().map(|key| (key, 0)).collect();
    while let Some((key, depth)) = stack.pop() {
        order.push(Entry {
            key: key.to_owned(),
            depth,
            step: known.get(key).copied(),
        });
        let inner = below.remove(key).unwrap_or_default();
        stack.extend(inner.into_iter().rev().map(|key| (key, depth + 1)));
        let inner = branches.remove(key).unwrap_or_default();
        stack.extend(inner.into_iter().rev().map(|(_, key)| (key, depth + 1)));
    }
    order
}

/// The number of a branch, and its key.
fn number_of(key: &str) -> (u32, &str) {
    let number = key
        .rsplit_once('/')
        .and_then(|(_, number)| number.parse().ok());
    (number.unwrap_or(u32::MAX), key)
}

fn row(entry: &Entry<'_>, index: usize, scale: &Scale, now: Timestamp) -> Row {
    let Some(step) = entry.step else {
        let (number, _) = number_of(&entry.key);
        return Row {
            key: entry.key.clone(),
            index,
            name: format!("branch {number}"),
            occurrence: None,
            kind: "branch",
            status: "waiting",
            depth: entry.depth,
            bars: Vec::new(),
            took: 0,
            is_open: true,
            attempts: 0,
            due: None,
            child: None,
            failure: None,
        };
    };
    let end = step.finished_at.unwrap_or(now);
    let class = match (step.kind, step.status) {
        (_, StepStatus::Failed) => "b-failed",
        (_, StepStatus::TimedOut | StepStatus::Cancelled) => "b-cancelled",
        (Kind::Wait | Kind::Sleep | Kind::Pause, StepStatus::Waiting) => "b-waiting b-open",
        (Kind::Wait | Kind::Sleep | Kind::Pause, _) => "b-waiting",
        (_, StepStatus::Waiting | StepStatus::Retrying) => "b-running b-open",
        (Kind::Fork | Kind::Branch, _) => "b-group",
        (_, StepStatus::Completed) => "b-ok",
    };
    let mut bars = Vec::new();
    // From the first attempt on it is at it, or rests between attempts.
    let begin = step
        .failed_attempts
        .first()
        .map_or(step.started_at, |attempt| {
            attempt.started_at.min(step.started_at)
        });
    match step.failed_attempts.last() {
        None => bars.push(scale.bar(step.started_at, end, class, step.status.as_str())),
        Some(last) => {
            bars.push(scale.bar(begin, end, "b-rest", "attempts and the time between them"));
            let is_last = matches!(step.status, StepStatus::Failed | StepStatus::Retrying);
            if !is_last {
                // The journal keeps when the first attempt began, and of the last one when it came out.
                let from = if step.started_at > last.finished_at {
                    step.started_at
                } else {
                    end
                };
                bars.push(scale.bar(from, end, class, step.status.as_str()));
            }
        }
    }
    for attempt in step.failed_attempts.iter().take(BARS_MAX) {
        let what = format!("attempt {} failed", attempt.number);
        bars.push(scale.bar(attempt.started_at, attempt.finished_at, "b-failed", &what));
    }
    let child = match (step.kind, &step.outcome) {
        (Kind::Child, Some(StepOutcome::Ok(payload))) => {
            serde_json::from_str::<Child>(payload.as_str())
                .ok()
                .map(|child| child.run.to_string())
        }
        _ => None,
    };
    let name = match step.kind {
        Kind::Branch => format!("branch {}", step.name),
        _ => step.name.clone(),
    };
    let occurrence = step.key.occurrence();
    Row {
        key: entry.key.clone(),
        index,
        name,
        occurrence: (occurrence > 1).then_some(occurrence),
        kind: step.kind.as_str(),
        status: step.status.as_str(),
        depth: entry.depth,
        bars,
        took: millis(begin, end),
        is_open: step.outcome.is_none(),
        attempts: step.attempts,
        due: step.due.map(|due| due.to_string()),
        child,
        failure: match &step.outcome {
            Some(StepOutcome::Failed(failure)) => Some(super::page::cut(&failure.to_string(), 160)),
            _ => step
                .failed_attempts
                .last()
                .filter(|_| step.outcome.is_none())
                .map(|attempt| super::page::cut(&attempt.failure.to_string(), 160)),
        },
    }
}

#[cfg(test)]
mod tests {
    use dacapo_client::Payload;
    use dacapo_model::StepKey;

    use super::*;

    fn step(key: &str, kind: Kind) -> Step {
        let key = StepKey::from_trusted(key.to_owned());
        Step {
            name: key.name().to_owned(),
            key,
            kind,
            status: StepStatus::Completed,
            attempts: 1,
            outcome: Some(StepOutcome::Ok(Payload::null())),
            started_at: Timestamp::from_millis(0),
            finished_at: Some(Timestamp::from_millis(500)),
            due: None,
            failed_attempts: Vec::new(),
        }
    }

    #[test]
    fn branches_stand_below_their_fork_and_what_they_do_below_them_also_before_they_have_ended() {
        let steps = [
            step("first#1", Kind::Step),
            step("all#1", Kind::Fork),
            step("all#1/1/b#1", Kind::Step),
            step("all#1/0/a#1", Kind::Step),
            step("all#1/0/in#1/0/x#1", Kind::Step),
            step("all#1/10/z#1", Kind::Step),
            step("all#1/0", Kind::Branch),
            step("last#1", Kind::Step),
        ];
        let order: Vec<(String, usize)> = in_order(&steps)
            .into_iter()
            .map(|entry| (entry.key, entry.depth))
            .collect();
        let expected = [
            ("first#1", 0),
            ("all#1", 0),
            ("all#1/0", 1),
            ("all#1/0/a#1", 2),
            ("all#1/1", 1),
            ("all#1/1/b#1", 2),
            ("all#1/10", 1),
            ("all#1/10/z#1", 2),
            ("last#1", 0),
        ];
        for (key, depth) in expected {
            assert!(
                order.contains(&(key.to_owned(), depth)),
                "{key} in {order:?}"
            );
        }
        let place = |key: &str| order.iter().position(|(known, _)| known == key);
        assert!(place("all#1/1") < place("all#1/10"));
        assert!(place("all#1/10/z#1") < place("last#1"));
    }

    #[test]
    fn bars_lie_within_the_line() {
        let at = Timestamp::from_millis;
        let scale = Scale::through(at(0), at(1_000), Vec::new());
        let bar = scale.bar(at(250), at(2_000), "b-ok", "completed");
        assert_eq!((bar.x.as_str(), bar.width.as_str()), ("25.000%", "75.000%"));
        assert_eq!((scale.at(0.25), scale.at(1.0)), (250, 1_000));
        // A run that has just begun.
        let scale = Scale::through(at(0), at(0), Vec::new());
        assert_eq!(scale.bar(at(0), at(0), "b-ok", "completed").width, "0.100%");
    }

    #[test]
    fn what_took_moments_can_be_seen_beside_a_wait_of_a_day_where_lengths_are_even() {
        let at = Timestamp::from_millis;
        let day = 86_400_000;
        let (from, until) = (at(0), at(day + 2_000));
        let width = |between: &[Timestamp]| {
            let scale = Scale::through(from, until, between.to_vec());
            scale.place(at(1_000)) - scale.place(at(0))
        };
        assert!(width(&[]) < 0.000_1);
        assert!(width(&[at(1_000), at(day + 1_000)]) > 0.003);
        let scale = Scale::through(from, until, vec![at(day + 1_000), at(1_000), at(1_000)]);
        assert!((scale.at(0.5) - day / 2).abs() < 2_000);
        assert_eq!(scale.at(1.0), day + 2_000);
    }
}
