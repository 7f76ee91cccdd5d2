//! Bringing a database to this binary's schema: forward only, safe from many processes at once.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use thiserror::Error;

use crate::{Store, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// A migration that waits for a table keeps all others waiting that come after it. So it waits for no longer than this, and is tried again after
/// a pause in which they go on; each pause is twice as long as the one before.
const LOCK_TIMEOUT: [(&str, &str); 1] = [("lock_timeout", "500ms")];
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrateOutcome {
    /// The database was brought from version `from` (0: nothing of ours was there) to `to`.
    Migrated {
        /// Version before.
        from: i64,
        /// Version after: this binary's.
        to: i64,
    },
    /// Nothing to do; the database is at this version.
    UpToDate(i64),
}

/// What the database holds, compared with what this binary needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// Nothing of ours.
    Empty,
    /// Older than this binary: `dacapo migrate` brings it up.
    Behind(i64),
    /// Fits. The version may be newer than this binary's when all that was added since is compatible.
    Ready(i64),
}

/// The database cannot be used by this binary. Nothing was changed.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// A newer binary has migrated the database in a way that this one would not understand.
    #[error(
        "the database was migrated by a newer dacapo: it is at schema version {database}, which needs a binary that knows version \
         {breaking}; this one knows {binary}. Use a newer dacapo"
    )]
    Newer {
        /// Newest migration that the database has.
        database: i64,
        /// Newest migration that older binaries cannot work with.
        breaking: i64,
        /// Newest migration that this binary knows.
        binary: i64,
    },
    /// The schema holds tables that are not ours.
    #[error(
        "schema `dacapo` of the database holds tables that dacapo did not make ({}). Nothing was touched. Use another database, or \
         rename that schema", tables.join(", ")
    )]
    Foreign {
        /// Names of the tables that are in the way.
        tables: Vec<String>,
    },
    /// A migration was changed after it had been applied, or failed in the middle.
    #[error("cannot migrate the database")]
    Failed(#[source] sqlx::migrate::MigrateError),
    /// What is to be migrated past a pooler is another database than the one that was looked at.
    #[error(
        "the direct URL leads to another database than the database URL: nothing was migrated. Name the same one in both"
    )]
    OtherDatabase,
    /// The database did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The newest migration that this binary knows.
pub fn newest_schema() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

/// Compares the database with this binary, changing nothing. One that is migrated is asked once.
pub async fn schema_state(store: &Store) -> Result<SchemaState, MigrateError> {
    let (database, breaking) = match versions(store).await? {
        Some(versions) => versions,
        None => match not_migrated(store).await {
            // Another process may have migrated it between the two looks.
            Err(MigrateError::Foreign { tables }) => versions(store)
                .await?
                .ok_or(MigrateError::Foreign { tables })?,
            other => return other,
        },
    };
    let binary = newest_schema();
    if breaking > binary {
        Err(MigrateError::Newer {
            database,
            breaking,
            binary,
        })
    } else if database < binary {
        Ok(SchemaState::Behind(database))
    } else {
        Ok(SchemaState::Ready(database))
    }
}

/// The database's version, and the newest migration that older binaries cannot work with; none if our tables are not there.
async fn versions(store: &Store) -> Result<Option<(i64, i64)>, StoreError> {
    let versions = sqlx::query_as(
        "select (select coalesce(max(version), 0) from dacapo._sqlx_migrations where success),
                (select breaking from dacapo.compatibility)",
    )
    .fetch_one(store.pool())
    .await;
    match versions {
        Ok(versions) => Ok(Some(versions)),
        Err(error) => {
            let code = error.as_database_error().and_then(|error| error.code());
            // `undefined_table`, `undefined_column`
            if code.is_some_and(|code| code == "42P01" || code == "42703") {
                Ok(None)
            } else {
                Err(error.into())
            }
        }
    }
}

/// What stands where our tables would be.
async fn not_migrated(store: &Store) -> Result<SchemaState, MigrateError> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'dacapo' and c.relkind in ('r', 'p', 'v', 'm', 'f') order by 1",
    )
    .fetch_all(store.pool())
    .await
    .map_err(StoreError::from)?;
    let is_table_of_migrations = |table: &String| table == "_sqlx_migrations";
    // Another process may have made its table of migrations just now; that one is ours too.
    if tables.iter().all(is_table_of_migrations) {
        return Ok(SchemaState::Empty);
    }
    let tables = tables
        .into_iter()
        .filter(|table| !is_table_of_migrations(table))
        .collect();
    Err(MigrateError::Foreign { tables })
}

