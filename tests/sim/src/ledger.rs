//! What the database has said so far, and what must hold between two looks at it.

mod starts;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use uuid::Uuid;

use crate::plan::{Limits, Rhythm};
use crate::script::{self, Journals};
use crate::server::Server;

/// What the simulation has seen of a database.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) runs: BTreeMap<String, Run>,
    pub(crate) tasks: BTreeMap<String, Vec<Task>>,
    pub(crate) steps: BTreeMap<(String, String), Step>,
    events: BTreeMap<(String, i64), Event>,
    workers: BTreeSet<String>,
    /// How many rows each SQL step has written: by run and name.
    written: BTreeMap<(String, String), i64>,
    /// Events that a sender was told are in: run and delivery.
    acknowledged: BTreeSet<(String, String)>,
    /// How often each step's body was executed.
    pub(crate) effects: BTreeMap<(String, String), u32>,
    /// Those of the queue.
    pub(crate) limits: Option<Limits>,
    pub(crate) schedule: Option<Schedule>,
    /// That of the schedule.
    pub(crate) rhythm: Option<Rhythm>,
    /// Runs are deleted once they have ended.
    pub(crate) forgets: bool,
    /// The time of the last look, in microseconds.
    time: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) status: String,
    pub(crate) output: Option<String>,
    failure: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) cancel_requested: bool,
    finished: Option<i64>,
    deadline: Option<i64>,
    singleton: Option<String>,
    /// The tick of the schedule that it was started for.
    pub(crate) tick: Option<i64>,
}

/// How long runs are kept once they have ended, in seconds: those that were completed, and others. No sweep looks at runs
/// that were created less than the shortest time ago, so that of short runs only the longer one tells whether they are kept for as long as they are to be.
pub(crate) const KEPT_S: (i64, i64) = (60, 600);

impl Run {
    fn may_be_forgotten(&self, now: i64) -> bool {
        let kept = match self.status.as_str() {
            "completed" => KEPT_S.0,
            _ => KEPT_S.1,
        };
        self.status != "active"
            && self
                .finished
                .is_some_and(|finished| finished + kept * 1_000_000 <= now)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) paused: bool,
    next: Option<i64>,
    passed: Option<(i64, Option<i64>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    /// `ready`, `leased`, `suspended`.
    pub(crate) place: String,
    worker: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) paused: bool,
    blocked: Option<String>,
    /// What it waits for.
    pub(crate) events: Vec<String>,
    is_queued: bool,
    key: String,
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
    payload: String,
}

/// Who wrote what is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A worker, under this id if it said one.
    Worker(Option<Uuid>),
    /// Somebody from outside, or nobody is known to have.
    Outside,
}

/// A worker's clock may be ahead of the database's by so many microseconds.
const CLOCKS_APART: i64 = 100_000;

