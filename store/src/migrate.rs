//! Bringing a database to this binary's schema: forward only, safe from many processes at once.

use sqlx::migrate::Migrator;
use thiserror::Error;

use crate::{Store, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

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
    /// The database did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The newest migration that this binary knows.
fn newest() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

/// Compares the database with this binary, changing nothing.
pub async fn schema_state(store: &Store) -> Result<SchemaState, MigrateError> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'dacapo' and c.relkind in ('r', 'p', 'v', 'm', 'f') order by 1",
    )
    .fetch_all(store.pool())
    .await
    .map_err(StoreError::from)?;
    let ours = |table: &String| table == "_sqlx_migrations" || table == "compatibility";
    if !tables.iter().any(|table| table == "compatibility") {
        // Another process may have made its table of migrations just now; that one is ours too.
        let foreign: Vec<String> = tables.into_iter().filter(|table| !ours(table)).collect();
        return if foreign.is_empty() {
            Ok(SchemaState::Empty)
        } else {
            Err(MigrateError::Foreign { tables: foreign })
        };
    }
    if !tables.iter().any(|table| table == "_sqlx_migrations") {
        return Err(MigrateError::Foreign {
            tables: tables.into_iter().filter(|table| !ours(table)).collect(),
        });
    }
    let (database, breaking): (i64, i64) = sqlx::query_as(
        "select (select coalesce(max(version), 0) from dacapo._sqlx_migrations where success),
                (select breaking from dacapo.compatibility)",
    )
    .fetch_one(store.pool())
    .await
    .map_err(StoreError::from)?;
    let binary = newest();
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

/// Brings the database to this binary's schema. Any number of processes may do so at once: one does the work while the others
/// wait. Refuses, and touches nothing, when the database belongs to a newer binary or to somebody else.
pub async fn migrate(store: &Store) -> Result<MigrateOutcome, MigrateError> {
    let from = match schema_state(store).await? {
        SchemaState::Ready(version) => return Ok(MigrateOutcome::UpToDate(version)),
        SchemaState::Behind(version) => version,
        SchemaState::Empty => 0,
    };
    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    // A newer, compatible binary may have gone further while we waited for the lock.
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name("dacapo._sqlx_migrations");
    migrator.create_schema("dacapo");
    migrator
        .run(store.pool())
        .await
        .map_err(MigrateError::Failed)?;
    let to = newest();
    Ok(if from == to {
        MigrateOutcome::UpToDate(to)
    } else {
        MigrateOutcome::Migrated { from, to }
    })
}
