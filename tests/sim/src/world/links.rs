//! Connections: what becomes of the statements that are sent on them, and of their answers.

use std::collections::{HashMap, VecDeque};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use crate::ledger::Writer;
use crate::plan::Wish;
use crate::server::{self, Went};
use crate::wire::{self, Part, Request};

use super::workers::write;
use super::{Owner, World};

/// What a server says of statements that stood in each other's way.
const COLLISIONS: [(&str, &str); 3] = [
    ("40P01", "a simulated deadlock"),
    ("40001", "a simulated failure to serialise"),
    ("55P03", "a simulated lock that was not to be had"),
];

/// When what is stuck gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuck {
    /// At any time: most often when leases are over.
    Long,
    /// At once after so many other statements of its worker: while that finds out what became of it, or leaves.
    After(u32),
}

/// Statements of a worker while it finds out what became of a flush or hands its runs back, about.
const MANY: u32 = 14;

/// How soon it is a connection's turn, in hundredths, by its rank.
const RANKS: [u32; 4] = [100, 30, 8, 2];

/// A connection to the server.
pub(super) struct Link {
    pub(super) owner: Owner,
    /// None: the client is gone, or has none.
    pub(super) stream: Option<Rc<UnixStream>>,
    pub(super) bytes: Vec<u8>,
    pub(super) session: Option<usize>,
    pub(super) statements: HashMap<String, usize>,
    pub(super) requests: VecDeque<Request>,
    pub(super) doing: Doing,
    pub(super) listens: bool,
    pub(super) heard: VecDeque<Vec<u8>>,
    /// The id that the last statement was sent under.
    pub(super) writer: Option<Uuid>,
    /// Its transaction has written something.
    pub(super) has_written: bool,
    /// Nothing gets through until that is over.
    pub(super) stuck: Option<Stuck>,
    /// What was stuck gets through now.
    pub(super) is_next: bool,
    pub(super) wish: Option<Wish>,
    /// It carries statements of guests.
    pub(super) is_guests: bool,
    /// How much it is held up, where some are more than others.
    pub(super) rank: usize,
}

pub(super) enum Doing {
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
    /// Its statement was carried out, and others hear of that first.
    CarriedOut,
    /// It is to be answered.
    Answered {
        answer: Vec<u8>,
    },
}

/// What becomes of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Plain,
    Late,
    Slow,
    LostBefore,
    LostAfter,
    Collides,
}

