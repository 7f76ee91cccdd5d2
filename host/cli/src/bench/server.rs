//! The server under test, with a database of the bench's own on it.

use anyhow::{Context, Result, bail};
use dacapo_postgres::{Cluster, ClusterOptions};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};

/// What the private server is started with beside its defaults, which keep `fsync` on.
const SETTINGS: [(&str, &str); 4] = [
    ("shared_preload_libraries", "pg_stat_statements"),
    // Statements inside the functions of the schema are part of the statement that calls them.
    ("pg_stat_statements.track", "top"),
    ("max_wal_size", "4GB"),
    ("max_connections", "200"),
];

/// A Postgres server, and a fresh database on it that is dropped at the end.
pub(super) struct Server {
    admin_url: String,
    database: String,
    url: String,
    private: Option<Private>,
}

/// A server that was started for the bench alone.
struct Private {
    cluster: Cluster,
    directory: std::path::PathBuf,
}

impl Server {
    /// Makes a database of its own on the server at `url`, or on a private server started for it.
    pub(super) async fn open(url: Option<&str>) -> Result<Self> {
        let database = format!("dacapo_bench_{}", std::process::id());
        let (admin_url, private) = match url {
            Some(url) => (url.to_owned(), None),
            None => {
                let private = Private::start(&database).await?;
                (private.cluster.url("postgres"), Some(private))
            }
        };
        let url = with_database(&admin_url, &database)?;
        let server = Self {
            admin_url,
            database,
            url,
            private,
        };
        if let Err(error) = server.create().await {
            server.remove_files();
            return Err(error);
        }
        Ok(server)
    }

    async fn create(&self) -> Result<()> {
        let mut admin = self.admin().await?;
        let may: bool = sqlx::query_scalar(
            "select rolcreatedb or rolsuper from pg_roles where rolname = current_user",
        )
        .fetch_one(&mut admin)
        .await
        .context("cannot ask for the rights of this user")?;
        if !may {
            bail!(
                "the bench works in a database of its own, and this user may not create one: grant it CREATEDB, name another \
                 user in the database URL, or give none to measure a private server"
            );
        }
        let statement = format!("create database {}", self.database);
        admin
            .execute(AssertSqlSafe(statement))
            .await
            .with_context(|| format!("cannot create database {}", self.database))?;
        Ok(())
    }

    /// The bench's own database.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether the server was started for this bench, so that its settings may be changed.
    pub(super) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// A connection to the database that the URL names, or to the private server's maintenance database.
    async fn admin(&self) -> Result<PgConnection> {
        PgConnection::connect(&self.admin_url)
            .await
            .context("cannot connect to the database server")
    }

    /// The version of the server and what it does on a commit.
    pub(super) async fn description(&self) -> Result<String> {
        let mut admin = self.admin().await?;
        let mut said = Vec::new();
        for setting in [
            "server_version",
            "fsync",
            "synchronous_commit",
            "full_page_writes",
        ] {
            let value: String = sqlx::query_scalar("select current_setting($1)")
                .bind(setting)
                .fetch_one(&mut admin)
                .await?;
            said.push(format!("{setting} {value}"));
        }
        let kind = if self.is_private() {
            "private"
        } else {
            "as given"
        };
        Ok(format!("Postgres ({kind}): {}", said.join(", ")))
    }

    /// Leaves images of whole pages out of the WAL, or not. Only on a private server, where a crash loses nothing of value.
    pub(super) async fn set_page_images(&self, on: bool) -> Result<()> {
        if !self.is_private() {
            return Ok(());
        }
        let mut admin = self.admin().await?;
        let value = if on { "on" } else { "off" };
        admin
            .execute(AssertSqlSafe(format!(
                "alter system set full_page_writes = {value}"
            )))
            .await?;
        admin.execute("select pg_reload_conf()").await?;
        // The server's processes read their settings again when they get around to it; the checkpointer is the one that counts.
        admin.execute("checkpoint").await?;
        Ok(())
    }

    /// Drops the database, and stops the private server and removes its data.
    pub(super) async fn close(mut self) -> Result<()> {
        if let Some(private) = self.private.take() {
            let directory = private.directory.clone();
            private.cluster.stop().await?;
            let _ = std::fs::remove_dir_all(directory);
            return Ok(());
        }
        let mut admin = self.admin().await?;
        let statement = format!("drop database if exists {} with (force)", self.database);
        admin
            .execute(AssertSqlSafe(statement))
            .await
            .with_context(|| format!("cannot drop database {}", self.database))?;
        Ok(())
    }

    fn remove_files(&self) {
        if let Some(private) = &self.private {
            let _ = std::fs::remove_dir_all(&private.directory);
        }
    }
}

impl Private {
    async fn start(name: &str) -> Result<Self> {
        let directory = std::env::temp_dir().join(name.replace('_', "-"));
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = |settings: &[(String, String)]| ClusterOptions {
            data_dir: directory.clone(),
            settings: settings.to_vec(),
            binaries: None,
        };
        let cluster = match Cluster::start(options(&settings)).await {
            Ok(cluster) => cluster,
            // Some installations come without the extension: then statements are not counted.
            Err(_) => Cluster::start(options(&settings[2..]))
                .await
                .context("cannot start a private Postgres server")?,
        };
        Ok(Self { cluster, directory })
    }
}

/// The same URL for another database of the server.
fn with_database(url: &str, database: &str) -> Result<String> {
    let (address, options) = match url.split_once('?') {
        Some((address, options)) => (address, Some(options)),
        None => (url, None),
    };
    let authority = address.find("://").map_or(0, |place| place + 3);
    let end = address[authority..]
        .find('/')
        .map_or(address.len(), |slash| authority + slash);
    let mut result = format!("{}/{database}", &address[..end]);
    if let Some(options) = options {
        result.push('?');
        result.push_str(options);
    }
    let understood: PgConnectOptions = result
        .parse()
        .context("the database URL cannot be understood")?;
    // Some URLs name the database among their options. Whatever it takes, the bench must not end up in a database with data.
    if understood.get_database() != Some(database) {
        bail!(
            "cannot tell how the database URL names its database; put the name after the host: postgres://HOST/NAME"
        );
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_changes() {
        let changed = |url| with_database(url, "b").unwrap();
        assert_eq!(
            changed("postgres://u:p@h:5433/a?sslmode=disable"),
            "postgres://u:p@h:5433/b?sslmode=disable"
        );
        assert_eq!(changed("postgres://h"), "postgres://h/b");
        assert_eq!(
            changed("postgres://u@localhost/a?host=%2Ftmp%2Fx"),
            "postgres://u@localhost/b?host=%2Ftmp%2Fx"
        );
    }

    #[test]
    fn a_url_that_hides_its_database_is_refused() {
        assert!(with_database("postgres://h/a?dbname=precious", "b").is_err());
    }
}
