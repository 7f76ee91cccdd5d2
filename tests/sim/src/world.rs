//! One seed: workers, their connections, the time, and whatever befalls them.
//!
//! All that happens is a choice of the seed: which of the statements that are on their way is carried out next, which answer arrives, how
//! far the clock moves, who dies. Between two choices every worker does whatever it can do by itself. The server carries out one statement at
//! a time, but for those that wait for a lock, so nothing depends on who is faster.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dacapo_worker::{Store, Worker};
use fastrand::Rng;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::Theatre;
use crate::ledger::{self, Ledger, Writer};
use crate::plan::{Plan, Wish};
use crate::script;
use crate::server::{self, Went};
use crate::wire::{self, Incoming, Part, Request};

/// When each simulation begins, in microseconds: 1 January 2030.
pub(crate) const BEGINNING: i64 = 1_893_456_000_000_000;

/// How likely it is that what is stuck gets through: for longer than a lease, and for a few statements.
const LONG: u32 = 500;
const SHORT: u32 = 5_000;

/// The queue that some runs are in.
const QUEUE: &str = "narrow";

/// After so many choices without faults all runs must have ended.
const PATIENCE: u32 = 8_000;

/// Rounds of the runtime in which a worker does what it can: reading what came in, going on, connecting, asking.
const ROUNDS: usize = 5;

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
}

/// A worker, or the place of one.
struct Place {
    listener: UnixListener,
    url: String,
    life: Option<Life>,
    /// It is stopped: time goes on, and it does not know.
    frozen: bool,
    owed: Duration,
    /// How fast its clock is, in thousandths.
    pace: u32,
}

struct Life {
    runtime: Runtime,
    worker: Option<Worker>,
    draining: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Worker(usize),
    Outside,
}

/// A connection to the server.
struct Link {
    owner: Owner,
    /// None: the client is gone, or has none.
    stream: Option<Rc<UnixStream>>,
    bytes: Vec<u8>,
    session: Option<usize>,
    statements: HashMap<String, usize>,
    requests: VecDeque<Request>,
    doing: Doing,
    listens: bool,
    heard: VecDeque<Vec<u8>>,
    /// The id that the last statement was sent under.
    writer: Option<Uuid>,
    /// Its transaction has written something.
    has_written: bool,
    /// Nothing gets through until that is over; how likely it is to be.
    stuck: Option<u32>,
    wish: Option<Wish>,
}

enum Doing {
    Nothing,
    /// Its statement waits for a lock.
    Waiting {
        begins: bool,
        how: How,
        sql: String,
    },
    /// Its statement is carried out and not committed.
    Uncommitted {
        answer: Vec<u8>,
    },
    /// It is to be answered.
    Answered {
        answer: Vec<u8>,
    },
}

