//! The public handle: start, reach, stop and crash one private server.

use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::binaries::Binaries;
use crate::error::ClusterError;
use crate::launch::launch;
use crate::layout::{Layout, default_data_dir};
use crate::pidfile::{self, Endpoint};
use crate::supervisor::Supervised;

/// How long a server may take to end by each of SIGINT (connections are closed, a checkpoint is made), SIGQUIT (no
/// checkpoint, the next start recovers) and SIGKILL.
const STOP_STAGES: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(30)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

/// How long dropping a handle blocks for its server to end; it goes on ending after that.
const DROP_WAIT_MAX: Duration = Duration::from_secs(3);

/// How to start a private server.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Where the data is kept; made if it does not exist. When this process is root, an empty directory is handed to
    /// the user that Postgres runs as (its owner if that is not root, else `postgres`, else `nobody`), and every
    /// directory above it must let that user pass.
    pub data_dir: PathBuf,
    /// Settings of the server as names and values (`-c name=value`), which win over those of this crate.
    pub settings: Vec<(String, String)>,
    /// The directory of `postgres` and `initdb`; none looks for them in `PATH` and in the usual places.
    pub binaries: Option<PathBuf>,
}

impl Default for ClusterOptions {
    /// [`default_data_dir`], no settings, the machine's binaries.
    fn default() -> ClusterOptions {
        ClusterOptions {
            data_dir: default_data_dir(),
            settings: Vec::new(),
            binaries: None,
        }
    }
}

/// A private Postgres server that is up, or was until [`Cluster::crash`].
///
/// A server that this handle started ends with it: [`Cluster::stop`] waits for that, dropping the handle waits for at
/// most three seconds, and on Linux even a killed process takes its server with it. A server that was up already is
/// only visited: it belongs to whoever started it, and ends with them.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    layout: Layout,
    endpoint: Endpoint,
    server: Server,
}

#[derive(Debug)]
enum Server {
    Ours(Supervised),
    Visited { pid: u32 },
    Down,
}

impl Cluster {
    /// Returns when the server accepts connections. On a data directory whose server is up, that server is used, and
    /// [`ClusterOptions::settings`] and [`ClusterOptions::binaries`] have no effect.
    ///
    /// The socket is not in the data directory, whose path may be longer than a socket's address may be (107 bytes on
    /// Linux), but in a directory `dacapo-HASH` in the temporary directory, open to the server's user alone.
    ///
    /// # Errors
    ///
    /// No usable binaries; a directory that the server's user cannot reach; a server that cannot start, with the end of
    /// its log. Nothing is left running then.
    pub async fn start(options: ClusterOptions) -> Result<Cluster, ClusterError> {
        blocking(move || Cluster::start_blocking(options)).await
    }

    fn start_blocking(options: ClusterOptions) -> Result<Cluster, ClusterError> {
        let (layout, user) = Layout::open(&options.data_dir)?;
        // Two starts at once on one directory: the second waits here, and then finds the first one's server.
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&layout.lock)
            .map_err(ClusterError::io("open", &layout.lock))?;
        user.own(&layout.lock)?;
        lock.lock()
            .map_err(ClusterError::io("lock", &layout.lock))?;

