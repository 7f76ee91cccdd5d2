//! `dacapo worker`

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dacapo_client::Client;
use dacapo_model::RetryPolicy;
use dacapo_sandbox::SandboxError;
use dacapo_server::{Probe, Readiness, Server};
use dacapo_store::{MigrateError, Store, StoreError};
use dacapo_worker::{
    Health, OutboundConfig, SandboxConfig, Secrets, SqlUrl, Worker, WorkerConfig, WorkerError,
};
use tokio_util::sync::CancellationToken;

use crate::arguments::{Global, address, duration};
use crate::command::signal::Stop;
use crate::connect;
use crate::error::{Failed, Result, chain};
use crate::telemetry::{self, Otlp, OtlpArgs, Sending};
use crate::ui::Ui;

/// A worker is ready when it committed something this short a time ago; with rarer heartbeats, two of them.
const READY_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not bring the database to this version's schema first
    #[arg(long)]
    no_migrate: bool,
    /// Answer /health/live, /health/ready, /metrics and /version here, such as 127.0.0.1:8080
    #[arg(long, value_parser = address, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    otlp: OtlpArgs,
    #[command(flatten)]
    limits: Limits,
}

/// Limits of a worker.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Limits {
    /// Take runs of this queue, `default` for those in no named one; may be repeated [default: all queues]
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,
    /// Runs that advance at the same time, at most
    #[arg(long, default_value_t = 256, value_name = "RUNS")]
    runs_max: u32,
    /// Runs claimed by one statement, at most
    #[arg(long, default_value_t = 64, value_name = "RUNS")]
    claim_max: u32,
    /// How long after its last sign of life a worker's runs may be taken over
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    lease: Duration,
    /// Time between two signs of life; at most a third of the lease
    #[arg(long, default_value = "700ms", value_parser = duration, value_name = "DURATION")]
    heartbeat: Duration,
    /// How long open steps may take to finish when the worker is asked to stop
    #[arg(long, default_value = "20s", value_parser = duration, value_name = "DURATION")]
    drain_grace: Duration,
    /// Connections that write journals
    #[arg(long, default_value_t = 2, value_name = "CONNECTIONS")]
    writers: u16,
    /// Runs whose writes are committed together, at most
    #[arg(long, default_value_t = 512, value_name = "RUNS")]
    flush_max: u32,
    /// Takeovers of a run in a row, from workers that died and without anything new in its journal, after which it is blocked
    #[arg(long, default_value_t = 3, value_name = "TIMES")]
    takeovers_max: u16,
    /// Guests that compute at the same time [default: one for each core]
    #[arg(long, value_name = "THREADS")]
    guest_threads: Option<usize>,
    /// Linear memory of a guest, at most, in MiB
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    memory_max: usize,
    /// Stack of a guest, at most, in KiB
    #[arg(long, default_value_t = 1024, value_name = "KIB")]
    stack_max: usize,
    /// How long a guest may compute between two calls of the host
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    cpu_between_calls_max: Duration,
    /// How long an attempt at a step may take that waits for something, whatever its own time-out is
    #[arg(long, default_value = "1h", value_parser = duration, value_name = "DURATION")]
    attempt_time_max: Duration,
    /// Resources of the host that a guest may hold at the same time: timers, requests, options
    #[arg(long, default_value_t = 10_000, value_name = "RESOURCES")]
    handles_max: u32,
    /// A line of a run's log, at most, in KiB; longer ones are cut
    #[arg(long, default_value_t = 16, value_name = "KIB")]
    log_line_max: usize,
    /// What a run may log each time it is played, at most, in MiB; what comes after is dropped
    #[arg(long, default_value_t = 16, value_name = "MIB")]
    log_max: usize,
    /// What the scratch directory of a step may hold, at most, in MiB, where a deployment grants one
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    scratch_max: u64,
    /// Rows that a run's journal may have; a run that wants more is blocked
    #[arg(long, default_value_t = 100_000, value_name = "ROWS")]
    steps_max: u32,
    /// What the rows of a run's journal may hold together, in MiB; a run that wants more is blocked
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    journal_max: usize,
    /// Tries of a step that does not say so itself, the first one included
    #[arg(long, default_value_t = 3, value_name = "TIMES")]
    retry_attempts: u32,
    /// Time between the first two tries of such a step; up to as much again is added at random
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "DURATION")]
    retry_initial: Duration,
    /// By how much that time grows from one try to the next
    #[arg(long, default_value_t = 2.0, value_name = "FACTOR")]
    retry_factor: f32,
    /// It never grows beyond this
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    retry_max: Duration,
    /// How long a request of a step and its response may take together
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "DURATION")]
    http_timeout_max: Duration,
    /// The body of a response to a request of a step, at most, in MiB
    #[arg(long, default_value_t = 16, value_name = "MIB")]
    http_response_max: u64,
    /// Requests of steps that may be under way at the same time, each with a socket; half as many of one deployment
    #[arg(long, default_value_t = 512, value_name = "REQUESTS")]
    http_requests_max: u32,
    /// Where secrets are, each in a file with its name; those in DACAPO_SECRET_<NAME> and DACAPO_SECRET_<NAME>_FILE come first
    #[arg(long, env = "DACAPO_SECRETS_DIR", value_name = "DIRECTORY")]
    secrets_dir: Option<PathBuf>,
    /// Components compiled at the same time; an interpreter takes about 500 MB while it is compiled
    #[arg(long, default_value_t = 1, value_name = "COMPONENTS")]
    compile_concurrency: u32,
    /// A database that deployments may be granted for SQL steps, by its name in their manifests: NAME=postgres://ROLE:PASSWORD@HOST/DATABASE;
    /// may be repeated. Better in the environment, where no list of processes shows it: DACAPO_SQL_NAME
    #[arg(long = "sql", value_name = "NAME=URL", value_parser = sql_database)]
    sql: Vec<(String, SqlUrl)>,
    /// Connections to each of these databases, at most: so many SQL steps can be under way
    #[arg(long, default_value_t = 8, value_name = "CONNECTIONS")]
    sql_connections: u32,
    /// Rows that one statement of a SQL step may answer, whatever is granted
    #[arg(long, default_value_t = 100_000, value_name = "ROWS")]
    sql_rows_max: u32,
    /// What the values that one such statement answers may hold together, in bytes, whatever is granted
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES")]
    sql_bytes_max: u32,
    /// How long the session of a SQL step may wait for the step's body before it is ended
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    sql_idle_max: Duration,
    /// Deployments whose machine code is kept in memory; the others are loaded again when a run wants them
    #[arg(long, default_value_t = 100, value_name = "DEPLOYMENTS")]
    deployments_max: u32,
    /// How long it is kept who did what through the server (`dacapo audit list`)
    #[arg(long, default_value = "400d", value_parser = duration, value_name = "DURATION")]
    audit_keep: Duration,
    /// Where compiled components are kept [default: a cache directory of the user]
    #[arg(long, env = "DACAPO_CACHE_DIR", value_name = "DIRECTORY")]
    cache_dir: Option<PathBuf>,
}