const STATEMENTS: [(&str, &str); 7] = [
    (
        "sim_runs",
        "select 'run', id, status, output, failure, parent, cancel_requested_at is not null,
            (extract(epoch from finished_at) * 1000000)::bigint, (extract(epoch from deadline) * 1000000)::bigint,
            singleton_key, (extract(epoch from (labels ->> 'dacapo.tick')::timestamptz) * 1000000)::bigint
        from dacapo.run",
    ),
    (
        "sim_tasks",
        "select 'task', run_id, 'ready', null, null, false, null, null, queue is not null, queue_key from dacapo.task_ready
        union all select 'task', run_id, 'leased', worker_id::text, null, false, null, null, queue is not null, queue_key
        from dacapo.task_leased
        union all select 'task', run_id, 'suspended', null, reason, paused, blocked, array_to_string(events, '#'), queue is not null,
            queue_key
        from dacapo.task_suspended",
    ),
    (
        "sim_steps",
        "select 'step', run_id, key, position, kind, outcome, payload, (extract(epoch from due) * 1000000)::bigint, finished_at from dacapo.step",
    ),
    (
        "sim_events",
        "select 'event', run_id, seq, name, (extract(epoch from received_at) * 1000000)::bigint, taken_by, delivery_id, payload
        from dacapo.event",
    ),
    (
        "sim_schedules",
        "select 'schedule', name, paused, (extract(epoch from next_tick) * 1000000)::bigint,
            (extract(epoch from passed_from) * 1000000)::bigint, (extract(epoch from passed_until) * 1000000)::bigint
        from dacapo.schedule",
    ),
    (
        "sim_effects",
        "select 'effect', run, step, count(*) from public.effect group by run, step",
    ),
    ("sim_workers", "select 'worker', id from dacapo.worker"),
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

/// What is left of runs that are gone.
pub(crate) fn rests(server: &mut Server) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (table, run) in [
        ("step", "run_id"),
        ("attempt", "run_id"),
        ("event", "run_id"),
        ("log", "run_id"),
        ("progress", "run_id"),
        ("intervention", "run_id"),
        ("unsuccessful", "run_id"),
        ("deadline", "run_id"),
        ("singleton", "run_id"),
        ("child", "parent"),
    ] {
        let rows = server.ask(&format!(
            "select distinct {run} from dacapo.{table} where {run} not in (select id from dacapo.run)"
        ))?;
        found.extend(rows.iter().map(|row| {
            format!(
                "there are rows of {table} of run {}, and no such run",
                text(row, 0)
            )
        }));
    }
    Ok(found)
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
    pub(crate) fn look(
        &mut self,
        server: &mut Server,
        writers: &[Writer],
        time: i64,
    ) -> Result<Vec<String>> {
        let rows = server.ask(
            "execute sim_runs; execute sim_tasks; execute sim_steps; execute sim_events; execute sim_schedules;
            execute sim_effects; execute sim_workers",
        )?;
        let mut now = Ledger {
            limits: self.limits,
            rhythm: self.rhythm,
            forgets: self.forgets,
            time,
            ..Ledger::default()
        };
        for row in &rows {
            let id = text(row, 1);
            match row[0].as_deref() {
                Some("task") => {
                    let task = Task {
                        place: text(row, 2),
                        worker: row[3].clone(),
                        reason: row[4].clone(),
                        paused: is(row, 5),
                        blocked: row[6].clone(),
                        events: text(row, 7).split('#').map(str::to_owned).collect(),
                        is_queued: is(row, 8),
                        key: text(row, 9),
                    };
                    now.tasks.entry(id).or_default().push(task);
                }
                Some("event") => {
                    let event = Event {
                        name: text(row, 3),
                        received: number(row, 4).unwrap_or(0),
                        taken_by: row[5].clone(),
                        delivery: row[6].clone(),
                        payload: text(row, 7),
                    };
                    let seq = number(row, 2).unwrap_or(0);
                    now.events.insert((id, seq), event);
                }
                Some("run") => {
                    let run = Run {
                        status: text(row, 2),
                        output: row[3].clone(),
                        failure: row[4].clone(),
                        parent: row[5].clone(),
                        cancel_requested: is(row, 6),
                        finished: number(row, 7),
                        deadline: number(row, 8),
                        singleton: row[9].clone(),
                        tick: number(row, 10),
                    };
                    now.runs.insert(id, run);
                }
                Some("effect") => {
                    let rows = number(row, 3).unwrap_or(0);
                    now.written.insert((id, text(row, 2)), rows);
                }
                Some("schedule") => {
                    now.schedule = Some(Schedule {
                        paused: is(row, 2),
                        next: number(row, 3),
                        passed: number(row, 4).map(|from| (from, number(row, 5))),
                    });
                }
                Some("step") => {
                    let step = Step {
                        position: text(row, 3),
                        kind: text(row, 4),
                        outcome: row[5].clone(),
                        payload: row[6].clone(),
                        due: number(row, 7),
                        finished: row[8].clone(),
                    };
                    now.steps.insert((id, text(row, 2)), step);
                }
                _ => {
                    now.workers.insert(id);
                }
            }
        }
        let mut wrong = Vec::new();
        now.check_rows(&mut wrong);
        now.check_waiting(&mut wrong);
        now.check_queue(&mut wrong);
        now.check_sql_steps(&mut wrong);
        now.check_singletons(&mut wrong);
        self.check_schedule(&now, &mut wrong);
        self.check_changes(&now, writers, &mut wrong);
        now.acknowledged = std::mem::take(&mut self.acknowledged);
        now.effects = std::mem::take(&mut self.effects);
        for (run, delivery) in &now.acknowledged {
            let is_there = now
                .events
                .iter()
                .any(|((of, _), event)| of == run && event.delivery.as_ref() == Some(delivery));
            if !is_there && now.runs.contains_key(run) {
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
            let is_late = run
                .deadline
                .is_some_and(|deadline| run.finished >= Some(deadline - CLOCKS_APART));
            let failure = run.failure.as_deref().unwrap_or_default();
            if run.status == "failed" && !(is_late && failure.contains("\"deadline\"")) {
                wrong.push(format!("run {id} failed: {failure}"));
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
            if step.kind == "wait" {
                self.check_wait(run, key, step, wrong);
            }
        }
    }

    /// A wait that took an event has taken one, and it is what the wait says; one that timed out has left none behind that came in time.
    fn check_wait(&self, run: &str, key: &str, step: &Step, wrong: &mut Vec<String>) {
        let all = || self.events.iter().filter(|((of, _), _)| of == run);
        let names = script::awaited(name_in(key));
        match step.outcome.as_deref() {
            Some("timed-out") => {
                let in_time = all().any(|(_, event)| {
                    event.taken_by.is_none()
                        && names.contains(&event.name.as_str())
                        && step.due.is_some_and(|due| event.received <= due)
                });
                if in_time {
                    wrong.push(format!(
                        "run {run}: {key} timed out, and its event came in time"
                    ));
                }
            }
            // The others are waits for children.
            Some("ok") if key.contains("event") => {
                let taken: Vec<_> = all()
                    .filter(|(_, event)| event.taken_by.as_deref() == Some(key))
                    .collect();
                let payload = step.payload.as_deref().unwrap_or_default();
                let is_its = |event: &Event| {
                    payload == event.payload
                        || payload == format!("[\"{}\",{}]", event.name, event.payload)
                };
                match taken[..] {
                    [(_, event)] if is_its(event) => {}
                    _ => wrong.push(format!(
                        "run {run}: {key} has come to {payload}, and has taken {taken:?}"
                    )),
                }
            }
            _ => {}
        }
    }

    /// A SQL step has written its row if it is recorded, and only then.
    fn check_sql_steps(&self, wrong: &mut Vec<String>) {
        let recorded: BTreeSet<(&str, &str)> = self
            .steps
            .iter()
            .filter(|(_, step)| step.outcome.as_deref() == Some("ok"))
            .map(|((run, key), _)| (run.as_str(), name_in(key)))
            .filter(|(_, name)| name.starts_with("sql"))
            .collect();
        for (run, name) in &recorded {
            if !self
                .written
                .contains_key(&((*run).to_owned(), (*name).to_owned()))
            {
                wrong.push(format!(
                    "run {run}: {name} is recorded, and its row is not there"
                ));
            }
        }
        for ((run, name), rows) in &self.written {
            // One that was deleted has left its rows behind.
            let is_recorded =
                recorded.contains(&(run.as_str(), name.as_str())) || !self.runs.contains_key(run);
            if *rows > 1 || !is_recorded {
                wrong.push(format!(
                    "run {run}: {name} has written {rows} rows, and is {}recorded",
                    if is_recorded { "" } else { "not " }
                ));
            }
        }
    }

    /// No run waits for what is there.
    fn check_waiting(&self, wrong: &mut Vec<String>) {
        for ((run, key), step) in &self.steps {
            if step.kind != "wait" || step.outcome.is_some() {
                continue;
            }
            let waits = self.tasks.get(run).into_iter().flatten().any(|task| {
                task.place == "suspended" && !task.paused && task.reason.as_deref() == Some("event")
            });
            let names = script::awaited(name_in(key));
            let is_there = self.events.iter().any(|((of, _), event)| {
                of == run
                    && event.taken_by.is_none()
                    && names.contains(&event.name.as_str())
                    && step.due.is_none_or(|due| event.received <= due)
            });
            if waits && is_there {
                wrong.push(format!(
                    "run {run} is suspended and waits in {key} for an event that is there"
                ));
            }
        }
    }

    /// No more runs of the queue are on their way than its limits allow.
    fn check_queue(&self, wrong: &mut Vec<String>) {
        let Some(limits) = self.limits else { return };
        let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
        let tasks = self.tasks.values().flatten();
        for task in tasks.filter(|task| task.is_queued && task.place != "suspended") {
            *keys.entry(&task.key).or_default() += 1;
        }
        let all: usize = keys.values().sum();
        if all > limits.runs {
            wrong.push(format!(
                "{all} runs of the queue are on their way, and {} may be",
                limits.runs
            ));
        }
        for (key, runs) in keys {
            if let Some(per_key) = limits.per_key
                && !key.is_empty()
                && runs > per_key
            {
                wrong.push(format!(
                    "{runs} runs of the queue's key {key} are on their way, and {per_key} may be"
                ));
            }
        }
    }

    /// What must hold between what was seen before and now.
    fn check_changes(&self, now: &Ledger, writers: &[Writer], wrong: &mut Vec<String>) {
        // What is deleted goes as a whole.
        let is_kept = |run: &String| now.runs.contains_key(run) || !self.runs.contains_key(run);
        for (id, run) in &self.runs {
            match now.runs.get(id) {
                None if now.forgets && run.may_be_forgotten(now.time) => {}
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
                None if !is_kept(run) => {}
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
                None if !is_kept(&place.0) => {}
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
        for (place, event) in &now.events {
            let is_new = self
                .events
                .get(place)
                .is_none_or(|event| event.taken_by.is_none());
            if !is_new || event.taken_by.is_none() {
                continue;
            }
            let older = now.events.iter().find(|((run, seq), older)| {
                *run == place.0
                    && *seq < place.1
                    && older.name == event.name
                    && older.taken_by.is_none()
            });
            if let Some(((run, seq), _)) = older {
                wrong.push(format!(
                    "run {run}: the event {} was taken, and {seq} of the same name is older",
                    place.1
                ));
            }
        }
        for (id, tasks) in &self.tasks {
            let holds = |task: &Task| task.place == "suspended" && task.paused;
            let was_held = tasks.iter().any(holds);
            let Some(after) = now.tasks.get(id).filter(|_| was_held) else {
                continue;
            };
            let is_asked = writers.contains(&Writer::Outside)
                || now.runs.get(id).is_some_and(|run| run.cancel_requested);
            if !is_asked && !after.iter().any(holds) {
                wrong.push(format!(
                    "run {id} was paused, and goes on although nobody asked for it: {writers:?}"
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
                // A schedule cancels its last run, and names it.
                Writer::Worker(Some(other)) if now.runs.contains_key(&other.to_string()) => {
                    holder.is_none()
                }
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
