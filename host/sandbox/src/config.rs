//! The limits under which guests run.

use std::path::PathBuf;

use dacapo_model::{PayloadLimits, RetryPolicy};

/// Everything about the sandbox that an operator may want to set. Each limit has a unit in its name and a default.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Where compiled code is kept between starts; none compiles every component anew in each process. Default: none.
    ///
    /// Whoever can write here can run any code as this process: it is created readable and writable by the owner alone.
    pub cache_dir: Option<PathBuf>,
    /// Linear memory that one guest may use, over all its memories, in bytes. Default: 256 MiB.
    pub memory_max_bytes: usize,
    /// Stack that a guest's own code may use, in bytes. Default: 1 MiB.
    pub stack_max_bytes: usize,
    /// How often a computing guest is interrupted to let others run, in milliseconds. Default: 10.
    pub tick_ms: u64,
    /// Guests that compute for longer than a tick and are on a thread, or next for one; others take turns with them, and those that have just
    /// been woken need not wait for all of these. A worker has as many as threads for guests. Default: one for each core.
    pub computing_max: u32,
    /// How long a guest may compute without a step or a wait, in milliseconds, before it is ended with the code `timeout`. Only its own
    /// time on a thread is counted, not what it spends waiting. Default: 10,000.
    pub cpu_between_calls_max_ms: u64,
    /// How long an attempt at a step may take that waits for the host, in milliseconds, whatever its own time-out is. Default: 3,600,000.
    pub attempt_time_max_ms: u64,
    /// Guests alive at the same time; further runs wait for a place. It sizes the pool of memories and stacks (address space, not memory).
    /// Default: 1,000.
    pub instances_max: u32,
    /// Branches of one run that are played at the same time; others wait for their turn, and those that wait for something are not played.
    /// Default: 16.
    pub branches_max: u32,
    /// Resources of the host that one guest may hold at the same time, such as timers, requests and options. Default: 10,000.
    pub handles_max: u32,
    /// Length of one line of a run's log, in bytes; longer ones are cut. Default: 16 KiB.
    pub log_line_max_bytes: usize,
    /// Log that one run may write in one go, in bytes, where each line counts for 64 more than it has; what comes after is dropped, and the
    /// log says so. Default: 16 MiB.
    pub log_max_bytes: usize,
    /// Rows that one run's journal may have; a run that wants more is blocked. Default: 100,000.
    pub steps_max: u32,
    /// What the rows of one run's journal may hold together, in bytes; a run that wants another row then is blocked. It is read whole
    /// whenever the run is played, and Postgres hands over at most 1 GB at once. Default: 64 MiB.
    pub journal_max_bytes: usize,
    /// What the scratch directory of one attempt at a step may hold, in bytes, where a deployment grants one. It is memory of the process, beside
    /// that of the guests, and there are at most as many as guests. Default: 64 MiB.
    pub scratch_max_bytes: u64,
    /// Components compiled at the same time; an interpreter takes about 500 MB while it is compiled. Default: 1.
    pub compile_concurrency: u32,
    /// How steps are tried again that do not say so themselves. Default: three tries, after 1 s and 2 s.
    pub retry: RetryPolicy,
    /// Limits on every payload that a guest records or returns.
    pub payload: PayloadLimits,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        SandboxConfig {
            cache_dir: None,
            memory_max_bytes: 256 << 20,
            stack_max_bytes: 1 << 20,
            tick_ms: 10,
            computing_max: std::thread::available_parallelism()
                .map_or(2, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
            cpu_between_calls_max_ms: 10_000,
            attempt_time_max_ms: 3_600_000,
            instances_max: 1_000,
            branches_max: 16,
            handles_max: 10_000,
            log_line_max_bytes: 16 << 10,
            log_max_bytes: 16 << 20,
            steps_max: 100_000,
            journal_max_bytes: 64 << 20,
            scratch_max_bytes: 64 << 20,
            compile_concurrency: 1,
            retry: RetryPolicy::default(),
            payload: PayloadLimits::default(),
        }
    }
}
