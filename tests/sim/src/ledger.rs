//! What the database has said so far, and what must hold between two looks at it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use uuid::Uuid;

use crate::script::Journals;
use crate::server::Server;

/// What the simulation has seen of a database.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) runs: BTreeMap<String, Run>,
    pub(crate) tasks: BTreeMap<String, Vec<Task>>,
    pub(crate) steps: BTreeMap<(String, String), Step>,
    events: BTreeMap<(String, String), Event>,
    workers: BTreeSet<String>,
    /// Events that a sender was told are in: run and delivery.
    acknowledged: BTreeSet<(String, String)>,
    /// How often each step's body was executed.
    pub(crate) effects: BTreeMap<(String, String), u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) status: String,
    pub(crate) output: Option<String>,
    failure: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) cancel_requested: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    /// `ready`, `leased`, `suspended`.
    pub(crate) place: String,
    worker: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) paused: bool,
    blocked: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    position: String,
    kind: String,
    pub(crate) outcome: Option<String>,
    payload: Option<String>,
    due: Option<i64>,
    finished: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    name: String,
    received: i64,
    taken_by: Option<String>,
    delivery: Option<String>,
}

/// Who wrote what is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A worker, under this id if it said one.
    Worker(Option<Uuid>),
    /// Somebody from outside, or nobody is known to have.
    Outside,
}

const STATEMENTS: [(&str, &str); 5] = [
    (
        "sim_runs",
        "select id, status, output, failure, parent, cancel_requested_at is not null from dacapo.run",
    ),
    (
        "sim_tasks",
        "select run_id, 'ready', null, null, false, null from dacapo.task_ready
        union all select run_id, 'leased', worker_id::text, null, false, null from dacapo.task_leased
        union all select run_id, 'suspended', null, reason, paused, blocked from dacapo.task_suspended",
    ),
    (
        "sim_steps",
        "select run_id, key, position, kind, outcome, payload, (extract(epoch from due) * 1000000)::bigint, finished_at from dacapo.step",
    ),
    (
        "sim_events",
        "select run_id, seq, name, (extract(epoch from received_at) * 1000000)::bigint, taken_by, delivery_id from dacapo.event",
    ),
    ("sim_workers", "select id from dacapo.worker"),
];

/// What must hold of every database, as `dacapo doctor` says it.
const DOCTOR: &str = include_str!("../../../store/sql/doctor/invariants.sql");

/// Prepares the looks, once for each server.
pub(crate) fn prepare(server: &mut Server) -> Result<()> {
    for (name, sql) in STATEMENTS {
        server.ask(&format!("prepare {name} as {sql}"))?;
    }
    server.ask(&format!("prepare sim_doctor as {DOCTOR}"))?;
    Ok(())
}

/// What the doctor finds.
pub(crate) fn examine(server: &mut Server) -> Result<Vec<String>> {
    let rows = server.ask("execute sim_doctor")?;
    Ok(rows.iter().map(|row| format!("doctor: {row:?}")).collect())
}

type Row = Vec<Option<String>>;

fn text(row: &Row, at: usize) -> String {
    row[at].clone().unwrap_or_default()
}

fn number(row: &Row, at: usize) -> Option<i64> {
    row[at].as_ref()?.parse().ok()
}

fn is(row: &Row, at: usize) -> bool {
    row[at].as_deref() == Some("t")
}

impl Ledger {
    /// Looks at the database, and says what must not be.
    pub(crate) fn look(&mut self, server: &mut Server, writers: &[Writer]) -> Result<Vec<String>> {
        let rows = server.ask(
            "execute sim_runs; execute sim_tasks; execute sim_steps; execute sim_events; execute sim_workers",
        )?;
        let mut now = Ledger::default();
        for row in &rows {
            match row.len() {
                6 if is_task(row) => {
                    let task = Task {
                        place: text(row, 1),
                        worker: row[2].clone(),
                        reason: row[3].clone(),
                        paused: is(row, 4),
                        blocked: row[5].clone(),
                    };
                    now.tasks.entry(text(row, 0)).or_default().push(task);
                }
                6 if number(row, 1).is_some() => {
                    let event = Event {
                        name: text(row, 2),
                        received: number(row, 3).unwrap_or(0),
                        taken_by: row[4].clone(),
                        delivery: row[5].clone(),
                    };
                    now.events.insert((text(row, 0), text(row, 1)), event);
                }
                6 => {
                    let run = Run {
                        status: text(row, 1),
                        output: row[2].clone(),
                        failure: row[3].clone(),
                        parent: row[4].clone(),
                        cancel_requested: is(row, 5),
                    };
                    now.runs.insert(text(row, 0), run);
                }
                8 => {
                    let step = Step {
                        position: text(row, 2),
                        kind: text(row, 3),
                        outcome: row[4].clone(),
                        payload: row[5].clone(),
                        due: number(row, 6),
                        finished: row[7].clone(),
                    };
                    now.steps.insert((text(row, 0), text(row, 1)), step);
                }
                _ => {
                    now.workers.insert(text(row, 0));
                }
            }
        }
        let mut wrong = Vec::new();
        now.check_rows(&mut wrong);
        self.check_changes(&now, writers, &mut wrong);
        now.acknowledged = std::mem::take(&mut self.acknowledged);
        now.effects = std::mem::take(&mut self.effects);
        for (run, delivery) in &now.acknowledged {
            let is_there = now
                .events
                .iter()
                .any(|((of, _), event)| of == run && event.delivery.as_ref() == Some(delivery));
            if !is_there {
                wrong.push(format!(
                    "run {run} has lost the event {delivery}, which was acknowledged"
                ));
            }
        }
        *self = now;
        Ok(wrong)
    }

