//! Bringing a server up: initialise the data if there is none, start the process, wait until it is ready.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::binaries::Binaries;
use crate::error::ClusterError;
use crate::layout::Layout;
use crate::pidfile::{self, Endpoint};
use crate::supervisor::Supervised;
use crate::user::ServerUser;

/// How long a server may take until it is ready. Replaying the log after a crash is part of it.
const READY_MAX: Duration = Duration::from_secs(120);

/// How long a start is repeated while the processes of a killed server are still going away.
const LEFTOVERS_MAX: Duration = Duration::from_secs(10);

/// Postgres announces "ready" in a file and nowhere else, so that the file has to be looked at; a start takes about
/// 50 ms.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Pause between two starts while leftovers are going away.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// A log larger than this is set aside at the next start.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How much of the log goes into an error.
const TAIL_LINES_MAX: usize = 12;

/// What every private server is started with; the caller's own settings come after these and win.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    ("fsync", "on"),
    ("max_connections", "200"),
    ("max_wal_size", "2GB"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("cluster_name", "dacapo"),
];

/// Starts the server on data that exists or is made now. The caller holds the directory's lock.
pub(crate) fn launch(
    layout: &Layout,
    user: &ServerUser,
    binaries: &Binaries,
    settings: &[(String, String)],
) -> Result<(Supervised, Endpoint), ClusterError> {
    check_reach(layout, user, binaries)?;
    if layout.major().is_none() {
        initialise(layout, user, binaries)?;
    }
    let socket_dir = layout.make_socket_dir(user)?;
    let launched = repeat_past_leftovers(layout, user, binaries, settings, &socket_dir);
    if launched.is_err() {
        // Leaves nothing in the temporary directory; it fails when something is in it, which is then still needed.
        let _ = fs::remove_dir(&socket_dir);
    }
    launched
}

fn repeat_past_leftovers(
    layout: &Layout,
    user: &ServerUser,
    binaries: &Binaries,
    settings: &[(String, String)],
    socket_dir: &Path,
) -> Result<(Supervised, Endpoint), ClusterError> {
    let deadline = Instant::now() + LEFTOVERS_MAX;
    loop {
        match try_once(layout, user, binaries, settings, socket_dir)? {
            Start::Ready(server, endpoint) => return Ok((server, endpoint)),
            Start::Ended { status, said } => {
                if !blames_leftovers(&said) || Instant::now() >= deadline {
                    return Err(ClusterError::EndedEarly {
                        status,
                        tail: tail(&said),
                        log: layout.log.clone(),
                    });
                }
                tracing::debug!("an earlier postgres is still going away");
                thread::sleep(RETRY_EVERY);
            }
        }
    }
}

enum Start {
    Ready(Supervised, Endpoint),
    Ended { status: String, said: String },
}

