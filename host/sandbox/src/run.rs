//! One go at a run: from the pool through the guest to its ending.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use dacapo_model::{Failure, Outcome, Recorded, StepKey, Workflow, from_json};
use dacapo_outbound::Grants;
use metrics::Histogram;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{ComponentExportIndex, Val};
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::attempt::{AfterFailure, OpenAttempt};
use crate::branches::Branches;
use crate::config::SandboxConfig;
use crate::ending::{BlockCode, BlockReason, Ending, RunSpec};
use crate::fault;
use crate::go::Go;
use crate::guest::{Guest, ROOT, hide_failure, hide_payload};
use crate::interrupt::{Interrupt, mismatch_reason};
use crate::journal::{Journal, Stop, Suspension};
use crate::meter::Meter;
use crate::result::conclude;
use crate::sandbox::{Prepared, Sandbox};
use crate::text::{cut_ending, cut_failure};
use crate::ticker::Ticker;
use crate::value::to_val;

/// Code of a failure that is our own fault.
const INTERNAL: &str = "internal";

impl Sandbox {
    /// Plays a run from the top until it ends, has to wait, or must not go on. Waits for a place in the pool first.
    ///
    /// Whatever the guest does, this returns. Dropping the future ends the instance at once and writes nothing more.
    pub async fn run(
        &self,
        prepared: &Prepared,
        workflow: &Workflow,
        spec: RunSpec,
        journal: Arc<dyn Journal>,
    ) -> Ending {
        let terms = Arc::clone(&spec.terms);
        let ending = self.go(prepared, workflow, spec, journal).await;
        cut_ending(hide(ending, &terms.grants))
    }

    async fn go(
        &self,
        prepared: &Prepared,
        workflow: &Workflow,
        spec: RunSpec,
        journal: Arc<dyn Journal>,
    ) -> Ending {
        let call = match Call::new(prepared, workflow, &spec, self) {
            Ok(call) => Arc::new(call),
            Err(message) => {
                return Ending::Blocked(BlockReason {
                    code: BlockCode::Input,
                    message,
                    details: None,
                });
            }
        };
        let events = workflow.event_names();
        let outbound = self.inner.outbound.clone();
        let (go, recorded) = Go::new(spec, events, journal, outbound, prepared.inner.forks);
        let go = Arc::new(go);
        let Some(history) = &go.history else {
            let played = self.play(prepared, workflow, &call, &go, recorded, ROOT);
            return match played.await {
                Played::Ended(ending) => ending,
                _ => Ending::Stopped(Stop::Again),
            };
        };
        let mut branches = Branches::new(self, prepared, workflow, &call, &go);
        let mut first = history.is_flat().then_some(recorded);
        loop {
            // Changed code may have something to do before its fork, or may have lost it.
            let open = match go.changes {
                Some(_) => None,
                None => history.open_fork(ROOT),
            };
            let fork = match open.filter(|fork| !branches.is_over(history, fork)) {
                // It would only be played to come to the fork.
                Some(fork) => fork,
                None => {
                    let recorded = first.take().unwrap_or_else(|| history.path(ROOT));
                    let played = self.play(prepared, workflow, &call, &go, recorded, ROOT);
                    match played.await {
                        Played::Ended(ending) => return ending,
                        Played::Forked(fork) => fork,
                        Played::Again | Played::Parked(_) | Played::BranchEnded => {
                            return Ending::Stopped(Stop::Again);
                        }
                    }
                }
            };
            if let Some(ending) = branches.play(history, fork).await {
                return ending;
            }
        }
    }

