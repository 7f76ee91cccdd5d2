//! One seed: workers, their connections, the time, and whatever befalls them.
//!
//! All that happens is a choice of the seed: which of the statements that are on their way is carried out next, which answer arrives, how
//! far the clock moves, who dies. Between two choices every worker does whatever it can do by itself. The server carries out one statement at
//! a time, but for those that wait for a lock, which are stopped and go on one after the other, so nothing depends on who is faster.

mod choices;
mod links;
mod people;
mod verdict;
mod workers;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use fastrand::Rng;
use uuid::Uuid;

use crate::Theatre;
use crate::ledger::{self, Ledger};
use crate::plan::Plan;
use crate::server::Went;

use self::links::{Doing, Link};
use self::people::QUEUE;
pub(crate) use self::people::quoted;
use self::workers::{Place, read};

/// When each simulation begins, in microseconds: 1 January 2030.
pub(crate) const BEGINNING: i64 = 1_893_456_000_000_000;

/// After so many choices without faults all runs must have ended.
const PATIENCE: u32 = 8_000;

/// So many choices with faults are made while runs are deleted that have ended.
const FORGETTING: u32 = 120;

/// What is seen from within workers.
struct Shared {
    rng: Rng,
    ledger: Ledger,
    /// The worker that has its turn.
    current: Option<usize>,
    /// It died in this turn.
    died: bool,
    /// Its connections.
    streams: Vec<(u32, Rc<UnixStream>)>,
    /// What it had sent when it died.
    last_words: Vec<(u32, Vec<u8>)>,
    /// The id that each worker goes by.
    incarnations: Vec<Option<Uuid>>,
    /// How often a worker dies at a failpoint, in thousandths.
    failpoint: u32,
    wrong: Vec<String>,
    notes: Vec<String>,
    deaths: Deaths,
}

/// How often workers died, by where: a failpoint's name, or [`KILLED`] and [`KILLED_ASKING`].
pub type Deaths = BTreeMap<&'static str, u32>;

/// A worker died at no failpoint, while nothing of its was under way.
pub const KILLED: &str = "killed";

/// A worker died at no failpoint, and something that it had sent was under way: a flush, a claim, a heartbeat.
pub const KILLED_ASKING: &str = "killed-asking";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Worker(usize),
    Outside,
}

/// What came of a seed.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What must not have been.
    pub wrong: Vec<String>,
    /// How many choices were made.
    pub choices: u32,
    /// Where workers died.
    pub deaths: Deaths,
    /// What happened, if that was asked for.
    pub trace: Vec<String>,
}

pub(crate) struct World<'a> {
    theatre: &'a mut Theatre,
    rng: Rng,
    plan: Plan,
    now: i64,
    links: BTreeMap<u32, Link>,
    next_link: u32,
    places: Vec<Place>,
    shared: Rc<RefCell<Shared>>,
    outage: bool,
    calm: bool,
    /// Time goes by in long steps.
    aeons: bool,
    choices: u32,
    trace: Option<Vec<String>>,
}

/// Plays a seed.
pub(crate) fn play(theatre: &mut Theatre, seed: u64, traced: bool) -> Result<Report> {
    theatre.reset()?;
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    let plan = Plan::make(&mut rng);
    let shared = Shared {
        rng: Rng::with_seed(seed ^ 0x5eed),
        ledger: Ledger::default(),
        current: None,
        died: false,
        streams: Vec::new(),
        last_words: Vec::new(),
        incarnations: vec![None; plan.workers],
        failpoint: plan.faults.failpoint,
        wrong: Vec::new(),
        notes: Vec::new(),
        deaths: Deaths::new(),
    };
    let mut world = World {
        theatre,
        rng,
        plan,
        now: BEGINNING,
        links: BTreeMap::new(),
        next_link: 1,
        places: Vec::new(),
        shared: Rc::new(RefCell::new(shared)),
        outage: false,
        calm: false,
        aeons: false,
        choices: 0,
        trace: traced.then(Vec::new),
    };
    world.watch();
    let played = world.play();
    dacapo_worker::sim::set_fate(None);
    dacapo_sandbox::watch_effects(None);
    let wrong = match played {
        Ok(()) => std::mem::take(&mut world.shared.borrow_mut().wrong),
        Err(error) => {
            world.theatre.broken = true;
            vec![format!("the simulation broke: {error:#}")]
        }
    };
    world.clear()?;
    let deaths = std::mem::take(&mut world.shared.borrow_mut().deaths);
    Ok(Report {
        deaths,
        seed,
        wrong,
        choices: world.choices,
        trace: world.trace.take().unwrap_or_default(),
    })
}