impl Limits {
    pub(crate) fn config(self, global: &Global) -> Result<WorkerConfig> {
        let defaults = WorkerConfig::default();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if let Some(directory) = self
            .secrets_dir
            .as_ref()
            .filter(|directory| !directory.is_dir())
        {
            let message = format!(
                "--secrets-dir: expected a directory, got {}",
                directory.display()
            );
            return Err(Failed::usage(message));
        }
        // A variable that is no text is none of ours.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let config = WorkerConfig {
            outbound: OutboundConfig {
                timeout_max_ms: millis(self.http_timeout_max),
                response_max_bytes: self.http_response_max.saturating_mul(1 << 20),
                requests_max: self.http_requests_max,
                ..defaults.outbound
            },
            secrets: Secrets::new(variables, self.secrets_dir),
            runs_max: self.runs_max,
            claim_max: self.claim_max,
            lease: self.lease,
            heartbeat: self.heartbeat,
            drain_grace: self.drain_grace,
            writers: self.writers,
            flush_max: self.flush_max,
            takeovers_max: self.takeovers_max,
            guest_threads: self.guest_threads.unwrap_or(defaults.guest_threads),
            deployments_max: self.deployments_max,
            queues: (!self.queues.is_empty()).then_some(self.queues),
            sql: sql_databases(self.sql)?,
            sql_connections_max: self.sql_connections,
            sql_rows_max: self.sql_rows_max,
            sql_bytes_max: self.sql_bytes_max,
            sql_idle_max: self.sql_idle_max,
            audit_kept: self.audit_keep,
            sandbox: SandboxConfig {
                cache_dir: self.cache_dir.or_else(default_cache_dir),
                memory_max_bytes: self.memory_max.saturating_mul(1 << 20),
                stack_max_bytes: self.stack_max.saturating_mul(1 << 10),
                log_line_max_bytes: self.log_line_max.saturating_mul(1 << 10),
                log_max_bytes: self.log_max.saturating_mul(1 << 20),
                scratch_max_bytes: self.scratch_max.saturating_mul(1 << 20),
                steps_max: self.steps_max,
                journal_max_bytes: self.journal_max.saturating_mul(1 << 20),
                retry: RetryPolicy {
                    max_attempts: self.retry_attempts,
                    initial_ms: millis(self.retry_initial),
                    factor: self.retry_factor,
                    max_ms: millis(self.retry_max),
                },
                compile_concurrency: self.compile_concurrency,
                cpu_between_calls_max_ms: millis(self.cpu_between_calls_max),
                attempt_time_max_ms: millis(self.attempt_time_max),
                handles_max: self.handles_max,
                payload: global.payload_limits(),
                instances_max: defaults.sandbox.instances_max.max(self.runs_max),
                ..defaults.sandbox
            },
            traces: None,
        };
        config
            .check()
            .map_err(|error| Failed::usage(error.to_string()))?;
        Ok(config)
    }
}

