//! The comparison itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dacapo_model::{Changes, Kind, Outcome, Payload, Recorded, RecordedState, StepKey, Timestamp};
use foldhash::{HashMap, HashMapExt};

use crate::mismatch::{Mismatch, Side};

/// The journal of one run while its code is played from the top.
///
/// Each question costs O(1), however long the journal is; only building a [`Mismatch`] walks over what is left.
#[derive(Debug)]
pub struct Replay {
    pending: Pending,
    /// How many of `pending` there are in each scope; scopes with none are left out.
    pending_in_scope: HashMap<String, u32>,
    /// How often each name was asked for, by scope and name in the form that keys have.
    occurrences: HashMap<String, u32>,
    now: Timestamp,
    positions: Positions,
    changes: Option<Arc<Changes>>,
    /// What the code was told of its changes, by their names.
    changed: HashMap<String, bool>,
}

/// The places in a run's journal that are free. They start at 1 and only ever grow; all copies are the same, for what plays the run in
/// several places at once.
#[derive(Debug, Clone)]
pub struct Positions(Arc<AtomicU32>);

impl Positions {
    /// Those behind all of these rows.
    #[must_use]
    pub fn behind(recorded: &[Recorded]) -> Self {
        let next = recorded
            .iter()
            .map(|row| row.position.saturating_add(1))
            .max()
            .unwrap_or(1);
        Self(Arc::new(AtomicU32::new(next)))
    }

    /// Takes the next one.
    #[must_use]
    pub fn take(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// What the journal says to a durable call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It was done before; the outcome is to be handed to the guest. Journal time has moved on to when it was recorded.
    Recorded {
        /// The call's key.
        key: StepKey,
        /// What came out.
        outcome: Outcome,
    },
    /// It was reached before and has no outcome yet.
    Open {
        /// The call's key.
        key: StepKey,
        /// The row's place in the journal, which it keeps when it is done.
        position: u32,
        /// When it was first reached.
        started_at: Timestamp,
        /// When it is over by itself, if ever; for a step, when its next attempt begins.
        due: Option<Timestamp>,
        /// How many attempts at it have failed.
        failed_attempts: u32,
        /// What was noted about it when it was reached.
        plan: Option<Payload>,
    },
    /// It was never reached before. The position is taken by it.
    New {
        /// The call's key.
        key: StepKey,
        /// The place in the journal that its row gets.
        position: u32,
    },
}

/// What a run is told that asks whether it takes the new way through changed code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It was told before; or it is past that point, and takes the old way without a record.
    Known(bool),
    /// It takes the new way, which is to be recorded under this key and position.
    New {
        /// The row's key.
        key: StepKey,
        /// The row's place in the journal.
        position: u32,
    },
}

impl Replay {
    /// Starts over a run's recorded rows, given in any order. What is new gets its place from `positions`.
    ///
    /// `changes` is what the author of the code says of rows that it does not ask for as they are.
    pub fn new(
        recorded: Arc<Vec<Recorded>>,
        created_at: Timestamp,
        positions: Positions,
        changes: Option<Arc<Changes>>,
    ) -> Replay {
        let mut pending_in_scope: HashMap<String, u32> = HashMap::new();
        // Neighbours are mostly of one scope.
        let (mut scope, mut count) = ("", 0);
        let dropped = |row: &Recorded| {
            let changes = changes.as_ref();
            changes.is_some_and(|changes| is_dropped(&row.key, changes))
        };
        for row in recorded.iter().filter(|row| counts(row) && !dropped(row)) {
            let next = row.key.scope();
            if next != scope {
                if count > 0 {
                    *pending_in_scope.entry(scope.to_owned()).or_default() += count;
                }
                (scope, count) = (next, 0);
            }
            count += 1;
        }
        if count > 0 {
            *pending_in_scope.entry(scope.to_owned()).or_default() += count;
        }
        let mut pending = Pending::new(recorded);
        if changes.is_some() {
            pending.pass_over(dropped);
        }
        Replay {
            pending,
            pending_in_scope,
            occurrences: HashMap::new(),
            now: created_at,
            positions,
            changes,
            changed: HashMap::new(),
        }
    }

