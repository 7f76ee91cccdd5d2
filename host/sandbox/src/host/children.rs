//! `dacapo:workflow/children`: runs of other workflows.

use dacapo_model::{DEFAULT_QUEUE, Failure, Kind, Outcome, Payload, RunId};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wasmtime::component::Resource;

use super::bindings::dacapo::workflow::children::{Host, HostOptions};
use super::bindings::dacapo::workflow::types;
use super::waits::{WaitEnd, wait_end};
use crate::ending::{BlockCode, BlockReason};
use crate::go::Child;
use crate::guest::{Asked, Guest, Slot, cancelled};
use crate::interrupt::Interrupt;
use crate::journal::{ChildStart, ChildState, ChildWorkflow, SuspendReason};

/// Runs that may have started each other on the way to one.
const DEPTH_MAX: u16 = 32;

/// The longest concurrency key of a child, in bytes.
const CONCURRENCY_KEY_BYTES_MAX: usize = 200;

/// The highest priority, and the lowest one below zero.
const PRIORITY_MAX: i32 = 100;

/// The longest deadline of a child.
const DEADLINE_MAX_MS: u64 = 10 * 366 * 86_400_000;

/// Labels that the options of a guest's children may hold together, in bytes, and what each takes beside its text.
const LABELS_MAX_BYTES: usize = 1 << 20;
const LABEL_COSTS_BYTES: usize = 48;

/// The longest name of a child's workflow, in bytes.
const WORKFLOW_NAME_MAX_BYTES: usize = 1_000;

/// Code of a failure whose input was not what the workflow takes.
const INPUT: &str = "input";
/// Code of a failure for runs that start each other without end.
const CHILD_DEPTH: &str = "child-depth";
/// Code of a failure for a run that is no child of this one.
const UNKNOWN_CHILD: &str = "unknown-child";

/// How a guest wants a child to be started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    labels: Option<Vec<(String, String)>>,
    deadline_ms: Option<u64>,
    detached: bool,
    queue: Option<String>,
    concurrency_key: Option<String>,
    priority: Option<i16>,
}

impl Host for Guest {
    async fn start_child(
        &mut self,
        name: String,
        workflow: String,
        input: String,
        options: Option<Resource<Options>>,
    ) -> wasmtime::Result<Result<String, types::Failure>> {
        let options = match options {
            Some(options) => self.table.get(&options)?.clone(),
            None => Options::default(),
        };
        let started = self.start(&name, &workflow, &input, options).await?;
        Ok(started.map(|child| child.to_string()).map_err(Into::into))
    }

    async fn await_child(
        &mut self,
        name: String,
        run_id: String,
        timeout_ms: Option<u64>,
    ) -> wasmtime::Result<Result<Option<Result<String, types::Failure>>, types::Failure>> {
        let Ok(child) = run_id.parse::<RunId>() else {
            let message = format!(
                "the wait `{name}` is for the child {run_id:?}: expected the id that `start-child` answered"
            );
            return Err(Interrupt::misuse(message).into());
        };
        let outcome = self.wait_for_child(&name, child, timeout_ms).await?;
        Ok(outcome
            .map(|ended| ended.map(|outcome| outcome.map(Payload::into_string).map_err(Into::into)))
            .map_err(Into::into))
    }
}

