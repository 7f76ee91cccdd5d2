//! `dacapo dev`: everything on this machine, from one command.

mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dacapo_client::{Breaking, Client, QueueChange};
use dacapo_model::Workflow;
use dacapo_postgres::{Cluster, ClusterOptions};
use dacapo_server::{Probe, Render};
use dacapo_worker::{Worker, WorkerConfig};
use sqlx::{Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::arguments::Global;
use crate::command::sample::{quoted, sample};
use crate::command::serve::ServerArgs;
use crate::command::signal::Stop;
use crate::command::worker::{Limits, failed, migrate, trace, worker_probe};
use crate::command::{deploy, serve, test, who};
use crate::connect;
use crate::error::{Failed, Result, chain};
use crate::telemetry::{self, OtlpArgs};
use crate::ui::Ui;

/// Name of the database in the private cluster.
const DATABASE: &str = "dacapo";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Components to deploy, now and whenever they change; of a directory, the .wasm files in it
    #[arg(value_name = "FILE.wasm|DIRECTORY")]
    paths: Vec<PathBuf>,
    /// Where the private Postgres keeps its data [default: a data directory of the user]
    #[arg(long, env = "DACAPO_DATA_DIR", value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    /// Only the database and the deployments: workers are started with `dacapo worker`
    #[arg(long)]
    no_worker: bool,
    #[command(flatten)]
    manifest: deploy::ManifestArgs,
    #[command(flatten)]
    otlp: OtlpArgs,
    #[command(flatten)]
    limits: Limits,
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let mut config = args.limits.clone().config(global)?;
    let render = telemetry::count()?;
    let sending = trace(&args.otlp, &mut config)?;
    let files = wasm_files(&args.paths)?;
    let stop = Stop::new()?;
    let private = match &global.database_url {
        Some(_) => None,
        None => Some(Private::start(args.data_dir.clone()).await?),
    };
    let result = work(
        &args,
        config,
        render,
        &files,
        private.as_ref(),
        global,
        stop,
        ui,
    )
    .await;
    if let Some(sending) = sending {
        sending.finish().await;
    }
    // Whatever happened, the server ends in good order, and nobody is sent to it any more.
    let stopped = match private {
        Some(private) => private.stop().await,
        None => Ok(()),
    };
    result.and(stopped).map(|()| ExitCode::SUCCESS)
}

/// Everything but the private Postgres, until somebody stops it or the worker cannot go on.
#[expect(
    clippy::too_many_arguments,
    reason = "called once, by what owns all of these"
)]
async fn work(
    args: &Args,
    config: WorkerConfig,
    render: Render,
    files: &[PathBuf],
    private: Option<&Private>,
    global: &Global,
    mut stop: Stop,
    ui: Ui,
) -> Result<()> {
    let url = match (&global.database_url, private) {
        (Some(url), _) => url,
        (None, Some(private)) => &private.url,
        (None, None) => return Err(Failed::request("no database")),
    };
    let store = connect::store(url)?;
    tokio::select! {
        result = migrate(&store) => result?,
        () = stop.asked() => return Ok(()),
    }
    if let Some(private) = private {
        private.announce()?;
    }
    let client = Client::new(store.clone())
        .with_namespace(&global.namespace)
        .with_payload_limits(global.payload_limits());
    let heartbeat = config.heartbeat;
    let worker = match args.no_worker {
        true => None,
        false => Some(Worker::start(store, config).await.map_err(failed)?),
    };
    let done = CancellationToken::new();
    let probe: Probe = match &worker {
        Some(worker) => worker_probe(worker.health(), heartbeat),
        None => serve::database_probe(client.store().clone(), done.clone()).0,
    };
    let server = args.server.bind(true, ui).await?;
    let app = args
        .server
        .app(client.clone(), probe, global.payload_limits(), done.clone())
        .with_metrics(render);
    let gate = args.server.gate(&client, &server, ui).await?;
    serve::say_where(&server, ui);
    let server = serve::start(server, dacapo_server::everything(app, gate), done.clone());
    // Before the first deploy, so that no change is missed.
    let mut watcher = watch::Watcher::new(&args.paths, args.manifest.file.as_deref())
        .map_err(|error| Failed::request(format!("cannot watch files: {}", chain(&error))))?;

    let deploying = async {
        let mut deployed = Vec::new();
        for file in files {
            deployed.extend(deploy_and_say(&client, file, &args.manifest, ui).await);
        }
        say_what_next(&client, private, &deployed, ui).await;
        drop(deployed);
        while let Some(file) = watcher.changed().await {
            for file in affected(&file, args) {
                deploy_and_say(&client, &file, &args.manifest, ui).await;
            }
        }
        std::future::pending::<()>().await;
    };
    let working = async {
        match worker {
            Some(worker) => worker.run_until(done.cancelled()).await.map_err(failed),
            None => {
                done.cancelled().await;
                Ok(())
            }
        }
    };
    let mut working = std::pin::pin!(working);
    let ended = tokio::select! {
        () = deploying => None,
        () = stop.asked() => {
            ui.say("stopping; open steps may finish, once more ends at once");
            None
        }
        // A worker ends by itself only when it cannot go on; without it all the rest is of no use.
        result = &mut working => Some(result),
    };
    done.cancel();
    tokio::spawn(async move {
        stop.asked().await;
        std::process::exit(1);
    });
    let result = match ended {
        Some(result) => result,
        None => working.await,
    };
    // It has been told to end, and says by itself what went wrong with it.
    let _ = server.await;
    result
}