/// Names of environment variables that name databases for SQL steps begin like this.
const SQL_VARIABLE: &str = "DACAPO_SQL_";

/// The databases that are named by options, and in the environment.
fn sql_databases(options: Vec<(String, SqlUrl)>) -> Result<BTreeMap<String, SqlUrl>> {
    let mut databases = BTreeMap::new();
    for (variable, url) in std::env::vars_os() {
        let Some(name) = variable
            .to_str()
            .and_then(|it| it.strip_prefix(SQL_VARIABLE))
        else {
            continue;
        };
        let url = url
            .into_string()
            .map_err(|_| Failed::usage(format!("{SQL_VARIABLE}{name}: expected UTF-8")))?;
        databases.insert(name.to_ascii_lowercase().replace('_', "-"), SqlUrl(url));
    }
    let mut named = BTreeMap::new();
    for (name, url) in options {
        if named.insert(name.clone(), url).is_some() {
            return Err(Failed::usage(format!(
                "--sql: expected one URL for `{name}`, got two"
            )));
        }
    }
    databases.extend(named);
    Ok(databases)
}

/// `NAME=URL`.
fn sql_database(text: &str) -> std::result::Result<(String, SqlUrl), String> {
    // What came may hold a password, and is not repeated.
    let (name, url) = text
        .split_once('=')
        .ok_or("expected NAME=URL, such as shop=postgres://shop_steps@localhost/app")?;
    Ok((name.to_owned(), SqlUrl(url.to_owned())))
}

/// Where compiled components are kept unless another directory is named.
pub(crate) fn default_cache_dir() -> Option<PathBuf> {
    if nix::unistd::Uid::effective().is_root() {
        return Some(PathBuf::from("/var/cache/dacapo"));
    }
    directories::ProjectDirs::from("", "", "dacapo").map(|dirs| dirs.cache_dir().to_owned())
}