    /// Answers a durable call in a scope. The name must have been checked before.
    ///
    /// # Errors
    /// The code contradicts the journal: the key is recorded with another kind, or it is new, or without an outcome yet, while the scope
    /// still has rows that the code has not asked for. The second cannot tell an inserted step from a renamed one, and a renamed one must
    /// not run again.
    pub fn ask(&mut self, scope: &str, kind: Kind, name: &str) -> Result<Answer, Mismatch> {
        let occurrence = self.next_occurrence(scope, name);
        let is_inserted = match &self.changes {
            Some(changes) => changes.inserted.contains(name),
            None => false,
        };
        let Some((at, row)) = self.find(scope, name, occurrence) else {
            let key = StepKey::new(scope, name, occurrence);
            if self.pending_in_scope.contains_key(scope) && !is_inserted {
                let recorded = self.unconsumed(Some(scope));
                return Err(Mismatch {
                    key,
                    recorded,
                    asked: Side::Asked { kind },
                });
            }
            let position = self.positions.take();
            return Ok(Answer::New { key, position });
        };
        if row.kind != kind {
            return Err(Mismatch {
                key: row.key.clone(),
                recorded: Side::Recorded {
                    kind: row.kind,
                    position: row.position,
                },
                asked: Side::Asked { kind },
            });
        }
        self.pending.take(at);
        let row = &self.pending.rows[at];
        if let Some(count) = self.pending_in_scope.get_mut(scope) {
            *count -= 1;
            if *count == 0 {
                self.pending_in_scope.remove(scope);
            }
        }
        // Going on with an open row is as new as a row that is not there.
        if matches!(row.state, RecordedState::Open { .. })
            && self.pending_in_scope.contains_key(scope)
            && !is_inserted
        {
            let recorded = self.unconsumed(Some(scope));
            return Err(Mismatch {
                key: row.key.clone(),
                recorded,
                asked: Side::Asked { kind },
            });
        }
        let key = row.key.clone();
        Ok(match &row.state {
            RecordedState::Done {
                outcome,
                finished_at,
            } => {
                self.now = self.now.max(*finished_at);
                let outcome = outcome.clone();
                Answer::Recorded { key, outcome }
            }
            RecordedState::Open {
                due,
                failed_attempts,
                plan,
            } => Answer::Open {
                key,
                position: row.position,
                started_at: row.started_at,
                due: *due,
                failed_attempts: *failed_attempts,
                plan: plan.clone(),
            },
        })
    }

    /// Where the row of a call is, under its own name or one that it had before.
    fn find(&mut self, scope: &str, name: &str, occurrence: u32) -> Option<(usize, &Recorded)> {
        let at = self.pending.find(scope, name, occurrence);
        let at = at.or_else(|| {
            let changes = self.changes.as_ref()?;
            let mut old = changes.old_names(name);
            old.find_map(|old| self.pending.find(scope, old, occurrence))
        })?;
        Some((at, &self.pending.rows[at]))
    }

    /// Answers code that asks whether it is to take the new way: not if the scope has rows that it has not asked for, since the run went
    /// the old way then. Whoever asks again is told the same.
    ///
    /// # Errors
    /// The key is recorded with another kind.
    pub fn changed(&mut self, scope: &str, name: &str) -> Result<Changed, Mismatch> {
        if let Some(&known) = self.changed.get(name) {
            return Ok(Changed::Known(known));
        }
        let path = format!("changed:{name}");
        let found = self.pending.find(scope, &path, 1);
        let answer = match found.map(|at| (at, &self.pending.rows[at])) {
            Some((at, row)) if row.kind == Kind::Change => {
                if let RecordedState::Done { finished_at, .. } = row.state {
                    self.now = self.now.max(finished_at);
                }
                self.pending.take(at);
                Changed::Known(true)
            }
            Some((_, row)) => {
                return Err(Mismatch {
                    key: row.key.clone(),
                    recorded: Side::Recorded {
                        kind: row.kind,
                        position: row.position,
                    },
                    asked: Side::Asked { kind: Kind::Change },
                });
            }
            None if self.pending_in_scope.contains_key(scope) => Changed::Known(false),
            None => Changed::New {
                key: StepKey::new(scope, &path, 1),
                position: self.positions.take(),
            },
        };
        let is_new = answer != Changed::Known(false);
        self.changed.insert(name.to_owned(), is_new);
        Ok(answer)
    }

    /// Journal time: the latest of the run's start and of when the outcomes that the guest was handed were recorded.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Notes that the guest was handed an outcome which was recorded just now, so that journal time is the same when it is played again.
    pub fn record(&mut self, finished_at: Timestamp) {
        self.now = self.now.max(finished_at);
    }

    /// Whether the journal has something that the code has not asked for yet: what the guest does now, it did before.
    pub fn is_replaying(&self) -> bool {
        self.pending.count > 0
    }