        let (server, endpoint) = match pidfile::live(&layout.cluster) {
            Some(file) => (Server::Visited { pid: file.pid }, file.endpoint),
            None => {
                let binaries = Binaries::find(
                    options.binaries.as_deref(),
                    &layout.data_dir,
                    layout.major(),
                )?;
                let (server, endpoint) = launch(&layout, &user, &binaries, &options.settings)?;
                (Server::Ours(server), endpoint)
            }
        };
        Ok(Cluster {
            options,
            layout,
            endpoint,
            server,
        })
    }

    /// A connection URL for one of the server's databases, which need not exist. The user is the superuser `postgres`;
    /// there is no password, since only the server's own user (and root) can reach the socket.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{}?host={}&port={}&sslmode=disable",
            percent_encoded(database.as_bytes()),
            percent_encoded(self.endpoint.socket_dir.as_os_str().as_bytes()),
            self.endpoint.port
        )
    }

    /// The data directory, absolute and without links.
    pub fn data_dir(&self) -> &Path {
        &self.layout.data_dir
    }

    /// The server's log.
    pub fn log_file(&self) -> &Path {
        &self.layout.log
    }

    /// Whether the server was up already, so that it will not end with this handle.
    pub fn reused(&self) -> bool {
        matches!(self.server, Server::Visited { .. })
    }

    /// The process id of the server; none after [`Cluster::crash`], or when it has ended by itself.
    pub fn pid(&self) -> Option<u32> {
        match &self.server {
            Server::Ours(server) if server.ended().is_none() => {
                Some(server.pid().as_raw().cast_unsigned())
            }
            Server::Visited { pid } => Some(*pid),
            Server::Ours(_) | Server::Down => None,
        }
    }

    /// Stops the server and returns when it has ended. A server that is only visited stays up.
    ///
    /// # Errors
    ///
    /// [`ClusterError::DidNotStop`] if not even SIGKILL ended it.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        self.take_down().await
    }

    /// Kills all of the server's processes with SIGKILL, and returns when the main one is gone. For tests of
    /// what survives that. A server that is only visited is left alone.
    pub async fn crash(&mut self) {
        let Server::Ours(server) = std::mem::replace(&mut self.server, Server::Down) else {
            tracing::warn!("this postgres is not ours to crash");
            return;
        };
        let crashed = blocking(move || {
            // Stopped, the main process can neither recover from the loss of the others nor reap them, so that their
            // ids stay theirs until all of them are killed.
            server.signal(Signal::SIGSTOP);
            for child in children(server.pid()) {
                let _ = nix::sys::signal::kill(child, Signal::SIGKILL);
            }
            server.signal(Signal::SIGKILL);
            server.wait(STOP_STAGES[2].1)
        });
        if crashed.await.is_none() {
            tracing::warn!("a killed postgres has not ended yet");
        }
    }

    /// Starts the server again after [`Cluster::crash`], or stops and starts it. The URL stays the same, unless a
    /// server that was only visited is gone and one with other settings takes its place.
    ///
    /// # Errors
    ///
    /// Those of [`Cluster::stop`] and [`Cluster::start`].
    pub async fn restart(&mut self) -> Result<(), ClusterError> {
        self.take_down().await?;
        *self = Cluster::start(self.options.clone()).await?;
        Ok(())
    }

    async fn take_down(&mut self) -> Result<(), ClusterError> {
        let Server::Ours(server) = std::mem::replace(&mut self.server, Server::Down) else {
            return Ok(());
        };
        blocking(move || {
            for (signal, limit) in STOP_STAGES {
                server.signal(signal);
                if server.wait(limit).is_some() {
                    return Ok(());
                }
                tracing::warn!(pid = %server.pid(), %signal, "postgres has not ended yet");
            }
            Err(ClusterError::DidNotStop {
                pid: server.pid().as_raw().cast_unsigned(),
            })
        })
        .await?;
        self.remove_socket_dir();
        Ok(())
    }

    /// Leaves nothing behind in the temporary directory, unless another start has begun on the same data.
    fn remove_socket_dir(&self) {
        let lock = OpenOptions::new().append(true).open(&self.layout.lock);
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            // Fails when something is in it, which is then still needed.
            let _ = fs::remove_dir(&self.endpoint.socket_dir);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Server::Ours(server) = &self.server {
            server.signal(Signal::SIGINT);
            if server.wait(DROP_WAIT_MAX).is_some() {
                self.remove_socket_dir();
            }
        }
    }
}

/// Runs what waits for files and processes on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => unreachable!("blocking work that has begun is never cancelled: {error}"),
        },
    }
}

/// The processes whose parent is `parent`; none where there is no `/proc`.
fn children(parent: Pid) -> Vec<Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| parent_in(&stat) == Some(parent.as_raw()))
        })
        .map(Pid::from_raw)
        .collect()
}

/// The fourth field of `/proc/PID/stat`. The second is a name in brackets, which may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

/// Everything but unreserved characters as `%XX`.
fn percent_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(byte.into());
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_in("12 (postgres) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in("12 (a) b) (c) S 7 12 12 0"), Some(7));
        assert_eq!(parent_in("12 postgres"), None);
    }

    #[test]
    fn a_url_holds_any_name() {
        assert_eq!(percent_encoded(b"a b/c?d&e"), "a%20b%2Fc%3Fd%26e");
        assert_eq!(percent_encoded("dé-1_2.3~".as_bytes()), "d%C3%A9-1_2.3~");
    }
}