/// The private Postgres of `dacapo dev`.
struct Private {
    cluster: Cluster,
    url: String,
}

impl Private {
    async fn start(data_dir: Option<PathBuf>) -> Result<Self> {
        let data_dir = data_dir.unwrap_or_else(dacapo_postgres::default_data_dir);
        let cluster = Cluster::start(ClusterOptions {
            data_dir,
            settings: Vec::new(),
            binaries: None,
        })
        .await?;
        tracing::info!(
            data = %cluster.data_dir().display(),
            found_running = cluster.reused(),
            "Postgres is ready"
        );
        let refused = |error: sqlx::Error| {
            Failed::request(format!(
                "cannot set the private Postgres up: {}",
                chain(&error)
            ))
        };
        let mut admin = PgConnection::connect(&cluster.url("postgres"))
            .await
            .map_err(refused)?;
        let there: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(DATABASE)
                .fetch_one(&mut admin)
                .await
                .map_err(refused)?;
        if !there {
            admin
                .execute("create database dacapo")
                .await
                .map_err(refused)?;
        }
        let url = cluster.url(DATABASE);
        Ok(Self { cluster, url })
    }

    /// Lets other commands find the database.
    fn announce(&self) -> Result<()> {
        let file = connect::dev_url_file(self.cluster.data_dir());
        std::fs::write(&file, &self.url)
            .map_err(|error| Failed::request(format!("cannot write {}: {error}", file.display())))
    }

    async fn stop(self) -> Result<()> {
        if !self.cluster.reused() {
            let _ = std::fs::remove_file(connect::dev_url_file(self.cluster.data_dir()));
        }
        Ok(self.cluster.stop().await?)
    }
}

/// The .wasm files named, and those in the directories named.
fn wasm_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let cannot = |error: std::io::Error| {
            Failed::usage(format!("cannot read {}: {error}", path.display()))
        };
        if std::fs::metadata(path).map_err(cannot)?.is_dir() {
            let mut inside: Vec<PathBuf> = std::fs::read_dir(path)
                .map_err(cannot)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|file| is_wasm(file))
                .collect();
            inside.sort();
            files.append(&mut inside);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn is_wasm(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "wasm")
}

/// The components to deploy when this file has changed: itself, or those whose manifest it is.
fn affected(file: &Path, args: &Args) -> Vec<PathBuf> {
    if is_wasm(file) {
        return vec![file.to_owned()];
    }
    // A directory that has gone meanwhile has nothing to deploy.
    let mut files = wasm_files(&args.paths).unwrap_or_default();
    if args.manifest.file.is_none() {
        files.retain(|one| {
            let directory = one.canonicalize().unwrap_or_else(|_| one.clone());
            directory.parent() == file.parent()
        });
    }
    files
}

