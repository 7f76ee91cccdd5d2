//! One server process and the thread that owns it.
//!
//! The thread starts the process, waits for its end and reaps it. It has to be one thread for all of that: on Linux the
//! server asks to be told when its parent dies, and by "parent" the kernel means the thread that started it.

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A server process that this process started.
pub(crate) struct Supervised {
    pid: Pid,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Clone)]
enum State {
    Running,
    /// It is gone and reaped; the text says how it ended.
    Ended(String),
}

impl Supervised {
    /// Starts the process in a process group of its own, so that a terminal's Ctrl-C reaches us and not the server: it
    /// ends when we have finished with it.
    pub fn spawn(mut command: Command) -> io::Result<Supervised> {
        command.process_group(0);
        end_with_parent(&mut command);

        let shared = Arc::new(Shared {
            state: Mutex::new(State::Running),
            ended: Condvar::new(),
        });
        let (started, start) = mpsc::sync_channel(1);
        let thread_shared = Arc::clone(&shared);
        thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || supervise(command, &thread_shared, &started))?;
        let pid = start
            .recv()
            .map_err(|_| io::Error::other("the supervising thread ended"))??;
        Ok(Supervised { pid, shared })
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal, unless the process has ended: then its id may belong to another process already.
    pub fn signal(&self, signal: Signal) {
        let state = self.shared.lock();
        if let State::Running = *state
            && let Err(errno) = kill(self.pid, signal)
        {
            tracing::warn!(pid = %self.pid, %signal, %errno, "could not signal postgres");
        }
    }

    /// How the process ended, if it has.
    pub fn ended(&self) -> Option<String> {
        self.wait(Duration::ZERO)
    }

    /// Blocks until the process has ended, for at most `limit`; none means that it is still running.
    pub fn wait(&self, limit: Duration) -> Option<String> {
        let (state, _) = self
            .shared
            .ended
            .wait_timeout_while(self.shared.lock(), limit, |state| {
                matches!(state, State::Running)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Running => None,
            State::Ended(how) => Some(how.clone()),
        }
    }
}

impl fmt::Debug for Supervised {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Supervised")
            .field("pid", &self.pid)
            .field("ended", &self.ended())
            .finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is one assignment, so a panic elsewhere cannot have left it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread: from before the process exists until it is reaped.
fn supervise(mut command: Command, shared: &Shared, started: &mpsc::SyncSender<io::Result<Pid>>) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            // Nobody listens any more only if the starting thread has panicked.
            let _ = started.send(Err(error));
            return;
        }
    };
    let pid = Pid::from_raw(child.id().cast_signed());
    let _ = started.send(Ok(pid));

    wait_unreaped(pid);
    let mut state = shared.lock();
    *state = State::Ended(match child.wait() {
        Ok(status) => status.to_string(),
        Err(error) => format!("its exit status is unknown: {error}"),
    });
    shared.ended.notify_all();
}

/// Blocks until the process has ended and leaves it unreaped, so that its id stays taken until the lock is held that
/// guards every signal.
#[cfg(target_os = "linux")]
fn wait_unreaped(pid: Pid) {
    use nix::errno::Errno;
    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
}

/// Elsewhere our libraries have no such wait: a signal could hit another process in the moment between the reaping and
/// its being known.
#[cfg(not(target_os = "linux"))]
fn wait_unreaped(_pid: Pid) {}

/// Makes the process receive SIGINT, Postgres' word for a fast and clean shutdown, when the thread that starts it ends,
/// which it also does when this process is killed.
#[cfg(target_os = "linux")]
#[allow(
    unsafe_code,
    reason = "the one way to run code between fork and exec, where the request has to be made"
)]
fn end_with_parent(command: &mut Command) {
    use nix::errno::Errno;
    use nix::sys::prctl::set_pdeathsig;
    use nix::unistd::{getpid, getppid};

    let parent = getpid();
    let request = move || {
        set_pdeathsig(Signal::SIGINT)?;
        // The parent may have died before the request was made; then no signal will come.
        match getppid() == parent {
            true => Ok(()),
            false => Err(Errno::ESRCH.into()),
        }
    };
    // SAFETY: after a fork of a process with threads only async-signal-safe calls are allowed. The closure makes two
    // system calls, and builds errors from error numbers, which allocates nothing.
    unsafe {
        command.pre_exec(request);
    }
}

/// Elsewhere a server outlives a killed parent, and the next start reuses it.
#[cfg(not(target_os = "linux"))]
fn end_with_parent(_command: &mut Command) {}