impl World<'_> {
    pub(super) fn link(&mut self, id: u32) -> Result<&mut Link> {
        self.links.get_mut(&id).context("a connection is gone")
    }

    pub(super) fn add(&mut self, mut link: Link) -> u32 {
        link.rank = self.rank();
        let id = self.next_link;
        self.next_link += 1;
        self.links.insert(id, link);
        id
    }

    /// How much a connection is held up from now on.
    fn rank(&mut self) -> usize {
        match self.plan.faults.uneven {
            0 => 0,
            _ => self.rng.usize(0..RANKS.len()),
        }
    }

    /// How long something is stuck that gets through soon.
    pub(super) fn after(&mut self) -> Stuck {
        Stuck::After(self.rng.u32(1..=MANY))
    }

    /// One more statement of somebody is carried out.
    fn count(&mut self, owner: Owner) {
        for link in self.links.values_mut().filter(|link| link.owner == owner) {
            link.stuck = match link.stuck {
                Some(Stuck::After(1)) => {
                    link.is_next = true;
                    None
                }
                Some(Stuck::After(more)) => Some(Stuck::After(more - 1)),
                other => other,
            };
        }
    }

    /// The statement that a connection asks for next.
    fn asks<'a>(&'a self, link: &'a Link) -> Option<&'a str> {
        let server = &self.theatre.server;
        link.requests
            .front()?
            .parts
            .iter()
            .find_map(|part| match part {
                Part::Bind { statement, .. } => {
                    let statement = link.statements.get(statement).copied().unwrap_or_default();
                    Some(server.sql(statement))
                }
                Part::Query(text) => Some(text),
                _ => None,
            })
    }

    /// Whether a flush of a worker is on its way there.
    pub(super) fn flushes(&self, link: &Link) -> bool {
        self.asks(link).is_some_and(server::is_flush)
    }

    /// Carries out the next request of a connection.
    pub(super) fn carry_out(&mut self, id: u32) -> Result<()> {
        let link = self.links.get(&id).context("a connection is gone")?;
        let sql = self.asks(link).unwrap_or_default().to_owned();
        if self.rng.u32(0..1_000) < self.plan.faults.uneven {
            let rank = self.rank();
            self.link(id)?.rank = rank;
        }
        let link = self.link(id)?;
        link.is_next = false;
        let owner = link.owner;
        self.count(owner);
        let link = self.link(id)?;
        let session = link.session.context("a connection has no session")?;
        let request = link.requests.pop_front().context("there is no request")?;
        let how = self.how(id, &sql);
        self.note(format!("{id} {how:?} {}", server::label(&sql)));
        match how {
            How::LostBefore => {
                self.cut(id)?;
                return self.turn_of(id);
            }
            How::Collides => {
                // Drawn from what is there, so that seeds go on as they did.
                let (code, said) = COLLISIONS[self.choices as usize % COLLISIONS.len()];
                let mut answer = wire::error(code, said);
                answer.extend(wire::ready(b'I'));
                return self.answer(id, &answer);
            }
            _ => {}
        }
        let server = &mut self.theatre.server;
        let woken = match server::ends_sessions(&sql) {
            true => server.wake_guests()?,
            false => Vec::new(),
        };
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
                    if !link.is_guests && (said.is_some() || server.status(session) == b'I') {
                        link.writer = said;
                    }
                    if let (Owner::Worker(at), true, Some(id)) = (
                        link.owner,
                        // What a life before has sent may come now.
                        link.stream.is_some() && sql.contains("insert into dacapo.worker"),
                        link.writer,
                    ) {
                        self.shared.borrow_mut().incarnations[at] = Some(id);
                    }
                    bytes.extend(server.preparing(session, statement));
                    bytes.extend(wire::bind(&portal, &server::name_of(statement), &rest));
                }
                Part::Query(text) => {
                    if server.status(session) == b'I' {
                        // What a guest's transaction records is its worker's who begins it.
                        link.writer = match link.owner {
                            Owner::Worker(at) if link.is_guests => {
                                self.shared.borrow().incarnations[at]
                            }
                            _ => None,
                        };
                    }
                    bytes.extend(wire::query(&text));
                }
                Part::Sync => bytes.extend(wire::sync()),
                Part::Execute(raw) | Part::Other(raw) => bytes.extend(raw),
            }
        }
        let begins = how == How::Slow && self.theatre.server.status(session) == b'I';
        let server = &mut self.theatre.server;
        let went = server.send(session, &bytes, Some((self.now, begins)))?;
        server.stop_again(woken)?;
        match went {
            Went::Done(answer) => self.carried_out(id, answer, begins, how, &sql),
            Went::Blocked => {
                self.note(format!("{id} waits for a lock"));
                self.link(id)?.doing = Doing::Waiting { begins, how, sql };
                Ok(())
            }
        }
    }

    /// A statement has been carried out: what that means to everybody.
    pub(super) fn carried_out(
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
        if self.theatre.server.is_over(session) {
            self.link(id)?.doing = Doing::CarriedOut;
            self.go_on(None)?;
            let link = self.link(id)?;
            link.doing = Doing::Nothing;
            link.requests.clear();
            self.cut(id)?;
            return self.turn_of(id);
        }
        if sql.eq_ignore_ascii_case("discard all") && failed.is_none() {
            self.theatre.server.is_as_new(session);
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
    pub(super) fn done(
        &mut self,
        id: u32,
        answer: Vec<u8>,
        how: How,
        committed: Option<Writer>,
        ended: bool,
    ) -> Result<()> {
        // Its worker may leave it meanwhile, and it must not be forgotten before its turn has come.
        self.link(id)?.doing = Doing::CarriedOut;
        if committed.is_some() || ended {
            self.go_on(committed)?;
        }
        let link = self.link(id)?;
        link.doing = Doing::Nothing;
        match how {
            How::Late => {
                link.doing = Doing::Answered { answer };
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
    pub(super) fn go_on(&mut self, committed: Option<Writer>) -> Result<()> {
        let mut writers: Vec<Writer> = committed.into_iter().collect();
        let mut went = Vec::new();
        loop {
            let mut waiting: Vec<u32> = self
                .links
                .iter()
                .filter(|(_, link)| matches!(link.doing, Doing::Waiting { .. }))
                .map(|(id, _)| *id)
                .collect();
            // Any of them may be asked first; which one is told by what is there, so that seeds go on as they did.
            let first = self.choices as usize % waiting.len().max(1);
            waiting.rotate_left(first);
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
                let doing = std::mem::replace(&mut link.doing, Doing::CarriedOut);
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
    pub(super) fn look(&mut self, writers: &[Writer]) -> Result<()> {
        let shared = &mut *self.shared.borrow_mut();
        let wrong = shared
            .ledger
            .look(&mut self.theatre.server, writers, self.now)?;
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

    pub(super) fn commit(&mut self, id: u32) -> Result<()> {
        let link = self.link(id)?;
        let Doing::Uncommitted { answer } = std::mem::replace(&mut link.doing, Doing::CarriedOut)
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
    pub(super) fn abort(&mut self, id: u32) -> Result<()> {
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
    pub(super) fn answer(&mut self, id: u32, answer: &[u8]) -> Result<()> {
        match self.links.get(&id) {
            // Its client is gone, and nothing of it is left.
            None => Ok(()),
            Some(link) if link.owner == Owner::Outside => self.granted(id, answer),
            Some(_) => self.send(id, answer),
        }
    }

    /// Sends bytes to a client, and lets it do what it can with them.
    pub(super) fn send(&mut self, id: u32, bytes: &[u8]) -> Result<()> {
        if let Some(stream) = &self.links[&id].stream
            && !write(stream, bytes)
        {
            self.cut(id)?;
        }
        self.turn_of(id)
    }

    /// Breaks a connection. What its client has asked for may still be on its way.
    pub(super) fn cut(&mut self, id: u32) -> Result<()> {
        // A flush that is on its way is what there is to find out about.
        let flushes = self.links.get(&id).is_some_and(|link| self.flushes(link));
        let keeps = self.rng.u32(0..4) < if flushes { 3 } else { 2 };
        // Some of that when its client asks elsewhere what became of it, some when all of that is long over.
        let sticks = match self.rng.u32(0..4) {
            _ if self.calm || self.plan.faults.stuck == 0 => None,
            0 => None,
            1 => Some(Stuck::Long),
            _ => Some(self.after()),
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
    pub(super) fn forget(&mut self, id: u32) -> Result<()> {
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
}

impl Link {
    pub(super) fn new(owner: Owner, stream: Option<Rc<UnixStream>>) -> Self {
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
            is_next: false,
            wish: None,
            is_guests: false,
            rank: 0,
        }
    }

    /// How likely it is that it goes on next, of those that would be as likely as this.
    pub(super) fn share(&self, often: u32) -> u32 {
        often * RANKS[self.rank] / RANKS[0]
    }

    pub(super) fn writer(&self) -> Writer {
        match self.owner {
            Owner::Worker(_) => Writer::Worker(self.writer),
            Owner::Outside => Writer::Outside,
        }
    }

    /// Its client is gone: what that has sent may be carried out, and nobody hears of it.
    pub(super) fn orphan(&mut self, keeps: bool) {
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
pub(super) fn concerns_nobody(request: &Request) -> bool {
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
pub(super) fn prepare(
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

/// The client must not see a transaction that it has not begun.
pub(super) fn as_idle(answer: &mut [u8]) {
    if let Some(last) = answer.last_mut() {
        *last = b'I';
    }
}