/// Makes the queues that a manifest names and nobody has made, so that its workflows can be tried. Answers what was done.
async fn make_queues(client: &Client, deployable: &deploy::Deployable) -> Result<Vec<String>> {
    let workflows = deployable.described.descriptor.workflows.iter();
    let named: BTreeSet<&str> = workflows
        .filter_map(|workflow| deployable.manifest.queue_of(&workflow.name))
        .collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let there = client.queues().await?;
    let mut made = Vec::new();
    for name in named {
        if !there.iter().any(|queue| queue.name == name) {
            client.set_queue(name, QueueChange::default()).await?;
            made.push(format!(
                "  made the queue {name}, without limits; elsewhere make it before you deploy, with `dacapo queue set {name}`"
            ));
        }
    }
    Ok(made)
}

async fn put_and_describe(client: &Client, deployable: &deploy::Deployable) -> Result<String> {
    let mut made = make_queues(client, deployable).await?;
    // Who works on a workflow changes its types all the time.
    let outcome = deploy::put(client, deployable, None, Breaking::Allow, &who(None)).await?;
    let mut lines = vec![deploy::describe_outcome(deployable, &outcome)];
    lines.append(&mut made);
    lines.extend(deploy::describe_calls(client, deployable).await?);
    let broken = outcome
        .changes
        .iter()
        .filter(|change| change.breaking)
        .count();
    if broken > 0 {
        lines.push(format!(
            "warning: what is said to break ({broken}) breaks who deals with these workflows; `dacapo deploy` refuses that without --allow-breaking"
        ));
    }
    Ok(lines.join("\n"))
}

/// Deploys a file. Trouble with it is said, and ends nothing: the next change may mend it.
async fn deploy_and_say(
    client: &Client,
    file: &Path,
    manifest: &deploy::ManifestArgs,
    ui: Ui,
) -> Option<deploy::Deployable> {
    let result = match deploy::read(file, manifest) {
        Ok(deployable) => {
            let put = put_and_describe(client, &deployable).await;
            put.map(|text| (text, deployable))
        }
        Err(error) => Err(error),
    };
    match result {
        Ok((text, deployable)) => {
            ui.say(&text);
            Some(deployable)
        }
        Err(error) => {
            ui.say(&format!("error: {}", error.message));
            None
        }
    }
}

/// Says what can be typed now, for the workflows that were just deployed, in the order of their files.
async fn say_what_next(
    client: &Client,
    private: Option<&Private>,
    deployed: &[deploy::Deployable],
    ui: Ui,
) {
    let database = match private {
        Some(private) if !is_found(private.cluster.data_dir()) => {
            format!(" --database-url '{}'", private.url)
        }
        _ => String::new(),
    };
    let there = match deployed {
        [] => client.workflows().await.unwrap_or_default(),
        _ => Vec::new(),
    };
    let start = match first_start(deployed) {
        Some((name, input)) => format!("  dacapo{database} start {name} {input}--wait"),
        None => match there.first() {
            Some(info) => format!(
                "  dacapo{database} start {} {}--wait",
                info.name,
                example_input(&info.workflow)
            ),
            None => format!("  dacapo{database} deploy FILE.wasm"),
        },
    };
    ui.say(&format!("\nready; stop with Ctrl-C. Next, in another terminal:\n{start}\n  dacapo{database} runs list\n"));
}

/// Whether commands find the database by themselves that is in this directory: in another terminal DACAPO_DATA_DIR need not be set.
fn is_found(data_dir: &Path) -> bool {
    let is_set = std::env::var_os("DACAPO_DATA_DIR").is_some_and(|value| !value.is_empty());
    !is_set && data_dir == dacapo_postgres::default_data_dir()
}

/// A workflow to start, with its input as an option: one that the tests of its project know an input of, else the first one.
fn first_start(deployed: &[deploy::Deployable]) -> Option<(&str, String)> {
    let workflows = || {
        deployed.iter().flat_map(|one| {
            let workflows = one.described.descriptor.workflows.iter();
            workflows.map(move |workflow| (one, workflow))
        })
    };
    let tested = workflows().find_map(|(one, workflow)| {
        let input = test::example_input(one.directory(), workflow)?;
        Some((
            workflow.name.as_str(),
            format!("--input {} ", quoted(&input)),
        ))
    });
    tested.or_else(|| {
        let (_, workflow) = workflows().next()?;
        Some((workflow.name.as_str(), example_input(workflow)))
    })
}

/// An input that fits the workflow's type, as an option to type.
fn example_input(workflow: &Workflow) -> String {
    let Some(param) = &workflow.param else {
        return String::new();
    };
    format!("--input {} ", quoted(&sample(&param.ty).to_string()))
}