impl World<'_> {
    /// Has failpoints and effects reported here.
    fn watch(&self) {
        let shared = Rc::clone(&self.shared);
        dacapo_worker::sim::set_fate(Some(Box::new(move |failpoint| {
            let shared = &mut *shared.borrow_mut();
            if shared.current.is_none() || shared.died {
                return false;
            }
            if shared.failpoint == 0 || shared.rng.u32(0..1_000) >= shared.failpoint {
                return false;
            }
            shared.notes.push(format!("dies at {}", failpoint.name()));
            *shared.deaths.entry(failpoint.name()).or_default() += 1;
            shared.died = true;
            // What was sent is on its way; nothing more will be.
            for (link, stream) in std::mem::take(&mut shared.streams) {
                let mut bytes = Vec::new();
                read(&stream, &mut bytes);
                let _ = stream.shutdown(Shutdown::Both);
                shared.last_words.push((link, bytes));
            }
            true
        })));
        let shared = Rc::clone(&self.shared);
        dacapo_sandbox::watch_effects(Some(Box::new(move |run, key, done| {
            let shared = &mut *shared.borrow_mut();
            let Some(current) = shared.current.filter(|_| !shared.died) else {
                return;
            };
            let id = shared.incarnations[current];
            let wrong = shared
                .ledger
                .effect(&run.to_string(), key.as_str(), done, id);
            shared
                .notes
                .push(format!("worker {current} executes {key}"));
            shared.wrong.extend(wrong);
        })));
    }

    fn play(&mut self) -> Result<()> {
        self.make_queue()?;
        if let Some(schedule) = &self.plan.schedule {
            self.shared.borrow_mut().ledger.rhythm = Some(schedule.rhythm);
        }
        for at in 0..self.plan.workers {
            let (listener, url) = self.theatre.listener(at)?;
            let pace = self.rng.u32(990..=1_010);
            self.places.push(Place {
                listener,
                url,
                life: None,
                frozen: false,
                owed: Duration::ZERO,
                pace,
            });
        }
        for _ in 0..2 {
            let session = self.theatre.outside()?;
            let mut link = Link::new(Owner::Outside, None);
            link.session = Some(session);
            self.add(link);
        }
        if self.plan.forgets {
            self.make_rules()?;
        }
        self.look(&[])?;
        self.begin(0)?;
        self.go_to_the_end()?;
        if self.shared.borrow().wrong.is_empty() {
            self.look(&[])?;
            self.judge()?;
        }
        if self.plan.forgets && self.shared.borrow().wrong.is_empty() {
            self.forget_all()?;
        }
        Ok(())
    }

    /// Lets things happen until all runs have ended, or something is wrong.
    fn go_to_the_end(&mut self) -> Result<()> {
        let mut calm_for = 0;
        loop {
            if !self.shared.borrow().wrong.is_empty() {
                return Ok(());
            }
            // A schedule begins anew whenever all is over.
            let is_enough = self.plan.schedule.is_none() && self.is_over();
            if !self.calm && (self.choices >= self.plan.actions || is_enough) {
                self.calm = true;
                self.shared.borrow_mut().failpoint = 0;
                self.note("all is calm".to_owned());
            }
            if self.calm {
                if self.is_over() && self.places.iter().all(|place| !place.frozen) {
                    return Ok(());
                }
                calm_for += 1;
                if calm_for > PATIENCE {
                    let left = self.shared.borrow().ledger.left();
                    let mut shared = self.shared.borrow_mut();
                    shared.wrong.push("it does not come to an end".to_owned());
                    shared.wrong.extend(left);
                    return Ok(());
                }
            }
            let action = self.choose();
            self.choices += 1;
            self.act(action)?;
        }
    }

    /// Has ended runs deleted after a while.
    fn make_rules(&mut self) -> Result<()> {
        let (completed, others) = ledger::KEPT_S;
        self.theatre.server.ask(&format!(
            "insert into dacapo.retention (namespace, workflow, status, keep_seconds)
            values ('default', '*', '*', {others}), ('default', '*', 'completed', {completed})"
        ))?;
        self.shared.borrow_mut().ledger.forgets = true;
        Ok(())
    }

    /// Lets time go on until all runs are deleted, with all that can go wrong at first.
    fn forget_all(&mut self) -> Result<()> {
        self.note("all has ended".to_owned());
        self.aeons = true;
        self.calm = false;
        self.shared.borrow_mut().failpoint = self.plan.faults.failpoint;
        let end_of_faults = self.choices + FORGETTING;
        while !self.shared.borrow().ledger.runs.is_empty() {
            if self.choices == end_of_faults {
                self.calm = true;
                self.shared.borrow_mut().failpoint = 0;
                self.note("all is calm".to_owned());
            }
            if self.choices > end_of_faults + PATIENCE {
                let mut shared = self.shared.borrow_mut();
                let left: Vec<&String> = shared.ledger.runs.keys().collect();
                let text = format!("runs that have ended long ago are not deleted: {left:?}");
                shared.wrong.push(text);
            }
            if !self.shared.borrow().wrong.is_empty() {
                return Ok(());
            }
            let action = self.choose();
            self.choices += 1;
            self.act(action)?;
        }
        let rests = ledger::rests(&mut self.theatre.server)?;
        let found = ledger::examine(&mut self.theatre.server)?;
        let shared = &mut *self.shared.borrow_mut();
        shared.wrong.extend(rests.into_iter().chain(found));
        Ok(())
    }

    /// Makes the queue that some of the runs are in.
    fn make_queue(&mut self) -> Result<()> {
        let Some(limits) = self.plan.limits else {
            return Ok(());
        };
        let or_null = |limit: Option<String>| limit.unwrap_or_else(|| "null".to_owned());
        let (runs, ms) = limits.rate.unzip();
        let sql = format!(
            "insert into dacapo.queue (namespace, name, concurrency, concurrency_per_key, rate_runs, rate_ms)
            values ('default', '{QUEUE}', {}, {}, {}, {})",
            limits.runs,
            or_null(limits.per_key.map(|runs| runs.to_string())),
            or_null(runs.map(|runs| runs.to_string())),
            or_null(ms.map(|ms| ms.to_string())),
        );
        self.theatre.server.ask(&sql)?;
        self.shared.borrow_mut().ledger.limits = Some(limits);
        Ok(())
    }

    /// Whether nothing is left to be done.
    fn is_over(&self) -> bool {
        let shared = self.shared.borrow();
        self.plan.wishes.is_empty()
            && self.links.values().all(|link| link.wish.is_none())
            && shared.ledger.is_over()
    }

    // The end ------------------------------------------------------------------------------------------------------------------

    fn clear(&mut self) -> Result<()> {
        for at in 0..self.places.len() {
            self.bury(at)?;
        }
        // Those that others wait for first.
        let mut left: VecDeque<u32> = self.links.keys().copied().collect();
        let mut tries = 0;
        while let Some(id) = left.pop_front() {
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            let Some(session) = link.session else {
                continue;
            };
            if matches!(link.doing, Doing::Waiting { .. }) {
                tries += 1;
                if tries > 1_000 {
                    bail!("a statement waits for ever");
                }
                if let Went::Blocked = self.theatre.server.look_again(session)? {
                    left.push_back(id);
                    continue;
                }
            }
            self.links.remove(&id);
            self.theatre.server.give_back(session)?;
        }
        Ok(())
    }

    fn note(&mut self, what: String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what);
        }
    }
}
