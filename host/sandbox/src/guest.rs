//! What the host knows of one instance while it runs.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use dacapo_model::{
    FailedAttempt, Failure, Kind, Outcome, Payload, Recorded, RecordedState, StepKey, Timestamp,
};
use dacapo_outbound::Grants;
use dacapo_replay::{Answer, Changed, Replay};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::WasiHttpCtx;

use crate::alarm::Alarm;
use crate::attempt::OpenAttempt;
use crate::config::SandboxConfig;
use crate::console::Console;
use crate::ending::{BlockCode, BlockReason};
use crate::go::Go;
use crate::history::{Turn, route};
use crate::host::wasi::{Hooks, Randomness, Room};
use crate::interrupt::Interrupt;
use crate::journal::{
    ChildStart, Journal, RecordWrite, Seen, Signal, SuspendReason, Suspended, Suspension, Write,
};
use crate::memory::MemoryLimit;
use crate::meter::Meter;
use crate::sql::SqlTransaction;

/// The state of one instance, which plays a run or one branch of it.
pub(crate) struct Guest {
    pub(crate) go: Arc<Go>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) replay: Replay,
    /// Where what it does belongs: the root, or a branch of a fork.
    pub(crate) scope: String,
    /// The branches that it has yet to turn into before it is where it belongs.
    pub(crate) route: VecDeque<Turn>,
    /// It has turned into a branch of a race.
    races: bool,
    pub(crate) attempt: Option<OpenAttempt>,
    /// The open attempt's transaction, once it has used SQL.
    pub(crate) sql: Option<Box<dyn SqlTransaction>>,
    /// Rings when the open attempt has had its time.
    pub(crate) alarm: Alarm,
    /// The guest was told that its run is being cancelled, in this go or an earlier one.
    pub(crate) cancel_delivered: bool,
    pub(crate) config: Arc<SandboxConfig>,
    pub(crate) console: Console,
    pub(crate) meter: Meter,
    pub(crate) memory: MemoryLimit,
    pub(crate) randomness: Randomness,
    pub(crate) wasi: WasiCtx,
    pub(crate) wasi_http: WasiHttpCtx,
    pub(crate) hooks: Hooks,
    pub(crate) room: Room,
    pub(crate) table: ResourceTable,
    /// What the options of children hold that have not been dropped.
    pub(crate) held_labels_bytes: usize,
}

/// The headers of one message of `wasi:http`, in bytes.
const HTTP_FIELDS_MAX_BYTES: usize = 32 << 10;

/// How long a key may be, in bytes: it is indexed, and each branch makes those within it longer.
const KEY_MAX_BYTES: usize = 2_000;

/// What a row of the journal takes beside its key and its payload, in bytes.
const ROW_COSTS_BYTES: usize = 100;

/// The scope of everything that a workflow does outside of forks.
pub(crate) const ROOT: &str = "";

/// The place in the journal of a durable call that has no outcome yet.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) key: StepKey,
    pub(crate) kind: Kind,
    pub(crate) position: u32,
    /// What an earlier go wrote about it, if it got that far.
    pub(crate) open: Option<OpenRow>,
}

/// A row of the journal that has no outcome yet.
#[derive(Debug, Clone)]
pub(crate) struct OpenRow {
    pub(crate) started_at: Timestamp,
    pub(crate) due: Option<Timestamp>,
    /// Attempts at a step that have failed.
    pub(crate) failed_attempts: u32,
    /// What was noted about it when it was reached.
    pub(crate) plan: Option<Payload>,
}

/// What the journal says to a durable call.
pub(crate) enum Asked {
    /// It has an outcome.
    Recorded { key: StepKey, outcome: Outcome },
    /// It has none, and is to be done now.
    Live(Slot),
}

