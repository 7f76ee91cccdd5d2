//! `dacapo serve`, and what it has in common with `dacapo dev`: an API for people and services.

mod access;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dacapo_client::Client;
use dacapo_model::PayloadLimits;
use dacapo_sandbox::describe;
use dacapo_server::{
    App, Code, Component, Gate, Probe, Problem, Proof, ProofFinding, Prove, Readiness, Repair,
    Server, ServerError,
};
use dacapo_store::Store;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::access::AccessArgs;
use crate::arguments::{Global, address, duration};
use crate::command::signal::Stop;
use crate::command::{proof, repair};
use crate::connect;
use crate::error::{Failed, Kind, Result, chain};
use crate::telemetry;
use crate::ui::Ui;

/// Where a server listens if nobody says otherwise.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7007);

/// What a body may have beside its payload.
const AROUND_PAYLOAD: usize = 64 << 10;

/// How often it is looked whether the database answers, and how long it may take for that.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

/// Where a server listens, and how much may be asked of it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// Listen here; port 0 takes any [default: 127.0.0.1:7007]
    #[arg(long, env = "DACAPO_LISTEN", value_parser = address, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Requests that one address may send in a second, on average; 0 for any number
    #[arg(long, default_value_t = 200, value_name = "REQUESTS")]
    requests_per_second: u32,
    /// Requests that an address may send at once after a rest
    #[arg(long, default_value_t = 1_000, value_name = "REQUESTS")]
    requests_burst: u32,
    /// The body of a request, at most, in KiB [default: what a payload may have, and 64]
    #[arg(long, value_name = "KIB")]
    body_max: Option<usize>,
    /// The body of a request that starts many runs or imports one, at most, in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    large_body_max: usize,
    /// A component that is deployed, at most, in MiB
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    component_max: usize,
    /// How long an answer may take, unless it is asked to wait for something
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "DURATION")]
    answer_time_max: Duration,
    /// How long something that is done to many runs may take
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "DURATION")]
    bulk_time_max: Duration,
    /// Streams and waits that may be open at the same time
    #[arg(long, default_value_t = 256, value_name = "STREAMS")]
    streams_max: u32,
    /// How long a tool that is called over MCP waits for the end of a run, before it is answered with the run's id
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "DURATION")]
    mcp_wait: Duration,
    #[command(flatten)]
    access: AccessArgs,
}

impl ServerArgs {
    fn limits(&self, payload: PayloadLimits) -> dacapo_server::Limits {
        let body = self.body_max.map(|kib| kib.saturating_mul(1 << 10));
        dacapo_server::Limits {
            body_max_bytes: body
                .unwrap_or_else(|| payload.max_bytes.saturating_add(AROUND_PAYLOAD)),
            large_body_max_bytes: self.large_body_max.saturating_mul(1 << 20),
            component_max_bytes: self.component_max.saturating_mul(1 << 20),
            requests_per_second: self.requests_per_second,
            requests_burst: self.requests_burst,
            answer_time_max: self.answer_time_max,
            bulk_time_max: self.bulk_time_max,
            streams_max: self.streams_max,
            tool_wait_max: self.mcp_wait,
            ..dacapo_server::Limits::default()
        }
    }

    /// Listens where it is said; if nobody says it, at the usual port, or at any that is free if `or_any` and that is taken.
    pub(crate) async fn bind(&self, or_any: bool, ui: Ui) -> Result<Server> {
        let address = self.listen.unwrap_or(ADDRESS);
        let tls = self.access.tls()?;
        let server = match Server::bind(address).await {
            Err(ServerError::Listen { source, .. })
                if source.kind() == ErrorKind::AddrInUse && self.listen.is_none() && or_any =>
            {
                ui.say(&format!(
                    "port {} is taken by another program; listening on another one",
                    address.port()
                ));
                let any = SocketAddr::new(address.ip(), 0);
                Server::bind(any).await.map_err(Failed::new)
            }
            Err(error) => Err(Failed::new(error)
                .hint("give another address with --listen; port 0 takes any that is free")),
            Ok(server) => Ok(server),
        }?;
        Ok(match tls {
            Some(tls) => server.with_tls(tls),
            None => server,
        })
    }

    /// Who gets in.
    pub(crate) async fn gate(&self, client: &Client, server: &Server, ui: Ui) -> Result<Gate> {
        self.access.gate(client.clone(), server, ui).await
    }

    /// The application of a server that listens here.
    pub(crate) fn app(
        &self,
        client: Client,
        probe: Probe,
        limits: PayloadLimits,
        done: CancellationToken,
    ) -> App {
        App::new(client, probe, self.limits(limits), done).with_code(Arc::new(Here { limits }))
    }
}

/// Says where a server is.
pub(crate) fn say_where(server: &Server, ui: Ui) {
    let scheme = if server.has_tls() { "https" } else { "http" };
    let site = format!("{scheme}://{}", server.address());
    ui.say(&format!(
        "listening on {site}; the API is at {site}/api/v1, described by {site}/api/v1/openapi.json"
    ));
}

