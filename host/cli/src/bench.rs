//! `dacapo bench`: what this machine and this database make of no-op workflows, as ratios to plain single-row commits.
//!
//! It works in a database of its own, on the server that is named or on a private one, with a worker in a process of its own. Before
//! and after each row it measures the reference on the same server by the same driver, and compares with the mean of the two.

mod compile;
mod counters;
mod in_flight;
mod inside;
mod languages;
mod primitives;
mod program;
mod proof;
mod queue;
mod reference;
mod report;
mod rows;
mod samples;
mod server;
mod viewers;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use dacapo_client::{Client, Store};
use dacapo_kits::Language;
use dacapo_sandbox::Described;
use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::Global;
use crate::command::signal::Stop;
use crate::error::{Failed, Result as CommandResult};
use crate::ui::Ui;

use counters::Counters;
use reference::{Commits, Reference};
use report::Report;
use server::Server;
use worker::WorkerProcess;

/// The component that is measured, built from `examples-guests/bench`.
const COMPONENT: &[u8] = include_bytes!("../assets/bench.wasm");

/// Connections of the client: one for each run in flight, and some.
const CONNECTIONS_MAX: u32 = 80;

/// How long the end waits for statements that are under way.
const CLOSE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fewer repetitions: a few minutes instead of many
    #[arg(long)]
    quick: bool,
    /// Only these rows
    #[arg(long, value_delimiter = ',', value_name = "ROW")]
    only: Vec<Row>,
    /// How many runs the row `suspended` suspends [default: 100000, with --quick 5000]
    #[arg(long, value_name = "RUNS")]
    suspended: Option<u32>,
    /// Another component with the workflows of `bench:noop/noop`
    #[arg(long, value_name = "FILE.wasm")]
    component: Option<PathBuf>,
    /// The component of a language for the row `languages`, which is built here otherwise, if the language's tools are: such as
    /// python=noop.wasm
    #[arg(long = "guest", value_name = "LANGUAGE=FILE.wasm", value_parser = languages::named_file)]
    guests: Vec<(Language, PathBuf)>,
}

/// The rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Row {
    /// 3-step runs, one at a time: latency, statements
    Single,
    /// WAL of a recorded step
    Wal,
    /// Many runs in flight: throughput
    Flow,
    /// Steps of many runs at once, against a loop that does nothing but record them
    InFlight,
    /// From an event to the end of the run that waits for it
    Event,
    /// What the limits of a queue cost
    Queue,
    /// One run of 5,000 steps against one of 100, and its resumption
    Long,
    /// Instantiation and replay, without a database
    Inside,
    /// Timers, events, children and forks against a plain step
    Primitives,
    /// Runs in flight replayed over a component, as a deploy does that is proven first
    Proof,
    /// What runs notice while their worker compiles a big component
    Compile,
    /// Very many suspended runs: memory, idle cost, and waking some
    Suspended,
    /// The same workflow in each language that has a kit
    Languages,
    /// What twenty people who look at dashboard and API cost a worker that has all hands full
    Viewers,
}

const ROWS: [Row; 14] = [
    Row::Single,
    Row::Wal,
    Row::Flow,
    Row::InFlight,
    Row::Event,
    Row::Queue,
    Row::Long,
    Row::Inside,
    Row::Primitives,
    Row::Proof,
    Row::Compile,
    Row::Suspended,
    Row::Languages,
    Row::Viewers,
];

