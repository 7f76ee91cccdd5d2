//! What a seed decides before anything happens.

use std::time::Duration;

use anyhow::Result;
use dacapo_model::{CatchUp, Overlap, SchedulePlan, Ticks, Timestamp};
use dacapo_worker::WorkerConfig;
use fastrand::Rng;

use crate::script::{self, Deed, Taste};
use crate::world::quoted;

/// A run, and what is sent to it.
pub(crate) struct PlannedRun {
    pub(crate) deeds: Vec<Deed>,
    /// Its id, once somebody was told.
    pub(crate) id: Option<String>,
    /// It fails when it has not ended after so many milliseconds.
    pub(crate) deadline: Option<u64>,
    /// It is in the seed's queue, under this key.
    pub(crate) queued: Option<Option<String>>,
    pub(crate) priority: i64,
    pub(crate) singleton: Option<Singleton>,
}

/// At most one run that has begun and not ended has a key.
pub(crate) struct Singleton {
    pub(crate) key: &'static str,
    /// What becomes of one that comes while there is another.
    pub(crate) conflict: &'static str,
}

/// A schedule, and what its runs do.
pub(crate) struct PlannedSchedule {
    pub(crate) deeds: Vec<Deed>,
    jitter: Duration,
    catch_up: CatchUp,
    pub(crate) rhythm: Rhythm,
}

/// When ticks come, and what becomes of those that overlap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    pub(crate) every_s: i64,
    pub(crate) overlap: Overlap,
}

impl PlannedSchedule {
    fn make(rng: &mut Rng, taste: Taste) -> Self {
        let taste = Taste {
            size: rng.u32(1..=3),
            depth: 1,
            waits: false,
            ..taste
        };
        Self {
            deeds: script::make(rng, taste),
            jitter: Duration::from_millis(if rng.bool() { rng.u64(0..2_000) } else { 0 }),
            catch_up: CatchUp::ALL[rng.usize(0..CatchUp::ALL.len())],
            rhythm: Rhythm {
                every_s: rng.i64(2..=6),
                overlap: Overlap::ALL[rng.usize(0..Overlap::ALL.len())],
            },
        }
    }

    /// The statement that makes it, at this time.
    pub(crate) fn sql(&self, now: i64) -> Result<String> {
        let Rhythm { every_s, overlap } = self.rhythm;
        let plan = SchedulePlan {
            namespace: "default".to_owned(),
            name: "beat".to_owned(),
            workflow: "test:script/script.play".to_owned(),
            ticks: Ticks::every(Duration::from_secs(every_s.unsigned_abs()))?,
            jitter: self.jitter,
            overlap,
            catch_up: self.catch_up,
        };
        let micros = every_s * 1_000_000;
        let tick = Timestamp::from_micros((now / micros + 1) * micros);
        let input = serde_json::to_string(&script::text(&self.deeds))?;
        let at = |time: Timestamp| {
            format!(
                "'epoch'::timestamptz + {} * interval '1 microsecond'",
                time.as_micros()
            )
        };
        Ok(format!(
            "with made as (
                insert into dacapo.schedule (
                    namespace, name, workflow, input, every_s, jitter_ms, overlap, catch_up, next_tick, next_at
                )
                values ('{}', '{}', '{}', {}, {every_s}, {}, '{overlap}', '{}', {}, {})
                returning name
            )
            select name, pg_notify('dacapo_schedule', '')::text from made",
            plan.namespace,
            plan.name,
            plan.workflow,
            quoted(&input),
            self.jitter.as_millis(),
            self.catch_up,
            at(tick),
            at(plan.due_at(tick)),
        ))
    }
}

/// The limits of a seed's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Runs that are on their way.
    pub(crate) runs: usize,
    /// The same for each key.
    pub(crate) per_key: Option<usize>,
    /// So many begin in so many milliseconds.
    pub(crate) rate: Option<(u32, u32)>,
}

/// Something that somebody outside wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To start a run.
    Start(usize),
    /// To send a run an event with a payload.
    Send(usize, String, u32),
    Pause(usize),
    Resume(usize),
    Cancel(usize),
    /// To resume a run that waits for that, of which only the id is known.
    ResumeById(String),
    /// To have a workflow started again and again.
    Schedule,
    /// To have that end.
    Unschedule,
}

impl Wish {
    /// The run that it is about, of those that have one.
    pub(crate) fn run(&self) -> Option<usize> {
        match self {
            Self::Send(run, ..) | Self::Pause(run) | Self::Resume(run) | Self::Cancel(run) => {
                Some(*run)
            }
            Self::Start(_) | Self::ResumeById(_) | Self::Schedule | Self::Unschedule => None,
        }
    }
}

/// How often things go wrong, in thousandths of the times when they could.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// A worker dies at a failpoint.
    pub(crate) failpoint: u32,
    /// A worker dies between two of its statements.
    pub(crate) kill: u32,
    /// A worker stops for a while.
    pub(crate) freeze: u32,
    /// A worker is asked to drain.
    pub(crate) drain: u32,
    /// A connection breaks.
    pub(crate) cut: u32,
    /// All of them break, and none can be had for a while.
    pub(crate) outage: u32,
    /// A statement never arrives, and its connection is lost.
    pub(crate) lost_before: u32,
    /// A statement is carried out, and its connection is lost before it is answered.
    pub(crate) lost_after: u32,
    /// An answer comes late.
    pub(crate) late: u32,
    /// A commit takes long.
    pub(crate) slow: u32,
    /// A statement collides with another one.
    pub(crate) collide: u32,
    /// A notification is lost.
    pub(crate) unheard: u32,
    /// What was sent on a connection is stuck for a while, and arrives when much else has happened.
    pub(crate) stuck: u32,
    /// Time jumps by more than a lease.
    pub(crate) jump: u32,
    /// Some connections are held up much more than others; how often that changes.
    pub(crate) uneven: u32,
}

