//! The real server, and sessions on it that clients are given one after the other, so that a simulated connection costs none of its own.

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::GUESTS;
use crate::wire;

/// How long is read from a session before it is looked at what it has said so far.
const A_MOMENT: Duration = Duration::from_millis(4);

/// A statement that is neither carried out nor said to wait for a lock after so many moments will not be.
const MOMENTS: u32 = 10_000;

/// What makes the server say of each statement whether it waits for a lock, as soon as it has looked whether that is a deadlock. How long it
/// takes to do so makes no difference then.
pub(crate) const SAYS_WHO_WAITS: [(&str, &str); 4] = [
    ("deadlock_timeout", "10ms"),
    ("log_lock_waits", "on"),
    ("client_min_messages", "log"),
    ("lc_messages", "C"),
];

/// How statements end the sessions of others, and how they are made to: so that nothing depends on how soon those are gone.
const ENDS: [&str; 2] = [
    "pg_terminate_backend(pid)",
    "pg_terminate_backend(pid, 5000)",
];
const ENDS_AND_WAITS: &str = "pg_terminate_backend(pid, 30000)";

/// Where Postgres is, and what is known of it.
pub(crate) struct Server {
    socket: PathBuf,
    sessions: Vec<Session>,
    /// Sessions that nobody has, by what they were begun with.
    free: HashMap<Vec<u8>, Vec<usize>>,
    statements: Vec<Statement>,
    known: HashMap<(String, Vec<u8>), usize>,
    admin: usize,
    /// What was notified and nobody has asked for.
    heard: Vec<Vec<u8>>,
    /// What is put in the place of what in statements, to see whether that is noticed.
    change: Option<(String, String)>,
    has_changed: bool,
    waker: Waker,
}

/// A prepared statement, which all sessions know by the same name.
pub(crate) struct Statement {
    pub(crate) sql: String,
    types: Vec<u8>,
    /// What the server says of it.
    described: Option<Vec<u8>>,
}

struct Session {
    stream: UnixStream,
    process: i32,
    hello: Vec<u8>,
    greeting: Vec<u8>,
    prepared: HashSet<usize>,
    /// The time that it was told.
    now: Option<i64>,
    /// `I`: idle, `T`: in a transaction, `E`: in one that has failed.
    status: u8,
    bytes: Vec<u8>,
    /// Answers that are awaited.
    awaited: usize,
    answers: Vec<Vec<u8>>,
    answer: Vec<u8>,
    /// It has said that it waits for a lock, and that this is no deadlock.
    waits: bool,
    /// Its process is stopped meanwhile.
    stopped: bool,
    /// Somebody has ended it.
    is_over: bool,
}

/// What became of a request.
pub(crate) enum Went {
    /// This is the answer.
    Done(Vec<u8>),
    /// It waits for a lock that another session has.
    Blocked,
}

const CHANNELS: [&str; 9] = [
    "dacapo_ready",
    "dacapo_signal",
    "dacapo_run",
    "dacapo_deployment",
    "dacapo_schedule",
    "dacapo_children",
    "dacapo_held",
    "dacapo_due",
    "dacapo_queue",
];

impl Server {
    pub(crate) fn new(socket: PathBuf, database: &str) -> Result<Self> {
        let mut server = Self {
            socket,
            sessions: Vec::new(),
            free: HashMap::new(),
            statements: Vec::new(),
            known: HashMap::new(),
            admin: 0,
            heard: Vec::new(),
            change: None,
            has_changed: false,
            waker: Waker::new()?,
        };
        let hello = hello(database);
        server.admin = server.take(&hello)?;
        let listen: String = CHANNELS
            .map(|channel| format!("listen {channel};"))
            .concat();
        server.ask(&listen)?;
        Ok(server)
    }

