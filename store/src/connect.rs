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

/// How the statements of a search are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plans {
    /// For their own parameters, in any way.
    Anew,
    /// For their own parameters, and for the first rows of what an index has in the order that is asked for. Of a table that grew since it was
    /// analysed the planner believes that collecting and sorting all of it is as good; it would do that by a bitmap.
    AnewInOrder,
    /// Once, for the first rows of what an index has in the order that is asked for.
    KeptInOrder,
}

impl Plans {
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Plans::Anew => &ANEW,
            Plans::AnewInOrder => &ANEW_IN_ORDER,
            Plans::KeptInOrder => &[("enable_bitmapscan", "off")],
        }
    }
}

const ANEW_IN_ORDER: [(&str, &str); 5] = [
    ("enable_bitmapscan", "off"),
    ("plan_cache_mode", "force_custom_plan"),
    ("enable_seqscan", "on"),
    ("enable_hashjoin", "on"),
    ("enable_mergejoin", "on"),
];

const ANEW: [(&str, &str); 4] = {
    let [_, mode, scan, hash, merge] = ANEW_IN_ORDER;
    [mode, scan, hash, merge]
};

/// From here on a transaction looks up by keys, as [`LOOK_UPS`] say.
pub(crate) async fn plan_look_ups(transaction: &mut PgConnection) -> Result<(), StoreError> {
    plan_by(transaction, &LOOK_UPS).await
}

/// Tells the planner, until the end of the transaction.
async fn plan_by(
    transaction: &mut PgConnection,
    settings: &[(&str, &str)],
) -> Result<(), StoreError> {
    let (names, values): (Vec<&str>, Vec<&str>) = settings.iter().copied().unzip();
    sqlx::query("select set_config(name, value, true) from unnest($1::text[], $2::text[]) as settings (name, value)")
        .bind(names)
        .bind(values)
        .execute(transaction)
        .await?;
    Ok(())
}

/// How soon the server gives a client up that does not answer any more: until then it keeps the locks of whatever that had begun, and others
/// wait for them. Unset it would be two hours for an idle one, and a quarter of an hour for one that was sent something.
const LOST_CLIENTS: [(&str, &str); 4] = [
    ("tcp_user_timeout", "30000"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// How long a server may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A pooled connection that has rested for so long is tried before it is used.
const RESTED: Duration = Duration::from_secs(1);

/// How long a server may take to answer then, and to answer what was left unanswered when a pooled connection was given back: until then that one
/// has its place in the pool.
const PING_MAX: Duration = Duration::from_secs(2);

/// A handle on one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    options: PgConnectOptions,
    /// For what needs a session of its own, if that is another way.
    direct: Option<PgConnectOptions>,
    pool: PgPool,
}

/// A connection that one owner keeps. Statements on it are prepared once and planned for key look-ups.
#[derive(Debug)]
pub struct StoreConnection(pub(crate) PgConnection, Option<String>);

impl StoreConnection {
    /// The history of the database that the server goes on with: another one once it was promoted from a replica, or restored. None: the
    /// server does not say.
    pub fn timeline(&self) -> Option<&str> {
        self.1.as_deref()
    }
}

/// Does something that waits for the database, and gives it up after this time: the server, or whatever is between, may have gone away
/// without a word, and its connection would be waited for by the quarter of an hour.
pub async fn in_time<T, E: From<StoreError>>(
    longest: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(longest, work).await {
        Ok(result) => result,
        Err(late) => Err(StoreError::Unavailable(sqlx::Error::Io(late.into())).into()),
    }
}

/// Whether a URL names several hosts, as `one:5432,two:5433` or `?host=one,two`. As text: with several ports nobody can read it as a URL.
fn names_several_hosts(url: &str) -> bool {
    let is_list = |text: &str| text.contains(',') || text.to_ascii_lowercase().contains("%2c");
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest
        .split_once('/')
        .map_or(rest, |(authority, _)| authority);
    // A password may hold anything.
    let hosts = authority
        .rsplit_once('@')
        .map_or(authority, |(_, hosts)| hosts);
    is_list(hosts)
        || query.split('&').any(|pair| {
            pair.split_once('=').is_some_and(|(key, value)| {
                ["host", "hostaddr", "port"].contains(&key) && is_list(value)
            })
        })
}

/// How to reach the database at `url`.
fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options: Result<PgConnectOptions, _> = url.parse();
    // What the environment says counts, too, where the URL says nothing.
    let is_list = options
        .as_ref()
        .is_ok_and(|known| known.get_host().contains(','));
    if is_list || names_several_hosts(url) {
        let message = "it names several hosts: expected one that always leads to the primary, such as a proxy's, a pooler's, or a name or address \
                       that moves with it";
        return Err(StoreError::Refused(sqlx::Error::Configuration(
            message.into(),
        )));
    }
    Ok(options
        .map_err(StoreError::Refused)?
        .application_name("dacapo")
        .options(LOOK_UPS)
        .options(LOST_CLIENTS)
        .log_slow_statements(tracing::log::LevelFilter::Debug, Duration::from_secs(5))
        .log_statements(tracing::log::LevelFilter::Trace))
}

impl Store {
    /// A handle on the database at `url` (`postgres://…`), with at most `connections_max` pooled connections. Connects when first
    /// used. Fails only if the URL cannot be understood.
    pub fn new(url: &str, connections_max: u32) -> Result<Self, StoreError> {
        Self::with_rest(url, connections_max, RESTED)
    }