pub(crate) async fn run(args: Args, global: &Global, _ui: Ui) -> Result<ExitCode> {
    let mut config = args.limits.config(global)?;
    let heartbeat = config.heartbeat;
    let store = connect::chosen_store(global)?;
    let mut stop = Stop::new()?;
    if !args.no_migrate {
        tokio::select! {
            result = migrate(&store) => result?,
            () = stop.asked() => return Ok(ExitCode::SUCCESS),
        }
    }
    let served = match args.listen {
        Some(address) => Some((address, telemetry::count()?)),
        None => None,
    };
    let sending = trace(&args.otlp, &mut config)?;
    let client = Client::new(store.clone());
    let worker = Worker::start(store, config).await.map_err(failed)?;
    let done = CancellationToken::new();
    let server = served.map(|(address, render)| {
        let routes = dacapo_server::health(worker_probe(worker.health(), heartbeat))
            .merge(dacapo_server::metrics(render, client));
        serve(address, routes, done.clone())
    });
    let server = match server {
        Some(server) => Some(server.await?),
        None => None,
    };
    let work = worker.run_until(async move {
        stop.asked().await;
        tracing::info!("asked to stop; open steps may finish, once more ends at once");
        tokio::spawn(async move {
            stop.asked().await;
            std::process::exit(1);
        });
    });
    let result = work.await.map_err(failed);
    if let Some(sending) = sending {
        sending.finish().await;
    }
    done.cancel();
    if let Some(server) = server {
        let _ = server.await;
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// Migrates, waiting for a database that does not answer yet.
pub(crate) async fn migrate(store: &Store) -> Result<()> {
    let mut pause = Duration::from_millis(200);
    let mut said = false;
    loop {
        let result = match connect::answers(store).await {
            Ok(()) => dacapo_store::migrate(store).await,
            Err(error) => Err(error.into()),
        };
        match result {
            Ok(_) => return Ok(()),
            Err(MigrateError::Store(error @ StoreError::Unavailable(_))) => {
                if !said {
                    let at = connect::place(store);
                    tracing::warn!(at, error = chain(&error), "waiting for the database");
                    said = true;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends spans of the worker's runs to where the arguments say. What is answered sends the last ones once the worker is gone.
pub(crate) fn trace(args: &OtlpArgs, config: &mut WorkerConfig) -> Result<Option<Sending>> {
    let Some((otlp, sending)) = Otlp::new(args)? else {
        return Ok(None);
    };
    config.traces = Some(otlp.shared());
    Ok(Some(sending))
}

/// Whether a worker with this heartbeat works.
pub(crate) fn worker_probe(health: Arc<Health>, heartbeat: Duration) -> Probe {
    let ready_within = READY_WITHIN.max(heartbeat * 2);
    Arc::new(move || match health.last_commit() {
        Some(ago) if ago <= ready_within => Readiness::Ready,
        Some(ago) => Readiness::NotReady(format!(
            "the worker last committed {} ms ago",
            ago.as_millis()
        )),
        None => Readiness::NotReady("the worker cannot reach its database".to_owned()),
    })
}

/// Serves some routes until `done`.
async fn serve(
    address: SocketAddr,
    routes: dacapo_server::Router,
    done: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>> {
    let server = Server::bind(address).await.map_err(Failed::new)?;
    tracing::info!(address = %server.address(), "serving /health/live, /health/ready, /metrics and /version");
    Ok(super::serve::start(server, routes, done))
}

pub(crate) fn failed(error: WorkerError) -> Failed {
    match error {
        WorkerError::Config(error) => Failed::usage(error.to_string()),
        WorkerError::Sandbox(error @ SandboxError::Config(_)) => Failed::usage(error.to_string()),
        other => Failed::new(other),
    }
}