fn try_once(
    layout: &Layout,
    user: &ServerUser,
    binaries: &Binaries,
    settings: &[(String, String)],
    socket_dir: &Path,
) -> Result<Start, ClusterError> {
    let (log, log_start) = open_log(layout, user)?;
    let log_too = log
        .try_clone()
        .map_err(ClusterError::io("use the log", &layout.log))?;

    let program = binaries.postgres();
    let mut command = user.command(&program);
    command.arg("-D").arg(&layout.cluster);
    for (name, value) in SETTINGS {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    let mut socket_setting = std::ffi::OsString::from("unix_socket_directories=");
    socket_setting.push(socket_dir);
    command.arg("-c").arg(socket_setting);
    if binaries.has_library("pg_stat_statements") {
        command
            .arg("-c")
            .arg("shared_preload_libraries=pg_stat_statements");
    }
    for (name, value) in settings {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command
        .current_dir(&layout.cluster)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too);

    let server = Supervised::spawn(command).map_err(ClusterError::io("start", &program))?;
    let deadline = Instant::now() + READY_MAX;
    loop {
        if let Some(status) = server.ended() {
            let said = said_since(&layout.log, log_start).unwrap_or_default();
            return Ok(Start::Ended { status, said });
        }
        // The file may still be one of an earlier server.
        let pid = server.pid().as_raw().cast_unsigned();
        match pidfile::read(&layout.cluster) {
            Some(file) if file.pid == pid && file.ready => {
                return Ok(Start::Ready(server, file.endpoint));
            }
            _ => {}
        }
        if Instant::now() >= deadline {
            server.signal(nix::sys::signal::Signal::SIGQUIT);
            return Err(ClusterError::NotReady {
                seconds: READY_MAX.as_secs(),
                log: layout.log.clone(),
            });
        }
        // Ends early when the server does.
        server.wait(POLL_EVERY);
    }
}

/// Fails with the name of the closed directory if the server's user could not start at all.
fn check_reach(
    layout: &Layout,
    user: &ServerUser,
    binaries: &Binaries,
) -> Result<(), ClusterError> {
    let program = binaries.postgres();
    let tried = user
        .command(&program)
        .arg("--version")
        .current_dir(&layout.data_dir)
        .output();
    match tried {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let (wanted, closed) = [&layout.data_dir, &program]
                .into_iter()
                .find_map(|path| Some((path.clone(), user.closed_on_the_way(path)?)))
                .unwrap_or_else(|| (layout.data_dir.clone(), layout.data_dir.clone()));
            Err(ClusterError::Unreachable {
                user: user.name().to_owned(),
                wanted,
                closed,
            })
        }
        Err(error) => Err(ClusterError::io("run", &program)(error)),
    }
}

/// Makes the data in a directory beside its place and moves it there when it is complete, so that an interrupted
/// initialisation is never taken for data.
fn initialise(layout: &Layout, user: &ServerUser, binaries: &Binaries) -> Result<(), ClusterError> {
    tracing::info!(data_dir = %layout.data_dir.display(), "initialising a postgres data directory");
    let place = &layout.unfinished;
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(ClusterError::io("remove", place)(error));
        }
        _ => {}
    }
    fs::create_dir(place).map_err(ClusterError::io("make directory", place))?;
    user.own_alone(place)?;

    let program = binaries.initdb();
    let output = user
        .command(&program)
        .args(["--auth=trust", "--username=postgres", "--locale=C"])
        .args(["--encoding=UTF8", "--no-instructions", "--pgdata"])
        .arg(place)
        .current_dir(place)
        .stdin(Stdio::null())
        .output()
        .map_err(ClusterError::io("run", &program))?;
    if !output.status.success() {
        return Err(ClusterError::InitFailed {
            data_dir: layout.data_dir.clone(),
            output: tail(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    fs::rename(place, &layout.cluster)
        .map_err(ClusterError::io("move the new data to", &layout.cluster))
}

/// The log, and where in it this start begins.
fn open_log(layout: &Layout, user: &ServerUser) -> Result<(File, u64), ClusterError> {
    let path = &layout.log;
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        let older = path.with_extension("log.1");
        fs::rename(path, &older).map_err(ClusterError::io("set aside the log as", &older))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(ClusterError::io("open the log", path))?;
    user.own(path)?;
    let length = file
        .metadata()
        .map_err(ClusterError::io("read the size of", path))?
        .len();
    Ok((file, length))
}

fn said_since(log: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(start))?;
    let mut said = Vec::new();
    file.read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Whether a server that ended says that processes of an earlier one still hold its lock file or its shared memory.
/// After a hard kill both pass by themselves.
fn blames_leftovers(said: &str) -> bool {
    said.contains("lock file \"postmaster.pid\" already exists")
        || said.contains("shared memory block") && said.contains("still in use")
}

/// The last lines, as one line.
fn tail(said: &str) -> String {
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    match lines.len() {
        0 => "it said nothing".to_owned(),
        count => lines[count.saturating_sub(TAIL_LINES_MAX)..].join(" | "),
    }
}