    /// The same, where a pooled connection is tried before it is used if it has rested for so long.
    pub fn with_rest(
        url: &str,
        connections_max: u32,
        rested: Duration,
    ) -> Result<Self, StoreError> {
        let options = options(url)?;
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(CONNECT_MAX)
            // A ping before each use doubles the round trips; a dead connection shows itself by its first error.
            .test_before_acquire(false)
            // One that rested may have died without a word, and what is sent on it would never be answered.
            .before_acquire(move |connection, meta| {
                Box::pin(async move {
                    if meta.idle_for < rested {
                        return Ok(true);
                    }
                    let ping = tokio::time::timeout(PING_MAX, connection.ping()).await;
                    Ok(matches!(ping, Ok(Ok(()))))
                })
            })
            // Before it is given back the pool waits for whatever its user did not, without an end. One that was given up because nothing was
            // answered would keep its place for a quarter of an hour. The pool then tries each one, without an end, too: one that dies in that
            // very round trip does keep it.
            .after_release(|connection, _| {
                Box::pin(async move {
                    match tokio::time::timeout(PING_MAX, connection.flush()).await {
                        Ok(answered) => answered.map(|()| true),
                        Err(late) => Err(sqlx::Error::Io(late.into())),
                    }
                })
            })
            .connect_lazy_with(options.clone());
        Ok(Self {
            direct: None,
            options,
            pool,
        })
    }

    /// Listens and migrates by this URL of the same database: both need a session of their own, which a pooler that shares them out by
    /// transaction cannot give.
    pub fn with_direct(mut self, url: &str) -> Result<Self, StoreError> {
        self.direct = Some(options(url)?);
        Ok(self)
    }

    /// The pool, for callers that bring their own statements or transactions. Its sessions are set up for look-ups by key: the planner
    /// avoids sequential scans, hash joins and merge joins, plans each statement once whatever its parameters are, and compiles nothing. For
    /// anything else, connect with settings of your own, or `set local` these in the transaction.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How to connect to the same database for what needs a session of its own.
    pub(crate) fn direct(&self) -> &PgConnectOptions {
        self.direct.as_ref().unwrap_or(&self.options)
    }

    /// Whether that is another way than for all else.
    pub(crate) fn has_direct(&self) -> bool {
        self.direct.is_some()
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
        in_time(CONNECT_MAX, async {
            let mut connection = PgConnection::connect_with(&options).await?;
            let timeline = timeline(&mut connection).await?;
            Ok(StoreConnection(connection, timeline))
        })
        .await
    }

    /// A transaction for a search: each statement is planned for its own parameters, in any way. Which index serves, whether one does, and
    /// how to join depends on what is asked for, and on how much there is.
    pub(crate) async fn planned_anew(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        plan_by(&mut transaction, Plans::Anew.settings()).await?;
        Ok(transaction)
    }

    /// A transaction for a search of several statements, which all see what was there when it began.
    pub(crate) async fn search(
        &self,
        plans: Plans,
    ) -> Result<Transaction<'static, Postgres>, StoreError> {
        let begin = "begin isolation level repeatable read, read only";
        let mut transaction = self.pool.begin_with(begin).await?;
        plan_by(&mut transaction, plans.settings()).await?;
        Ok(transaction)
    }

    /// One round trip, to see whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }
}

/// The timeline that the server writes; a replica writes none.
async fn timeline(connection: &mut PgConnection) -> Result<Option<String>, StoreError> {
    let timeline = sqlx::query_scalar(
        "select case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) end",
    )
    .fetch_one(connection)
    .await;
    match timeline.map_err(StoreError::from) {
        // What speaks Postgres' language need not have its log.
        Err(StoreError::Refused(error)) => {
            tracing::debug!(%error, "the server does not say which timeline it writes");
            Ok(None)
        }
        timeline => timeline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_several_hosts_is_refused_with_what_to_do() {
        for url in [
            "postgres://one,two/app",
            "postgres://user@localhost/app?host=one,two",
            "postgres://one:5432,two:5433/app",
            "postgres://one:5432,two/app",
            "postgres://one,two:5433/app",
            "postgresql://user:pass@one:5432,two:5433,three:5434/app?sslmode=disable",
            "postgres://user:p,ss@one:5432,two:5433",
            "postgres://[::1]:5432,[::2]:5433/app",
            "postgres://user@/app?host=one%2Ctwo&port=5432%2c5433",
            "postgres://user@one/app?port=5432,5433",
        ] {
            let error = options(url).unwrap_err();
            assert!(
                error
                    .reason()
                    .contains("expected one that always leads to the primary"),
                "{url}: {}",
                error.reason()
            );
        }
    }
    #[test]
    fn commas_elsewhere_in_a_url_name_no_hosts() {
        for url in [
            "postgres://user:p,ss@one:5432/app",
            "postgres://one/a,b",
            "postgres://user@one/app?application_name=a,b",
            "postgres://user@%2Frun%2Fpostgresql/app",
        ] {
            assert!(options(url).is_ok(), "{url}");
        }
        let error = options("postgres://one:port/app").unwrap_err();
        assert!(!error.reason().contains("several"), "{}", error.reason());
    }
}