    /// A session that was begun with this message.
    pub(crate) fn take(&mut self, hello: &[u8]) -> Result<usize> {
        if let Some(free) = self.free.get_mut(hello).and_then(Vec::pop) {
            return Ok(free);
        }
        let mut stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("cannot connect to {}", self.socket.display()))?;
        stream.set_read_timeout(Some(A_MOMENT))?;
        stream.write_all(hello)?;
        self.sessions.push(Session {
            stream,
            process: 0,
            hello: hello.to_vec(),
            greeting: Vec::new(),
            prepared: HashSet::new(),
            now: None,
            status: b'I',
            bytes: Vec::new(),
            awaited: 1,
            answers: Vec::new(),
            answer: Vec::new(),
            waits: false,
            stopped: false,
            is_over: false,
        });
        let at = self.sessions.len() - 1;
        let greeting = self.sessions[at].wait()?;
        if let Some((code, said)) = wire::error_in(&greeting) {
            bail!("the server refuses a connection: {code} {said}");
        }
        let key = wire::messages(&greeting).find(|(tag, _)| *tag == b'K');
        let (_, key) = key.context("the server does not say which process serves")?;
        let process = i32::from_be_bytes([key[0], key[1], key[2], key[3]]);
        self.sessions[at].process = process;
        self.waker.knows(process)?;
        self.sessions[at].greeting = greeting;
        // The same plans whether a session is new or was used before.
        self.must(at, "set plan_cache_mode = force_generic_plan")?;
        Ok(at)
    }

    /// A session that no client has asked for.
    pub(crate) fn take_own(&mut self, database: &str) -> Result<usize> {
        self.take(&hello(database))
    }

    /// What the server said when the session was begun.
    pub(crate) fn greeting(&self, session: usize) -> &[u8] {
        &self.sessions[session].greeting
    }

    /// Nobody needs the session any more: whatever it has open is rolled back.
    pub(crate) fn give_back(&mut self, session: usize) -> Result<()> {
        if self.status(session) != b'I' {
            let went = self.send(session, &wire::query("rollback"), None)?;
            let is_refused = match went {
                Went::Done(answer) => wire::error_in(&answer).is_some(),
                Went::Blocked => true,
            };
            ensure!(
                !is_refused || self.is_over(session),
                "a session cannot be rolled back"
            );
        }
        if self.is_over(session) {
            return Ok(());
        }
        let hello = self.sessions[session].hello.clone();
        self.free.entry(hello).or_default().push(session);
        Ok(())
    }

    /// Whether somebody has ended a session, as far as one has heard.
    pub(crate) fn is_over(&self, session: usize) -> bool {
        self.sessions[session].is_over
    }

    /// All that was prepared and set on a session is gone.
    pub(crate) fn is_as_new(&mut self, session: usize) {
        let session = &mut self.sessions[session];
        session.prepared.clear();
        session.now = None;
    }

    pub(crate) fn status(&self, session: usize) -> u8 {
        self.sessions[session].status
    }

    /// The number of a statement.
    pub(crate) fn statement(&mut self, sql: &str, types: &[u8]) -> usize {
        let change = self.change.as_ref().filter(|(what, _)| sql.contains(what));
        let changed = change.map(|(what, by)| sql.replace(what, by));
        self.has_changed |= changed.is_some();
        let sql = ENDS
            .iter()
            .fold(changed.as_deref().unwrap_or(sql).to_owned(), |sql, ends| {
                sql.replace(ends, ENDS_AND_WAITS)
            });
        let key = (sql.clone(), types.to_vec());
        *self.known.entry(key).or_insert_with(|| {
            self.statements.push(Statement {
                sql,
                types: types.to_vec(),
                described: None,
            });
            self.statements.len() - 1
        })
    }

    pub(crate) fn sql(&self, statement: usize) -> &str {
        &self.statements[statement].sql
    }

    /// What a statement takes and answers; the inner error is what the server says against it.
    pub(crate) fn describe(
        &mut self,
        session: usize,
        statement: usize,
    ) -> Result<Result<Vec<u8>, Vec<u8>>> {
        if let Some(described) = &self.statements[statement].described {
            return Ok(Ok(described.clone()));
        }
        let name = name_of(statement);
        let known = &self.statements[statement];
        let mut bytes = wire::parse(&name, &known.sql, &known.types);
        bytes.extend(wire::describe(&name));
        bytes.extend(wire::sync());
        let Went::Done(answer) = self.send(session, &bytes, None)? else {
            bail!(
                "preparing a statement waits for a lock: {}",
                self.sql(statement)
            );
        };
        if wire::error_in(&answer).is_some() {
            return Ok(Err(answer));
        }
        self.sessions[session].prepared.insert(statement);
        let described: Vec<u8> = wire::messages(&answer)
            .filter(|(tag, _)| [b't', b'T', b'n'].contains(tag))
            .flat_map(|(tag, body)| wire::message(tag, &[body]))
            .collect();
        self.statements[statement].described = Some(described.clone());
        Ok(Ok(described))
    }

    /// The message that prepares a statement on a session, if it is not yet.
    pub(crate) fn preparing(&mut self, session: usize, statement: usize) -> Vec<u8> {
        // In a transaction that has failed nothing can be prepared, and all else is refused, too.
        if self.status(session) == b'E' || !self.sessions[session].prepared.insert(statement) {
            return Vec::new();
        }
        let known = &self.statements[statement];
        wire::parse(&name_of(statement), &known.sql, &known.types)
    }

    /// Sends a request, at this time, and waits until it is answered or is seen to wait for a lock. With `begins`, a transaction is begun
    /// before, which is left open.
    pub(crate) fn send(
        &mut self,
        session: usize,
        request: &[u8],
        at: Option<(i64, bool)>,
    ) -> Result<Went> {
        let one = &mut self.sessions[session];
        let mut bytes = Vec::with_capacity(request.len() + 64);
        one.awaited = 1;
        if let Some((now, begins)) = at {
            if one.now != Some(now) && one.status != b'E' {
                bytes.extend(wire::query(&format!("set sim.now = '{now}'")));
                one.awaited += 1;
                // What is set in a transaction that is rolled back is not set.
                one.now = (one.status == b'I').then_some(now);
            }
            if begins {
                bytes.extend(wire::query("begin"));
                one.awaited += 1;
            }
        }
        bytes.extend_from_slice(request);
        // One that was ended says so when it is read.
        if let Err(error) = one.stream.write_all(&bytes)
            && !matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            )
        {
            return Err(error.into());
        }
        self.look(session)
    }

    /// Processes of guests' statements that are stopped are not any more: one that is to end could not. Answers which they were.
    pub(crate) fn wake_guests(&mut self) -> Result<Vec<usize>> {
        let mut woken = Vec::new();
        for (at, session) in self.sessions.iter_mut().enumerate() {
            if session.stopped && wire::user(&session.hello) == GUESTS {
                session.go_on()?;
                woken.push(at);
            }
        }
        Ok(woken)
    }

    /// Stops those of them again that still wait.
    pub(crate) fn stop_again(&mut self, woken: Vec<usize>) -> Result<()> {
        for at in woken {
            if self.is_blocked(at)? {
                self.sessions[at].stop()?;
            }
        }
        Ok(())
    }

    /// Whether a request that waited for a lock has gone on.
    pub(crate) fn look_again(&mut self, session: usize) -> Result<Went> {
        if self.is_blocked(session)? {
            return Ok(Went::Blocked);
        }
        self.sessions[session].go_on()?;
        self.look(session)
    }

    /// Waits until a request is answered or has said that it waits for a lock. Then its process is stopped: of several that can go on at once one does
    /// so after the other, and not whichever is faster.
    fn look(&mut self, session: usize) -> Result<Went> {
        for _ in 0..MOMENTS {
            if self.sessions[session].read()? {
                return Ok(Went::Done(self.sessions[session].last_answer()));
            }
            // What it says of a wait that is over may come after that.
            if self.sessions[session].waits && self.is_blocked(session)? {
                self.sessions[session].stop()?;
                return Ok(Went::Blocked);
            }
        }
        self.sessions[session].go_on()?;
        bail!("a statement is neither carried out nor does it wait for a lock");
    }

    fn is_blocked(&mut self, session: usize) -> Result<bool> {
        // It is what one asks on.
        if session == self.admin {
            return Ok(false);
        }
        let process = self.sessions[session].process;
        let sql = format!("select cardinality(pg_blocking_pids({process})) > 0");
        let rows = self.ask(&sql)?;
        Ok(rows
            .first()
            .is_some_and(|row| row[0].as_deref() == Some("t")))
    }

    /// Carries out what must not fail nor wait.
    pub(crate) fn must(&mut self, session: usize, sql: &str) -> Result<Vec<u8>> {
        match self.send(session, &wire::query(sql), None)? {
            Went::Done(answer) => {
                if let Some((code, said)) = wire::error_in(&answer) {
                    bail!("{sql}: {code} {said}");
                }
                Ok(answer)
            }
            Went::Blocked => bail!("{sql}: waits for a lock"),
        }
    }

    /// Asks something on a session that nobody else has.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let admin = &mut self.sessions[self.admin];
        admin.awaited = 1;
        admin.stream.write_all(&wire::query(sql))?;
        let answer = admin.wait()?;
        if let Some((code, said)) = wire::error_in(&answer) {
            bail!("{sql}: {code} {said}");
        }
        let heard = wire::messages(&answer).filter(|(tag, _)| *tag == b'A');
        self.heard
            .extend(heard.map(|(tag, body)| wire::message(tag, &[body])));
        Ok(wire::rows(&answer))
    }

    /// What was notified since the last time, up to what was asked last.
    pub(crate) fn hear(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.heard)
    }

    /// From now on statements that have the first text have the second one in its place.
    pub(crate) fn change(&mut self, change: Option<(String, String)>) {
        self.change = change;
        self.has_changed = false;
    }

    /// Whether any statement had it.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

