//! A Postgres server of a test's own, and what is asked of it beside.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use dacapo_postgres::{Cluster, ClusterOptions};
use dacapo_tests::{Database, Workload, database_with};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::time::Instant;

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lease that no outage of a test outlasts.
pub const LONG: &str = "120s";

/// A server, and where its data is.
pub struct Private {
    pub cluster: Cluster,
    pub directory: tempfile::TempDir,
}

/// A new server with these settings.
pub async fn private(settings: &[(&str, &str)]) -> Private {
    private_with(settings, None).await
}

/// The same, with programs from this directory.
pub async fn private_with(settings: &[(&str, &str)], binaries: Option<PathBuf>) -> Private {
    let directory = tempfile::tempdir().unwrap();
    let options = ClusterOptions {
        data_dir: directory.path().to_owned(),
        settings: settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        binaries,
    };
    Private {
        cluster: Cluster::start(options).await.unwrap(),
        directory,
    }
}

impl Private {
    /// Its database, migrated.
    pub async fn database(&self) -> Database {
        migrated(&self.cluster.url("postgres")).await
    }

    /// A workload on its database.
    pub async fn workload(&self) -> Workload {
        Workload::on(self.database().await).await
    }

    /// A connection that is none of Dacapo's.
    pub async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.cluster.url("postgres"))
            .await
            .unwrap()
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.cluster.log_file()).unwrap()).into_owned()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.socket_directory().join(".s.PGSQL.5432")
    }

    /// The directory of its socket.
    pub fn socket_directory(&self) -> PathBuf {
        let url = self.cluster.url("postgres");
        let host = url
            .split("host=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap();
        host.replace("%2F", "/").into()
    }

    /// A command that runs as the user whom the server belongs to.
    pub fn command(&self, program: &Path) -> Command {
        let data = std::fs::metadata(self.directory.path().join("cluster")).unwrap();
        let mut command = Command::new(program);
        if nix::unistd::geteuid().is_root() {
            command.uid(data.uid()).gid(data.gid());
        }
        command
    }

    /// Hands a file or a directory to that user.
    pub fn hand_over(&self, path: &Path) {
        let data = std::fs::metadata(self.directory.path().join("cluster")).unwrap();
        std::os::unix::fs::chown(path, Some(data.uid()), Some(data.gid())).unwrap();
    }

    /// Copies it to a directory while it goes on.
    pub fn copy_to(&self, directory: &Path, more: &[&str]) {
        self.hand_over(directory);
        let copied = self
            .command(&self.program("pg_basebackup"))
            .arg("-D")
            .arg(directory.join("cluster"))
            .arg("-h")
            .arg(self.socket_directory())
            .args(["-p", "5432", "-U", "postgres", "-X", "stream"])
            .args(["-c", "fast", "--no-sync"])
            .args(more)
            .current_dir(directory)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(copied.status.success(), "{copied:?}");
    }

    /// One of the programs beside the server's.
    pub fn program(&self, name: &str) -> PathBuf {
        let server = format!("/proc/{}/exe", self.cluster.pid().unwrap());
        std::fs::read_link(server).unwrap().with_file_name(name)
    }
}

/// A migrated database at this URL.
pub async fn migrated(url: &str) -> Database {
    let database = database_with(url);
    dacapo_store::migrate(&database.store).await.unwrap();
    database
}

/// Carries out a statement.
pub async fn sql(connection: &mut PgConnection, statement: &str) {
    connection
        .execute(AssertSqlSafe(statement.to_owned()))
        .await
        .unwrap();
}

/// Waits until a query over a connection answers true.
pub async fn until(connection: &mut PgConnection, what: &str, query: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer: bool = sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        if answer {
            return;
        }
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until something can be seen outside of the database.
pub async fn until_seen(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until so many more steps are recorded, whatever is wrong with the database until then.
pub async fn steps_later(url: &str, more: i64) {
    let deadline = Instant::now() + PATIENCE;
    let mut first = None;
    loop {
        if let Ok(count) = steps(url).await {
            let first = *first.get_or_insert(count);
            if count >= first + more {
                return;
            }
        }
        assert!(
            Instant::now() < deadline,
            "runs do not go on: gave up waiting for {more} more steps"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn steps(url: &str) -> Result<i64, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query_scalar("select count(*) from dacapo.step where outcome is not null")
        .fetch_one(&mut connection)
        .await
}
