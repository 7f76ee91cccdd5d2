//! A pooler that shares sessions out by transaction and keeps prepared statements, as PgBouncer does from version 1.21 on: for machines
//! that have none or an older one. It knows as much of the protocol as that takes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Mutex, Semaphore};

/// A statement as its client knows it: the client's number, and the name.
type Known = (u64, Vec<u8>);

/// A session of the server's.
struct Session {
    stream: UnixStream,
    /// What its statements are called there.
    prepared: HashMap<Known, String>,
    number: u64,
}

/// A pooler that listens.
pub struct Pooler {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    socket: PathBuf,
    free: Mutex<Vec<Session>>,
    places: Semaphore,
    numbers: AtomicU64,
    moves: AtomicUsize,
    listens: AtomicUsize,
}

impl Pooler {
    /// Before the server with this socket, with so many sessions.
    pub async fn before(socket: &Path, sessions: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            socket: socket.to_owned(),
            free: Mutex::default(),
            places: Semaphore::new(sessions),
            numbers: AtomicU64::new(0),
            moves: AtomicUsize::new(0),
            listens: AtomicUsize::new(0),
        });
        let pool = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let pool = Arc::clone(&pool);
                // A client that goes away is no failure.
                tokio::spawn(async move { pool.serve(client).await });
            }
        });
        Self { address, shared }
    }

    /// How often a client was served by another session than the time before.
    pub fn moves(&self) -> usize {
        self.shared.moves.load(Ordering::Relaxed)
    }

    /// How often a client wanted to listen.
    pub fn listens(&self) -> usize {
        self.shared.listens.load(Ordering::Relaxed)
    }
}

/// A message with its kind; the kind of a start is none.
async fn message(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    Ok((kind, rest(stream).await?))
}

async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stream.read_u32().await?).unwrap() - 4;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

fn put(into: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    into.push(kind);
    into.extend(u32::try_from(length + 4).unwrap().to_be_bytes());
    for part in parts {
        into.extend(*part);
    }
}

/// A name that ends with a zero, and what comes after it.
fn named(body: &[u8]) -> (&[u8], &[u8]) {
    let end = body.iter().position(|byte| *byte == 0).unwrap();
    (&body[..end], &body[end + 1..])
}

impl Session {
    /// A session without any settings of a client's.
    async fn open(socket: &Path, number: u64) -> io::Result<(Self, Vec<u8>)> {
        let mut stream = UnixStream::connect(socket).await?;
        let start = b"\0\x03\0\0user\0postgres\0database\0postgres\0client_encoding\0UTF8\0DateStyle\0ISO, MDY\0TimeZone\0UTC\0\0";
        let mut bytes = u32::try_from(start.len() + 4)
            .unwrap()
            .to_be_bytes()
            .to_vec();
        bytes.extend(start);
        stream.write_all(&bytes).await?;
        let mut greeting = Vec::new();
        loop {
            let (kind, body) = message(&mut stream).await?;
            put(&mut greeting, kind, &[&body]);
            match kind {
                b'Z' => break,
                b'E' => return Err(io::Error::other("the server gives no session")),
                _ => {}
            }
        }
        let session = Self {
            stream,
            prepared: HashMap::new(),
            number,
        };
        Ok((session, greeting))
    }
}

