//! A proxy between workers and a server, which does to connections what networks do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// What happens to the bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They arrive.
    Pass,
    /// They arrive late, each time.
    Slow(Duration),
    /// They are kept until this is over, and nobody is told. Whoever connects is kept waiting, too.
    Held,
    /// The connection is closed.
    Cut,
    /// The worker is told that the server says no more; what the worker says still arrives.
    NoAnswers,
    /// The server is told that the worker says no more; what the server says still arrives.
    NoQuestions,
    /// Nothing arrives any more, and nobody is told.
    Lost,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToWorker,
}

#[derive(Default)]
struct State {
    target: PathBuf,
    fates: Vec<watch::Sender<Fate>>,
    fate_of_new: Option<Fate>,
}

/// A proxy that listens.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Before the server with this socket.
    pub async fn before(socket: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            target: socket.to_owned(),
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (fate, target) = {
                    let mut state = shared.lock().unwrap();
                    let first = state.fate_of_new.unwrap_or(Fate::Pass);
                    let (sender, fate) = watch::channel(first);
                    state.fates.retain(|fate| !fate.is_closed());
                    state.fates.push(sender);
                    (fate, state.target.clone())
                };
                tokio::spawn(forward(client, target, fate));
            }
        });
        Self { address, state }
    }

    /// How to reach the server's database `postgres` through it.
    pub fn url(&self) -> String {
        format!(
            "postgres://postgres@{}/postgres?sslmode=disable",
            self.address
        )
    }

    /// What becomes of all connections, and of those that come.
    pub fn all(&self, fate: Fate) {
        let mut state = self.state.lock().unwrap();
        state.fate_of_new = Some(fate);
        for one in &state.fates {
            one.send_replace(fate);
        }
    }

    /// What becomes of those connections that are there. Others can be had at once.
    pub fn present(&self, fate: Fate) {
        for one in self.state.lock().unwrap().fates.drain(..) {
            one.send_replace(fate);
            // Nobody says anything else any more.
            std::mem::forget(one);
        }
    }

    /// Leads to another server from now on.
    pub fn lead_to(&self, socket: &Path) {
        self.state.lock().unwrap().target = socket.to_owned();
    }
}

async fn forward(client: TcpStream, target: PathBuf, fate: watch::Receiver<Fate>) {
    let mut first = fate.clone();
    if first.wait_for(|fate| *fate != Fate::Held).await.is_err() {
        return;
    }
    // Nobody listens: the client is told by the end of its connection.
    let Ok(server) = UnixStream::connect(target).await else {
        return;
    };
    client.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        pump(from_client, to_server, Way::ToServer, fate.clone()),
        pump(from_server, to_client, Way::ToWorker, fate),
    );
}

/// Forwards one way of a connection. When it returns its ends are closed.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    mut fate: watch::Receiver<Fate>,
) {
    let mut bytes = vec![0; 65_536];
    loop {
        let now = *fate.borrow_and_update();
        match now {
            Fate::Cut => return,
            Fate::NoAnswers if way == Way::ToWorker => return,
            Fate::NoQuestions if way == Way::ToServer => return,
            Fate::Held => {
                if fate.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Fate::Lost => std::future::pending().await,
            _ => {}
        }
        let read = tokio::select! {
            biased;
            changed = fate.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            read = from.read(&mut bytes) => read,
        };
        let Ok(size @ 1..) = read else { return };
        // What was read while the fate changed has that fate.
        loop {
            let now = *fate.borrow_and_update();
            match now {
                Fate::Slow(late) => {
                    tokio::time::sleep(late).await;
                    break;
                }
                Fate::Held if fate.changed().await.is_err() => return,
                Fate::Held => {}
                Fate::Lost => std::future::pending().await,
                Fate::Cut => return,
                Fate::Pass | Fate::NoAnswers | Fate::NoQuestions => break,
            }
        }
        if to.write_all(&bytes[..size]).await.is_err() {
            return;
        }
    }
}