    /// What must hold of any state that can be seen.
    fn check_rows(&self, wrong: &mut Vec<String>) {
        for (id, run) in &self.runs {
            let tasks = self.tasks.get(id).map_or(0, Vec::len);
            if run.status == "active" && tasks != 1 {
                wrong.push(format!("run {id} is active and has {tasks} tasks"));
            }
            if run.status != "active" && tasks != 0 {
                wrong.push(format!("run {id} is {} and has {tasks} tasks", run.status));
            }
            if run.status == "failed" {
                wrong.push(format!("run {id} failed: {:?}", run.failure));
            }
        }
        for (run, tasks) in &self.tasks {
            if !self.runs.contains_key(run) {
                wrong.push(format!("there is a task of run {run}, and no such run"));
            }
            for task in tasks {
                if let Some(worker) = &task.worker
                    && !self.workers.contains(worker)
                {
                    wrong.push(format!(
                        "run {run} is leased to {worker}, which is not there"
                    ));
                }
                if let Some(reason) = &task.blocked
                    && !reason.contains("\"poison\"")
                {
                    wrong.push(format!("run {run} is blocked: {reason}"));
                }
            }
        }
        let mut positions = BTreeSet::new();
        for ((run, key), step) in &self.steps {
            if !positions.insert((run, &step.position)) {
                wrong.push(format!(
                    "run {run} has two rows at {}, one is {key}",
                    step.position
                ));
            }
            if !self.runs.contains_key(run) {
                wrong.push(format!("there is a journal of run {run}, and no such run"));
            }
        }
        for ((run, seq), event) in &self.events {
            let Some(key) = &event.taken_by else { continue };
            let step = self.steps.get(&(run.clone(), key.clone()));
            if step.is_none_or(|step| step.outcome.is_none()) {
                wrong.push(format!(
                    "event {seq} of run {run} was taken by {key}, which has no outcome"
                ));
            }
        }
        for ((run, key), step) in &self.steps {
            if step.outcome.as_deref() != Some("timed-out") {
                continue;
            }
            let name = name_in(key);
            let in_time = self.events.iter().any(|((of, _), event)| {
                of == run && event.name == name && step.due.is_some_and(|due| event.received <= due)
            });
            if in_time {
                wrong.push(format!(
                    "run {run}: {key} timed out, and its event came in time"
                ));
            }
        }
    }

