//! Workers: their lives, their turns, and how time goes on for them.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use dacapo_worker::{SqlUrl, Store, Worker, WorkerConfig};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::wire::{self, Incoming};
use crate::{DATABASE, GUESTS};

use super::links::{Doing, Link, concerns_nobody, prepare};
use super::{BEGINNING, Owner, World};

/// Rounds of the runtime in which a worker does what it can: reading what came in, going on, connecting, asking.
const ROUNDS: usize = 5;

/// A worker, or the place of one.
pub(super) struct Place {
    pub(super) listener: UnixListener,
    pub(super) url: String,
    pub(super) life: Option<Life>,
    /// It is stopped: time goes on, and it does not know.
    pub(super) frozen: bool,
    pub(super) owed: Duration,
    /// How fast its clock is, in thousandths.
    pub(super) pace: u32,
}

pub(super) struct Life {
    pub(super) runtime: Runtime,
    pub(super) worker: Option<Worker>,
    pub(super) draining: Option<JoinHandle<()>>,
}

impl World<'_> {
    pub(super) fn begin(&mut self, at: usize) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            // All that can be done is done before it looks at connections and clocks.
            .event_interval(1 << 20)
            .build()?;
        if self.plan.forgets {
            // It looks for runs to delete at once, and others may do so, too.
            self.theatre.server.ask(
                "update dacapo.retention_turn set next_at = 'epoch'
                where only_row in (select only_row from dacapo.retention_turn for update skip locked)",
            )?;
        }
        let place = &mut self.places[at];
        place.frozen = false;
        place.owed = Duration::ZERO;
        let worker = {
            let _inside = runtime.enter();
            // How long one has rested is told by a clock that is not simulated.
            let store = Store::with_rest(&place.url, 4, Duration::MAX)?;
            let guests = place.url.replacen("postgres@", &format!("{GUESTS}@"), 1);
            let config = WorkerConfig {
                sql: [(DATABASE.to_owned(), SqlUrl(guests))].into(),
                ..self.plan.config.clone()
            };
            self.theatre.house.worker(store, config)?
        };
        place.life = Some(Life {
            runtime,
            worker: Some(worker),
            draining: None,
        });
        self.shared.borrow_mut().incarnations[at] = None;
        self.turn(at, Duration::ZERO)
    }

    pub(super) fn turn_of(&mut self, id: u32) -> Result<()> {
        match self.links.get(&id).map(|link| link.owner) {
            Some(Owner::Worker(at)) => self.turn(at, Duration::ZERO),
            _ => Ok(()),
        }
    }

    /// Lets a worker do all that it can do by itself, after its clock has moved on.
    pub(super) fn turn(&mut self, at: usize, by: Duration) -> Result<()> {
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
    pub(super) fn welcome(&mut self, at: usize) -> Result<bool> {
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
    pub(super) fn take_in(&mut self, id: u32) -> Result<bool> {
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
                    link.is_guests = wire::user(&hello) == GUESTS;
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
    pub(super) fn leave(&mut self, id: u32) -> Result<()> {
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
    pub(super) fn bury(&mut self, at: usize) -> Result<()> {
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
    pub(super) fn black_out(&mut self) -> Result<()> {
        self.outage = true;
        let all: Vec<u32> = self.links.keys().copied().collect();
        for id in all {
            // It may be gone with one before it that it waited for.
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
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

    pub(super) fn advance(&mut self) -> Result<()> {
        let micros = match self.rng.u32(0..1_000) {
            300.. if self.aeons => self.rng.u64(1_000_000..20_000_000),
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
            self.wish_unscheduled();
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
}

/// Reads what has come. False: it was closed.
pub(super) fn read(mut stream: &UnixStream, bytes: &mut Vec<u8>) -> bool {
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
pub(super) fn write(mut stream: &UnixStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}