impl Guest {
    /// What is to be played over these rows until it is in the scope.
    pub(crate) fn new(go: Arc<Go>, recorded: Arc<Vec<Recorded>>, scope: &str) -> Guest {
        let (journal, config) = (Arc::clone(&go.journal), Arc::clone(&go.config));
        let console = Console::new(
            Arc::clone(&journal),
            Arc::clone(&go.terms.grants),
            config.log_line_max_bytes,
            config.log_max_bytes,
            Arc::clone(&go.log),
        );
        let replay = Replay::new(
            recorded,
            go.created_at,
            go.positions.clone(),
            go.changes.clone(),
        );
        console.enter(None, replay.is_replaying() && !go.is_watched);
        let mut table = ResourceTable::new();
        table.set_max_capacity(config.handles_max as usize);
        let mut wasi_http = WasiHttpCtx::new();
        wasi_http.set_field_size_limit(HTTP_FIELDS_MAX_BYTES);
        Guest {
            replay,
            scope: ROOT.to_owned(),
            route: route(scope).into(),
            races: false,
            attempt: None,
            sql: None,
            alarm: Alarm::default(),
            cancel_delivered: false,
            meter: Meter::new(),
            memory: MemoryLimit::new(config.memory_max_bytes),
            randomness: Randomness::new(go.seed, ROOT),
            wasi: crate::host::wasi::context(&console, &go.terms.environment),
            wasi_http,
            hooks: Hooks::default(),
            room: Room::default(),
            table,
            held_labels_bytes: 0,
            console,
            journal,
            config,
            go,
        }
    }

    /// Whether it plays, or is on its way to, a branch of a fork.
    pub(crate) fn is_branch(&self) -> bool {
        !self.route.is_empty() || !self.scope.is_empty()
    }

    /// What comes now belongs to the next branch on its way.
    pub(crate) fn turn(&mut self, is_race: bool) -> Option<u32> {
        let turn = self.route.pop_front()?;
        let index = turn.index;
        self.scope = StepKey::branch(&turn.fork, index).to_string();
        self.randomness = Randomness::new(self.go.seed, &self.scope);
        self.races |= is_race;
        Some(index)
    }

    /// Whether another branch has won a race that this one is part of.
    pub(crate) fn has_lost(&self) -> bool {
        let history = self.go.history.as_ref();
        self.races && history.is_some_and(|history| history.has_lost(&self.scope))
    }

    /// The time as the guest may see it: real inside an attempt, the journal's otherwise.
    pub(crate) fn visible_now(&self) -> Timestamp {
        let journal_now = self.replay.now();
        match self.attempt {
            // The clock of the worker that recorded the last outcome may have been ahead of this one's.
            Some(_) => self.journal.now().max(journal_now),
            None => journal_now,
        }
    }

    /// A durable call: checks that it may be made, and asks the journal for it.
    pub(crate) fn ask(&mut self, kind: Kind, name: &str) -> Result<Asked, Interrupt> {
        self.meter.reset();
        if let Err(error) = dacapo_model::check_name(name) {
            return Err(Interrupt::misuse(error.to_string()));
        }
        if let Some(attempt) = &self.attempt {
            return Err(nested(kind, name, &attempt.slot.key));
        }
        let answer = self.replay.ask(&self.scope, kind, name)?;
        self.console.enter(None, self.is_silent());
        if self.go.is_watched {
            self.observe(kind, &answer);
        }
        if let Answer::Open { key, .. } | Answer::New { key, .. } = &answer {
            self.check_is_there(kind, key)?;
            // What is recorded in a scope comes before anything new in it, but for what was inserted. A fork on its way has its branch to come.
            if self.route.is_empty() && self.replay.is_replaying() {
                self.go.note_inserted(key);
            }
        }
        Ok(match answer {
            Answer::Recorded { key, outcome } => {
                self.cancel_delivered |= matches!(outcome, Outcome::Cancelled);
                Asked::Recorded { key, outcome }
            }
            Answer::Open {
                key,
                position,
                started_at,
                due,
                failed_attempts,
                plan,
            } => Asked::Live(Slot {
                key,
                kind,
                position,
                open: Some(OpenRow {
                    started_at,
                    due,
                    failed_attempts,
                    plan,
                }),
            }),
            Answer::New { key, position } => {
                self.check_room(&key, position)?;
                Asked::Live(Slot {
                    key,
                    kind,
                    position,
                    open: None,
                })
            }
        })
    }