pub(crate) struct Plan {
    pub(crate) runs: Vec<PlannedRun>,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) workers: usize,
    pub(crate) config: WorkerConfig,
    pub(crate) faults: Faults,
    /// The limits of the queue that some of the runs are in.
    pub(crate) limits: Option<Limits>,
    pub(crate) schedule: Option<PlannedSchedule>,
    /// Runs are deleted a while after they have ended.
    pub(crate) forgets: bool,
    /// So many things happen before all faults stop.
    pub(crate) actions: u32,
}

impl Plan {
    pub(crate) fn make(rng: &mut Rng) -> Self {
        let count = rng.usize(1..=4);
        let taste = Taste {
            size: rng.u32(1..=6),
            depth: 2,
            waits: true,
            sql: rng.u32(0..6) == 0,
        };
        let limits = (count > 1 && rng.u32(0..4) == 0).then(|| Limits {
            runs: rng.usize(1..=2),
            per_key: rng.bool().then_some(1),
            rate: (rng.u32(0..3) == 0).then(|| (rng.u32(1..=2), rng.u32(500..3_000))),
        });
        let has_singletons = count > 1 && rng.u32(0..4) == 0;
        let runs: Vec<PlannedRun> = (0..count)
            .map(|_| PlannedRun {
                deeds: script::make(rng, taste),
                id: None,
                deadline: (rng.u32(0..6) == 0).then(|| rng.u64(200..6_000)),
                queued: (limits.is_some() && rng.u32(0..5) > 0).then(|| {
                    let key = rng.u32(0..3);
                    (key > 0).then(|| format!("key{key}"))
                }),
                priority: if rng.u32(0..4) == 0 {
                    rng.i64(-2..=2)
                } else {
                    0
                },
                singleton: (has_singletons && rng.u32(0..6) > 0).then(|| Singleton {
                    key: if rng.u32(0..5) == 0 { "two" } else { "one" },
                    conflict: ["queue", "replace", "reject"][rng.usize(0..3)],
                }),
            })
            .collect();
        let schedule = (rng.u32(0..6) == 0).then(|| PlannedSchedule::make(rng, taste));
        let mut wishes = Vec::new();
        for (at, run) in runs.iter().enumerate() {
            wishes.push(Wish::Start(at));
            for (number, event) in (1_000..).zip(script::events(&run.deeds)) {
                let payload = match script::is_shared(&event) {
                    true => number,
                    false => script::payload(&event),
                };
                wishes.push(Wish::Send(at, event.clone(), payload));
                // Whoever does not know whether it arrived sends it again.
                if rng.u32(0..4) == 0 {
                    wishes.push(Wish::Send(at, event, payload));
                }
            }
            if rng.u32(0..4) == 0 {
                wishes.push(Wish::Pause(at));
                wishes.push(Wish::Resume(at));
            }
            if rng.u32(0..8) == 0 {
                wishes.push(Wish::Cancel(at));
            }
        }
        if schedule.is_some() {
            wishes.push(Wish::Schedule);
        }
        let lease = Duration::from_millis(2_000);
        let config = WorkerConfig {
            runs_max: rng.u32(1..=6),
            claim_max: rng.u32(1..=4),
            lease,
            heartbeat: Duration::from_millis(600),
            drain_grace: Duration::from_millis(500),
            writers: rng.u16(1..=2),
            flush_max: rng.u32(1..=8),
            guest_threads: 1,
            ..WorkerConfig::default()
        };
        Self {
            runs,
            wishes,
            workers: rng.usize(1..=3),
            config,
            faults: Faults::make(rng),
            limits,
            schedule,
            forgets: rng.u32(0..8) == 0,
            actions: rng.u32(60..400),
        }
    }
}

impl Faults {
    /// Each seed has some kinds of faults and not the others, so that each kind is also seen alone.
    fn make(rng: &mut Rng) -> Self {
        if rng.u32(0..8) == 0 {
            return Self::default();
        }
        match rng.u32(0..9) {
            0 | 1 => return Self::leaving(),
            2 | 3 => return Self::doubtful(),
            _ => {}
        }
        let mut some = |often: u32| match rng.u32(0..3) {
            0 => 0,
            1 => often / 4,
            _ => often,
        };
        Self {
            failpoint: some(60),
            kill: some(15),
            freeze: some(15),
            drain: some(6),
            cut: some(20),
            outage: some(6),
            lost_before: some(60),
            lost_after: some(60),
            late: some(200),
            slow: some(150),
            collide: some(60),
            unheard: some(700),
            stuck: some(60),
            jump: some(20),
            uneven: some(60),
        }
    }

    /// Workers are asked to drain while flushes of theirs are on their way, and die while they hand their runs back.
    fn leaving() -> Self {
        Self {
            kill: 15,
            drain: 30,
            cut: 30,
            late: 100,
            slow: 150,
            stuck: 80,
            uneven: 60,
            ..Self::default()
        }
    }

    /// Connections break with flushes on their way, of which nobody knows what became, and which may be carried out much later.
    fn doubtful() -> Self {
        Self {
            cut: 60,
            lost_before: 30,
            lost_after: 100,
            slow: 100,
            stuck: 60,
            uneven: 60,
            ..Self::default()
        }
    }

    /// Nothing goes wrong at all, so each body is executed once for each attempt.
    pub(crate) fn are_none(&self) -> bool {
        *self == Self::default()
    }
}