impl Guest {
    /// Starts a child, or answers the one that was started here before.
    pub(crate) async fn start(
        &mut self,
        name: &str,
        workflow: &str,
        input: &str,
        options: Options,
    ) -> Result<Result<RunId, Failure>, Interrupt> {
        let slot = match self.ask(Kind::Child, name)? {
            Asked::Recorded { outcome, .. } => return self.started(outcome),
            Asked::Live(slot) => slot,
        };
        if self.heed_signals().await? {
            return Ok(Err(self.fail_start(slot, Outcome::Cancelled)));
        }
        let id = RunId::of_child(self.go.run_id, &slot.key, self.go.retries);
        let labels = options.labels.as_deref();
        // Nobody is asked for what cannot be.
        let found = if workflow.len() > WORKFLOW_NAME_MAX_BYTES {
            let start: String = workflow.chars().take(40).collect();
            Err(format!(
                "there is no workflow \"{start}…\", whose name has {} bytes",
                workflow.len()
            ))
        } else {
            self.journal.find_workflow(workflow, id, labels).await?
        };
        let found = match found {
            Ok(found) => found,
            Err(problem) => {
                return Err(Interrupt::Blocked(BlockReason {
                    code: BlockCode::UnknownWorkflow,
                    message: format!("`{}` is to start a child: {problem}", slot.key),
                    // By this the run is found when such a workflow is deployed.
                    details: (workflow.len() <= WORKFLOW_NAME_MAX_BYTES)
                        .then(|| named("workflow", workflow)),
                }));
            }
        };
        match self.check_child(&found, input) {
            Ok(input) => {
                // What the parent says, then the child's own manifest; and only then its parent's priority.
                let queue = options.queue.or(found.queue);
                let queue = queue.filter(|queue| queue != DEFAULT_QUEUE);
                if let Some(queue) = &queue
                    && !self.journal.has_queue(queue).await?
                {
                    return Err(Interrupt::Blocked(BlockReason {
                        code: BlockCode::UnknownQueue,
                        message: format!(
                            "`{}` is to start a child in the queue {queue:?}, which there is not: make it with `dacapo queue set`, and the \
                             run goes on",
                            slot.key
                        ),
                        details: Some(named("queue", queue)),
                    }));
                }
                let workflow = found.workflow.name;
                let value = serde_json::json!({ "run": id.to_string(), "workflow": workflow });
                let outcome = Outcome::Ok(Payload::from_trusted(value.to_string()));
                self.go.know_child(id, Child::Started);
                let now = self.journal.now();
                let child = ChildStart {
                    id,
                    workflow,
                    deployment: found.deployment,
                    input,
                    labels: options.labels,
                    deadline_ms: options.deadline_ms,
                    detached: options.detached,
                    queue,
                    concurrency_key: options.concurrency_key,
                    priority: options.priority.or(found.priority),
                };
                self.record_child(slot, now, outcome, child);
                Ok(Ok(id))
            }
            Err(failure) => Ok(Err(self.fail_start(slot, Outcome::Failed(failure)))),
        }
    }

    fn started(&self, outcome: Outcome) -> Result<Result<RunId, Failure>, Interrupt> {
        #[derive(Deserialize)]
        struct Started {
            run: RunId,
        }
        match outcome {
            Outcome::Ok(payload) => match serde_json::from_str::<Started>(payload.as_str()) {
                Ok(started) => Ok(Ok(started.run)),
                Err(error) => Err(rejected(&format!(
                    "what is recorded for the start of a child is not one: {error}"
                ))),
            },
            Outcome::Failed(failure) => Ok(Err(failure)),
            Outcome::TimedOut | Outcome::Cancelled => Ok(Err(cancelled())),
        }
    }

    fn fail_start(&mut self, slot: Slot, outcome: Outcome) -> Failure {
        let failure = match &outcome {
            Outcome::Failed(failure) => failure.clone(),
            _ => cancelled(),
        };
        let now = self.journal.now();
        self.record_done(slot, now, outcome, None, None);
        failure
    }

    fn check_child(&self, found: &ChildWorkflow, input: &str) -> Result<Payload, Failure> {
        if found.depth >= DEPTH_MAX {
            return Err(Failure::new(
                CHILD_DEPTH,
                format!(
                    "runs have started each other {DEPTH_MAX} deep on the way to this one, as deep as they may: is there a cycle?"
                ),
            ));
        }
        let limits = &self.config.payload;
        if !found.is_typed {
            return Payload::new(input.to_owned(), limits).map_err(|error| {
                Failure::new(INPUT, format!("child of {}: {error}", found.workflow.name))
            });
        }
        let input = found.workflow.check_input(input, limits);
        input.map_err(|error| {
            Failure::new(INPUT, format!("child of {}: {error}", found.workflow.name))
        })
    }