    /// Whether it is where it belongs, or at the fork that leads there: whatever is new before that is for whoever forked, who was played
    /// first. Done here, it would be done in each branch.
    fn check_is_there(&self, kind: Kind, key: &StepKey) -> Result<(), Interrupt> {
        let Some(turn) = self.route.front() else {
            return Ok(());
        };
        if kind == Kind::Fork && turn.fork == *key {
            return Ok(());
        }
        Err(Interrupt::Blocked(BlockReason {
            code: BlockCode::Mismatch,
            message: format!(
                "the code asks for `{key}` on its way to the branch `{}`, where all that it asks for was recorded before",
                StepKey::branch(&turn.fork, turn.index)
            ),
            details: None,
        }))
    }

    /// Whether what the code says now was said before.
    pub(crate) fn is_silent(&self) -> bool {
        self.replay.is_replaying() && !self.go.is_watched
    }

    fn observe(&self, kind: Kind, answer: &Answer) {
        self.journal.observe(match answer {
            Answer::Recorded { key, outcome } => Seen::Recorded { key, kind, outcome },
            Answer::Open { key, .. } => Seen::Reached {
                key,
                kind,
                was_open: true,
            },
            Answer::New { key, .. } => Seen::Reached {
                key,
                kind,
                was_open: false,
            },
        });
    }

    /// Whether the code is to take the new way through a change of this name.
    pub(crate) fn take_new_way(&mut self, name: &str) -> Result<bool, Interrupt> {
        dacapo_model::check_name(name).map_err(|error| Interrupt::misuse(error.to_string()))?;
        if let Some(attempt) = &self.attempt {
            return Err(Interrupt::misuse(format!(
                "`changed(\"{name}\")` was called inside step `{}`: ask before the step, and decide inside",
                attempt.slot.key
            )));
        }
        let (key, position) = match self.replay.changed(&self.scope, name)? {
            Changed::Known(known) => return Ok(known),
            Changed::New { key, position } => (key, position),
        };
        self.check_room(&key, position)?;
        let slot = Slot {
            key,
            kind: Kind::Change,
            position,
            open: None,
        };
        let now = self.journal.now();
        let yes = Outcome::Ok(Payload::from_trusted("true".to_owned()));
        self.record_done(slot, now, yes, None, None);
        Ok(true)
    }

    /// Whether the journal may have one more row.
    fn check_room(&self, key: &StepKey, position: u32) -> Result<(), Interrupt> {
        if key.as_str().len() > KEY_MAX_BYTES {
            return Err(Interrupt::misuse(format!(
                "the key `{key}` is {} bytes long, the limit is {KEY_MAX_BYTES} bytes: forks nest too deep here; fork once over all of the \
                 work, or start child runs",
                key.as_str().len()
            )));
        }
        let (steps_max, bytes_max) = (self.config.steps_max, self.config.journal_max_bytes);
        let what = if position > steps_max {
            format!("{steps_max} rows, as many as it may have (steps-max)")
        } else if self.go.journal_bytes() >= bytes_max {
            format!(
                "{} bytes, and more than {bytes_max} it may not have (journal-max)",
                self.go.journal_bytes()
            )
        } else {
            return Ok(());
        };
        Err(Interrupt::Blocked(BlockReason {
            code: BlockCode::JournalLimit,
            message: format!(
                "the code asks for `{key}`, but the run's journal has {what}; raise that limit (of the workers, and of the manifest if it \
                 has one) and resume the run, or deploy code that splits the work over several runs"
            ),
            details: None,
        }))
    }

