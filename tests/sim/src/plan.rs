//! What a seed decides before anything happens.

use std::time::Duration;

use dacapo_worker::WorkerConfig;
use fastrand::Rng;

use crate::script::{self, Deed};

/// A run, and what is sent to it.
pub(crate) struct PlannedRun {
    pub(crate) deeds: Vec<Deed>,
    /// Its id, once somebody was told.
    pub(crate) id: Option<String>,
}

/// Something that somebody outside wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To start a run.
    Start(usize),
    /// To send a run an event.
    Send(usize, String),
    Pause(usize),
    Resume(usize),
    Cancel(usize),
    /// To resume a run that waits for that, of which only the id is known.
    ResumeById(String),
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
    /// Time jumps by more than a lease.
    pub(crate) jump: u32,
}

pub(crate) struct Plan {
    pub(crate) runs: Vec<PlannedRun>,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) workers: usize,
    pub(crate) config: WorkerConfig,
    pub(crate) faults: Faults,
    /// So many things happen before all faults stop.
    pub(crate) actions: u32,
}

impl Plan {
    pub(crate) fn make(rng: &mut Rng) -> Self {
        let count = rng.usize(1..=4);
        let size = rng.u32(1..=6);
        let runs: Vec<PlannedRun> = (0..count)
            .map(|_| PlannedRun {
                deeds: script::make(rng, size),
                id: None,
            })
            .collect();
        let mut wishes = Vec::new();
        for (at, run) in runs.iter().enumerate() {
            wishes.push(Wish::Start(at));
            for event in script::events(&run.deeds) {
                wishes.push(Wish::Send(at, event.clone()));
                // Whoever does not know whether it arrived sends it again.
                if rng.u32(0..4) == 0 {
                    wishes.push(Wish::Send(at, event));
                }
            }
            if rng.u32(0..6) == 0 {
                wishes.push(Wish::Pause(at));
                wishes.push(Wish::Resume(at));
            }
            if rng.u32(0..8) == 0 {
                wishes.push(Wish::Cancel(at));
            }
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
            jump: some(20),
        }
    }

    /// Nothing goes wrong at all, so each body is executed once for each attempt.
    pub(crate) fn are_none(&self) -> bool {
        *self == Self::default()
    }
}
