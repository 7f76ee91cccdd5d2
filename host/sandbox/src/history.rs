//! What a run has recorded, by scope, and what its forks have come to.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dacapo_model::{Kind, Outcome, Payload, Recorded, RecordedState, StepKey, Timestamp};
use serde::{Deserialize, Serialize};

/// The journal of a run that may fork, kept up to date while it is played.
pub(crate) struct History {
    rows: Mutex<Rows>,
    /// Somebody was told of a cancel: nearly no run is, and who asks for it asks again and again.
    cancelled: AtomicBool,
}

/// They are put in order when they are first asked for: most runs do not fork.
enum Rows {
    /// By position, and those that were written since.
    Loose(Arc<Vec<Recorded>>, Vec<Recorded>),
    /// By scope.
    Sorted(Scopes),
}

/// Rows in the order in which they were reached.
type Scopes = HashMap<String, Vec<Recorded>>;

/// How a fork is carried out, as its row says while it is open, and how it came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForkPlan {
    /// How many branches there are.
    pub(crate) branches: u32,
    /// How many may be under way at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_parallel: Option<u32>,
    /// The first to succeed ends the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) race: bool,
    /// Which branch was the first, once the fork is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) winner: Option<u32>,
}

impl ForkPlan {
    pub(crate) fn read(payload: &Payload) -> Option<ForkPlan> {
        serde_json::from_str(payload.as_str()).ok()
    }

    pub(crate) fn payload(&self) -> Payload {
        // A few numbers and a bool can be written.
        Payload::from_trusted(serde_json::to_string(self).unwrap_or_default())
    }
}

/// A branch as the journal knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BranchState {
    /// Nothing is recorded of it.
    New,
    /// Something is recorded of it.
    UnderWay,
    /// Its outcome is.
    Ended,
}

/// A branch on the way from the root to a scope.
pub(crate) struct Turn {
    pub(crate) fork: StepKey,
    pub(crate) index: u32,
}

/// The branches that lead from the root to this scope, the outermost first.
pub(crate) fn route(scope: &str) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut end = 0;
    // A scope is `fork/index/fork/index…`.
    let mut parts = scope.split('/');
    while let (Some(fork), Some(index)) = (parts.next(), parts.next()) {
        end += fork.len();
        let key = StepKey::from_trusted(scope[..end].to_owned());
        end += 1 + index.len() + 1;
        turns.push(Turn {
            fork: key,
            index: index.parse().unwrap_or(u32::MAX),
        });
    }
    turns
}

impl History {
    /// Over rows by position.
    pub(crate) fn new(recorded: Arc<Vec<Recorded>>) -> History {
        History {
            cancelled: AtomicBool::new(recorded.iter().any(is_cancelled)),
            rows: Mutex::new(Rows::Loose(recorded, Vec::new())),
        }
    }

    /// A row was written, or one that was open is written anew.
    pub(crate) fn note(&self, row: Recorded) {
        self.cancelled
            .fetch_or(is_cancelled(&row), Ordering::Relaxed);
        match &mut *self.lock() {
            Rows::Loose(_, since) => since.push(row),
            Rows::Sorted(scopes) => note(scopes, &row),
        }
    }

    /// Whether the run has not forked, as far as is known.
    pub(crate) fn is_flat(&self) -> bool {
        match &*self.lock() {
            Rows::Loose(recorded, since) => !recorded
                .iter()
                .chain(since)
                .any(|row| row.kind == Kind::Fork),
            Rows::Sorted(_) => false,
        }
    }

    /// The fork in this scope whose branches have not been joined, if there is one.
    pub(crate) fn open_fork(&self, scope: &str) -> Option<StepKey> {
        if self.is_flat() {
            return None;
        }
        let row = self.open_row(scope)?;
        (row.kind == Kind::Fork).then_some(row.key)
    }

    /// Everything that an instance which is to play this scope is played over: what stands outside of forks, and in each branch on the
    /// way.
    pub(crate) fn path(&self, scope: &str) -> Arc<Vec<Recorded>> {
        let scopes = self.scopes();
        let mut rows = scopes.get("").cloned().unwrap_or_default();
        for turn in route(scope) {
            let branch = StepKey::branch(&turn.fork, turn.index);
            rows.extend(scopes.get(branch.as_str()).into_iter().flatten().cloned());
        }
        Arc::new(rows)
    }