    /// Checks at the end of the workflow that the code asked for everything that is recorded.
    ///
    /// # Errors
    /// The journal has rows, in any scope, that the code has not asked for.
    pub fn finish(&self) -> Result<(), Mismatch> {
        let Some(first) = self.pending.rows().find(|row| counts(row)) else {
            return Ok(());
        };
        Err(Mismatch {
            key: first.key.clone(),
            recorded: self.unconsumed(None),
            asked: Side::Returned,
        })
    }

    fn next_occurrence(&mut self, scope: &str, name: &str) -> u32 {
        if scope.is_empty() {
            bump(&mut self.occurrences, name)
        } else {
            bump(&mut self.occurrences, &format!("{scope}/{name}"))
        }
    }

    fn unconsumed(&self, scope: Option<&str>) -> Side {
        let rows: Vec<&Recorded> = self
            .pending
            .rows()
            .filter(|row| counts(row) && scope.is_none_or(|scope| row.key.scope() == scope))
            .collect();
        Side::Unconsumed {
            keys: rows
                .iter()
                .take(Side::KEYS_MAX)
                .map(|row| row.key.clone())
                .collect(),
            count: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        }
    }
}

/// The rows that the code has not asked for yet.
///
/// Code that has not changed and runs in one line asks in the very order in which the rows were written, so the next row is looked at
/// first, and an index is made only for a journal that is asked in another order.
#[derive(Debug)]
struct Pending {
    /// By position, those that were taken, too: they are shared with others.
    rows: Arc<Vec<Recorded>>,
    /// Which of them were.
    taken: Vec<bool>,
    /// Everything before it was taken.
    next: usize,
    /// Those that were not taken.
    count: usize,
    /// Where each key is.
    index: Option<HashMap<StepKey, usize>>,
}

impl Pending {
    fn new(mut rows: Arc<Vec<Recorded>>) -> Self {
        if !rows.is_sorted_by_key(|row| row.position) {
            Arc::make_mut(&mut rows).sort_unstable_by_key(|row| row.position);
        }
        Self {
            count: rows.iter().filter(|row| counts(row)).count(),
            taken: vec![false; rows.len()],
            rows,
            next: 0,
            index: None,
        }
    }

    /// Where the row of this key is, if it was not taken.
    fn find(&mut self, scope: &str, name: &str, occurrence: u32) -> Option<usize> {
        while self.taken.get(self.next) == Some(&true) {
            self.next += 1;
        }
        let next = self.rows.get(self.next)?;
        let at = if next.key.is(scope, name, occurrence) {
            self.next
        } else {
            let rows = &self.rows;
            let index = self.index.get_or_insert_with(|| {
                let keyed = |(at, row): (usize, &Recorded)| (row.key.clone(), at);
                rows.iter().enumerate().map(keyed).collect()
            });
            *index.get(&StepKey::new(scope, name, occurrence))?
        };
        (!self.taken[at]).then_some(at)
    }

    /// Takes the row that was found there.
    fn take(&mut self, at: usize) {
        self.count -= usize::from(counts(&self.rows[at]));
        self.taken[at] = true;
    }

    /// Takes all rows of which this holds.
    fn pass_over(&mut self, holds: impl Fn(&Recorded) -> bool) {
        for at in 0..self.rows.len() {
            if holds(&self.rows[at]) {
                self.take(at);
            }
        }
    }

    /// By position.
    fn rows(&self) -> impl Iterator<Item = &Recorded> {
        let rows = self.rows.iter().zip(&self.taken);
        rows.filter(|(_, taken)| !**taken).map(|(row, _)| row)
    }
}

/// Whether the code has to ask for the row: not for what it was told of a change that it does not mind any more.
fn counts(row: &Recorded) -> bool {
    row.kind != Kind::Change
}

/// Whether the call of this key, or a fork around it, is gone from the code.
#[must_use]
pub fn is_dropped(key: &StepKey, changes: &Changes) -> bool {
    // `fork#1/2/step#1`: names and indices in turn.
    let parts = key.as_str().split('/').step_by(2);
    parts
        .filter_map(|part| part.rsplit_once('#'))
        .any(|(name, _)| changes.dropped.contains(name))
}

/// The next number for a path; its name is copied only for the first one.
fn bump(occurrences: &mut HashMap<String, u32>, path: &str) -> u32 {
    if let Some(count) = occurrences.get_mut(path) {
        *count = count.saturating_add(1);
        return *count;
    }
    occurrences.insert(path.to_owned(), 1);
    1
}
