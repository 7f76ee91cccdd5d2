//! Transactional SQL steps: the databases that a worker may let its guests use, and the transactions of their steps.
//!
//! The token that the worker notes under its fence before the first statement arbitrates: whoever takes it away decides what becomes of the
//! transaction. Finishing takes it within the transaction; a later attempt replaces it; and a worker that lost the connection during the
//! commit takes it back, which waits for the commit or keeps it from happening.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dacapo_model::{
    AND_DEPLOY, Failure, Payload, RunId, SQL, SQL_LIMIT, SQL_LOST, SqlGrant, SqlRows, SqlValue,
    StepKey, Timestamp,
};
use dacapo_sandbox::{BlockCode, SqlRefusal, SqlStep, SqlTransaction, Stop};
use dacapo_store::{
    BegunSqlStep, FinishedSqlStep, SqlCaps, SqlConnection, SqlRole, SqlRoleError, SqlToken,
    SqlTransactionId, StoreError, TakenBackSqlStep,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::AbortOnDrop;
use crate::backoff::Backoff;
use crate::config::{ConfigError, SqlUrl, WorkerConfig};
use crate::failpoint::Failpoint;
use crate::incarnation::Incarnation;

/// How often it is tried to end a session: within a minute or so the server either answers or has long lost that session.
const ENDINGS_MAX: u32 = 20;

/// The databases that deployments may be granted, by their names.
#[derive(Debug)]
pub(crate) struct SqlDatabases(BTreeMap<String, Arc<Database>>);

#[derive(Debug)]
struct Database {
    role: SqlRole,
    caps: SqlCaps,
    /// One for each transaction that may be open at the same time.
    places: Arc<Semaphore>,
    idle: Mutex<Vec<SqlConnection>>,
}

impl SqlDatabases {
    /// The roles that the URLs of a worker name, each with at most so many connections.
    pub(crate) fn new(config: &WorkerConfig) -> Result<Self, ConfigError> {
        let database = |(name, url): (&String, &SqlUrl)| {
            // What came is not repeated: it holds a password.
            let role = SqlRole::new(&url.0).map_err(|_| {
                ConfigError::new(
                    "sql",
                    format!("a URL such as postgres://ROLE:PASSWORD@HOST/DATABASE for `{name}`"),
                    "something that is none",
                )
            })?;
            let database = Database {
                role,
                caps: SqlCaps {
                    rows_max: config.sql_rows_max,
                    bytes_max: config.sql_bytes_max,
                    idle_max: config.sql_idle_max,
                },
                places: Arc::new(Semaphore::new(config.sql_connections_max as usize)),
                idle: Mutex::default(),
            };
            Ok((name.clone(), Arc::new(database)))
        };
        Ok(Self(
            config.sql.iter().map(database).collect::<Result<_, _>>()?,
        ))
    }
}

impl Database {
    fn take_idle(&self) -> Option<SqlConnection> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn put_back(&self, connection: SqlConnection) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
    }

    /// A transaction, on a connection that was used before or a new one.
    async fn begin(
        self: &Arc<Self>,
        incarnation: &Incarnation,
        grant: &SqlGrant,
    ) -> Result<dacapo_store::SqlTransaction, SqlRoleError> {
        while let Some(idle) = self.take_idle() {
            match idle.begin(grant, &self.caps).await {
                Ok(transaction) => return Ok(transaction),
                // It may have been cut since; the next one may not, and in the end there is a new one.
                Err(error) => tracing::debug!(%error, "a connection for SQL steps was lost"),
            }
        }
        let (role, store) = (self.role.clone(), incarnation.store().clone());
        let connect = async move { Ok(role.connect(&store).await) };
        let connected = incarnation.ask(connect).await;
        let connection = connected.map_err(SqlRoleError::Store)??;
        Ok(connection.begin(grant, &self.caps).await?)
    }

    /// Ends a session that nobody is to use any more, whatever it does.
    async fn end(&self, of: &SqlTransactionId) {
        let mut backoff = Backoff::default();
        for _ in 0..ENDINGS_MAX {
            match self.role.end(of).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "the session of a SQL step is not ended yet"),
            }
            backoff.wait().await;
        }
        tracing::warn!(
            "the session of a SQL step could not be ended; the server is to end it by its time-out"
        );
    }
}

/// An open session with the place that it takes up. Dropped before it is closed it is ended, and only then its place is free: so there are
/// never more than the worker may have, whatever their statements do.
struct Session {
    incarnation: Arc<Incarnation>,
    database: Arc<Database>,
    of: SqlTransactionId,
    /// None: somebody is finishing it.
    transaction: Option<dacapo_store::SqlTransaction>,
    /// None: it is closed.
    place: Option<OwnedSemaphorePermit>,
}

