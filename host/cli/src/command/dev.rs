//! `dacapo dev`: everything on this machine, from one command.

mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use dacapo_client::{Breaking, Client, QueueChange};
use dacapo_model::{Type, Workflow};
use dacapo_postgres::{Cluster, ClusterOptions};
use dacapo_server::{Probe, Readiness, Render};
use dacapo_worker::{Worker, WorkerConfig};
use sqlx::{Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::arguments::Global;
use crate::command::serve::ServerArgs;
use crate::command::signal::Stop;
use crate::command::worker::{Limits, failed, migrate, trace, worker_probe};
use crate::command::{deploy, serve, who};
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
    let probe: Probe = match &worker {
        Some(worker) => worker_probe(worker.health(), heartbeat),
        None => Arc::new(|| Readiness::Ready),
    };
    let done = CancellationToken::new();
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
        for file in files {
            deploy_and_say(&client, file, &args.manifest, ui).await;
        }
        say_what_next(&client, private, ui).await;
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
async fn deploy_and_say(client: &Client, file: &Path, manifest: &deploy::ManifestArgs, ui: Ui) {
    let result = match deploy::read(file, manifest) {
        Ok(deployable) => put_and_describe(client, &deployable).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(text) => ui.say(&text),
        Err(error) => ui.say(&format!("error: {}", error.message)),
    }
}

async fn say_what_next(client: &Client, private: Option<&Private>, ui: Ui) {
    let database = match private {
        Some(private) if private.cluster.data_dir() != dacapo_postgres::default_data_dir() => {
            format!(" --database-url '{}'", private.url)
        }
        _ => String::new(),
    };
    let start = match client.workflows().await {
        Ok(workflows) if !workflows.is_empty() => {
            let workflow = &workflows[0].workflow;
            format!(
                "  dacapo{database} start {} {}--wait",
                workflow.name,
                example_input(workflow)
            )
        }
        _ => format!("  dacapo{database} deploy FILE.wasm"),
    };
    ui.say(&format!("\nready; stop with Ctrl-C. Next, in another terminal:\n{start}\n  dacapo{database} runs list\n"));
}

/// An input that fits the workflow's type, as an option to type.
fn example_input(workflow: &Workflow) -> String {
    let Some(param) = &workflow.param else {
        return String::new();
    };
    format!("--input '{}' ", example(&param.ty))
}

/// A value of a type, as JSON.
fn example(ty: &Type) -> serde_json::Value {
    use serde_json::{Value, json};
    match ty {
        Type::Bool => json!(true),
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::S8
        | Type::S16
        | Type::S32
        | Type::S64 => json!(1),
        Type::F32 | Type::F64 => json!(1.5),
        Type::Char => json!("a"),
        Type::String => json!("text"),
        Type::Bytes => json!("AAEC"),
        Type::List(item) => json!([example(item)]),
        Type::FixedList(item, length) => {
            Value::Array(vec![example(item); (*length).min(16) as usize])
        }
        Type::Tuple(items) => items.iter().map(example).collect(),
        Type::Record(record) => record
            .fields
            .iter()
            .filter(|field| !matches!(field.ty, Type::Option(_)))
            .map(|field| (field.json_name(), example(&field.ty)))
            .collect(),
        Type::Variant(variant) => match variant.cases.first() {
            Some(case) => match &case.ty {
                Some(ty) => json!({ "tag": case.name, "val": example(ty) }),
                None => json!({ "tag": case.name }),
            },
            None => Value::Null,
        },
        Type::Enum(one) => json!(one.cases.first()),
        Type::Flags(_) => json!([]),
        Type::Option(_) => Value::Null,
        Type::Result { ok, .. } => json!({ "ok": ok.as_ref().map(|ty| example(ty)) }),
    }
}

#[cfg(test)]
mod tests {
    use dacapo_model::{Field, Param, PayloadLimits, RecordType, Type, Workflow};

    use super::example;

    #[test]
    fn the_example_fits_the_type() {
        let field = |name: &str, ty: Type| Field {
            name: name.to_owned(),
            ty,
            docs: None,
        };
        let fields = vec![
            field("order-id", Type::U64),
            field("note", Type::Option(Box::new(Type::String))),
            field("prices", Type::List(Box::new(Type::F64))),
        ];
        let ty = Type::Record(RecordType {
            name: Some("order".to_owned()),
            fields,
            docs: None,
        });
        let text = example(&ty).to_string();
        let workflow = Workflow {
            name: "a:b/c.d".to_owned(),
            interface: "a:b/c".to_owned(),
            function: "d".to_owned(),
            param: Some(Param {
                name: "order".to_owned(),
                ty,
            }),
            result: None,
            events: Vec::new(),
            docs: None,
        };
        workflow
            .check_input(&text, &PayloadLimits::default())
            .unwrap();
    }
}
