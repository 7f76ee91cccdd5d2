//! A private Postgres for the test process, a fresh database for each test, and a deployment that no worker could play.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use dacapo_client::{Client, ClientError, DeployOutcome, Descriptor, Store};
use dacapo_model::{Field, Param, RecordType, Type, Workflow};
use dacapo_postgres::{Cluster, ClusterOptions};
use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

/// It ends with the process, however that ends.
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);
const TEMPLATE: &str = "dacapo_template";

pub const GREET: &str = "test:greeter/greetings.greet";
pub const PING: &str = "test:greeter/greetings.ping";

/// A client of a fresh, migrated database, where [`GREET`] and [`PING`] are deployed.
pub async fn client() -> Client {
    let client = bare_client().await;
    deploy(&client, &greeter(Type::String), "1").await;
    client
}

/// A client of a fresh, migrated database.
pub async fn bare_client() -> Client {
    let url = url().await;
    Client::connect(&url).await.unwrap()
}

/// The URL of a fresh, migrated database.
pub async fn url() -> String {
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    create(&format!("create database {name} template {TEMPLATE}")).await;
    CLUSTER.get().unwrap().url(&name)
}

/// The URL of a fresh database that was never migrated.
pub async fn empty_url() -> String {
    let name = format!("empty_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    create(&format!("create database {name}")).await;
    CLUSTER.get().unwrap().url(&name)
}

async fn create(statement: &str) {
    let cluster = CLUSTER.get_or_init(cluster).await;
    let mut admin = PgConnection::connect(&cluster.url("postgres"))
        .await
        .unwrap();
    admin
        .execute(sqlx::AssertSqlSafe(statement.to_owned()))
        .await
        .unwrap();
}

async fn cluster() -> Cluster {
    clear_leftovers();
    let data_dir = directory(&std::process::id().to_string());
    let options = ClusterOptions {
        data_dir,
        settings: Vec::new(),
        binaries: None,
    };
    let cluster = Cluster::start(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let mut admin = PgConnection::connect(&cluster.url("postgres"))
        .await
        .unwrap();
    admin
        .execute(sqlx::AssertSqlSafe(format!("create database {TEMPLATE}")))
        .await
        .unwrap();
    let store = Store::new(&cluster.url(TEMPLATE), 2).unwrap();
    dacapo_store::migrate(&store).await.unwrap();
    // A database with connections cannot be a template.
    store.pool().close().await;
    cluster
}

fn directory(process: &str) -> PathBuf {
    std::env::temp_dir().join(format!("dacapo-test-{process}"))
}

/// Removes the data of test processes that are gone: nothing runs at the end of a process that could.
fn clear_leftovers() {
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix("dacapo-test-"));
        if let Some(process) = process
            && process.parse::<u32>().is_ok()
            && !Path::new("/proc").join(process).exists()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// What a component with [`GREET`] and [`PING`] says of itself, whose greeting takes `{"name": …}` with a name of this type.
pub fn greeter(name: Type) -> Descriptor {
    let person = Type::Record(RecordType {
        name: Some("person".to_owned()),
        fields: vec![
            Field {
                name: "name".to_owned(),
                ty: name,
                docs: None,
            },
            Field {
                name: "age".to_owned(),
                ty: Type::Option(Box::new(Type::U32)),
                docs: None,
            },
        ],
        docs: None,
    });
    Descriptor {
        package: "test:greeter".to_owned(),
        version: None,
        workflows: vec![
            workflow(
                GREET,
                Some(Param {
                    name: "person".to_owned(),
                    ty: person,
                }),
                Some(Type::String),
            ),
            workflow(PING, None, None),
        ],
        imports: Vec::new(),
        children: Vec::new(),
    }
}

pub fn workflow(name: &str, param: Option<Param>, result: Option<Type>) -> Workflow {
    let (interface, function) = name.rsplit_once('.').unwrap();
    Workflow {
        name: name.to_owned(),
        interface: interface.to_owned(),
        function: function.to_owned(),
        param,
        result,
        events: Vec::new(),
        docs: None,
    }
}

/// Deploys something that only looks like a component; `bytes` tell one deployment from another.
pub async fn deploy(client: &Client, descriptor: &Descriptor, bytes: &str) -> DeployOutcome {
    let bytes = [b"\0asm\x0d\0\x01\0", bytes.as_bytes()].concat();
    let digest: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    client.deploy(descriptor, &digest, &bytes).await.unwrap()
}

/// How many runs there are in the client's database.
pub async fn runs(client: &Client) -> i64 {
    sqlx::query_scalar("select count(*) from dacapo.run")
        .fetch_one(client.store().pool())
        .await
        .unwrap()
}

/// The code of an error whose message and hint are fit to be seen.
#[track_caller]
pub fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> &'static str {
    let error = result.unwrap_err();
    let message = error.to_string();
    assert!(
        !message.is_empty() && !message.ends_with('.'),
        "{message:?}"
    );
    error.code()
}