    /// Waits until a child has ended; none if it has not in time. The outer failure is that of the wait.
    pub(crate) async fn wait_for_child(
        &mut self,
        name: &str,
        child: RunId,
        timeout_ms: Option<u64>,
    ) -> Result<Result<Option<Result<Payload, Failure>>, Failure>, Interrupt> {
        let mut slot = match self.ask(Kind::Wait, name)? {
            Asked::Recorded { outcome, .. } => return self.ended(child, outcome),
            Asked::Live(slot) => slot,
        };
        let events = [format!("child/{child}")];
        let mut row = self.reach(&slot, |now| timeout_ms.map(|ms| now.add_millis(ms)));
        row.plan = serde_json::to_string(&events)
            .ok()
            .map(Payload::from_trusted);
        let mut has_looked = false;
        let (outcome, takes_event) = loop {
            if self.heed_signals().await? {
                break (Outcome::Cancelled, None);
            }
            if let Some(event) = self.journal.take_event(&events, row.due) {
                break (Outcome::Ok(event.payload), Some(event.seq));
            }
            match self.go.child(child) {
                Some(Child::Ended(outcome)) => break (Outcome::Ok(outcome), None),
                Some(Child::Started) => {}
                // Somebody else may have taken the event, and there may be no such child at all.
                None if has_looked => {}
                None => {
                    has_looked = true;
                    match self.journal.child_state(child).await? {
                        ChildState::Active => {}
                        ChildState::Ended(outcome) => break (Outcome::Ok(outcome), None),
                        ChildState::Unknown => {
                            let message = format!("this run has no child {child}");
                            break (Outcome::Failed(Failure::new(UNKNOWN_CHILD, message)), None);
                        }
                    }
                }
            }
            match wait_end(&*self.journal, row.due).await {
                WaitEnd::NotYet => {}
                WaitEnd::LookAgain => continue,
                WaitEnd::Over => break (Outcome::TimedOut, None),
            }
            if slot.open.as_ref().is_none_or(|open| open.plan != row.plan) {
                self.record_open(&mut slot, row.clone(), None);
            }
            self.suspend(SuspendReason::Child, &events, row.due).await?;
        };
        self.record_done(slot, row.started_at, outcome.clone(), takes_event, None);
        self.ended(child, outcome)
    }

    fn ended(
        &self,
        child: RunId,
        outcome: Outcome,
    ) -> Result<Result<Option<Result<Payload, Failure>>, Failure>, Interrupt> {
        #[derive(Deserialize)]
        struct Ended<'a> {
            #[serde(borrow, default, deserialize_with = "there")]
            ok: Option<&'a RawValue>,
            #[serde(borrow)]
            failed: Option<&'a RawValue>,
        }
        let payload = match outcome {
            Outcome::Ok(payload) => payload,
            Outcome::Failed(failure) => return Ok(Err(failure)),
            Outcome::TimedOut => return Ok(Ok(None)),
            Outcome::Cancelled => return Ok(Err(cancelled())),
        };
        let unreadable = |what: &str| {
            rejected(&format!(
                "what is recorded for the end of child {child} is not one: {what}"
            ))
        };
        let ended = match serde_json::from_str::<Ended>(payload.as_str()) {
            Ok(Ended {
                ok: Some(output), ..
            }) => Ok(Payload::from_trusted(output.get().to_owned())),
            Ok(Ended {
                failed: Some(failure),
                ..
            }) => Err(Failure::from_json(failure.get())
                .map_err(|error| unreadable(&error.to_string()))?),
            Ok(_) => return Err(unreadable(payload.as_str())),
            Err(error) => return Err(unreadable(&error.to_string())),
        };
        self.go.know_child(child, Child::Ended(payload));
        Ok(Ok(Some(ended)))
    }
}

fn bytes_of(labels: &[(String, String)]) -> usize {
    labels
        .iter()
        .map(|(name, value)| name.len() + value.len() + LABEL_COSTS_BYTES)
        .sum()
}

/// A value that is there, be it `null`.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