    /// Plays the component from the top over these rows until it can do no more where it belongs. Waits for a place in the pool first.
    pub(crate) async fn play(
        &self,
        prepared: &Prepared,
        workflow: &Workflow,
        call: &Call,
        go: &Arc<Go>,
        recorded: Arc<Vec<Recorded>>,
        scope: &str,
    ) -> Played {
        // The semaphore is never closed; if it were, the process would be on its way out.
        let Ok(_places) = self.inner.places.acquire_many(prepared.inner.places).await else {
            return Played::Ended(Ending::Stopped(Stop::Drained));
        };
        let guest = Guest::new(Arc::clone(go), recorded, scope);
        let meter = guest.meter.clone();
        let mut store = Store::new(prepared.inner.pre.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        store.set_hostcall_fuel(handover_max_bytes(&self.inner.config));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(on_tick);

        let alarm = store.data().alarm.clone();
        let slices = Slices {
            guest: Box::pin(call.make(prepared, &mut store, &self.inner.instantiation)),
            ticker: &self.inner.ticker,
            meter,
            turns: &self.inner.turns,
            turn: Turn::Mine { _place: None },
        };
        let returned = tokio::select! {
            biased;
            // Whatever the guest is doing, it is dropped.
            () = alarm.rings() => Returned::TimedOut,
            returned = slices => match returned {
                Ok(Ok(value)) => Returned::Value(value),
                Ok(Err(error)) => Returned::Error(error, Vec::new()),
                Err(panic) => {
                    let failure = Failure::new(INTERNAL, panic_message(&*panic));
                    return Played::Ended(Ending::Failed(failure));
                }
            },
        };
        let guest = store.data_mut();
        // Rolled back: whatever ended the instance, the attempt has not ended well.
        drop(guest.sql.take());
        guest.console.flush();
        let returned = match returned {
            // Whoever only waits is asked for nothing.
            Returned::Error(error, _) if is_explained(&error) => {
                let backtrace = prepared.inner.lines.backtrace(&error).await;
                Returned::Error(error, backtrace)
            }
            returned => returned,
        };
        let played = match guest.attempt.take() {
            Some(attempt) => end_with_attempt(returned, attempt, guest).await,
            None => played(returned, guest, workflow),
        };
        match played {
            // Its code had no place for being cancelled, which is no reason to end the others.
            Played::Ended(Ending::Failed(failure))
                if guest.is_branch()
                    && guest.cancel_delivered
                    && failure.code == dacapo_model::CANCELLED =>
            {
                guest.end_branch(Outcome::Failed(failure));
                Played::BranchEnded
            }
            Played::Ended(ending) if guest.cancel_delivered && !guest.has_lost() => {
                Played::Ended(after_cancel(ending))
            }
            played => played,
        }
    }
}

/// How far an instance came.
pub(crate) enum Played {
    /// The run has come to this.
    Ended(Ending),
    /// The run goes on in the branches of this fork.
    Forked(StepKey),
    /// The branch has to wait for this.
    Parked(Suspension),
    /// The branch has ended, and its outcome is recorded.
    BranchEnded,
    /// It is to be played again, at once.
    Again,
}

/// How the guest's function came back.
enum Returned {
    Value(Option<Val>),
    /// With the functions that were running, if that is to be shown.
    Error(wasmtime::Error, Vec<String>),
    /// The open attempt had its time.
    TimedOut,
}

/// Memory of ours that one call of a guest may fill. A value takes up to about forty times as much while it is lifted as in JSON.
fn handover_max_bytes(config: &SandboxConfig) -> usize {
    const LEAST: usize = 16 << 20;
    config.payload.max_bytes.saturating_mul(64).max(LEAST)
}

/// A checked call of a workflow's function.
pub(crate) struct Call {
    function: ComponentExportIndex,
    params: Vec<Val>,
    results: usize,
}

impl Call {
    pub(crate) fn new(
        prepared: &Prepared,
        workflow: &Workflow,
        spec: &RunSpec,
        sandbox: &Sandbox,
    ) -> Result<Call, String> {
        let Some(&function) = prepared.inner.workflows.get(&workflow.name) else {
            return Err(format!("the component has no workflow `{}`", workflow.name));
        };
        let mut params = Vec::new();
        if let Some(param) = &workflow.param {
            let value = from_json(
                spec.input.as_str(),
                &param.ty,
                "input",
                &sandbox.inner.config.payload,
            )
            .map_err(|error| error.to_string())?;
            params.push(to_val(value, &param.ty).map_err(|misfit| format!("input: {misfit}"))?);
        }
        Ok(Call {
            function,
            params,
            results: usize::from(workflow.result.is_some()),
        })
    }