    /// The row in this scope that has no outcome yet, if there is one.
    pub(crate) fn open_row(&self, scope: &str) -> Option<Recorded> {
        let scopes = self.scopes();
        let last = scopes.get(scope)?.last()?;
        matches!(last.state, RecordedState::Open { .. }).then(|| last.clone())
    }

    /// When the first row in this scope was reached.
    pub(crate) fn began(&self, scope: &str) -> Option<Timestamp> {
        Some(self.scopes().get(scope)?.first()?.started_at)
    }

    /// How a fork that was reached is carried out.
    pub(crate) fn plan(&self, fork: &StepKey) -> Option<ForkPlan> {
        let scopes = self.scopes();
        let rows = scopes.get(fork.scope())?;
        let row = rows.iter().rev().find(|row| row.key == *fork)?;
        match &row.state {
            RecordedState::Open { plan, .. } => ForkPlan::read(plan.as_ref()?),
            RecordedState::Done {
                outcome: Outcome::Ok(plan),
                ..
            } => ForkPlan::read(plan),
            RecordedState::Done { .. } => None,
        }
    }

    /// How each branch of a fork stands.
    pub(crate) fn branches(&self, fork: &StepKey, count: u32) -> Vec<BranchState> {
        let scopes = self.scopes();
        let mut states: Vec<BranchState> = (0..count)
            .map(
                |index| match scopes.get(StepKey::branch(fork, index).as_str()) {
                    Some(rows) if !rows.is_empty() => BranchState::UnderWay,
                    _ => BranchState::New,
                },
            )
            .collect();
        for (index, _) in ended(&scopes, fork) {
            if let Some(state) = states.get_mut(index as usize) {
                *state = BranchState::Ended;
            }
        }
        states
    }

    /// Whether all branches of a fork have ended that are to end.
    pub(crate) fn has_joined(&self, fork: &StepKey, plan: &ForkPlan) -> bool {
        let states = self.branches(fork, plan.branches);
        !states.contains(&BranchState::UnderWay)
            && (!states.contains(&BranchState::New) || self.winner(fork).is_some())
    }

    /// The outcomes of a fork's branches that have ended, by index.
    pub(crate) fn outcomes(&self, fork: &StepKey) -> HashMap<u32, Outcome> {
        let scopes = self.scopes();
        ended(&scopes, fork)
            .filter_map(|(index, row)| match &row.state {
                RecordedState::Done { outcome, .. } => Some((index, outcome.clone())),
                RecordedState::Open { .. } => None,
            })
            .collect()
    }

    /// The first branch of a race that succeeded.
    pub(crate) fn winner(&self, fork: &StepKey) -> Option<u32> {
        winner(&self.scopes(), fork)
    }

    /// Whether this scope belongs to a branch, or lies in one, of a race that another branch has won.
    pub(crate) fn has_lost(&self, scope: &str) -> bool {
        has_lost(&self.scopes(), scope)
    }

    /// Whether who plays this scope was told of a cancel, there or on the way.
    pub(crate) fn was_told(&self, scope: &str) -> bool {
        self.cancelled.load(Ordering::Relaxed) && self.path(scope).iter().any(is_cancelled)
    }

    /// Whether a cancel of the run, and not of a race's losers, was delivered in a branch of this fork.
    pub(crate) fn was_cancelled_below(&self, fork: &StepKey) -> bool {
        if !self.cancelled.load(Ordering::Relaxed) {
            return false;
        }
        let scopes = self.scopes();
        let below = format!("{fork}/");
        scopes
            .iter()
            .filter(|(scope, rows)| scope.starts_with(&below) && rows.iter().any(is_cancelled))
            .any(|(scope, _)| !has_lost(&scopes, scope))
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows by scope.
    fn scopes(&self) -> ByScope<'_> {
        let mut rows = self.lock();
        if let Rows::Loose(recorded, since) = &*rows {
            let mut scopes = Scopes::new();
            for row in recorded.iter().chain(since) {
                note(&mut scopes, row);
            }
            *rows = Rows::Sorted(scopes);
        }
        ByScope(rows)
    }
}

/// Rows that were put in order, while they are looked at.
struct ByScope<'a>(MutexGuard<'a, Rows>);

impl Deref for ByScope<'_> {
    type Target = Scopes;

    fn deref(&self) -> &Scopes {
        match &*self.0 {
            Rows::Sorted(scopes) => scopes,
            Rows::Loose(..) => unreachable!("they are put in order before"),
        }
    }
}