impl Session {
    /// It needs no ending.
    fn close(mut self: Box<Self>) {
        self.place = None;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        // The server notices by itself that nobody is there, but not in the middle of every statement.
        self.transaction = None;
        let (database, of) = (Arc::clone(&self.database), self.of.clone());
        self.incarnation.in_background(async move {
            database.end(&of).await;
            drop(place);
        });
    }
}

/// A session between two statements.
#[derive(Default)]
enum Open {
    /// It waits for the guest, since then.
    Waiting(Box<Session>, Instant),
    /// A statement is under way, or the transaction is over.
    #[default]
    Away,
    /// It has waited for too long, and was ended.
    Ended,
}

/// Ends a session that waits for its guest for longer than this.
async fn watch(open: Arc<Mutex<Open>>, idle_max: Duration) {
    let mut next = Some(Instant::now() + idle_max);
    while let Some(at) = next {
        tokio::time::sleep_until(at).await;
        next = look(&open, idle_max);
    }
}

/// Ends it if it has waited for too long. Answers when to look again.
fn look(open: &Mutex<Open>, idle_max: Duration) -> Option<Instant> {
    let mut open = locked(open);
    let now = Instant::now();
    let until = match &*open {
        Open::Waiting(_, since) => *since + idle_max,
        Open::Away => now + idle_max,
        Open::Ended => return None,
    };
    if until > now {
        return Some(until);
    }
    *open = Open::Ended;
    None
}