/// All that the rows share.
struct Bench {
    quick: bool,
    suspended: u32,
    server: Server,
    client: Client,
    reference: Reference,
    counters: Counters,
    worker: WorkerProcess,
    described: Described,
    guests: Vec<(Language, Described)>,
    progress: ProgressBar,
    report: Report,
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> CommandResult<ExitCode> {
    // From here on a signal is kept until somebody asks for it, so that no database and no worker are left behind.
    let stop = Stop::new()?;
    let server = Server::open(global.database_url.as_deref()).await?;
    let url = server.url().to_owned();
    let report = measure(&args, server, &url, stop, ui).await?;
    ui.data(&report, |report| {
        let missed = match report.missed() {
            0 => "all targets met".to_owned(),
            missed => format!("{missed} targets MISSED"),
        };
        let left_out: String = report
            .left_out
            .iter()
            .map(|what| format!("LEFT OUT: {what}\n"))
            .collect();
        format!("{}\n{}\n{left_out}{missed}", report.server, report.table())
    });
    Ok(ExitCode::SUCCESS)
}

async fn measure(
    args: &Args,
    server: Server,
    url: &str,
    mut stop: Stop,
    ui: Ui,
) -> CommandResult<Report> {
    let mut bench = match Bench::prepare(args, server, url).await {
        Ok(bench) => bench,
        Err((server, error)) => {
            let _ = server.close().await;
            return Err(error.into());
        }
    };
    let rows: Vec<Row> = ROWS
        .into_iter()
        .filter(|row| args.only.is_empty() || args.only.contains(row))
        .collect();
    let progress = ProgressBar::new(rows.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{elapsed} [{bar:20}] {msg}") {
        progress.set_style(style);
    }
    bench.progress = progress.clone();
    let result = tokio::select! {
        result = bench.rows(rows) => result,
        // Whatever was begun is left as it is; the database that holds it is dropped below.
        () = stop.asked() => Err(anyhow!("stopped before the last row")),
    };
    progress.finish_and_clear();
    let peak = bench.worker.resident();
    if let Some(peak) = peak {
        bench.peak_row(peak);
    }
    let Bench {
        server,
        worker,
        report,
        client,
        ..
    } = bench;
    let _ = worker.kill().await;
    // Connections that are still busy when it is stopped early are not waited for for ever.
    let _ = tokio::time::timeout(CLOSE_MAX, client.store().pool().close()).await;
    if let Err(error) = server.close().await {
        ui.say(&format!("cannot clean up: {error:#}"));
    }
    result.map_err(Failed::from)?;
    Ok(report)
}

impl Bench {
    async fn prepare(
        args: &Args,
        server: Server,
        url: &str,
    ) -> std::result::Result<Self, (Server, anyhow::Error)> {
        match Self::parts(args, &server, url).await {
            Ok((client, reference, counters, worker, described, guests, report)) => Ok(Self {
                quick: args.quick,
                suspended: args
                    .suspended
                    .unwrap_or(if args.quick { 5_000 } else { 100_000 }),
                server,
                client,
                reference,
                counters,
                worker,
                described,
                guests,
                progress: ProgressBar::hidden(),
                report,
            }),
            Err(error) => Err((server, error)),
        }
    }

    async fn parts(
        args: &Args,
        server: &Server,
        url: &str,
    ) -> Result<(
        Client,
        Reference,
        Counters,
        WorkerProcess,
        Described,
        Vec<(Language, Described)>,
        Report,
    )> {
        let bytes = match &args.component {
            Some(file) => {
                std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?
            }
            None => COMPONENT.to_vec(),
        };
        let described = dacapo_sandbox::describe(&bytes)?;
        let guests = languages::read(&args.guests, &described)?;
        let store = Store::new(url, CONNECTIONS_MAX)?;
        dacapo_store::migrate(&store).await?;
        let client = Client::new(store);
        client
            .deploy(
                &described.descriptor,
                &described.digest,
                &described.component,
            )
            .await?;
        let window = if args.quick {
            Duration::from_millis(300)
        } else {
            Duration::from_secs(1)
        };
        let reference = Reference::connect(url, window).await?;
        let counters = Counters::connect(url).await?;
        let worker = WorkerProcess::spawn(url)?;
        let report = Report {
            server: server.description().await?,
            measures: Vec::new(),
            left_out: Vec::new(),
        };
        Ok((
            client, reference, counters, worker, described, guests, report,
        ))
    }

    /// The reference, and then these rows.
    async fn rows(&mut self, rows: Vec<Row>) -> Result<()> {
        self.reference_row().await?;
        for row in rows {
            self.progress.set_message(format!("{row:?}").to_lowercase());
            self.progress.enable_steady_tick(Duration::from_millis(200));
            let result = self.row(row).await.with_context(|| format!("row {row:?}"));
            if result.is_err() {
                // Why it stopped may be the worker's to tell.
                self.worker.check()?;
            }
            result?;
            self.progress.inc(1);
        }
        Ok(())
    }

    async fn row(&mut self, row: Row) -> Result<()> {
        match row {
            Row::Single => self.single_row().await,
            Row::Wal => self.wal_row().await,
            Row::Flow => self.flow_row().await,
            Row::InFlight => self.in_flight_row().await,
            Row::Event => self.event_row().await,
            Row::Queue => self.queue_row().await,
            Row::Long => self.long_row().await,
            Row::Inside => self.inside_row().await,
            Row::Primitives => self.primitives_row().await,
            Row::Proof => self.proof_row().await,
            Row::Compile => self.compile_row().await,
            Row::Suspended => self.suspended_row().await,
            Row::Languages => self.languages_row().await,
            Row::Viewers => self.viewers_row().await,
        }
    }

    /// Repetitions: all of them, or a sixth.
    fn times(&self, full: u32) -> u32 {
        if self.quick { (full / 6).max(5) } else { full }
    }

    async fn commits(&mut self) -> Result<Commits> {
        self.reference.measure().await
    }
}
