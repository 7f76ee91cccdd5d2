//! The worker under test: a process of its own, so that what it uses is its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::program::Program;

/// As many as the row with the most has in flight.
const RUNS_MAX: &str = "1024";

/// A `dacapo worker` process. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    program: Program,
    compiled: Scratch,
}

/// A directory of which nothing is worth keeping.
#[derive(Debug)]
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    /// One that is not there yet.
    pub(super) fn new(what: &str) -> Self {
        let name = format!("dacapo-bench-{what}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a process holds in memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resident {
    pub(super) now: f64,
    pub(super) peak: f64,
}

impl WorkerProcess {
    /// Starts this very program as a worker.
    pub(super) fn spawn(url: &str) -> Result<Self> {
        let compiled = Scratch::new("compiled");
        let program = Program::spawn(
            "worker",
            &["worker", "--no-migrate", "--runs-max", RUNS_MAX],
            url,
            &[("DACAPO_CACHE_DIR", compiled.0.as_os_str())],
        )?;
        Ok(Self { program, compiled })
    }

    /// Fails, with what it said last, if it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.program.check()
    }

    /// Kills it and waits until it is gone.
    pub(super) async fn kill(self) -> Result<()> {
        self.program.kill().await
    }

    /// Where it keeps compiled code.
    pub(super) fn cache_dir(&self) -> &Path {
        &self.compiled.0
    }

    /// Its memory; none where the system does not tell.
    pub(super) fn resident(&self) -> Option<Resident> {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.program.pid())).ok()?;
        Some(Resident {
            now: kilobytes(&status, "VmRSS:")? * 1024.0,
            peak: kilobytes(&status, "VmHWM:")? * 1024.0,
        })
    }

    /// Processor time that it has used; none where the system does not tell.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        processor_time(&self.program.pid().to_string())
    }
}

/// Memory of this process that is its own alone, in bytes: what is mapped from files and shared is not counted. None where the system does
/// not tell.
pub(super) fn own_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(kilobytes(&status, "RssAnon:")? * 1024.0)
}

/// Processor time that a process has used, this one if it is `self`; none where the system does not tell.
pub(super) fn processor_time(process: &str) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    ticks(&stat).map(|ticks| Duration::from_millis(ticks * MILLIS_PER_TICK))
}

/// The kernel counts in hundredths of a second on every platform that we know.
const MILLIS_PER_TICK: u64 = 10;

fn kilobytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time: the 14th and 15th field. The second is a name in brackets, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (da) capo) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (dacapo) S 1"), None);
    }

    #[test]
    fn memory_is_read_from_its_line() {
        let status = "Name:\tdacapo\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(1024.0));
        assert_eq!(kilobytes(status, "VmPeak:"), None);
    }
}