fn note(scopes: &mut Scopes, row: &Recorded) {
    let rows = match scopes.get_mut(row.key.scope()) {
        Some(rows) => rows,
        None => scopes.entry(row.key.scope().to_owned()).or_default(),
    };
    match rows.last_mut() {
        Some(last) if last.key == row.key => *last = row.clone(),
        // What changed code has inserted may stand behind what is open, in the order of the positions.
        Some(last) if last.position > row.position => {
            match rows.iter_mut().rev().find(|known| known.key == row.key) {
                Some(known) => *known = row.clone(),
                None => rows.push(row.clone()),
            }
        }
        _ => rows.push(row.clone()),
    }
}

fn is_cancelled(row: &Recorded) -> bool {
    matches!(
        row.state,
        RecordedState::Done {
            outcome: Outcome::Cancelled,
            ..
        }
    )
}

/// The branches of a fork that have ended.
fn ended<'a>(scopes: &'a Scopes, fork: &StepKey) -> impl Iterator<Item = (u32, &'a Recorded)> {
    let rows = scopes.get(fork.as_str()).into_iter().flatten();
    rows.filter(|row| row.kind == Kind::Branch)
        .filter_map(|row| Some((row.key.name().parse().ok()?, row)))
}

fn has_lost(scopes: &Scopes, scope: &str) -> bool {
    let lost = |turn: &Turn| winner(scopes, &turn.fork).is_some_and(|winner| winner != turn.index);
    route(scope).iter().any(lost)
}

fn winner(scopes: &Scopes, fork: &StepKey) -> Option<u32> {
    let rows = scopes.get(fork.scope())?;
    let plan = rows.iter().rev().find(|row| row.key == *fork)?;
    let (RecordedState::Open {
        plan: Some(plan), ..
    }
    | RecordedState::Done {
        outcome: Outcome::Ok(plan),
        ..
    }) = &plan.state
    else {
        return None;
    };
    if !ForkPlan::read(plan)?.race {
        return None;
    }
    // In the order in which they were recorded.
    ended(scopes, fork)
        .filter(|(_, row)| {
            matches!(
                row.state,
                RecordedState::Done {
                    outcome: Outcome::Ok(_),
                    ..
                }
            )
        })
        .min_by_key(|(_, row)| row.position)
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, position: u32, is_done: bool) -> Recorded {
        let at = Timestamp::from_millis(0);
        Recorded {
            key: StepKey::from_trusted(key.to_owned()),
            kind: Kind::Wait,
            position,
            started_at: at,
            state: match is_done {
                true => RecordedState::Done {
                    outcome: Outcome::Cancelled,
                    finished_at: at,
                },
                false => RecordedState::Open {
                    due: None,
                    failed_attempts: 0,
                    plan: None,
                },
            },
        }
    }

    #[test]
    fn an_open_row_is_there_once_when_it_is_done_behind_one_that_was_inserted() {
        let history = History::new(Arc::new(vec![row("go#1", 1, false)]));
        assert_eq!(history.path("").len(), 1);
        history.note(row("check#1", 2, true));
        history.note(row("go#1", 1, true));
        assert_eq!(
            *history.path(""),
            [row("go#1", 1, true), row("check#1", 2, true)]
        );
    }

    #[test]
    fn a_scope_says_which_branches_lead_to_it() {
        let turns = |scope| -> Vec<(String, u32)> {
            let turns = route(scope).into_iter();
            turns
                .map(|turn| (turn.fork.to_string(), turn.index))
                .collect()
        };
        assert_eq!(turns(""), []);
        assert_eq!(turns("a#1/12"), [("a#1".to_owned(), 12)]);
        assert_eq!(
            turns("a#1/12/b c#2/0"),
            [("a#1".to_owned(), 12), ("a#1/12/b c#2".to_owned(), 0)]
        );
    }

    #[test]
    fn a_plan_survives_its_text() {
        let plan = ForkPlan {
            branches: 3,
            max_parallel: None,
            race: true,
            winner: Some(1),
        };
        assert_eq!(
            plan.payload().as_str(),
            r#"{"branches":3,"race":true,"winner":1}"#
        );
        assert_eq!(ForkPlan::read(&plan.payload()), Some(plan));
    }
}