    async fn make(
        &self,
        prepared: &Prepared,
        store: &mut Store<Guest>,
        instantiation: &Histogram,
    ) -> wasmtime::Result<Option<Val>> {
        let asked = Instant::now();
        let instance = prepared.inner.pre.instantiate_async(&mut *store).await?;
        instantiation.record(asked.elapsed());
        let function = instance
            .get_func(&mut *store, self.function)
            .filter(|function| {
                let ty = function.ty(&*store);
                ty.params().len() == self.params.len() && ty.results().len() == self.results
            });
        let Some(function) = function else {
            return Err(Interrupt::Blocked(BlockReason {
                code: BlockCode::Input,
                message: "the component's function is not the one that its description names"
                    .to_owned(),
                details: None,
            })
            .into());
        };
        let mut results = vec![Val::Bool(false); self.results];
        function
            .call_async(&mut *store, &self.params, &mut results)
            .await?;
        Ok(results.pop())
    }
}

/// A computing guest is interrupted: it is ended if it has had its time, and lets others run otherwise.
fn on_tick(store: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    let guest = store.data();
    let (max_ms, what) = match guest.attempt {
        Some(_) => (guest.go.terms.step_cpu_max_ms, "the step's body computed"),
        None => (
            guest.config.cpu_between_calls_max_ms,
            "the workflow computed",
        ),
    };
    let spent = guest.meter.spent();
    if spent > Duration::from_millis(max_ms) {
        let message = format!("{what} for more than {max_ms} ms without a step or a wait");
        return Err(Interrupt::Failed(Failure::new(dacapo_model::TIMEOUT, message)).into());
    }
    // What is recorded already need not wait until the guest calls again.
    guest.journal.nudge();
    // Ticks come to whoever is on a thread just then; who has only begun is not one of those that take turns.
    if spent >= Duration::from_millis(guest.config.tick_ms) {
        guest.meter.interrupt();
    }
    Ok(UpdateDeadline::Yield(1))
}

/// The guest is gone while a step's body was running. What went wrong in a body is the failure of that attempt, and no more.
async fn end_with_attempt(returned: Returned, attempt: OpenAttempt, guest: &mut Guest) -> Played {
    let key = attempt.slot.key.clone();
    let failure = match returned {
        Returned::Value(_) => {
            let message = format!(
                "the workflow returned while step `{key}` was open: call `step-end` for each attempt"
            );
            return Played::Ended(Ending::Failed(Failure::new(dacapo_model::MISUSE, message)));
        }
        Returned::TimedOut => {
            let max_ms = guest.config.attempt_time_max_ms;
            let took = match attempt.timeout_ms {
                Some(ms) if ms <= max_ms => format!("took longer than its time-out of {ms} ms"),
                _ => format!(
                    "took longer than the {max_ms} ms that an attempt may take (attempt-time-max)"
                ),
            };
            let message = format!("attempt {} at step `{key}` {took}", attempt.number);
            Failure::new(dacapo_model::TIMEOUT, message)
        }
        Returned::Error(error, backtrace) => match error.downcast_ref::<Interrupt>() {
            // The only failure of this kind that comes from the body and not from the guest's use of us.
            Some(Interrupt::Failed(failure)) if failure.code == dacapo_model::TIMEOUT => {
                fault::explained(failure.clone(), &backtrace, Some(&key))
            }
            Some(interrupt) => return interrupted(interrupt, &backtrace, Some(&key)),
            None => fault::failure(&error, &backtrace, guest, Some(&key)),
        },
    };
    let failure = Failure {
        retryable: true,
        ..cut_failure(failure)
    };
    guest.console.enter(None, guest.is_silent());
    match guest.fail_attempt(attempt, failure) {
        // The workflow's code is to see the failure; this instance cannot show it any more.
        AfterFailure::Over(_) => Played::Again,
        AfterFailure::Retry(due) => match guest.suspend_for_retry(due).await {
            Interrupt::Stopped(Stop::Again) => Played::Again,
            Interrupt::Stopped(stop) => Played::Ended(Ending::Stopped(stop)),
            Interrupt::Parked(suspension) => Played::Parked(suspension),
            _ => Played::Ended(Ending::Suspended),
        },
    }
}

fn played(returned: Returned, guest: &Guest, workflow: &Workflow) -> Played {
    let returned = match returned {
        Returned::Value(value) => value,
        Returned::Error(error, backtrace) => {
            return match error.downcast_ref::<Interrupt>() {
                Some(interrupt) => interrupted(interrupt, &backtrace, None),
                None => Played::Ended(Ending::Failed(fault::failure(
                    &error, &backtrace, guest, None,
                ))),
            };
        }
        // It is set for as long as an attempt is open, and not longer.
        Returned::TimedOut => return Played::Again,
    };
    if let Err(mismatch) = guest.replay.finish() {
        return Played::Ended(Ending::Blocked(mismatch_reason(&mismatch)));
    }
    Played::Ended(if guest.is_branch() {
        let message = format!(
            "the workflow returned inside of branch `{}`: end each branch with `branch-end`",
            guest.scope
        );
        Ending::Failed(Failure::new(dacapo_model::MISUSE, message))
    } else {
        match conclude(returned, workflow, &guest.config.payload) {
            Ok(output) => Ending::Completed(output),
            Err(failure) => Ending::Failed(failure),
        }
    })
}

/// Whether somebody will want to know where the guest was.
fn is_explained(error: &wasmtime::Error) -> bool {
    match error.downcast_ref::<Interrupt>() {
        None | Some(Interrupt::Blocked(_) | Interrupt::Failed(_)) => true,
        Some(
            Interrupt::Parked(_)
            | Interrupt::Forked(_)
            | Interrupt::BranchEnded
            | Interrupt::Suspended
            | Interrupt::Stopped(_),
        ) => false,
    }
}

/// The guest was unwound by us.
fn interrupted(interrupt: &Interrupt, backtrace: &[String], step: Option<&StepKey>) -> Played {
    Played::Ended(match interrupt {
        Interrupt::Parked(suspension) => return Played::Parked(suspension.clone()),
        Interrupt::Forked(fork) => return Played::Forked(fork.clone()),
        Interrupt::BranchEnded => return Played::BranchEnded,
        Interrupt::Suspended => Ending::Suspended,
        Interrupt::Stopped(stop) => Ending::Stopped(*stop),
        Interrupt::Blocked(reason) => Ending::Blocked(fault::located(reason.clone(), backtrace)),
        Interrupt::Failed(failure) => {
            Ending::Failed(fault::explained(failure.clone(), backtrace, step))
        }
    })
}

/// Whatever a run ends with, secrets that were used are not in it.
fn hide(ending: Ending, grants: &Grants) -> Ending {
    if grants.hides_nothing() {
        return ending;
    }
    match ending {
        Ending::Completed(output) => Ending::Completed(hide_payload(output, grants)),
        Ending::Failed(failure) => Ending::Failed(hide_failure(failure, grants)),
        Ending::Cancelled(failure) => Ending::Cancelled(hide_failure(failure, grants)),
        other => other,
    }
}

/// However a guest ends once it was told of a cancel, its run is cancelled; how it ended is kept.
fn after_cancel(ending: Ending) -> Ending {
    match ending {
        Ending::Completed(_) => Ending::Cancelled(Failure::new(
            dacapo_model::CANCELLED,
            "the run was cancelled",
        )),
        Ending::Failed(failure) => {
            let message = format!(
                "the run was cancelled; its workflow ended with {}: {}",
                failure.code, failure.message
            );
            let mut cancelled = Failure::new(dacapo_model::CANCELLED, message);
            cancelled.details = failure.details;
            Ending::Cancelled(cancelled)
        }
        other => other,
    }
}

/// Polls a guest slice by slice: the ticker knows of each, its time is measured, and a panic below ends this run and no other.
///
/// Guests that compute for longer than a slice take turns, as many at a time as there are threads: so whoever has been waiting for
/// something, and can go on, comes behind no more of them than that.
struct Slices<'a, F> {
    guest: Pin<Box<F>>,
    ticker: &'a Ticker,
    meter: Meter,
    turns: &'a Arc<Semaphore>,
    turn: Turn,
}

/// Whether a guest may be on a thread.
enum Turn {
    /// It may: with a place among those that compute, or none since it has not computed for long.
    Mine {
        _place: Option<OwnedSemaphorePermit>,
    },
    /// It has to wait for its turn.
    Awaited(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
}

impl<F: Future> Future for Slices<'_, F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Turn::Awaited(turn) = &mut this.turn {
            match turn.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(place) => this.turn = Turn::Mine { _place: place },
            }
        }
        let _on_thread = this.ticker.guest_on_thread();
        this.meter.start_slice();
        // After a panic the future is only dropped, and with it all that the panic may have left half done.
        let polled = catch_unwind(AssertUnwindSafe(|| this.guest.as_mut().poll(cx)));
        this.meter.end_slice();
        this.turn = if this.meter.take_interrupted() {
            let turns = Arc::clone(this.turns);
            // It is never closed.
            Turn::Awaited(Box::pin(async move { turns.acquire_owned().await.ok() }))
        } else {
            Turn::Mine { _place: None }
        };
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!(
        "a fault in the host ended the run: {}",
        text.unwrap_or("no message")
    )
}
