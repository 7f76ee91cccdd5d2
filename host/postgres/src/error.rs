//! Why a cluster could not be started, stopped or reached.

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong with a private cluster. Each message says what to do where there is something to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// No Postgres server is installed in any place that was looked at.
    #[error(
        "no postgres server binaries (14 or later) found in {searched}; install them: {}",
        install_command(None)
    )]
    BinariesMissing {
        /// The places, as one readable list.
        searched: String,
    },

    /// Postgres is installed, but the data on disk belongs to another major version.
    #[error(
        "the data in {} was written by postgres {major}, but only {found} is installed; install it: {}, \
         or start with another data directory",
        data_dir.display(),
        install_command(Some(*major))
    )]
    BinariesOfOtherMajor {
        /// Where the data is.
        data_dir: PathBuf,
        /// The major version that wrote it.
        major: u32,
        /// The major versions that were found, as one readable list.
        found: String,
    },

    /// This process is root, Postgres refuses root, and there is no other user to run it as.
    #[error(
        "postgres refuses to run as root, and there is neither a `postgres` nor a `nobody` user to run it as"
    )]
    NoServerUser,

    /// The user that the server runs as may not enter a directory on the way to something it needs.
    #[error(
        "user `{user}`, which postgres runs as because it refuses root, cannot reach {}: {} is closed to it; \
         choose another place, such as a directory below /var/lib or /tmp (for the data: DACAPO_DATA_DIR)",
        wanted.display(),
        closed.display()
    )]
    Unreachable {
        /// The server's user.
        user: String,
        /// What it has to reach.
        wanted: PathBuf,
        /// The first directory on the way that it may not enter.
        closed: PathBuf,
    },

    /// The directory for the socket exists, and belongs to someone else.
    #[error(
        "{} should hold the server's socket, but it is not a directory of user `{user}`; remove it or set TMPDIR",
        path.display()
    )]
    SocketDirTaken {
        /// The directory.
        path: PathBuf,
        /// The server's user.
        user: String,
    },

    /// No temporary directory is short enough and open to the server's user.
    #[error(
        "no place for the server's socket: {tried} too long for a socket address or closed to user `{user}`; set TMPDIR"
    )]
    NoSocketDir {
        /// The places, as one readable list with its verb.
        tried: String,
        /// The server's user.
        user: String,
    },

    /// `initdb` failed.
    #[error("initdb failed in {}: {output}", data_dir.display())]
    InitFailed {
        /// The data directory.
        data_dir: PathBuf,
        /// What initdb said.
        output: String,
    },

    /// The server ended before it was ready.
    #[error("postgres ended before it was ready ({status}): {tail}; its log is {}", log.display())]
    EndedEarly {
        /// How it ended.
        status: String,
        /// The last lines that it logged during this start.
        tail: String,
        /// The whole log.
        log: PathBuf,
    },

    /// The server is running, but was not ready in time.
    #[error("postgres was not ready after {seconds} s; its log is {}", log.display())]
    NotReady {
        /// How long it was given, in seconds.
        seconds: u64,
        /// The server's log.
        log: PathBuf,
    },

    /// The server did not end, not even when it was killed.
    #[error("postgres process {pid} did not end after SIGINT, SIGQUIT and SIGKILL")]
    DidNotStop {
        /// Its process id.
        pid: u32,
    },

    /// The operating system refused something.
    #[error("could not {doing}")]
    Io {
        /// What was attempted, on which object.
        doing: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl ClusterError {
    /// For `map_err`: an I/O error with what was attempted on which path.
    pub(crate) fn io(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
        let doing = format!("{doing} {}", path.display());
        move |source| ClusterError::Io { doing, source }
    }
}

/// The one line that installs a server here.
fn install_command(major: Option<u32>) -> String {
    let separator = if cfg!(target_os = "macos") { "@" } else { "-" };
    let package = match major {
        Some(major) => format!("postgresql{separator}{major}"),
        None => "postgresql".to_owned(),
    };
    if cfg!(target_os = "macos") {
        format!("brew install {package}")
    } else {
        format!("apt-get install {package}")
    }
}