/// What becomes of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum How {
    Plain,
    Late,
    Slow,
    LostBefore,
    LostAfter,
    Collides,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    CarryOut(u32),
    Commit(u32),
    Abort(u32),
    Answer(u32),
    Tell(u32),
    Mute(u32),
    Forget(u32),
    Cut(u32),
    Stick(u32),
    Release(u32),
    Grant(usize),
    Advance,
    Kill(usize),
    Freeze(usize),
    Thaw(usize),
    Drain(usize),
    Begin(usize),
    Outage,
    Back,
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
    /// The same for two plays of a seed that went the same way.
    pub digest: u64,
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
    choices: u32,
    hasher: DefaultHasher,
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
        choices: 0,
        hasher: DefaultHasher::new(),
        trace: traced.then(Vec::new),
    };
    world.watch();
    let played = world.play();
    dacapo_worker::sim::set_fate(None);
    dacapo_sandbox::watch_effects(None);
    let wrong = match played {
        Ok(()) => std::mem::take(&mut world.shared.borrow_mut().wrong),
        Err(error) => vec![format!("the simulation broke: {error:#}")],
    };
    world.clear()?;
    Ok(Report {
        seed,
        wrong,
        choices: world.choices,
        digest: world.hasher.finish(),
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
        self.look(&[])?;
        self.begin(0)?;
        let mut calm_for = 0;
        loop {
            if !self.shared.borrow().wrong.is_empty() {
                return Ok(());
            }
            if !self.calm && (self.choices >= self.plan.actions || self.is_over()) {
                self.calm = true;
                self.shared.borrow_mut().failpoint = 0;
                self.note("all is calm".to_owned());
            }
            if self.calm {
                if self.is_over() && self.places.iter().all(|place| !place.frozen) {
                    break;
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
        self.look(&[])?;
        self.judge()
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

    fn judge(&mut self) -> Result<()> {
        let found = ledger::examine(&mut self.theatre.server)?;
        let shared = &mut *self.shared.borrow_mut();
        shared.wrong.extend(found);
        for run in &self.plan.runs {
            let Some(id) = &run.id else {
                shared.wrong.push("a run was not started".to_owned());
                continue;
            };
            let Some(known) = shared.ledger.runs.get(id) else {
                shared
                    .wrong
                    .push(format!("run {id} was acknowledged, and is not there"));
                continue;
            };
            // One that has failed has passed its deadline, or was noticed before.
            if known.status == "cancelled" && known.cancel_requested || known.status == "failed" {
                continue;
            }
            match script::expected(&run.deeds, id, &shared.ledger) {
                Err(problem) => shared.wrong.push(problem),
                Ok(expected) => {
                    let output: Option<String> = known
                        .output
                        .as_ref()
                        .and_then(|text| serde_json::from_str(text).ok());
                    if known.status != "completed" || output.as_ref() != Some(&expected) {
                        shared.wrong.push(format!(
                            "run {id} is {} with {output:?}, expected {expected:?}",
                            known.status
                        ));
                    }
                }
            }
        }
        if self.plan.faults.are_none() {
            for ((run, key), count) in &shared.ledger.effects {
                let name = ledger::name_in(key);
                let first = shared.ledger.ancestor(run);
                let scripts = self.plan.runs.iter();
                let attempts = scripts
                    .filter(|run| run.id.as_deref() == Some(first))
                    .find_map(|run| script::attempts(&run.deeds, name))
                    .unwrap_or(1);
                if *count > attempts {
                    shared.wrong.push(format!(
                        "run {run}: {key} was executed {count} times for {attempts} attempts, and nothing went wrong"
                    ));
                }
            }
        }
        for (id, run) in &shared.ledger.runs {
            let is_child = run.parent.is_some();
            if run.status == "cancelled" && !run.cancel_requested && !is_child {
                shared
                    .wrong
                    .push(format!("run {id} is cancelled, and nobody asked for it"));
            }
        }
        Ok(())
    }

    // What is chosen -------------------------------------------------------------------------------------------------------------

    fn choose(&mut self) -> Action {
        let faults = if self.calm {
            crate::plan::Faults::default()
        } else {
            self.plan.faults
        };
        let mut choices: Vec<(u32, Action)> = Vec::new();
        let mut busy = false;
        let mut free = 0;
        for (&id, link) in &self.links {
            let is_gone = link.stream.is_none() && link.owner != Owner::Outside;
            match &link.doing {
                _ if link.stuck.is_some() => {
                    let often = link.stuck.filter(|_| !self.calm).unwrap_or(20_000);
                    choices.push((often, Action::Release(id)));
                }
                Doing::Nothing if !link.requests.is_empty() => {
                    choices.push((20_000, Action::CarryOut(id)));
                    busy = true;
                    if let Owner::Worker(at) = link.owner {
                        let life = self.places[at].life.as_ref();
                        let is_draining = life.is_some_and(|life| life.draining.is_some());
                        let often = if is_draining { 50 } else { 10 };
                        choices.push((often * faults.stuck, Action::Stick(id)));
                    }
                }
                Doing::Nothing if is_gone => choices.push((4_000, Action::Forget(id))),
                Doing::Nothing if link.owner == Owner::Outside => free += 1,
                Doing::Nothing | Doing::Waiting { .. } => {}
                Doing::Uncommitted { .. } => {
                    choices.push((6_000, Action::Commit(id)));
                    if is_gone || faults.lost_before > 0 && link.owner != Owner::Outside {
                        choices.push((1_000, Action::Abort(id)));
                    }
                    busy = true;
                }
                Doing::Answered { .. } => {
                    choices.push((8_000, Action::Answer(id)));
                    busy = true;
                }
            }
            if !link.heard.is_empty() {
                choices.push((8_000, Action::Tell(id)));
                choices.push((8 * faults.unheard, Action::Mute(id)));
            }
            if link.stream.is_some() && link.session.is_some() {
                choices.push((faults.cut, Action::Cut(id)));
            }
        }
        if free > 0 {
            for at in 0..self.plan.wishes.len() {
                if self.may_be_granted(&self.plan.wishes[at]) {
                    // What is sent to a run that is played may come while it is being given up.
                    let often = match self.plan.wishes[at].run() {
                        _ if self.calm => 3_000,
                        Some(run) if self.is_played(run) => 2_500,
                        _ => 600,
                    };
                    choices.push((often, Action::Grant(at)));
                }
            }
        }
        let alive = self
            .places
            .iter()
            .filter(|place| place.life.is_some())
            .count();
        for (at, place) in self.places.iter().enumerate() {
            match (&place.life, place.frozen) {
                (None, _) => {
                    let often = if alive == 0 { 30_000 } else { 1_500 };
                    choices.push((often, Action::Begin(at)));
                }
                (Some(_), true) => {
                    let often = if self.calm { 50_000 } else { 1_500 };
                    choices.push((often, Action::Thaw(at)));
                    choices.push((faults.kill * 20, Action::Kill(at)));
                }
                (Some(life), false) => {
                    // With something of its on the way it is of more interest.
                    let mine = || {
                        self.links
                            .values()
                            .filter(|link| link.owner == Owner::Worker(at))
                    };
                    let is_asking = mine().any(|link| !link.requests.is_empty());
                    let is_stuck = mine().any(|link| link.stuck.is_some());
                    let often = if is_asking { 100 } else { 20 };
                    choices.push((faults.kill * 20, Action::Kill(at)));
                    choices.push((faults.freeze * often, Action::Freeze(at)));
                    if life.draining.is_none() {
                        let often = if is_stuck { 200 } else { 20 };
                        choices.push((faults.drain * often, Action::Drain(at)));
                    }
                }
            }
        }
        if self.outage {
            let often = if self.calm { 50_000 } else { 3_000 };
            choices.push((often, Action::Back));
        } else {
            choices.push((faults.outage * 10, Action::Outage));
        }
        choices.push((if busy { 3_000 } else { 12_000 }, Action::Advance));
        let sum: u32 = choices.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.rng.u32(0..sum);
        for (weight, action) in choices {
            if drawn < weight {
                return action;
            }
            drawn -= weight;
        }
        Action::Advance
    }

    /// Whether a worker holds a run.
    fn is_played(&self, run: usize) -> bool {
        let shared = self.shared.borrow();
        let id = self.plan.runs[run].id.as_ref();
        id.is_some_and(|id| shared.ledger.holder(id).is_some())
    }

    fn may_be_granted(&self, wish: &Wish) -> bool {
        let id = |at: usize| self.plan.runs[at].id.is_some();
        match wish {
            Wish::Start(_) | Wish::ResumeById(_) => true,
            Wish::Send(at, ..) | Wish::Pause(at) | Wish::Resume(at) | Wish::Cancel(at) => id(*at),
        }
    }

    fn how(&mut self, link: u32, sql: &str) -> How {
        if self.calm {
            return How::Plain;
        }
        let faults = self.plan.faults;
        let is_outside = self.links[&link].owner == Owner::Outside;
        let is_gone = self.links[&link].stream.is_none();
        let mut drawn = self.rng.u32(0..1_000);
        let mut hits = |rate: u32| {
            let hit = drawn < rate;
            drawn = drawn.saturating_sub(rate);
            hit
        };
        let is_begin = sql.eq_ignore_ascii_case("begin");
        if hits(faults.slow) && !is_begin {
            return How::Slow;
        }
        if is_outside || is_gone {
            return How::Plain;
        }
        if hits(faults.late) {
            return How::Late;
        }
        if hits(faults.lost_before) {
            return How::LostBefore;
        }
        if hits(faults.lost_after) {
            return How::LostAfter;
        }
        let is_idle = self.links[&link]
            .session
            .is_some_and(|session| self.theatre.server.status(session) == b'I');
        if hits(faults.collide) && is_idle && !is_begin {
            return How::Collides;
        }
        How::Plain
    }

    fn act(&mut self, action: Action) -> Result<()> {
        match &action {
            Action::CarryOut(_) | Action::Grant(_) | Action::Advance => {}
            other => self.note(format!("{other:?}")),
        }
        match action {
            Action::CarryOut(link) => self.carry_out(link),
            Action::Commit(link) => self.commit(link),
            Action::Abort(link) => self.abort(link),
            Action::Answer(link) => {
                let link_of = self.link(link)?;
                if let Doing::Answered { answer } =
                    std::mem::replace(&mut link_of.doing, Doing::Nothing)
                {
                    self.answer(link, &answer)?;
                }
                Ok(())
            }
            Action::Tell(link) => {
                let heard: Vec<u8> = self.link(link)?.heard.drain(..).flatten().collect();
                self.send(link, &heard)
            }
            Action::Mute(link) => {
                self.link(link)?.heard.clear();
                Ok(())
            }
            Action::Forget(link) => self.forget(link),
            Action::Cut(link) => {
                self.cut(link)?;
                self.turn_of(link)
            }
            Action::Grant(at) => self.grant(at),
            Action::Advance => self.advance(),
            Action::Kill(at) => self.bury(at),
            Action::Stick(link) => {
                self.link(link)?.stuck = Some(LONG);
                Ok(())
            }
            Action::Release(link) => {
                self.link(link)?.stuck = None;
                Ok(())
            }
            Action::Freeze(at) => {
                self.places[at].frozen = true;
                // Some of what it has sent arrives only when others have its runs.
                if self.plan.faults.stuck > 0 {
                    for link in self.links.values_mut() {
                        let is_its = link.owner == Owner::Worker(at) && !link.requests.is_empty();
                        if is_its && self.rng.u32(0..4) > 0 {
                            link.stuck = Some(LONG);
                        }
                    }
                }
                Ok(())
            }
            Action::Thaw(at) => {
                self.places[at].frozen = false;
                let owed = std::mem::take(&mut self.places[at].owed);
                self.turn(at, owed)
            }
            Action::Drain(at) => {
                if let Some(life) = &mut self.places[at].life
                    && let Some(worker) = life.worker.take()
                {
                    life.draining = Some(life.runtime.spawn(async move {
                        let _ = worker.drain().await;
                    }));
                }
                self.turn(at, Duration::ZERO)
            }
            Action::Begin(at) => self.begin(at),
            Action::Outage => self.black_out(),
            Action::Back => {
                self.outage = false;
                Ok(())
            }
        }
    }

    // Statements ---------------------------------------------------------------------------------------------------------------

    fn link(&mut self, id: u32) -> Result<&mut Link> {
        self.links.get_mut(&id).context("a connection is gone")
    }

    fn add(&mut self, link: Link) -> u32 {
        let id = self.next_link;
        self.next_link += 1;
        self.links.insert(id, link);
        id
    }

    /// Carries out the next request of a connection.
    fn carry_out(&mut self, id: u32) -> Result<()> {
        let server = &mut self.theatre.server;
        let link = self.links.get_mut(&id).context("a connection is gone")?;
        let session = link.session.context("a connection has no session")?;
        let request = link.requests.pop_front().context("there is no request")?;
        let sql = request.parts.iter().find_map(|part| match part {
            Part::Bind { statement, .. } => {
                let statement = link.statements.get(statement).copied().unwrap_or_default();
                Some(server.sql(statement).to_owned())
            }
            Part::Query(text) => Some(text.clone()),
            _ => None,
        });
        let sql = sql.unwrap_or_default();
        let how = self.how(id, &sql);
        self.note(format!("{id} {how:?} {}", server::label(&sql)));
        match how {
            How::LostBefore => {
                self.cut(id)?;
                return self.turn_of(id);
            }
            How::Collides => {
                let mut answer = wire::error("40P01", "a simulated deadlock");
                answer.extend(wire::ready(b'I'));
                return self.answer(id, &answer);
            }
            _ => {}
        }
        let server = &mut self.theatre.server;
        let link = self.links.get_mut(&id).context("a connection is gone")?;
        let mut bytes = Vec::new();
        for part in request.parts {
            match part {
                Part::Parse { name, sql, types } => {
                    let statement = server.statement(&sql, &types);
                    link.statements.insert(name, statement);
                }
                Part::DescribeStatement { name } => {
                    let statement = link.statements.get(&name).copied().unwrap_or_default();
                    bytes.extend(server.preparing(session, statement));
                    bytes.extend(wire::describe(&server::name_of(statement)));
                }
                Part::Bind {
                    portal,
                    statement,
                    rest,
                } => {
                    let statement = link.statements.get(&statement).copied().unwrap_or_default();
                    // What follows in a transaction is written under the id that its first statement said.
                    let said = wire::first_uuid(&rest);
                    if said.is_some() || server.status(session) == b'I' {
                        link.writer = said;
                    }
                    if let (Owner::Worker(at), true, Some(id)) = (
                        link.owner,
                        sql.contains("insert into dacapo.worker"),
                        link.writer,
                    ) {
                        self.shared.borrow_mut().incarnations[at] = Some(id);
                    }
                    bytes.extend(server.preparing(session, statement));
                    bytes.extend(wire::bind(&portal, &server::name_of(statement), &rest));
                }
                Part::Query(text) => {
                    bytes.extend(wire::query(&text));
                }
                Part::Sync => bytes.extend(wire::sync()),
                Part::Execute(raw) | Part::Other(raw) => bytes.extend(raw),
            }
        }
        let begins = how == How::Slow && self.theatre.server.status(session) == b'I';
        match self
            .theatre
            .server
            .send(session, &bytes, Some((self.now, begins)))?
        {
            Went::Done(answer) => self.carried_out(id, answer, begins, how, &sql),
            Went::Blocked => {
                self.note(format!("{id} waits for a lock"));
                self.link(id)?.doing = Doing::Waiting { begins, how, sql };
                Ok(())
            }
        }
    }

    /// A statement has been carried out: what that means to everybody.
    fn carried_out(
        &mut self,
        id: u32,
        mut answer: Vec<u8>,
        begins: bool,
        how: How,
        sql: &str,
    ) -> Result<()> {
        let session = self
            .link(id)?
            .session
            .context("a connection has no session")?;
        let failed = wire::error_in(&answer);
        if let Some((code, said)) = &failed {
            self.note(format!("{id} is refused: {code} {said}"));
        }
        let writes = server::writes(sql);
        if begins {
            as_idle(&mut answer);
            if failed.is_none() {
                let link = self.link(id)?;
                link.has_written = writes;
                link.doing = Doing::Uncommitted { answer };
                return Ok(());
            }
            self.theatre.server.must(session, "rollback")?;
        }
        let status = self.theatre.server.status(session);
        let link = self.link(id)?;
        let committed = match (status, failed.is_some()) {
            (_, true) => false,
            (b'I', false) => {
                let ends = sql.eq_ignore_ascii_case("commit");
                writes || (ends && link.has_written)
            }
            _ => {
                link.has_written |= writes;
                false
            }
        };
        if status == b'I' {
            link.has_written = false;
        }
        let writer = link.writer();
        self.done(id, answer, how, committed.then_some(writer), status == b'I')
    }

    /// Hands an answer on, after everybody has seen what was committed.
    fn done(
        &mut self,
        id: u32,
        answer: Vec<u8>,
        how: How,
        committed: Option<Writer>,
        ended: bool,
    ) -> Result<()> {
        self.link(id)?.doing = Doing::Nothing;
        if committed.is_some() || ended {
            self.go_on(committed)?;
        }
        match how {
            How::Late => {
                self.link(id)?.doing = Doing::Answered { answer };
                Ok(())
            }
            How::LostAfter => {
                self.cut(id)?;
                self.turn_of(id)
            }
            _ => self.answer(id, &answer),
        }
    }

    /// Locks may be free: whoever waited for one goes on, and what was committed is looked at.
    fn go_on(&mut self, committed: Option<Writer>) -> Result<()> {
        let mut writers: Vec<Writer> = committed.into_iter().collect();
        let mut went = Vec::new();
        loop {
            let waiting: Vec<u32> = self
                .links
                .iter()
                .filter(|(_, link)| matches!(link.doing, Doing::Waiting { .. }))
                .map(|(id, _)| *id)
                .collect();
            let before = went.len();
            for id in waiting {
                let session = self
                    .link(id)?
                    .session
                    .context("a connection has no session")?;
                let Went::Done(answer) = self.theatre.server.look_again(session)? else {
                    continue;
                };
                let link = self.link(id)?;
                let doing = std::mem::replace(&mut link.doing, Doing::Nothing);
                let Doing::Waiting { begins, how, sql } = doing else {
                    continue;
                };
                if !begins && wire::error_in(&answer).is_none() && server::writes(&sql) {
                    writers.push(link.writer());
                }
                went.push((id, answer, begins, how, sql));
            }
            if went.len() == before {
                break;
            }
        }
        if !writers.is_empty() {
            self.look(&writers)?;
        }
        for (id, answer, begins, how, sql) in went {
            self.note(format!("{id} goes on"));
            self.carried_out(id, answer, begins, how, &sql)?;
        }
        Ok(())
    }

    /// Looks at what was committed, and hears what was notified.
    fn look(&mut self, writers: &[Writer]) -> Result<()> {
        let shared = &mut *self.shared.borrow_mut();
        let wrong = shared.ledger.look(&mut self.theatre.server, writers)?;
        shared.wrong.extend(wrong);
        let heard = self.theatre.server.hear();
        if !heard.is_empty() {
            let listening = self.links.values_mut().filter(|link| link.listens);
            for link in listening {
                link.heard.extend(heard.iter().cloned());
            }
        }
        Ok(())
    }

    fn commit(&mut self, id: u32) -> Result<()> {
        let link = self.link(id)?;
        let Doing::Uncommitted { answer } = std::mem::replace(&mut link.doing, Doing::Nothing)
        else {
            bail!("there is nothing to commit");
        };
        let session = link.session.context("a connection has no session")?;
        let (writer, has_written) = (link.writer(), link.has_written);
        link.has_written = false;
        self.theatre.server.must(session, "commit")?;
        let faults = self.plan.faults;
        let lost = !self.calm
            && self.links[&id].stream.is_some()
            && self.rng.u32(0..1_000) < faults.lost_after;
        let how = if lost { How::LostAfter } else { How::Plain };
        self.done(id, answer, how, has_written.then_some(writer), true)
    }

    /// The server gives up a statement that it has not committed, and its client hears no more of it.
    fn abort(&mut self, id: u32) -> Result<()> {
        let link = self.link(id)?;
        let session = link.session.context("a connection has no session")?;
        link.doing = Doing::Nothing;
        link.has_written = false;
        self.theatre.server.must(session, "rollback")?;
        self.cut(id)?;
        self.go_on(None)?;
        self.turn_of(id)
    }

    /// Answers a request.
    fn answer(&mut self, id: u32, answer: &[u8]) -> Result<()> {
        match self.links.get(&id) {
            // Its client is gone, and nothing of it is left.
            None => Ok(()),
            Some(link) if link.owner == Owner::Outside => self.granted(id, answer),
            Some(_) => self.send(id, answer),
        }
    }

    /// Sends bytes to a client, and lets it do what it can with them.
    fn send(&mut self, id: u32, bytes: &[u8]) -> Result<()> {
        if let Some(stream) = &self.links[&id].stream
            && !write(stream, bytes)
        {
            self.cut(id)?;
        }
        self.turn_of(id)
    }

    /// Breaks a connection. What its client has asked for may still be on its way.
    fn cut(&mut self, id: u32) -> Result<()> {
        let keeps = self.rng.bool();
        // Some of that when its client asks elsewhere what became of it, some when all of that is long over.
        let sticks = match self.rng.u32(0..4) {
            _ if self.calm || self.plan.faults.stuck == 0 => None,
            0 | 1 => None,
            2 => Some(LONG),
            _ => Some(SHORT),
        };
        let link = self.link(id)?;
        if let Some(stream) = link.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        link.orphan(keeps);
        link.stuck = sticks.filter(|_| !link.requests.is_empty());
        Ok(())
    }

    /// The server notices that a client is gone.
    fn forget(&mut self, id: u32) -> Result<()> {
        let Some(link) = self.links.remove(&id) else {
            return Ok(());
        };
        if let Some(session) = link.session {
            let was_open = self.theatre.server.status(session) != b'I';
            self.theatre.server.give_back(session)?;
            if was_open {
                self.go_on(None)?;
            }
        }
        Ok(())
    }

    // Workers -------------------------------------------------------------------------------------------------------------------

    fn begin(&mut self, at: usize) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            // All that can be done is done before it looks at connections and clocks.
            .event_interval(1 << 20)
            .build()?;
        let place = &mut self.places[at];
        place.frozen = false;
        place.owed = Duration::ZERO;
        let worker = {
            let _inside = runtime.enter();
            // How long one has rested is told by a clock that is not simulated.
            let store = Store::with_rest(&place.url, 4, Duration::MAX)?;
            self.theatre.house.worker(store, self.plan.config.clone())?
        };
        place.life = Some(Life {
            runtime,
            worker: Some(worker),
            draining: None,
        });
        self.shared.borrow_mut().incarnations[at] = None;
        self.turn(at, Duration::ZERO)
    }

    fn turn_of(&mut self, id: u32) -> Result<()> {
        match self.links.get(&id).map(|link| link.owner) {
            Some(Owner::Worker(at)) => self.turn(at, Duration::ZERO),
            _ => Ok(()),
        }
    }

    /// Lets a worker do all that it can do by itself, after its clock has moved on.
    fn turn(&mut self, at: usize, by: Duration) -> Result<()> {
        let mut by = by;
        loop {
            if self.places[at].frozen {
                return Ok(());
            }
            let Some(life) = &self.places[at].life else {
                return Ok(());
            };
            let streams: Vec<(u32, Rc<UnixStream>)> = self
                .links
                .iter()
                .filter(|(_, link)| link.owner == Owner::Worker(at))
                .filter_map(|(id, link)| Some((*id, Rc::clone(link.stream.as_ref()?))))
                .collect();
            {
                let mut shared = self.shared.borrow_mut();
                shared.current = Some(at);
                shared.streams = streams.clone();
            }
            life.runtime.block_on(async {
                if !by.is_zero() {
                    tokio::time::advance(by).await;
                }
                for _ in 0..ROUNDS {
                    tokio::task::yield_now().await;
                }
            });
            by = Duration::ZERO;
            let has_drained = life.draining.as_ref().is_some_and(JoinHandle::is_finished);
            let has_stopped = life.worker.as_ref().is_some_and(Worker::has_stopped);
            let (died, last_words, notes) = {
                let mut shared = self.shared.borrow_mut();
                shared.current = None;
                shared.streams.clear();
                (
                    std::mem::take(&mut shared.died),
                    std::mem::take(&mut shared.last_words),
                    std::mem::take(&mut shared.notes),
                )
            };
            for note in notes {
                self.note(note);
            }
            if has_stopped && !died {
                let text = format!("worker {at} has stopped by itself");
                self.shared.borrow_mut().wrong.push(text);
            }
            if died {
                for (id, bytes) in last_words {
                    self.link(id)?.bytes.extend(bytes);
                    self.take_in(id)?;
                }
                return self.bury(at);
            }
            let mut again = self.welcome(at)?;
            for (id, stream) in streams {
                let Some(link) = self.links.get_mut(&id) else {
                    continue;
                };
                let is_open = read(&stream, &mut link.bytes);
                again |= self.take_in(id)?;
                if !is_open {
                    self.leave(id)?;
                }
            }
            if has_drained {
                return self.bury(at);
            }
            if !again {
                return Ok(());
            }
        }
    }

    /// Takes new connections of a worker.
    fn welcome(&mut self, at: usize) -> Result<bool> {
        let mut came = false;
        loop {
            match self.places[at].listener.accept() {
                Ok((stream, _)) => {
                    came = true;
                    if self.outage {
                        continue;
                    }
                    stream.set_nonblocking(true)?;
                    let id = self.add(Link::new(Owner::Worker(at), Some(Rc::new(stream))));
                    let link = self.link(id)?;
                    if let Some(stream) = link.stream.clone() {
                        read(&stream, &mut link.bytes);
                    }
                    self.take_in(id)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(came),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes in what a client has sent, and answers at once what concerns nobody else. True: something was answered.
    fn take_in(&mut self, id: u32) -> Result<bool> {
        let link = self.link(id)?;
        let came = wire::take(&mut link.bytes, link.session.is_none());
        let mut answered = false;
        for incoming in came {
            match incoming {
                Incoming::Hello(hello) => {
                    let session = self.theatre.server.take(&hello)?;
                    let greeting = self.theatre.server.greeting(session).to_vec();
                    let link = self.link(id)?;
                    link.session = Some(session);
                    if let Some(stream) = &link.stream {
                        write(stream, &greeting);
                    }
                    answered = true;
                }
                Incoming::Request(request) => self.link(id)?.requests.push_back(request),
                Incoming::Bye => {
                    self.leave(id)?;
                    return Ok(answered);
                }
            }
        }
        while let Some(link) = self.links.get_mut(&id)
            && matches!(link.doing, Doing::Nothing)
            && let Some(session) = link.session
            && link.requests.front().is_some_and(concerns_nobody)
            && let Some(request) = link.requests.pop_front()
        {
            let answer = prepare(&mut self.theatre.server, link, session, request)?;
            if let Some(stream) = &link.stream {
                write(stream, &answer);
            }
            answered = true;
        }
        Ok(answered)
    }

    /// A client has closed its connection.
    fn leave(&mut self, id: u32) -> Result<()> {
        if let Some(link) = self.links.get_mut(&id) {
            link.stream = None;
            // What it has sent is carried out.
            link.orphan(true);
            let is_idle = matches!(link.doing, Doing::Nothing) && link.requests.is_empty();
            if is_idle {
                self.forget(id)?;
            }
        }
        Ok(())
    }

    /// A worker is dead.
    fn bury(&mut self, at: usize) -> Result<()> {
        let mine: Vec<u32> = self
            .links
            .iter()
            .filter(|(_, link)| link.owner == Owner::Worker(at))
            .map(|(id, _)| *id)
            .collect();
        for id in mine {
            self.cut(id)?;
        }
        {
            let mut shared = self.shared.borrow_mut();
            shared.incarnations[at] = None;
            shared.current = None;
        }
        let place = &mut self.places[at];
        place.frozen = false;
        if let Some(life) = place.life.take() {
            let Life {
                runtime,
                worker,
                draining,
            } = life;
            {
                let _inside = runtime.enter();
                drop((worker, draining));
            }
            drop(runtime);
        }
        // Whoever knocked meanwhile is dead, too.
        while place.listener.accept().is_ok() {}
        Ok(())
    }

    /// The server is gone for a while, with all that was not committed.
    fn black_out(&mut self) -> Result<()> {
        self.outage = true;
        let all: Vec<u32> = self.links.keys().copied().collect();
        for id in all {
            let link = self.link(id)?;
            if link.owner == Owner::Outside {
                continue;
            }
            if let Some(stream) = link.stream.take() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            link.orphan(false);
            link.stuck = None;
            if matches!(link.doing, Doing::Uncommitted { .. }) {
                link.doing = Doing::Nothing;
            }
            if matches!(link.doing, Doing::Nothing) {
                self.forget(id)?;
            }
        }
        for at in 0..self.places.len() {
            self.turn(at, Duration::ZERO)?;
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<()> {
        let micros = match self.rng.u32(0..1_000) {
            drawn if !self.calm && drawn < self.plan.faults.jump => {
                self.rng.u64(2_000_000..5_000_000)
            }
            0..300 => self.rng.u64(1..10_000),
            300..700 => self.rng.u64(10_000..100_000),
            _ => self.rng.u64(100_000..600_000),
        };
        self.now += i64::try_from(micros)?;
        self.note(format!("{} ms", (self.now - BEGINNING) / 1_000));
        if self.calm {
            self.wish_resumed();
            self.wish_sent();
        }
        for at in 0..self.places.len() {
            let place = &mut self.places[at];
            if place.life.is_none() {
                continue;
            }
            let by = Duration::from_micros(micros * u64::from(place.pace) / 1_000);
            if place.frozen {
                place.owed += by;
            } else {
                self.turn(at, by)?;
            }
        }
        Ok(())
    }

    /// In the end whatever waits for a person is resumed.
    fn wish_resumed(&mut self) {
        let shared = self.shared.borrow();
        for (run, tasks) in &shared.ledger.tasks {
            let waits = |task: &ledger::Task| {
                task.place == "suspended"
                    && (task.paused || task.reason.as_deref() == Some("blocked"))
            };
            let wish = Wish::ResumeById(run.clone());
            let is_wished = self.plan.wishes.contains(&wish)
                || self
                    .links
                    .values()
                    .any(|link| link.wish.as_ref() == Some(&wish));
            if tasks.iter().any(waits) && !is_wished {
                self.plan.wishes.push(wish);
            }
        }
    }

    /// In the end whatever waits for an event that others may have taken is sent one.
    fn wish_sent(&mut self) {
        let shared = self.shared.borrow();
        for (at, run) in self.plan.runs.iter().enumerate() {
            let Some(tasks) = run.id.as_ref().and_then(|id| shared.ledger.tasks.get(id)) else {
                continue;
            };
            let events = tasks.iter().flat_map(|task| &task.events);
            for event in events.filter(|event| script::is_shared(event)) {
                let is_it = |wish: &Wish| matches!(wish, Wish::Send(of, name, _) if *of == at && name == event);
                let is_wished = self.plan.wishes.iter().any(is_it)
                    || self
                        .links
                        .values()
                        .any(|link| link.wish.as_ref().is_some_and(is_it));
                if !is_wished {
                    // No payload was sent before.
                    let payload = 2_000 + self.choices;
                    self.plan
                        .wishes
                        .push(Wish::Send(at, event.clone(), payload));
                }
            }
        }
    }

    // Wishes -------------------------------------------------------------------------------------------------------------------

    fn grant(&mut self, at: usize) -> Result<()> {
        let wish = self.plan.wishes.remove(at);
        let id = |run: usize| self.plan.runs[run].id.clone().unwrap_or_default();
        let sql = match &wish {
            Wish::Start(run) => {
                let script = script::text(&self.plan.runs[*run].deeds);
                let input = serde_json::to_string(&script)?;
                let planned = &self.plan.runs[*run];
                let mut options = serde_json::json!({ "key": format!("run{run}") });
                if let Some(ms) = planned.deadline {
                    options["deadline"] = format!("{ms} milliseconds").into();
                }
                if let Some(key) = &planned.queued {
                    options["queue"] = QUEUE.into();
                    options["priority"] = planned.priority.into();
                    if let Some(key) = key {
                        options["concurrencyKey"] = key.as_str().into();
                    }
                }
                format!(
                    "select dacapo.start('script.play', {}, {})",
                    quoted(&input),
                    quoted(&options.to_string())
                )
            }
            Wish::Send(run, event, payload) => format!(
                "select dacapo.send_event('{}'::uuid, '{event}'::text, '{payload}'::text, '{event}.{payload}'::text)",
                id(*run),
            ),
            Wish::Pause(run) => format!("select dacapo.pause('{}')", id(*run)),
            Wish::Resume(run) => format!("select dacapo.resume('{}')", id(*run)),
            Wish::ResumeById(run) => format!("select dacapo.resume('{run}')"),
            Wish::Cancel(run) => format!("select dacapo.cancel('{}')", id(*run)),
        };
        let free = |link: &Link| {
            link.owner == Owner::Outside
                && matches!(link.doing, Doing::Nothing)
                && link.requests.is_empty()
        };
        let id = self
            .links
            .iter()
            .find(|(_, link)| free(link))
            .map(|(id, _)| *id);
        let id = id.context("nobody is free to ask")?;
        self.note(format!("{id} wishes {wish:?}"));
        let link = self.link(id)?;
        link.wish = Some(wish);
        link.requests.push_back(Request {
            parts: vec![Part::Query(sql)],
        });
        self.carry_out(id)
    }

    /// A wish was answered.
    fn granted(&mut self, id: u32, answer: &[u8]) -> Result<()> {
        let Some(wish) = self.link(id)?.wish.take() else {
            return Ok(());
        };
        if let Some((code, said)) = wire::error_in(answer) {
            if code == "40P01" || code == "40001" {
                self.plan.wishes.push(wish);
            } else {
                let text = format!("{wish:?} was refused: {code} {said}");
                self.shared.borrow_mut().wrong.push(text);
            }
            return Ok(());
        }
        let rows = wire::rows(answer);
        let said = rows
            .first()
            .and_then(|row| row[0].clone())
            .unwrap_or_default();
        self.note(format!("{id} is told {said}"));
        match wish {
            Wish::Start(run) => self.plan.runs[run].id = Some(said),
            Wish::Send(run, event, payload) if said == "sent" || said == "duplicate" => {
                let run = self.plan.runs[run].id.clone().unwrap_or_default();
                let delivery = format!("{event}.{payload}");
                self.shared.borrow_mut().ledger.acknowledge(&run, &delivery);
            }
            _ => {}
        }
        Ok(())
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
        what.hash(&mut self.hasher);
        if let Some(trace) = &mut self.trace {
            trace.push(what);
        }
    }
}

impl Link {
    fn new(owner: Owner, stream: Option<Rc<UnixStream>>) -> Self {
        Self {
            owner,
            stream,
            bytes: Vec::new(),
            session: None,
            statements: HashMap::new(),
            requests: VecDeque::new(),
            doing: Doing::Nothing,
            listens: false,
            heard: VecDeque::new(),
            writer: None,
            has_written: false,
            stuck: None,
            wish: None,
        }
    }

    fn writer(&self) -> Writer {
        match self.owner {
            Owner::Worker(_) => Writer::Worker(self.writer),
            Owner::Outside => Writer::Outside,
        }
    }

    /// Its client is gone: what that has sent may be carried out, and nobody hears of it.
    fn orphan(&mut self, keeps: bool) {
        self.listens = false;
        self.heard.clear();
        if !keeps {
            self.requests.clear();
        }
        if matches!(self.doing, Doing::Answered { .. }) {
            self.doing = Doing::Nothing;
        }
    }
}

/// Whether a request changes nothing and asks nothing that others could change.
fn concerns_nobody(request: &Request) -> bool {
    request.parts.iter().all(|part| match part {
        Part::Execute(_) | Part::Bind { .. } => false,
        Part::Query(sql) => {
            let sql = sql.trim_start().to_ascii_lowercase();
            sql.starts_with("listen") || sql.starts_with("unlisten")
        }
        _ => true,
    })
}

/// Answers such a request.
fn prepare(
    server: &mut server::Server,
    link: &mut Link,
    session: usize,
    request: Request,
) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    for part in request.parts {
        match part {
            Part::Parse { name, sql, types } => {
                let statement = server.statement(&sql, &types);
                link.statements.insert(name, statement);
                if let Err(refused) = server.describe(session, statement)? {
                    return Ok(refused);
                }
                answer.extend(wire::parsed());
            }
            Part::DescribeStatement { name } => {
                let statement = link.statements.get(&name).copied().unwrap_or_default();
                match server.describe(session, statement)? {
                    Ok(described) => answer.extend(described),
                    Err(refused) => return Ok(refused),
                }
            }
            Part::Query(sql) => {
                let listens = !sql
                    .trim_start()
                    .to_ascii_lowercase()
                    .starts_with("unlisten");
                link.listens = listens;
                answer.extend(wire::done(if listens { "LISTEN" } else { "UNLISTEN" }));
                answer.extend(wire::ready(server.status(session)));
            }
            Part::Sync => answer.extend(wire::ready(server.status(session))),
            // A statement that is not needed any more stays prepared for others.
            Part::Other(message) if message[0] == b'C' => {
                answer.extend(wire::message(b'3', &[]));
            }
            Part::Other(_) | Part::Execute(_) | Part::Bind { .. } => {}
        }
    }
    Ok(answer)
}

/// Reads what has come. False: it was closed.
fn read(mut stream: &UnixStream, bytes: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Writes all of it. False: it was closed, or takes no more.
fn write(mut stream: &UnixStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// The client must not see a transaction that it has not begun.
fn as_idle(answer: &mut [u8]) {
    if let Some(last) = answer.last_mut() {
        *last = b'I';
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