/// Whether both lead to one database: two URLs may be of different ones by mistake.
async fn is_same_database(store: &Store, direct: &sqlx::PgPool) -> Result<bool, StoreError> {
    const WHICH: &str = "select (select system_identifier::text from pg_control_system()) || '/' || (select oid from pg_database where datname = current_database())";
    let asked: String = sqlx::query_scalar(WHICH).fetch_one(store.pool()).await?;
    let migrated: String = sqlx::query_scalar(WHICH).fetch_one(direct).await?;
    Ok(asked == migrated)
}

/// Brings the database to this binary's schema. Any number of processes may do so at once: one does the work while the others
/// wait. Refuses, and touches nothing, when the database belongs to a newer binary or to somebody else. Where a transaction of somebody else uses
/// a table that is to be changed, it says so and tries again until that has ended: others wait for half a second for each such table at most.
pub async fn migrate(store: &Store) -> Result<MigrateOutcome, MigrateError> {
    let to = newest_schema();
    let (mut from, mut said, mut pause) = (None, None, PAUSE_MIN);
    loop {
        // Another process may have done it while this one waited.
        let found = match schema_state(store).await? {
            SchemaState::Ready(version) => {
                return Ok(match from {
                    Some(from) if from != to => MigrateOutcome::Migrated { from, to },
                    _ => MigrateOutcome::UpToDate(version),
                });
            }
            SchemaState::Behind(version) => version,
            SchemaState::Empty => 0,
        };
        let from = *from.get_or_insert(found);
        let Err(error) = migrate_once(store).await else {
            return Ok(if from == to {
                MigrateOutcome::UpToDate(to)
            } else {
                MigrateOutcome::Migrated { from, to }
            });
        };
        let Some(waits) = Waits::of(&error) else {
            return Err(error);
        };
        if said != Some(waits) {
            waits.say();
            said = Some(waits);
            pause = PAUSE_MIN;
        }
        tokio::time::sleep(pause).await;
        pause = match waits {
            Waits::Process => PAUSE_MIN,
            Waits::Table { .. } => (pause * 2).min(PAUSE_MAX),
        };
    }
}

/// What a migration waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// Another process that migrates.
    Process,
    /// A table that somebody else uses.
    Table {
        /// The migration that is to change it.
        migration: i64,
    },
}

impl Waits {
    /// None: the error is another one.
    fn of(error: &MigrateError) -> Option<Self> {
        use sqlx::migrate::MigrateError as Cause;

        let (cause, waits) = match error {
            MigrateError::Failed(Cause::Execute(cause)) => (cause, Self::Process),
            MigrateError::Failed(Cause::ExecuteMigration(cause, migration)) => (
                cause,
                Self::Table {
                    migration: *migration,
                },
            ),
            _ => return None,
        };
        let code = cause.as_database_error().and_then(|error| error.code());
        // `lock_not_available`
        code.is_some_and(|code| code == "55P03").then_some(waits)
    }

    fn say(self) {
        match self {
            Self::Process => tracing::info!("waiting for another process that migrates"),
            Self::Table { migration } => tracing::warn!(
                migration,
                "a transaction of somebody else uses a table that the migration changes; it is tried again until that has ended. \
                 `dacapo doctor` names sessions with long transactions"
            ),
        }
    }
}

/// Carries out what is missing, each migration in a transaction of its own.
async fn migrate_once(store: &Store) -> Result<(), MigrateError> {
    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    // A newer, compatible binary may have gone further while we waited for the lock.
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name("dacapo._sqlx_migrations");
    migrator.create_schema("dacapo");
    // A connection that is closed afterwards: when a migration fails the migrator keeps its lock, and from the pool the next one, here or
    // elsewhere, would wait for it for ever.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(store.direct().clone().options(LOCK_TIMEOUT));
    let same = if store.has_direct() {
        is_same_database(store, &pool).await
    } else {
        Ok(true)
    };
    let migrated = match same {
        Ok(true) => migrator.run(&pool).await.map_err(MigrateError::Failed),
        Ok(false) => Err(MigrateError::OtherDatabase),
        Err(error) => Err(error.into()),
    };
    pool.close().await;
    migrated
}
