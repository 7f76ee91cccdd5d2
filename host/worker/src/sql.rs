//! Transactional SQL steps: the databases that a worker may let its guests use, and the transactions of their steps.
//!
//! The token that the worker notes under its fence before the first statement arbitrates: whoever takes it away decides what becomes of the
//! transaction. Finishing takes it within the transaction; a later attempt replaces it; and a worker that lost the connection during the
//! commit takes it back, which waits for the commit or keeps it from happening.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dacapo_model::{
    Failure, Payload, RunId, SQL, SQL_LIMIT, SQL_LOST, SqlGrant, SqlRows, SqlValue, StepKey,
    Timestamp,
};
use dacapo_sandbox::{BlockCode, SqlRefusal, SqlStep, SqlTransaction, Stop};
use dacapo_store::{
    BegunSqlStep, FinishedSqlStep, SqlConnection, SqlRole, SqlRoleError, SqlToken, StoreError,
    TakenBackSqlStep,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backoff::Backoff;
use crate::config::{ConfigError, SqlUrl};
use crate::failpoint::Failpoint;
use crate::incarnation::Incarnation;

/// The databases that deployments may be granted, by their names.
#[derive(Debug)]
pub(crate) struct SqlDatabases(BTreeMap<String, Arc<Database>>);

#[derive(Debug)]
struct Database {
    role: SqlRole,
    /// One for each transaction that may be open at the same time.
    places: Arc<Semaphore>,
    idle: Mutex<Vec<SqlConnection>>,
}

impl SqlDatabases {
    /// The roles that these URLs name, each with at most so many connections.
    pub(crate) fn new(
        urls: &BTreeMap<String, SqlUrl>,
        connections_max: u32,
    ) -> Result<Self, ConfigError> {
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
                places: Arc::new(Semaphore::new(connections_max as usize)),
                idle: Mutex::default(),
            };
            Ok((name.clone(), Arc::new(database)))
        };
        Ok(Self(urls.iter().map(database).collect::<Result<_, _>>()?))
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
            match idle.begin(grant).await {
                Ok(transaction) => return Ok(transaction),
                // It may have been cut since; the next one may not, and in the end there is a new one.
                Err(error) => tracing::debug!(%error, "a connection for SQL steps was lost"),
            }
        }
        let (role, store) = (self.role.clone(), incarnation.store().clone());
        let connect = async move { Ok(role.connect(&store).await) };
        let connected = incarnation.ask(connect).await;
        let connection = connected.map_err(SqlRoleError::Store)??;
        Ok(connection.begin(grant).await?)
    }
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
                 deploy, and start the run on that deployment",
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
        let mut begun = Begun {
            incarnation: Arc::clone(incarnation),
            database: Arc::clone(database),
            run,
            key: step.key,
            token: SqlToken::new(),
            transaction: Some(transaction),
            _place: place,
        };
        begun.note(step.position, step.started_at).await?;
        Ok(Box::new(begun))
    }
}

/// A transaction whose token is noted.
struct Begun {
    incarnation: Arc<Incarnation>,
    database: Arc<Database>,
    run: RunId,
    key: StepKey,
    token: SqlToken,
    /// None: it is over, or somebody is ending it. Dropped in the middle of whatever it does, the server rolls it back when it finds that
    /// nobody is there any more; the token stays, so that the next attempt knows whose locks may be in its way.
    transaction: Option<dacapo_store::SqlTransaction>,
    _place: OwnedSemaphorePermit,
}

impl Begun {
    /// Notes the token before the first statement.
    async fn note(&mut self, position: u32, started_at: Timestamp) -> Result<(), SqlRefusal> {
        let Some(transaction) = &mut self.transaction else {
            return Ok(());
        };
        let begun = self
            .incarnation
            .begin_sql_step(
                self.run,
                &self.key,
                position,
                started_at,
                &self.token,
                transaction.id(),
            )
            .await;
        let earlier = match begun {
            Ok(BegunSqlStep::Begun(earlier)) => earlier,
            Ok(BegunSqlStep::Recorded) => return Err(SqlRefusal::Stopped(Stop::Again)),
            Ok(BegunSqlStep::Fenced) => {
                self.incarnation.end();
                return Err(SqlRefusal::Stopped(Stop::LeaseLost));
            }
            Ok(BegunSqlStep::NotLeased) => return Err(SqlRefusal::Stopped(Stop::LeaseLost)),
            Err(error) => {
                tracing::warn!(run = %self.run, cause = error.reason(), "cannot note a SQL step");
                return Err(match error.is_transient() {
                    true => SqlRefusal::Stopped(Stop::Unavailable),
                    // Played again at once it would be refused again, and again.
                    false => SqlRefusal::Failed(dacapo_store::sql_failure(&error)),
                });
            }
        };
        if let Some(earlier) = earlier
            && let Err(error) = transaction.end_earlier(&earlier).await
        {
            return Err(SqlRefusal::Failed(dacapo_store::sql_failure(&error)));
        }
        Failpoint::SqlBegun.reach();
        Ok(())
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
        let transaction = self.transaction.as_mut().ok_or_else(over)?;
        let answer = transaction.query(&statement, params).await;
        Failpoint::SqlStatement.reach();
        answer
    }

    async fn execute(&mut self, statement: String, params: Vec<SqlValue>) -> Result<u64, Failure> {
        let transaction = self.transaction.as_mut().ok_or_else(over)?;
        let answer = transaction.execute(&statement, params).await;
        Failpoint::SqlStatement.reach();
        answer
    }

    async fn commit(
        mut self: Box<Self>,
        outcome: &Payload,
        finished_at: Timestamp,
    ) -> Result<(), SqlRefusal> {
        Failpoint::AfterBody.reach();
        let Some(mut transaction) = self.transaction.take() else {
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
            self.transaction = Some(transaction);
            self.roll_back().await;
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
                drop(transaction);
                return self.rolled_back(&error).await;
            }
        };
        if let Some(refusal) = refusal {
            self.transaction = Some(transaction);
            self.roll_back().await;
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
                self.recycle(connection);
                Ok(())
            }
            Err(error) => self.rolled_back(&error).await,
        }
    }

    async fn roll_back(mut self: Box<Self>) {
        let Some(transaction) = self.transaction.take() else {
            return;
        };
        // What is still to be read of an endless answer is not worth it.
        let is_lost = transaction
            .broken()
            .is_some_and(|broken| [SQL_LIMIT, SQL_LOST].contains(&broken.code.as_str()));
        if !is_lost && let Ok(connection) = transaction.roll_back().await {
            self.recycle(connection);
            self.forget();
        }
    }
}

impl Begun {
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