/// Wakes all processes of sessions when this one is gone, even if it is killed: the server could not end with one that is stopped.
struct Waker {
    process: Child,
}

impl Waker {
    fn new() -> Result<Self> {
        let process = Command::new("sh")
            .args([
                "-c",
                "while read -r one; do all=\"$all $one\"; done; kill -CONT $all",
            ])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            // What interrupts this one is not to interrupt that one.
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        Ok(Self { process })
    }

    fn knows(&mut self, process: i32) -> Result<()> {
        let stdin = self.process.stdin.as_mut();
        writeln!(stdin.context("there is nobody to tell")?, "{process}")?;
        Ok(())
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server waits for all its processes when it ends.
        for session in &mut self.sessions {
            let _ = session.go_on();
        }
    }
}

/// What a statement is called on every session.
pub(crate) fn name_of(statement: usize) -> String {
    format!("s{statement}")
}

impl Session {
    fn stop(&mut self) -> Result<()> {
        kill(Pid::from_raw(self.process), Signal::SIGSTOP)?;
        self.stopped = true;
        Ok(())
    }

    fn go_on(&mut self) -> Result<()> {
        if std::mem::take(&mut self.stopped) {
            kill(Pid::from_raw(self.process), Signal::SIGCONT)?;
        }
        self.waits = false;
        Ok(())
    }