impl Shared {
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        // Its settings are dropped, as with `ignore_startup_parameters`.
        rest(&mut client).await?;
        let (_, greeting) = Session::open(&self.socket, self.number()).await?;
        client.write_all(&greeting).await?;
        let me = self.number();
        let mut statements: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut last = None;
        loop {
            let mut asked = asked(&mut client).await?;
            let _place = self.places.acquire().await.map_err(io::Error::other)?;
            let free = self.free.lock().await.pop();
            let mut session = match free {
                Some(session) => session,
                None => Session::open(&self.socket, self.number()).await?.0,
            };
            if last
                .replace(session.number)
                .is_some_and(|last| last != session.number)
            {
                self.moves.fetch_add(1, Ordering::Relaxed);
            }
            // A session whose client goes away in the middle goes, too.
            while !self
                .ask(&mut client, me, &mut session, &mut statements, asked)
                .await?
            {
                asked = self::asked(&mut client).await?;
            }
            // The one that has rested longest is next, so that clients change sessions all the time.
            self.free.lock().await.insert(0, session);
        }
    }

    /// Passes on what a client asks, and the answers. True: no transaction is open.
    async fn ask(
        &self,
        client: &mut TcpStream,
        me: u64,
        session: &mut Session,
        statements: &mut HashMap<Vec<u8>, Vec<u8>>,
        asked: Vec<(u8, Vec<u8>)>,
    ) -> io::Result<bool> {
        let mut bytes = Vec::new();
        // Whether each statement that is prepared was asked for, or is prepared again here.
        let (mut again, mut made): (std::collections::VecDeque<bool>, Vec<Known>) =
            Default::default();
        let mut name_of = |bytes: &mut Vec<u8>,
                           name: &[u8],
                           statements: &HashMap<Vec<u8>, Vec<u8>>,
                           again: &mut std::collections::VecDeque<bool>| {
            if name.is_empty() {
                return String::new();
            }
            let known = (me, name.to_vec());
            if let Some(there) = session.prepared.get(&known) {
                return there.clone();
            }
            let there = format!("s{}", self.number());
            if let Some(statement) = statements.get(name) {
                put(bytes, b'P', &[there.as_bytes(), b"\0", statement]);
                again.push_back(true);
            }
            session.prepared.insert(known.clone(), there.clone());
            made.push(known);
            there
        };
        for (kind, body) in asked {
            if body.windows(7).any(|word| word == b"LISTEN ") {
                self.listens.fetch_add(1, Ordering::Relaxed);
            }
            match kind {
                b'P' => {
                    let (name, statement) = named(&body);
                    statements.remove(name);
                    let there = name_of(&mut bytes, name, statements, &mut again);
                    statements.insert(name.to_vec(), statement.to_vec());
                    put(&mut bytes, b'P', &[there.as_bytes(), b"\0", statement]);
                    again.push_back(false);
                }
                b'B' => {
                    let (portal, after) = named(&body);
                    let (name, after) = named(after);
                    let there = name_of(&mut bytes, name, statements, &mut again);
                    put(
                        &mut bytes,
                        b'B',
                        &[portal, b"\0", there.as_bytes(), b"\0", after],
                    );
                }
                b'D' | b'C' if body[0] == b'S' => {
                    let (name, _) = named(&body[1..]);
                    let there = name_of(&mut bytes, name, statements, &mut again);
                    put(&mut bytes, kind, &[b"S", there.as_bytes(), b"\0"]);
                }
                _ => put(&mut bytes, kind, &[&body]),
            }
        }
        session.stream.write_all(&bytes).await?;
        let mut failed = false;
        loop {
            let (kind, body) = message(&mut session.stream).await?;
            let is_ours = kind == b'1' && again.pop_front() == Some(true);
            failed |= kind == b'E';
            if !is_ours {
                let mut answer = Vec::new();
                put(&mut answer, kind, &[&body]);
                client.write_all(&answer).await?;
            }
            if kind == b'Z' {
                if failed {
                    // Nobody knows which of them are there; those that are asked for again get new names.
                    for known in made {
                        session.prepared.remove(&known);
                    }
                }
                return Ok(body == b"I");
            }
        }
    }
}

/// What a client asks, up to where it waits for the answer.
async fn asked(client: &mut TcpStream) -> io::Result<Vec<(u8, Vec<u8>)>> {
    let mut asked = Vec::new();
    loop {
        let (kind, body) = message(client).await?;
        asked.push((kind, body));
        match kind {
            b'S' | b'Q' => return Ok(asked),
            b'X' => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
    }
}
