//! `dacapo:workflow/forks`: branches of a run that are played in instances of their own.

use dacapo_model::{Failure, Kind, Outcome, Payload, StepKey};
use wasmtime::component::Resource;

use super::bindings::dacapo::workflow::forks::{Host, HostOptions, Joined, Side};
use super::bindings::dacapo::workflow::types;
use super::steps::unrecordable;
use crate::ending::{BlockCode, BlockReason};
use crate::guest::{Asked, Guest, OpenRow, Slot, cancelled};
use crate::history::ForkPlan;
use crate::interrupt::{Interrupt, mismatch_reason};

/// Branches that one fork may have.
const BRANCHES_MAX: u32 = 10_000;

/// How a guest wants a fork to be carried out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    max_parallel: Option<u32>,
    race: bool,
}

impl Host for Guest {
    async fn fork(
        &mut self,
        name: String,
        branches: u32,
        options: Option<Resource<Options>>,
    ) -> wasmtime::Result<Result<Side, types::Failure>> {
        dacapo_model::check_name(&name).map_err(|error| Interrupt::misuse(error.to_string()))?;
        if !(1..=BRANCHES_MAX).contains(&branches) {
            let message = format!(
                "the fork `{name}` has {branches} branches: expected 1 to {BRANCHES_MAX}; let each branch do more of the work, or \
                 start child runs"
            );
            return Err(Interrupt::misuse(message).into());
        }
        let options = match options {
            Some(options) => *self.table.get(&options)?,
            None => Options::default(),
        };
        let asked = ForkPlan {
            branches,
            max_parallel: options.max_parallel,
            race: options.race,
            winner: None,
        };
        let mut slot = match self.ask(Kind::Fork, &name)? {
            Asked::Recorded { key, outcome } => match outcome {
                Outcome::Ok(plan) => {
                    let plan = same_plan(&key, ForkPlan::read(&plan), &asked)?;
                    self.know_of_cancel_below(&key);
                    return Ok(Ok(Side::Joined(self.join(&key, &plan)?)));
                }
                _ => return Ok(Err(cancelled().into())),
            },
            Asked::Live(slot) => slot,
        };
        let Some(row) = slot.open.clone() else {
            if self.heed_signals().await? {
                let now = self.journal.now();
                self.record_done(slot, now, Outcome::Cancelled, None, None);
                return Ok(Err(cancelled().into()));
            }
            let row = OpenRow {
                started_at: self.journal.now(),
                due: None,
                failed_attempts: 0,
                plan: Some(asked.payload()),
            };
            self.record_open(&mut slot, row, None);
            return Err(Interrupt::Forked(slot.key).into());
        };
        let plan = row.plan.as_ref().and_then(ForkPlan::read);
        let mut plan = same_plan(&slot.key, plan, &asked)?;
        if self.route.front().is_some_and(|turn| turn.fork == slot.key)
            && let Some(index) = self.turn(plan.race)
        {
            return Ok(Ok(Side::Branch(index)));
        }
        let history = self.go.history.as_ref();
        if !history.is_some_and(|history| history.has_joined(&slot.key, &plan)) {
            return Err(Interrupt::Forked(slot.key).into());
        }
        if let Some(history) = &self.go.history {
            plan.winner = history.winner(&slot.key);
        }
        self.know_of_cancel_below(&slot.key);
        let key = slot.key.clone();
        let outcome = Outcome::Ok(plan.payload());
        self.record_done(slot, row.started_at, outcome, None, None);
        Ok(Ok(Side::Joined(self.join(&key, &plan)?)))
    }