    /// What must hold between what was seen before and now.
    fn check_changes(&self, now: &Ledger, writers: &[Writer], wrong: &mut Vec<String>) {
        for (id, run) in &self.runs {
            match now.runs.get(id) {
                None => wrong.push(format!("run {id} is gone")),
                Some(after) if run.status != "active" && after != run => {
                    wrong.push(format!(
                        "run {id} had ended, and was changed: {run:?}, {after:?}"
                    ));
                }
                Some(_) => {}
            }
        }
        for (place, step) in &self.steps {
            let (run, key) = place;
            match now.steps.get(place) {
                None => wrong.push(format!("run {run}: {key} is gone from the journal")),
                Some(after) if step.outcome.is_some() && after != step => {
                    wrong.push(format!(
                        "run {run}: {key} was recorded, and is another: {step:?}, {after:?}"
                    ));
                }
                Some(after) if after.position != step.position => {
                    wrong.push(format!("run {run}: {key} has moved"));
                }
                Some(_) => {}
            }
        }
        for (place, event) in &self.events {
            match now.events.get(place) {
                None => wrong.push(format!("run {} has lost an event", place.0)),
                Some(after) if event.taken_by.is_some() && after != event => {
                    wrong.push(format!("run {}: an event was taken twice", place.0));
                }
                Some(_) => {}
            }
        }
        for (place, step) in &now.steps {
            let before = self.steps.get(place);
            if before == Some(step) {
                continue;
            }
            let (run, key) = place;
            let holder = self.holder(run);
            let is_allowed = |writer: &Writer| match writer {
                Writer::Worker(Some(id)) => holder.as_deref() == Some(&id.to_string()),
                // Whoever resumes a run writes the outcome of its pause.
                Writer::Worker(None) | Writer::Outside => step.kind == "pause",
            };
            if !writers.iter().any(is_allowed) {
                wrong.push(format!(
                    "run {run}: {key} was written by {writers:?}, and {holder:?} held the run"
                ));
            }
        }
        for (id, run) in &now.runs {
            let ended = self
                .runs
                .get(id)
                .is_some_and(|before| before.status == "active")
                && run.status != "active";
            let holder = self.holder(id);
            let is_allowed = |writer: &Writer| match writer {
                Writer::Worker(Some(worker)) => holder.as_deref() == Some(&worker.to_string()),
                // One that nobody plays may be ended by anybody.
                Writer::Worker(None) | Writer::Outside => holder.is_none(),
            };
            if ended && !writers.iter().any(is_allowed) {
                wrong.push(format!(
                    "run {id} was ended by {writers:?}, and {holder:?} held it"
                ));
            }
        }
    }

    /// The worker that holds a run.
    pub(crate) fn holder(&self, run: &str) -> Option<String> {
        self.tasks.get(run)?.first()?.worker.clone()
    }

    /// A sender was told that an event is in.
    pub(crate) fn acknowledge(&mut self, run: &str, delivery: &str) {
        self.acknowledged
            .insert((run.to_owned(), delivery.to_owned()));
    }

    /// A body was executed by a worker under this id: says what must not be.
    pub(crate) fn effect(
        &mut self,
        run: &str,
        key: &str,
        done: &str,
        worker: Option<Uuid>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let place = (run.to_owned(), key.to_owned());
        // A worker that was fenced does not know it yet, and may be in the middle of a body; nothing that it records is written.
        let holds = worker.is_some_and(|id| self.holder(run) == Some(id.to_string()));
        let recorded = self
            .steps
            .get(&place)
            .and_then(|step| step.outcome.as_ref());
        if let (true, Some(outcome)) = (holds, recorded) {
            wrong.push(format!(
                "run {run}: {key} is recorded as {outcome}, and was executed again"
            ));
        }
        for name in done.split(',').filter(|name| !name.is_empty()) {
            // What was only said has no row; a child that was awaited has two.
            if name.starts_with("say") {
                continue;
            }
            let is_durable = self.steps.iter().any(|((of, key), step)| {
                of == run && name_in(key) == name && step.outcome.is_some()
            });
            if !is_durable {
                wrong.push(format!(
                    "run {run}: {key} was executed, and {name} before it is not durable"
                ));
            }
        }
        *self.effects.entry(place).or_default() += 1;
        wrong
    }

    /// The run that began it all for this one: itself, if it is no child.
    pub(crate) fn ancestor<'a>(&'a self, run: &'a str) -> &'a str {
        match self.runs.get(run).and_then(|known| known.parent.as_deref()) {
            Some(parent) => self.ancestor(parent),
            None => run,
        }
    }

    /// Whether all runs have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.runs.values().all(|run| run.status != "active")
    }

    /// A few words about each run that has not ended.
    pub(crate) fn left(&self) -> Vec<String> {
        let active = self.runs.iter().filter(|(_, run)| run.status == "active");
        active
            .map(|(id, _)| {
                let steps = self.steps.iter().filter(|((run, _), _)| run == id);
                let open: Vec<&str> = steps
                    .filter(|(_, step)| step.outcome.is_none())
                    .map(|((_, key), _)| key.as_str())
                    .collect();
                format!(
                    "run {id} has not ended: {:?}, open: {open:?}",
                    self.tasks.get(id)
                )
            })
            .collect()
    }
}

fn is_task(row: &Row) -> bool {
    matches!(row[1].as_deref(), Some("ready" | "leased" | "suspended"))
}

/// The name in a key: `fork#1/0/step#1` is about `step`.
pub(crate) fn name_in(key: &str) -> &str {
    let last = key.rsplit('/').next().unwrap_or(key);
    last.split('#').next().unwrap_or(last)
}

impl Journals for Ledger {
    fn outcome(&self, run: &str, name: &str) -> Option<(String, Option<String>)> {
        self.steps
            .iter()
            .find(|((of, key), _)| of == run && name_in(key) == name)
            .and_then(|(_, step)| Some((step.outcome.clone()?, step.payload.clone())))
    }
}
