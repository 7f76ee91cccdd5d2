//! Connections: a small pool for clients, and connections of its own for a worker's hot path.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Postgres, Transaction};

use crate::StoreError;

/// What the planner is told, on all connections: nearly all our statements are short look-ups by key. The tables were analysed when
/// they were small or empty, and a plan that was made and kept then must not scan them for ever after; compiling a plan would cost far
/// more than running it. So does making one: left alone the server makes a new plan for each list of ids, which takes longer than the
/// rest of a start.
const LOOK_UPS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// A handle on one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    options: PgConnectOptions,
    pool: PgPool,
}

/// A connection that one owner keeps. Statements on it are prepared once and planned for key look-ups.
#[derive(Debug)]
pub struct StoreConnection(pub(crate) PgConnection);

impl Store {
    /// A handle on the database at `url` (`postgres://…`), with at most `connections_max` pooled connections. Connects when first
    /// used. Fails only if the URL cannot be understood.
    pub fn new(url: &str, connections_max: u32) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse().map_err(StoreError::Refused)?;
        let options = options
            .application_name("dacapo")
            .options(LOOK_UPS)
            .log_slow_statements(tracing::log::LevelFilter::Debug, Duration::from_secs(5))
            .log_statements(tracing::log::LevelFilter::Trace);
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(Duration::from_secs(10))
            // A ping before each use doubles the round trips; a dead connection shows itself by its first error.
            .test_before_acquire(false)
            .connect_lazy_with(options.clone());
        Ok(Self { options, pool })
    }

    /// The pool, for callers that bring their own statements or transactions. Its sessions are set up for look-ups by key: the planner
    /// avoids sequential scans, hash joins and merge joins, plans each statement once whatever its parameters are, and compiles nothing. For
    /// anything else, connect with settings of your own, or `set local` these in the transaction.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How to connect to the same database, with the settings of [`Store::pool`].
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// A connection of its own, outside of the pool, for a hot path.
    pub async fn connect(&self) -> Result<StoreConnection, StoreError> {
        let options = self.options.clone().options([
            ("synchronous_commit", "on"),
            // A worker never keeps a transaction open; if it hangs in one, it must not hold others up.
            ("idle_in_transaction_session_timeout", "10000"),
        ]);
        Ok(StoreConnection(PgConnection::connect_with(&options).await?))
    }

    /// A transaction for a search: each statement is planned for its own parameters, in any way. Which index serves, whether one does, and
    /// how to join depends on what is asked for, and on how much there is.
    pub(crate) async fn planned_anew(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "select set_config(name, value, true)
            from (values
                ('plan_cache_mode', 'force_custom_plan'),
                ('enable_seqscan', 'on'), ('enable_hashjoin', 'on'), ('enable_mergejoin', 'on')
            ) as settings (name, value)",
        )
        .execute(&mut *transaction)
        .await?;
        Ok(transaction)
    }

    /// One round trip, to see whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }
}
