//! A private Postgres for each test process, and a fresh, migrated database for each test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use dacapo_client::Client;
use dacapo_model::RunId;
use dacapo_postgres::{Cluster, ClusterOptions};
use dacapo_store::Store;
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

/// The cluster of this process. It ends with the process, however that ends.
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);
const TEMPLATE: &str = "dacapo_template";

/// A fresh database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its URL.
    pub url: String,
    /// A handle on it.
    pub store: Store,
    /// A client of it.
    pub client: Client,
}

/// A fresh database that is migrated, on this process' own cluster.
pub async fn database() -> Database {
    let cluster = CLUSTER
        .get_or_try_init(start)
        .await
        .expect("cannot start a private Postgres");
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&cluster.url("postgres"))
        .await
        .unwrap();
    let statement = format!("create database {name} template {TEMPLATE}");
    admin.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    database_with(&cluster.url(&name))
}

/// A handle on the database at this URL.
pub fn database_with(url: &str) -> Database {
    let store = Store::new(url, 16).unwrap();
    Database {
        url: url.to_owned(),
        client: Client::new(store.clone()),
        store,
    }
}

async fn start() -> Result<Cluster> {
    let directory = directory_of(std::process::id());
    clear_leftovers();
    let options = ClusterOptions {
        data_dir: directory,
        settings: Vec::new(),
        binaries: None,
    };
    let cluster = Cluster::start(options).await?;
    let mut admin = PgConnection::connect(&cluster.url("postgres")).await?;
    admin
        .execute(sqlx::AssertSqlSafe(format!("create database {TEMPLATE}")))
        .await?;
    let store = Store::new(&cluster.url(TEMPLATE), 2)?;
    dacapo_store::migrate(&store)
        .await
        .context("cannot migrate the template")?;
    // A database with connections cannot be a template.
    store.pool().close().await;
    Ok(cluster)
}

fn directory_of(process: u32) -> PathBuf {
    std::env::temp_dir().join(format!("dacapo-test-{process}"))
}

/// Removes the data of test processes that are gone.
fn clear_leftovers() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(process) = name
            .to_str()
            .and_then(|name| name.strip_prefix("dacapo-test-"))
        else {
            continue;
        };
        if process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// What the server of this process has logged so far.
pub fn server_log() -> String {
    let cluster = CLUSTER.get().expect("a database was made before");
    String::from_utf8_lossy(&std::fs::read(cluster.log_file()).unwrap()).into_owned()
}

impl Database {
    /// Deploys a guest that `./x guests` has built.
    pub async fn deploy(&self, guest: &str) {
        let described = dacapo_sandbox::describe(&crate::guest(guest)).unwrap();
        self.client
            .deploy(
                &described.descriptor,
                &described.digest,
                &described.component,
            )
            .await
            .unwrap();
    }

    /// Starts a run.
    pub async fn start(&self, workflow: &str, input: &str) -> RunId {
        self.client
            .start_by_name(workflow, input, Default::default())
            .await
            .unwrap()
            .id
    }

    /// The run once it is done, or a panic that shows how it stands after 30 seconds.
    pub async fn done(&self, run: RunId) -> dacapo_client::Run {
        match self.client.wait(run, Some(Duration::from_secs(30))).await {
            Ok(run) => run,
            Err(error) => panic!(
                "run {run} is not done: {error}; {:#?}",
                self.client.get(run).await
            ),
        }
    }

    /// Waits until a query over this database answers true; for what no notification tells.
    pub async fn until(&self, what: &str, query: &'static str) {
        self.until_within(Duration::from_secs(30), what, query)
            .await;
    }

    /// The same for what takes longer.
    pub async fn until_within(&self, patience: Duration, what: &str, query: &'static str) {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let answer: bool = sqlx::query_scalar(query)
                .fetch_one(self.store.pool())
                .await
                .unwrap();
            if answer {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "gave up waiting until {what}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// One number from the database.
    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(self.store.pool())
            .await
            .unwrap()
    }
}