    /// Reads for a moment. True: all that was awaited is there.
    fn read(&mut self) -> Result<bool> {
        let mut buffer = [0; 16 << 10];
        loop {
            while let Some(length) = wire::first_length(&self.bytes) {
                let message: Vec<u8> = self.bytes.drain(..length).collect();
                let tag = message[0];
                if let Some(said) = wire::logged(&message) {
                    self.waits = said.contains(" still waiting for ");
                } else if tag == b'Z' {
                    self.waits = false;
                    self.status = message[5];
                    self.awaited = self.awaited.saturating_sub(1);
                    let mut answer = std::mem::take(&mut self.answer);
                    answer.extend(message);
                    self.answers.push(answer);
                } else {
                    self.answer.extend(message);
                }
            }
            if self.awaited == 0 {
                return Ok(true);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.end()?;
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    self.end()?;
                    return Ok(true);
                }
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error)
                    // Interrupted: this process was stopped and goes on.
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) =>
                {
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The server has ended it, which only sessions of guests' statements are to expect.
    fn end(&mut self) -> Result<()> {
        let said = wire::error_in(&self.answer);
        ensure!(
            wire::user(&self.hello) == GUESTS,
            "the server has ended a session: {said:?}"
        );
        let mut answer = std::mem::take(&mut self.answer);
        if said.is_none() {
            answer.extend(wire::error("57P01", "the session was ended"));
        }
        answer.extend(wire::ready(b'I'));
        self.answers.push(answer);
        (self.is_over, self.status, self.awaited) = (true, b'I', 0);
        Ok(())
    }

    /// Waits until all is there.
    fn wait(&mut self) -> Result<Vec<u8>> {
        // A server that is busy with others may take its time.
        for _ in 0..MOMENTS {
            if self.read()? {
                return Ok(self.last_answer());
            }
        }
        bail!("the server does not answer");
    }

    /// The answer to the request itself: what came before was asked beside it.
    fn last_answer(&mut self) -> Vec<u8> {
        let mut answers = std::mem::take(&mut self.answers);
        answers.pop().unwrap_or_default()
    }
}

/// The first message of a connection to a database.
fn hello(database: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&196_608_u32.to_be_bytes());
    for text in ["user", "postgres", "database", database, "TimeZone", "UTC"] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut hello = length.to_be_bytes().to_vec();
    hello.extend(body);
    hello
}

/// Whether a statement can change anything that is looked at after it.
pub(crate) fn writes(sql: &str) -> bool {
    let bare: String = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
        .to_ascii_lowercase();
    let is_beat = bare.contains("update dacapo.worker") && !bare.contains("insert");
    !is_beat
        && (["insert into", "delete from", "update dacapo."]
            .iter()
            .any(|word| bare.contains(word))
            || bare.split("dacapo.").skip(1).any(|rest| {
                rest.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_')
                    .starts_with('(')
            }))
}

/// Whether a statement ends the sessions of others.
pub(crate) fn ends_sessions(sql: &str) -> bool {
    sql.contains("pg_terminate_backend")
}

/// Whether a statement writes what a worker's runs have handed over.
pub(crate) fn is_flush(sql: &str) -> bool {
    sql.starts_with("-- One flush")
}

/// What a statement is about, in a few words.
pub(crate) fn label(sql: &str) -> String {
    let line = sql.trim_start().lines().next().unwrap_or_default();
    let line = line.trim_start_matches("-- ");
    line.chars().take(60).collect()
}

pub(crate) fn check_socket(path: &std::path::Path) -> Result<()> {
    ensure!(
        path.as_os_str().len() < 100,
        "{} is too long for a socket's name",
        path.display()
    );
    Ok(())
}