fn locked(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the steps of a run may use.
#[derive(Debug, Clone)]
pub(crate) struct SqlAccess {
    pub(crate) databases: Arc<SqlDatabases>,
    /// None: nothing.
    pub(crate) grant: Option<SqlGrant>,
}

impl SqlAccess {
    /// Begins the transaction of an attempt, and notes it.
    pub(crate) async fn begin(
        &self,
        incarnation: &Arc<Incarnation>,
        run: RunId,
        step: SqlStep,
    ) -> Result<Box<dyn SqlTransaction>, SqlRefusal> {
        let Some(grant) = &self.grant else {
            let message = format!(
                "step `{}` uses SQL, which this run's deployment is not granted: add a table `[sql]` with `database = \"NAME\"` to dacapo.toml, \
                 {AND_DEPLOY}",
                step.key
            );
            return Err(SqlRefusal::Blocked(BlockCode::SqlNotGranted, message));
        };
        let Some(database) = self.databases.0.get(&grant.database) else {
            let message = format!(
                "step `{}` uses the SQL database `{}`, which this worker does not know: start workers with \
                 `--sql {}=postgres://ROLE:PASSWORD@HOST/DATABASE`, then resume the run",
                step.key, grant.database, grant.database
            );
            return Err(SqlRefusal::Blocked(BlockCode::SqlDatabase, message));
        };
        let place = Arc::clone(&database.places).acquire_owned().await;
        let place = place.map_err(|_| SqlRefusal::Stopped(Stop::Drained))?;
        let transaction = match database.begin(incarnation, grant).await {
            Ok(transaction) => transaction,
            Err(SqlRoleError::Unsuitable(why)) => {
                let message = format!(
                    "the SQL database `{}` cannot be used for step `{}`: {why}; then resume the run",
                    grant.database, step.key
                );
                return Err(SqlRefusal::Blocked(BlockCode::SqlDatabase, message));
            }
            Err(SqlRoleError::Store(error)) => {
                return Err(SqlRefusal::Failed(dacapo_store::sql_failure(&error)));
            }
        };
        let mut session = Box::new(Session {
            incarnation: Arc::clone(incarnation),
            database: Arc::clone(database),
            of: transaction.id(),
            transaction: Some(transaction),
            place: Some(place),
        });
        let token = SqlToken::new();
        note(&mut session, run, &step, &token).await?;
        let (open, idle_max) = (Arc::<Mutex<Open>>::default(), database.caps.idle_max);
        let watch = incarnation.spawn(watch(Arc::clone(&open), idle_max));
        let begun = Begun {
            incarnation: Arc::clone(incarnation),
            database: Arc::clone(database),
            run,
            key: step.key,
            token,
            open,
            _watch: AbortOnDrop(watch),
        };
        begun.put_back(session);
        Ok(Box::new(begun))
    }
}

/// Notes the token before the first statement.
async fn note(
    session: &mut Session,
    run: RunId,
    step: &SqlStep,
    token: &SqlToken,
) -> Result<(), SqlRefusal> {
    let begun = session
        .incarnation
        .begin_sql_step(
            run,
            &step.key,
            step.position,
            step.started_at,
            token,
            session.of.clone(),
        )
        .await;
    let earlier = match begun {
        Ok(BegunSqlStep::Begun(earlier)) => earlier,
        Ok(BegunSqlStep::Recorded) => return Err(SqlRefusal::Stopped(Stop::Again)),
        Ok(BegunSqlStep::Fenced) => {
            session.incarnation.end();
            return Err(SqlRefusal::Stopped(Stop::LeaseLost));
        }
        Ok(BegunSqlStep::NotLeased) => return Err(SqlRefusal::Stopped(Stop::LeaseLost)),
        Err(error) => {
            tracing::warn!(%run, cause = error.reason(), "cannot note a SQL step");
            return Err(match error.is_transient() {
                true => SqlRefusal::Stopped(Stop::Unavailable),
                // Played again at once it would be refused again, and again.
                false => SqlRefusal::Failed(dacapo_store::sql_failure(&error)),
            });
        }
    };
    if let Some(earlier) = earlier
        && let Some(transaction) = &mut session.transaction
        && let Err(error) = transaction.end_earlier(&earlier).await
    {
        return Err(SqlRefusal::Failed(dacapo_store::sql_failure(&error)));
    }
    Failpoint::SqlBegun.reach();
    Ok(())
}

/// A transaction whose token is noted. Should it be dropped in the middle of something, the token stays, so that the next attempt knows whose
/// locks may be in its way.
struct Begun {
    incarnation: Arc<Incarnation>,
    database: Arc<Database>,
    run: RunId,
    key: StepKey,
    token: SqlToken,
    open: Arc<Mutex<Open>>,
    _watch: AbortOnDrop,
}

impl Begun {
    /// The session, for one statement or to finish it.
    fn take(&self) -> Result<Box<Session>, Failure> {
        let mut open = locked(&self.open);
        match std::mem::take(&mut *open) {
            Open::Waiting(session, _) => Ok(session),
            Open::Away => Err(over()),
            Open::Ended => {
                *open = Open::Ended;
                let message = format!(
                    "the step's session has waited for its body for longer than {:?} and was ended: do slow work before the first \
                     statement or in a step of its own (a worker's --sql-idle-max says how long it may)",
                    self.database.caps.idle_max
                );
                Err(Failure {
                    retryable: true,
                    ..Failure::new(SQL_LOST, message)
                })
            }
        }
    }

    fn put_back(&self, session: Box<Session>) {
        *locked(&self.open) = Open::Waiting(session, Instant::now());
    }

    /// What became of a commit that nobody has acknowledged.
    async fn find_out(&self) -> Result<TakenBackSqlStep, Stop> {
        let mut backoff = Backoff::default();
        loop {
            if self.incarnation.is_over() {
                return Err(Stop::LeaseLost);
            }
            match self
                .incarnation
                .take_back_sql_step(self.run, &self.key, &self.token)
                .await
            {
                Ok(taken) => return Ok(taken),
                Err(error) if error.is_transient() => backoff.wait().await,
                Err(error) => {
                    tracing::error!(run = %self.run, %error, "cannot find out what became of a SQL step");
                    return Err(Stop::Unavailable);
                }
            }
        }
    }

    /// The connection serves others, once it is as good as new.
    fn recycle(&self, mut connection: SqlConnection) {
        let database = Arc::clone(&self.database);
        self.incarnation.in_background(async move {
            match connection.reset().await {
                Ok(()) => database.put_back(connection),
                Err(error) => tracing::debug!(%error, "a connection for SQL steps was lost"),
            }
        });
    }

    /// Why the attempt has failed whose transaction was rolled back by the database.
    async fn rolled_back(&self, error: &StoreError) -> Result<(), SqlRefusal> {
        tracing::warn!(run = %self.run, step = %self.key, cause = error.reason(), "a SQL step may not be committed; finding out");
        match self.find_out().await {
            Ok(TakenBackSqlStep::Committed) => Ok(()),
            Ok(TakenBackSqlStep::RolledBack) => {
                Err(SqlRefusal::Failed(dacapo_store::sql_failure(error)))
            }
            Ok(TakenBackSqlStep::Gone) => Err(SqlRefusal::Stopped(Stop::LeaseLost)),
            Err(stop) => Err(SqlRefusal::Stopped(stop)),
        }
    }
}

#[async_trait]
impl SqlTransaction for Begun {
    async fn query(
        &mut self,
        statement: String,
        params: Vec<SqlValue>,
    ) -> Result<SqlRows, Failure> {
        let mut session = self.take()?;
        let transaction = session.transaction.as_mut().ok_or_else(over)?;
        let answer = transaction.query(&statement, params).await;
        self.put_back(session);
        Failpoint::SqlStatement.reach();
        answer
    }

    async fn execute(&mut self, statement: String, params: Vec<SqlValue>) -> Result<u64, Failure> {
        let mut session = self.take()?;
        let transaction = session.transaction.as_mut().ok_or_else(over)?;
        let answer = transaction.execute(&statement, params).await;
        self.put_back(session);
        Failpoint::SqlStatement.reach();
        answer
    }

    async fn commit(
        self: Box<Self>,
        outcome: &Payload,
        finished_at: Timestamp,
    ) -> Result<(), SqlRefusal> {
        Failpoint::AfterBody.reach();
        let mut session = self.take().map_err(SqlRefusal::Failed)?;
        let Some(mut transaction) = session.transaction.take() else {
            return Err(SqlRefusal::Failed(over()));
        };
        if let Some(broken) = transaction.broken() {
            let message = format!(
                "the attempt ended with ok although a statement had failed, and nothing of it was kept: {}",
                broken.message
            );
            let failure = Failure {
                message,
                ..broken.clone()
            };
            session.transaction = Some(transaction);
            self.undo(session).await;
            return Err(SqlRefusal::Failed(failure));
        }
        let finished = transaction
            .finish(self.run, &self.key, &self.token, outcome, finished_at)
            .await;
        let refusal = match finished {
            Ok(FinishedSqlStep::Done) => None,
            Ok(FinishedSqlStep::Fenced) => {
                // The run may only have been given up. If the fence is closed the control loop will find out.
                Some(SqlRefusal::Stopped(Stop::LeaseLost))
            }
            Ok(FinishedSqlStep::Gone) => Some(SqlRefusal::Stopped(Stop::LeaseLost)),
            Ok(FinishedSqlStep::OtherTransaction) => Some(SqlRefusal::Failed(Failure::new(
                SQL,
                "the transaction in which the step began was ended before the step; its outcome was not recorded",
            ))),
            Err(error) => {
                // Nobody has told it to commit.
                drop((transaction, session));
                return self.rolled_back(&error).await;
            }
        };
        if let Some(refusal) = refusal {
            session.transaction = Some(transaction);
            self.undo(session).await;
            return Err(refusal);
        }
        Failpoint::SqlFinished.reach();
        #[cfg(feature = "failpoints")]
        if Failpoint::SqlCommitSent.is_due() {
            // Long enough for the statement to be on the wire; whether it commits is left to chance, as in life.
            let sent = tokio::time::sleep(std::time::Duration::from_micros(300));
            tokio::select! {
                biased;
                _ = transaction.commit() => {}
                () = sent => {}
            }
            crate::failpoint::armed::die();
        }
        match transaction.commit().await {
            Ok(connection) => {
                Failpoint::SqlCommitted.reach();
                session.close();
                self.recycle(connection);
                Ok(())
            }
            // The session is ended, if need be, once it is known.
            Err(error) => self.rolled_back(&error).await,
        }
    }

    async fn roll_back(self: Box<Self>) {
        if let Ok(session) = self.take() {
            self.undo(session).await;
        }
    }
}

impl Begun {
    async fn undo(&self, mut session: Box<Session>) {
        let Some(transaction) = session.transaction.take() else {
            return;
        };
        // What is still to be read of an endless answer is not worth it.
        let is_lost = transaction
            .broken()
            .is_some_and(|broken| [SQL_LIMIT, SQL_LOST].contains(&broken.code.as_str()));
        if !is_lost && let Ok(connection) = transaction.roll_back().await {
            session.close();
            self.recycle(connection);
            self.forget();
        }
    }

    /// The transaction is over, and its token of no use. If it cannot be taken back now, the next attempt replaces it.
    fn forget(&self) {
        let (incarnation, run, key, token) = (
            Arc::clone(&self.incarnation),
            self.run,
            self.key.clone(),
            self.token.clone(),
        );
        self.incarnation.in_background(async move {
            let taken = incarnation.take_back_sql_step(run, &key, &token).await;
            if let Err(error) = taken {
                tracing::debug!(%run, %error, "the token of a SQL step is left over");
            }
        });
    }
}

fn over() -> Failure {
    Failure::new(SQL, "the step's transaction is over")
}