    fn branch_end(&mut self, outcome: Result<String, types::Failure>) -> wasmtime::Result<()> {
        if let Some(attempt) = &self.attempt {
            return Err(Interrupt::misuse(format!(
                "a branch was ended while step `{}` was open: call `step-end` for each attempt",
                attempt.slot.key
            ))
            .into());
        }
        let key = StepKey::from_trusted(self.scope.clone());
        if self.scope.is_empty() || !self.route.is_empty() {
            let message = "`branch-end` was called outside of a branch: only an instance for which `fork` answered `branch` may";
            return Err(Interrupt::misuse(message).into());
        }
        if let Err(mismatch) = self.replay.finish() {
            return Err(Interrupt::Blocked(mismatch_reason(&mismatch)).into());
        }
        let limits = &self.config.payload;
        let what = format!("the outcome of branch `{key}`");
        let outcome = match outcome {
            Ok(json) => Outcome::Ok(
                Payload::new(json, limits).map_err(|error| unrecordable(&what, &error))?,
            ),
            Err(failure) => {
                let types::Failure {
                    code,
                    message,
                    retryable,
                    details,
                } = failure;
                let details = details.as_deref();
                Outcome::Failed(
                    Failure::from_guest(code, message, retryable, details, limits)
                        .map_err(|error| unrecordable(&what, &error))?,
                )
            }
        };
        self.end_branch(outcome);
        Err(Interrupt::BranchEnded.into())
    }
}

impl Guest {
    /// Whoever was told of a cancel in a branch knows behind the fork, too.
    fn know_of_cancel_below(&mut self, fork: &StepKey) {
        let history = self.go.history.as_ref();
        self.cancel_delivered |= history.is_some_and(|history| history.was_cancelled_below(fork));
    }

    /// Records how this instance's branch came out.
    pub(crate) fn end_branch(&mut self, outcome: Outcome) {
        let now = self.journal.now();
        let history = self.go.history.as_ref();
        let began = history.and_then(|history| history.began(&self.scope));
        let slot = Slot {
            key: StepKey::from_trusted(self.scope.clone()),
            kind: Kind::Branch,
            position: self.go.positions.take(),
            open: None,
        };
        self.record_done(slot, began.unwrap_or(now), outcome, None, None);
    }

    fn join(&self, fork: &StepKey, plan: &ForkPlan) -> Result<Joined, Interrupt> {
        let history = self.go.history.as_ref();
        let mut ended = history
            .map(|history| history.outcomes(fork))
            .unwrap_or_default();
        let outcomes = (0..plan.branches)
            .map(|index| match ended.remove(&index) {
                Some(Outcome::Ok(payload)) => Ok(payload.into_string()),
                Some(Outcome::Failed(failure)) => Err(failure.into()),
                _ => Err(never_began().into()),
            })
            .collect();
        Ok(Joined {
            outcomes,
            winner: plan.winner,
        })
    }
}

fn never_began() -> Failure {
    Failure::new(
        dacapo_model::CANCELLED,
        "the branch never began: another one had won the race",
    )
}

/// The plan by which a fork is carried out, which is the one that the code had when it was reached.
fn same_plan(
    key: &StepKey,
    recorded: Option<ForkPlan>,
    asked: &ForkPlan,
) -> Result<ForkPlan, Interrupt> {
    let Some(recorded) = recorded else {
        return Err(Interrupt::Blocked(BlockReason {
            code: BlockCode::Rejected,
            message: format!(
                "what is recorded for the fork `{key}` does not say how many branches it has"
            ),
            details: None,
        }));
    };
    if (recorded.branches, recorded.race) == (asked.branches, asked.race) {
        return Ok(recorded);
    }
    let kind = |plan: &ForkPlan| {
        let what = if plan.race { "race" } else { "fork" };
        format!("a {what} of {} branches", plan.branches)
    };
    Err(Interrupt::Blocked(BlockReason {
        code: BlockCode::Mismatch,
        message: format!(
            "the code asks for {} `{key}`, but the journal has {} under that key",
            kind(asked),
            kind(&recorded)
        ),
        details: None,
    }))
}

impl HostOptions for Guest {
    fn new(&mut self) -> wasmtime::Result<Resource<Options>> {
        Ok(self.table.push(Options::default())?)
    }

    fn set_max_parallel(
        &mut self,
        options: Resource<Options>,
        branches: u32,
    ) -> wasmtime::Result<()> {
        if branches == 0 {
            let message = "max-parallel of a fork: expected at least 1, got 0";
            return Err(Interrupt::misuse(message).into());
        }
        self.table.get_mut(&options)?.max_parallel = Some(branches);
        Ok(())
    }

    fn set_race(&mut self, options: Resource<Options>) -> wasmtime::Result<()> {
        self.table.get_mut(&options)?.race = true;
        Ok(())
    }

    fn drop(&mut self, options: Resource<Options>) -> wasmtime::Result<()> {
        self.table.delete(options)?;
        Ok(())
    }
}