    /// Obeys whoever wants something of the run from outside. True: the run is being cancelled, or this branch has lost its race, and the
    /// guest does not know yet.
    pub(crate) async fn heed_signals(&mut self) -> Result<bool, Interrupt> {
        self.go.relieve().await?;
        loop {
            match self.journal.boundary() {
                None => return Ok(!self.cancel_delivered && self.has_lost()),
                // Steps that compensate run as usual once the guest knows.
                Some(Signal::Cancel) => return Ok(!self.cancel_delivered),
                Some(Signal::Stop(stop)) => return Err(stop.into()),
                Some(Signal::Pause) => self.suspend(SuspendReason::Paused, &[], None).await?,
            }
        }
    }

    /// Gives the run up; returns only if there is a reason to look again. A branch ends here: the run is given up when all of them wait.
    pub(crate) async fn suspend(
        &mut self,
        reason: SuspendReason,
        events: &[String],
        wake_at: Option<Timestamp>,
    ) -> Result<(), Interrupt> {
        self.console.flush();
        let suspension = Suspension {
            reason,
            events: events.to_vec(),
            wake_at,
        };
        if self.is_branch() {
            return Err(Interrupt::Parked(suspension));
        }
        match self.journal.suspend(suspension).await? {
            Suspended::Gone => Err(Interrupt::Suspended),
            Suspended::Woken => Ok(()),
        }
    }

    /// Writes that a durable call was reached and has no outcome yet, or that a step's attempt has failed and another one follows.
    pub(crate) fn record_open(
        &mut self,
        slot: &mut Slot,
        row: OpenRow,
        failed_attempt: Option<FailedAttempt>,
    ) {
        self.append(RecordWrite {
            recorded: Recorded {
                key: slot.key.clone(),
                kind: slot.kind,
                position: slot.position,
                started_at: row.started_at,
                state: RecordedState::Open {
                    due: row.due,
                    failed_attempts: row.failed_attempts,
                    plan: row.plan.clone(),
                },
            },
            updates_open: slot.open.is_some(),
            takes_event: None,
            failed_attempt,
            starts_child: None,
        });
        slot.open = Some(row);
    }

    /// Writes the outcome of a durable call that the guest is handed now. Nothing is awaited: what follows in the guest is awaited for.
    pub(crate) fn record_done(
        &mut self,
        slot: Slot,
        started_at: Timestamp,
        outcome: Outcome,
        takes_event: Option<u32>,
        failed_attempt: Option<FailedAttempt>,
    ) {
        let finished_at = self.journal.now().max(started_at);
        self.cancel_delivered |= matches!(outcome, Outcome::Cancelled);
        self.replay.record(finished_at);
        self.append(RecordWrite {
            recorded: Recorded {
                key: slot.key,
                kind: slot.kind,
                position: slot.position,
                started_at,
                state: RecordedState::Done {
                    outcome,
                    finished_at,
                },
            },
            updates_open: slot.open.is_some(),
            takes_event,
            failed_attempt,
            starts_child: None,
        });
    }

    /// Writes that a child is started.
    pub(crate) fn record_child(
        &mut self,
        slot: Slot,
        at: Timestamp,
        outcome: Outcome,
        child: ChildStart,
    ) {
        self.replay.record(at);
        self.append(RecordWrite {
            recorded: Recorded {
                key: slot.key,
                kind: slot.kind,
                position: slot.position,
                started_at: at,
                state: RecordedState::Done {
                    outcome,
                    finished_at: at,
                },
            },
            updates_open: false,
            takes_event: None,
            failed_attempt: None,
            starts_child: Some(Box::new(child)),
        });
    }

    /// A row of the journal was written that went another way, and is durable.
    pub(crate) fn note_durable(&mut self, row: Recorded) {
        if let RecordedState::Done { finished_at, .. } = &row.state {
            self.replay.record(*finished_at);
        }
        self.go.add_journal_bytes(row.bytes());
        if let Some(history) = &self.go.history {
            history.note(row);
        }
    }