pub(super) fn rejected(message: &str) -> Interrupt {
    Interrupt::Blocked(BlockReason {
        code: BlockCode::Rejected,
        message: message.to_owned(),
        details: None,
    })
}

impl HostOptions for Guest {
    fn new(&mut self) -> wasmtime::Result<Resource<Options>> {
        Ok(self.table.push(Options::default())?)
    }

    fn set_labels(
        &mut self,
        options: Resource<Options>,
        labels: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        for (name, value) in &labels {
            dacapo_model::check_label(name, value)
                .map_err(|error| Interrupt::misuse(format!("label of a child: {error}")))?;
        }
        let bytes = bytes_of(&labels);
        let known = self.table.get_mut(&options)?;
        let before = known.labels.as_deref().map_or(0, bytes_of);
        let held = (self.held_labels_bytes + bytes).saturating_sub(before);
        if held > LABELS_MAX_BYTES {
            return Err(Interrupt::misuse(format!(
                "labels of children: {held} bytes are held by options that have not been dropped, the limit is {LABELS_MAX_BYTES} bytes"
            ))
            .into());
        }
        known.labels = Some(labels);
        self.held_labels_bytes = held;
        Ok(())
    }

    fn set_deadline(&mut self, options: Resource<Options>, ms: u64) -> wasmtime::Result<()> {
        if !(1..=DEADLINE_MAX_MS).contains(&ms) {
            let message = format!(
                "deadline of a child: expected 1 to {DEADLINE_MAX_MS} ms (ten years), got {ms} ms"
            );
            return Err(Interrupt::misuse(message).into());
        }
        self.table.get_mut(&options)?.deadline_ms = Some(ms);
        Ok(())
    }

    fn set_detached(&mut self, options: Resource<Options>) -> wasmtime::Result<()> {
        self.table.get_mut(&options)?.detached = true;
        Ok(())
    }

    fn set_queue(
        &mut self,
        options: Resource<Options>,
        name: String,
        key: Option<String>,
    ) -> wasmtime::Result<()> {
        dacapo_model::check_name(&name)
            .map_err(|error| Interrupt::misuse(format!("queue of a child: {error}")))?;
        if let Some(key) = &key {
            let problem = if !(1..=CONCURRENCY_KEY_BYTES_MAX).contains(&key.len()) {
                Some(format!(
                    "expected 1 to {CONCURRENCY_KEY_BYTES_MAX} bytes, got {}",
                    key.len()
                ))
            } else if key.contains('\0') {
                Some("it holds a NUL character, which cannot be kept".to_owned())
            } else if name == DEFAULT_QUEUE {
                Some(format!(
                    "limits per key are those of a named queue, and {DEFAULT_QUEUE:?} has none: expected another queue, or no key"
                ))
            } else {
                None
            };
            if let Some(problem) = problem {
                let message = format!("concurrency key of a child: {problem}");
                return Err(Interrupt::misuse(message).into());
            }
        }
        let options = self.table.get_mut(&options)?;
        options.queue = Some(name);
        options.concurrency_key = key;
        Ok(())
    }

    fn set_priority(&mut self, options: Resource<Options>, priority: i32) -> wasmtime::Result<()> {
        let known = i16::try_from(priority)
            .ok()
            .filter(|_| (-PRIORITY_MAX..=PRIORITY_MAX).contains(&priority));
        let Some(known) = known else {
            let message = format!(
                "priority of a child: expected -{PRIORITY_MAX} to {PRIORITY_MAX}, got {priority}"
            );
            return Err(Interrupt::misuse(message).into());
        };
        self.table.get_mut(&options)?.priority = Some(known);
        Ok(())
    }

    fn drop(&mut self, options: Resource<Options>) -> wasmtime::Result<()> {
        let dropped = self.table.delete(options)?;
        let bytes = dropped.labels.as_deref().map_or(0, bytes_of);
        self.held_labels_bytes = self.held_labels_bytes.saturating_sub(bytes);
        Ok(())
    }
}

/// What a blocked run wanted that was not there.
fn named(what: &str, name: &str) -> Payload {
    Payload::from_trusted(serde_json::json!({ what: name }).to_string())
}