/// Answers until `done`.
pub(crate) fn start(
    server: Server,
    routes: dacapo_server::Router,
    done: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = server
            .serve(routes, async move { done.cancelled().await })
            .await
        {
            tracing::error!(error = chain(&error), "the server stopped");
        }
    })
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let mut stop = Stop::new()?;
    let render = telemetry::count()?;
    let server = args.server.bind(false, ui).await?;
    let client = connect::client(global).await?;
    let done = CancellationToken::new();
    let (probe, looking) = database_probe(client.store().clone(), done.clone());
    let gate = args.server.gate(&client, &server, ui).await?;
    let app = args
        .server
        .app(client, probe, global.payload_limits(), done.clone())
        .with_metrics(render);
    say_where(&server, ui);
    let mut serving = start(server, dacapo_server::everything(app, gate), done.clone());
    tokio::select! {
        () = stop.asked() => {}
        // It has said why.
        _ = &mut serving => return Ok(ExitCode::FAILURE),
    }
    done.cancel();
    let _ = tokio::join!(serving, looking);
    Ok(ExitCode::SUCCESS)
}

/// Looks again and again whether the database answers.
pub(crate) fn database_probe(
    store: Store,
    done: CancellationToken,
) -> (Probe, tokio::task::JoinHandle<()>) {
    let answers = Arc::new(AtomicBool::new(true));
    let probe: Probe = {
        let answers = answers.clone();
        Arc::new(move || match answers.load(Ordering::Relaxed) {
            true => Readiness::Ready,
            false => Readiness::NotReady("the database does not answer".to_owned()),
        })
    };
    let looking = tokio::spawn(async move {
        loop {
            let look = tokio::time::timeout(LOOK_EVERY, dacapo_store::standstill(store.pool()));
            let answered = matches!(look.await, Ok(Ok(_)));
            answers.store(answered, Ordering::Relaxed);
            tokio::select! {
                () = done.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    });
    (probe, looking)
}

/// Reads components in this process.
struct Here {
    limits: PayloadLimits,
}

#[dacapo_server::async_trait]
impl Code for Here {
    async fn describe(&self, bytes: Vec<u8>) -> std::result::Result<Component, Problem> {
        let described = tokio::task::spawn_blocking(move || describe(&bytes)).await;
        let described = described
            .map_err(|error| Problem::bad_component(chain(&error)))?
            .map_err(|error| Problem::bad_component(chain(&error)))?;
        Ok(Component {
            bytes: described.component,
            digest: described.digest,
            descriptor: described.descriptor,
        })
    }

    async fn repair(&self, client: &Client, ask: Repair) -> std::result::Result<Value, Problem> {
        // Journals are played for as long as it takes: on a thread of its own, which goes on if nobody waits for the answer any more.
        let (client, limits, runtime) = (client.clone(), self.limits, Handle::current());
        let repairing = tokio::task::spawn_blocking(move || {
            let report = runtime.block_on(repair::repair(&client, ask, limits, Ui::silent()));
            report.map(|report| report.json())
        });
        match repairing.await {
            Ok(report) => report.map_err(problem),
            Err(error) => Err(problem(Failed::new(error))),
        }
    }

    async fn prove(&self, client: &Client, ask: Prove) -> std::result::Result<Proof, Problem> {
        let (client, limits, runtime) = (client.clone(), self.limits, Handle::current());
        let proving =
            tokio::task::spawn_blocking(move || runtime.block_on(prove(&client, ask, limits)));
        match proving.await {
            Ok(proof) => proof.map_err(problem),
            Err(error) => Err(problem(Failed::new(error))),
        }
    }
}

/// Plays the runs in flight on other deployments over the code of one.
async fn prove(client: &Client, ask: Prove, limits: PayloadLimits) -> Result<Proof> {
    let details = client.deployment(&ask.package, Some(ask.number)).await?;
    let package = details.info.package;
    let id = proof::deployment(client, &package, ask.number).await?;
    let candidate = repair::candidate(client, id, limits).await?;
    let candidate = candidate.accepts_inserted(ask.accept_inserted);
    let ui = Ui::silent();
    let proven = proof::prove(client, &candidate, &package, Some(id), ask.sample, ui).await?;
    let (goes_on, not) = proven.totals();
    let findings = proven.findings().into_iter().map(|finding| ProofFinding {
        workflow: finding.workflow,
        verdict: finding.verdict.to_owned(),
        says: proof::words(finding.verdict).to_owned(),
        reason: finding.reason,
        runs: finding.runs,
        example: finding.example,
        is_proven: finding.is_proven,
    });
    Ok(Proof {
        proven: goes_on,
        not_proven: not,
        sampled_of: proven.sampled_of(),
        findings: findings.collect(),
    })
}

/// What a command says that failed, for the API.
fn problem(failed: Failed) -> Problem {
    let other = match failed.kind {
        Kind::Usage => "bad-argument",
        Kind::Request => "conflict",
    };
    Problem::told(&failed.code, other, failed.message, failed.hint)
}