    fn append(&mut self, mut write: RecordWrite) {
        let grants = &self.go.terms.grants;
        if !grants.hides_nothing() {
            write = without_secrets(write, grants);
        }
        let attempt = write.failed_attempt.as_ref();
        let attempt = attempt.map_or(0, |attempt| attempt.failure.bytes());
        let bytes = write.recorded.bytes() + attempt;
        self.go.add_journal_bytes(bytes);
        let child = write.starts_child.as_ref();
        let child = child.map_or(0, |child| child.input.as_str().len());
        self.go.add_unsettled_bytes(bytes + child + ROW_COSTS_BYTES);
        let history = self.go.history.as_ref();
        let noted = history.map(|history| (history, write.recorded.clone()));
        self.journal.append(Write::Record(write));
        // In this order: what others conclude from it must come after it in the journal.
        if let Some((history, row)) = noted {
            history.note(row);
        }
    }
}

/// The row as it may be kept: secrets that were used, and came back to the guest in some way, are not in it.
fn without_secrets(mut write: RecordWrite, grants: &Grants) -> RecordWrite {
    if let RecordedState::Done { outcome, .. } = &mut write.recorded.state {
        *outcome = match std::mem::replace(outcome, Outcome::Cancelled) {
            Outcome::Ok(payload) => Outcome::Ok(hide_payload(payload, grants)),
            Outcome::Failed(failure) => Outcome::Failed(hide_failure(failure, grants)),
            other => other,
        };
    }
    write.failed_attempt = write.failed_attempt.map(|attempt| FailedAttempt {
        failure: hide_failure(attempt.failure, grants),
        ..attempt
    });
    if let Some(child) = &mut write.starts_child {
        child.input = hide_payload(child.input.clone(), grants);
    }
    write
}

/// A payload in which secrets that were used are replaced by their placeholders.
pub(crate) fn hide_payload(payload: Payload, grants: &Grants) -> Payload {
    match grants.hide_in_json(payload.as_str()) {
        Cow::Borrowed(_) => payload,
        Cow::Owned(text) => Payload::from_trusted(text),
    }
}

/// A failure in which secrets that were used are replaced by their placeholders.
pub(crate) fn hide_failure(failure: Failure, grants: &Grants) -> Failure {
    Failure {
        code: grants.hide(failure.code).into_owned(),
        message: grants.hide(failure.message).into_owned(),
        details: failure.details.map(|details| hide_payload(details, grants)),
        retryable: failure.retryable,
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// What a guest is told by every durable call that ends with its run being cancelled.
pub(crate) fn cancelled() -> Failure {
    Failure::new(dacapo_model::CANCELLED, "the run is being cancelled")
}

/// The outcome of a durable call that has nothing to say.
pub(crate) fn nothing() -> Outcome {
    Outcome::Ok(Payload::null())
}

fn nested(kind: Kind, name: &str, open: &StepKey) -> Interrupt {
    let message = match kind {
        Kind::Step => format!(
            "step `{name}` was begun while step `{open}` is still running: steps do not nest; end the first one before, or make \
             the inner work part of its body"
        ),
        Kind::Fork | Kind::Branch => format!(
            "fork `{name}` was reached inside step `{open}`: a fork cannot be inside a step; fork first, and begin steps in its branches"
        ),
        Kind::Child => format!(
            "child `{name}` was to be started inside step `{open}`: end the step first; starting a child is recorded by itself"
        ),
        Kind::Wait | Kind::Sleep | Kind::Pause | Kind::Change => format!(
            "a {} (`{name}`) was reached inside step `{open}`: a wait cannot be inside a step; end the step first and wait after it",
            kind.as_str()
        ),
    };
    Interrupt::misuse(message)
}
