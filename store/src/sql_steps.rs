//! Transactional SQL steps: connections of granted roles, and the transactions in which a step's statements run and its outcome is
//! recorded.
//!
//! A guest's statements go through the extended protocol, one at a time, and only such that neither end a transaction nor change
//! whose it is. Whatever gets past that is found out by `dacapo.finish_sql_step`, which records nothing outside of the transaction and the
//! session that were noted before the first statement.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::Duration;

use dacapo_model::{
    Failure, Payload, RunId, SQL, SQL_LIMIT, SQL_LOST, SQL_STATEMENT, SqlGrant, SqlRows, SqlValue,
    StepKey, Timestamp, WorkerId,
};
use sha2::{Digest, Sha256};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgConnection, PgRow, PgTypeInfo, PgTypeKind,
};
use sqlx::{
    Arguments, AssertSqlSafe, Column, ConnectOptions, Connection, Encode, Executor, Postgres, Row,
    Type, TypeInfo, ValueRef,
};
use thiserror::Error;
use uuid::Uuid;

use crate::{Store, StoreError, Time};

/// Kinds of statements that a step may use: none of them ends a transaction, or changes the session for those that follow.
const STATEMENTS: [&str; 10] = [
    "select", "insert", "update", "delete", "merge", "with", "values", "table", "call", "lock",
];

/// Parameters that one statement may have.
const PARAMS_MAX: usize = 1_000;

/// Statements that one attempt may use: the server keeps each prepared until the session is reset.
const STATEMENTS_MAX: u32 = 10_000;

/// How much longer than the server's own time-out a statement is waited for.
const TIMEOUT_GRACE: Duration = Duration::from_secs(5);

/// What finishing and committing may take each; the server ends what takes longer.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Microseconds from 1970-01-01 to 2000-01-01.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A role on Dacapo's own database whose connections steps may use.
#[derive(Clone)]
pub struct SqlRole {
    options: PgConnectOptions,
}

impl fmt::Debug for SqlRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("SqlRole")
            .field("role", &self.options.get_username())
            .finish_non_exhaustive()
    }
}

/// A connection that is no good for steps.
#[derive(Debug, Error)]
pub enum SqlRoleError {
    /// The database does not answer, or not now.
    #[error("cannot connect")]
    Store(#[from] StoreError),
    /// It answers, and cannot be used until somebody changes something; the text says what.
    #[error("{0}")]
    Unsuitable(String),
}

/// A connection of a granted role, with no transaction.
#[derive(Debug)]
pub struct SqlConnection {
    connection: PgConnection,
    role: String,
}

/// A transaction of a step.
#[derive(Debug)]
pub struct SqlTransaction {
    connection: PgConnection,
    role: String,
    backend: i32,
    /// Its id, as text.
    transaction: String,
    grant: SqlGrant,
    /// Those that were sent.
    statements: u32,
    /// Why it can only be rolled back.
    broken: Option<Failure>,
}

/// The only one who may hand in the outcome of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlToken(String);

impl SqlToken {
    /// A token that nobody knows yet: two times 74 random bits.
    pub fn new() -> Self {
        Self(format!(
            "{}{}",
            Uuid::now_v7().simple(),
            Uuid::now_v7().simple()
        ))
    }

    fn digest(&self) -> Vec<u8> {
        Sha256::digest(self.0.as_bytes()).to_vec()
    }
}

impl Default for SqlToken {
    fn default() -> Self {
        Self::new()
    }
}

/// What [`begin_sql_step`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BegunSqlStep {
    /// The body may run. An earlier transaction for the same step cannot be committed any more, and may still hold its locks.
    Begun(Option<EarlierTransaction>),
    /// The step has an outcome by now.
    Recorded,
    /// The fence is closed.
    Fenced,
    /// The run is not the worker's.
    NotLeased,
}

/// A transaction of an earlier attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierTransaction {
    backend: i32,
    transaction: String,
}

/// What became of the outcome that a transaction was to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishedSqlStep {
    /// It is recorded if the transaction commits.
    Done,
    /// The worker has lost its lease, or the run.
    Fenced,
    /// The token was replaced by that of a later attempt.
    Gone,
    /// The guest has ended the transaction.
    OtherTransaction,
}

/// What became of a transaction whose token was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenBackSqlStep {
    /// It is not committed, and cannot be any more.
    RolledBack,
    /// It is committed.
    Committed,
    /// A later attempt has begun.
    Gone,
}

/// Notes that a transaction has begun for a step: `sql/sql_step/begin.sql`.
#[expect(clippy::too_many_arguments, reason = "one argument for each column")]
pub async fn begin_sql_step(
    store: &Store,
    worker: WorkerId,
    fence: i16,
    run: RunId,
    key: &StepKey,
    position: u32,
    started_at: Timestamp,
    token: &SqlToken,
    of: &SqlTransactionId,
) -> Result<BegunSqlStep, StoreError> {
    let row = sqlx::query_file!(
        "sql/sql_step/begin.sql",
        worker.0,
        fence,
        run.0,
        key.as_str(),
        token.digest(),
        of.role,
        of.backend,
        of.transaction,
        i32::try_from(position).unwrap_or(i32::MAX),
        Time(started_at) as _,
    )
    .fetch_one(store.pool())
    .await?;
    Ok(match row.outcome.as_str() {
        "begun" => {
            let earlier = row.earlier_backend.zip(row.earlier_transaction);
            BegunSqlStep::Begun(earlier.map(|(backend, transaction)| EarlierTransaction {
                backend,
                transaction,
            }))
        }
        "recorded" => BegunSqlStep::Recorded,
        "fenced" => BegunSqlStep::Fenced,
        "not-leased" => BegunSqlStep::NotLeased,
        other => return Err(unknown("begin_sql_step", other)),
    })
}

/// Takes a token back: `sql/sql_step/take_back.sql`.
pub async fn take_back_sql_step(
    store: &Store,
    run: RunId,
    key: &StepKey,
    token: &SqlToken,
) -> Result<TakenBackSqlStep, StoreError> {
    let outcome = sqlx::query_file_scalar!(
        "sql/sql_step/take_back.sql",
        run.0,
        key.as_str(),
        token.digest()
    )
    .fetch_one(store.pool())
    .await?;
    Ok(match outcome.as_str() {
        "rolled-back" => TakenBackSqlStep::RolledBack,
        "committed" => TakenBackSqlStep::Committed,
        "gone" => TakenBackSqlStep::Gone,
        other => return Err(unknown("take_back_sql_step", other)),
    })
}

fn unknown(function: &str, outcome: &str) -> StoreError {
    StoreError::Unreadable(format!("dacapo.{function} answered {outcome:?}"))
}

/// Which transaction it is, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlTransactionId {
    role: String,
    backend: i32,
    transaction: String,
}

impl SqlRole {
    /// The role and the database that a URL names, `postgres://ROLE:PASSWORD@HOST/DATABASE`. Connects when first used.
    ///
    /// # Errors
    /// The URL cannot be understood.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse().map_err(StoreError::Refused)?;
        // Statements of guests may hold anything; only their own failures are told.
        let options = options
            .application_name("dacapo-sql-step")
            // One that is kept would be used for parameters of other types, too, and be missing once the session was reset.
            .statement_cache_capacity(0)
            .disable_statement_logging();
        Ok(Self { options })
    }

    /// A new connection, if it is good for steps: to the database of `store`, in a role that can do nothing to Dacapo but hand in outcomes.
    pub async fn connect(&self, store: &Store) -> Result<SqlConnection, SqlRoleError> {
        let connected = PgConnection::connect_with(&self.options).await;
        let mut connection = connected.map_err(|error| refused_login(error.into()))?;
        let here = here(&mut connection).await?;
        let mut own = store.pool().acquire().await.map_err(StoreError::from)?;
        let home: Here = self::here(&mut own).await?;
        drop(own);
        if here.database != home.database {
            return Err(SqlRoleError::Unsuitable(format!(
                "it is the database {}, and Dacapo's own is {}: a step's statements and its outcome can be one transaction only in \
                 one database; name the database that Dacapo uses, or use ordinary steps",
                here.database_name, home.database_name
            )));
        }
        let role = &here.role;
        if *role == home.role {
            return Err(SqlRoleError::Unsuitable(format!(
                "{role} is Dacapo's own role, which may do anything to its tables; make another one for steps"
            )));
        }
        if here.is_superuser || here.has_changed_role {
            return Err(SqlRoleError::Unsuitable(format!(
                "{role} is a superuser, or its sessions begin in another role; make a role for steps that may do no more than they need"
            )));
        }
        if here.may_touch_tables {
            return Err(SqlRoleError::Unsuitable(format!(
                "{role} may read or change Dacapo's own tables, or act as their owner; make a role for steps that has no part in them"
            )));
        }
        if !here.may_finish {
            let quoted = role.replace('\'', "''");
            return Err(SqlRoleError::Unsuitable(format!(
                "{role} may not hand in outcomes of steps: run `select dacapo.allow_sql_steps('{quoted}')` as the owner of the schema dacapo"
            )));
        }
        if here.is_read_only {
            return Err(SqlRoleError::Unsuitable(format!(
                "transactions of {role} are read-only, so no outcome can be recorded in one"
            )));
        }
        Ok(SqlConnection {
            connection,
            role: here.role,
        })
    }
}

/// A refused login is not mended by trying again, unless the server is only starting or full.
fn refused_login(error: StoreError) -> SqlRoleError {
    let is_refusal = error
        .code()
        .is_some_and(|code| code.starts_with("28") || code.starts_with("3D"));
    if is_refusal || !error.is_transient() {
        SqlRoleError::Unsuitable(format!("the server refuses the login: {}", error.reason()))
    } else {
        SqlRoleError::Store(error)
    }
}

/// Where a connection has come out, and as whom.
#[derive(sqlx::FromRow)]
struct Here {
    /// Tells servers and databases apart, also copies of one.
    database: String,
    database_name: String,
    role: String,
    is_superuser: bool,
    has_changed_role: bool,
    may_touch_tables: bool,
    may_finish: bool,
    is_read_only: bool,
}

async fn here(connection: &mut PgConnection) -> Result<Here, StoreError> {
    let here = sqlx::query_as::<_, Here>(
        "select
            format('%s %s', pg_catalog.pg_postmaster_start_time(), database.oid) as database,
            database.datname::text as database_name,
            session_user::text as role,
            role.rolsuper as is_superuser,
            session_user <> current_user as has_changed_role,
            coalesce(
                pg_catalog.pg_has_role(session_user, schema.nspowner, 'member')
                or exists (
                    select from pg_catalog.pg_class as relation
                    where relation.relnamespace = schema.oid and relation.relkind in ('r', 'p', 'v', 'm', 'f')
                        and pg_catalog.has_table_privilege(session_user, relation.oid, 'select, insert, update, delete, truncate')
                ),
                false
            ) as may_touch_tables,
            coalesce(
                pg_catalog.has_schema_privilege(session_user, schema.oid, 'usage')
                and pg_catalog.has_function_privilege(session_user, function.oid, 'execute'),
                false
            ) as may_finish,
            pg_catalog.current_setting('transaction_read_only') = 'on' as is_read_only
        from pg_catalog.pg_database as database
        join pg_catalog.pg_roles as role on role.rolname = session_user
        left join pg_catalog.pg_namespace as schema on schema.nspname = 'dacapo'
        left join pg_catalog.pg_proc as function on function.pronamespace = schema.oid and function.proname = 'finish_sql_step'
        where database.datname = pg_catalog.current_database()",
    )
    .persistent(false)
    .fetch_one(connection)
    .await?;
    Ok(here)
}

impl SqlConnection {
    /// Begins a transaction, with all settings as the grant says whatever was left behind.
    pub async fn begin(mut self, grant: &SqlGrant) -> Result<SqlTransaction, StoreError> {
        let begin = async {
            self.connection
                .execute("begin isolation level read committed read write")
                .await?;
            // It has an id from here on, so that it can be told whether it is still the same one when it ends.
            let (backend, transaction, _): (i32, String, String) = sqlx::query_as(
                "select pg_catalog.pg_backend_pid(), pg_catalog.pg_current_xact_id()::text, concat(
                    pg_catalog.set_config('search_path', $1, true),
                    pg_catalog.set_config('statement_timeout', $2, true),
                    pg_catalog.set_config('idle_in_transaction_session_timeout', '60000', true),
                    pg_catalog.set_config('client_connection_check_interval', '2000', true)
                )",
            )
            .bind(search_path(&grant.search_path))
            .bind(grant.statement_timeout_ms.to_string())
            .persistent(false)
            .fetch_one(&mut self.connection)
            .await?;
            Ok::<_, sqlx::Error>((backend, transaction))
        };
        let begun = tokio::time::timeout(COMMIT_TIMEOUT, begin).await;
        let (backend, transaction) = begun.map_err(|_| too_slow())??;
        Ok(SqlTransaction {
            connection: self.connection,
            role: self.role,
            backend,
            transaction,
            grant: grant.clone(),
            statements: 0,
            broken: None,
        })
    }

    /// Makes the session as good as new. An error: it is of no use any more.
    pub async fn reset(&mut self) -> Result<(), StoreError> {
        let reset = self.connection.execute("discard all");
        let reset = tokio::time::timeout(COMMIT_TIMEOUT, reset).await;
        reset.map_err(|_| too_slow())??;
        Ok(())
    }
}

fn too_slow() -> StoreError {
    StoreError::Unavailable(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
}

/// Temporary tables come last, so that none can stand for a table of the application.
fn search_path(schemas: &[String]) -> String {
    let mut path = String::new();
    for schema in schemas {
        let _ = write!(path, "\"{}\", ", schema.replace('"', "\"\""));
    }
    path + "pg_temp"
}

impl SqlTransaction {
    /// Which one it is.
    pub fn id(&self) -> SqlTransactionId {
        SqlTransactionId {
            role: self.role.clone(),
            backend: self.backend,
            transaction: self.transaction.clone(),
        }
    }

    /// Why it can only be rolled back, if a statement has failed.
    pub fn broken(&self) -> Option<&Failure> {
        self.broken.as_ref()
    }

    /// Ends the session of an earlier attempt, should it still be there with its locks: its worker was stopped, or cut off.
    pub async fn end_earlier(&mut self, earlier: &EarlierTransaction) -> Result<(), StoreError> {
        sqlx::query(
            "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
            where pid = $1 and pid <> pg_catalog.pg_backend_pid() and backend_xid = ($2::pg_catalog.xid8)::pg_catalog.xid",
        )
        .bind(earlier.backend)
        .bind(&earlier.transaction)
        .persistent(false)
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    /// Carries a guest's statement out and answers its rows.
    pub async fn query(
        &mut self,
        statement: &str,
        params: Vec<SqlValue>,
    ) -> Result<SqlRows, Failure> {
        let mut answer = SqlRows::default();
        self.carry_out(statement, params, |row, answer_bytes| {
            if answer.rows.is_empty() {
                answer.columns = row
                    .columns()
                    .iter()
                    .map(|column| column.name().to_owned())
                    .collect();
            }
            let values: Result<Vec<SqlValue>, Failure> = (0..row.len())
                .map(|index| value(row, index, answer_bytes))
                .collect();
            answer.rows.push(values?);
            Ok(())
        })
        .await?;
        Ok(answer)
    }

    /// Carries a guest's statement out and answers how many rows it has touched.
    pub async fn execute(
        &mut self,
        statement: &str,
        params: Vec<SqlValue>,
    ) -> Result<u64, Failure> {
        self.carry_out(statement, params, |row, answer_bytes| {
            for index in 0..row.len() {
                *answer_bytes += raw(row, index).map_or(0, <[u8]>::len);
            }
            Ok(())
        })
        .await
    }

    /// Carries a statement out, within the limits. Answers how many rows it has touched.
    async fn carry_out(
        &mut self,
        statement: &str,
        params: Vec<SqlValue>,
        mut take: impl FnMut(&PgRow, &mut usize) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        if let Some(broken) = &self.broken {
            return Err(after(broken));
        }
        check_statement(statement)?;
        self.statements += 1;
        if self.statements > STATEMENTS_MAX {
            let message = format!(
                "a step may use {STATEMENTS_MAX} statements, and wants more: divide it into several"
            );
            return Err(Failure::new(SQL_LIMIT, message));
        }
        let arguments = arguments(params)?;
        let (max_rows, max_bytes) = (self.grant.max_rows as usize, self.grant.max_bytes as usize);
        let limit = Duration::from_millis(self.grant.statement_timeout_ms) + TIMEOUT_GRACE;
        let connection = &mut self.connection;
        let work = async {
            use futures_util::TryStreamExt as _;
            // With a name of its own: an unnamed one is lost when the driver asks what an unknown type is.
            let query = sqlx::query_with(AssertSqlSafe(statement.to_owned()), arguments);
            let mut answers = connection.fetch_many(query.persistent(true));
            let (mut touched, mut rows, mut bytes) = (0, 0, 0);
            while let Some(answer) = answers.try_next().await.map_err(refused)? {
                match answer {
                    sqlx::Either::Left(done) => touched += done.rows_affected(),
                    sqlx::Either::Right(row) => {
                        rows += 1;
                        take(&row, &mut bytes)?;
                        if rows > max_rows || bytes > max_bytes {
                            return Err(too_much(max_rows, max_bytes));
                        }
                    }
                }
            }
            Ok(touched)
        };
        let worked = tokio::time::timeout(limit, work).await;
        let result = worked.unwrap_or_else(|_| {
            let message = format!("a statement took longer than {} ms", limit.as_millis());
            Err(retryable(SQL_LIMIT, message))
        });
        if let Err(failure) = &result {
            self.broken = Some(failure.clone());
        }
        result
    }

    /// Records the step's outcome in the transaction. An error: whatever the reason, it was not recorded, or must be found out.
    pub async fn finish(
        &mut self,
        run: RunId,
        key: &StepKey,
        token: &SqlToken,
        payload: &Payload,
        finished_at: Timestamp,
    ) -> Result<FinishedSqlStep, StoreError> {
        // With its name in full and parameters of known types, so that nothing that the statements have set can lead it astray; and the
        // token is no part of the text, which others of the role could read.
        let finish =
            sqlx::query_scalar::<_, String>("select dacapo.finish_sql_step($1, $2, $3, $4, $5)")
                .bind(run.0)
                .bind(key.as_str())
                .bind(&token.0)
                .bind(payload.as_str())
                .bind(Time(finished_at))
                .persistent(false)
                .fetch_one(&mut self.connection);
        let finished = tokio::time::timeout(COMMIT_TIMEOUT, finish).await;
        let outcome = finished.map_err(|_| too_slow())??;
        Ok(match outcome.as_str() {
            "done" => FinishedSqlStep::Done,
            "fenced" => FinishedSqlStep::Fenced,
            "gone" => FinishedSqlStep::Gone,
            "other-transaction" => FinishedSqlStep::OtherTransaction,
            other => return Err(unknown("finish_sql_step", other)),
        })
    }

    /// Commits. An error: only [`take_back_sql_step`] can tell whether it is committed.
    pub async fn commit(mut self) -> Result<SqlConnection, StoreError> {
        let commit = self.connection.execute("commit");
        let committed = tokio::time::timeout(COMMIT_TIMEOUT, commit).await;
        committed.map_err(|_| too_slow())??;
        Ok(self.connection())
    }

    /// Rolls back; what was locked is free when it returns.
    pub async fn roll_back(mut self) -> Result<SqlConnection, StoreError> {
        let roll_back = self.connection.execute("rollback");
        let rolled_back = tokio::time::timeout(COMMIT_TIMEOUT, roll_back).await;
        rolled_back.map_err(|_| too_slow())??;
        Ok(self.connection())
    }

    fn connection(self) -> SqlConnection {
        SqlConnection {
            connection: self.connection,
            role: self.role,
        }
    }
}

fn retryable(code: &str, message: impl Into<String>) -> Failure {
    Failure {
        retryable: true,
        ..Failure::new(code, message)
    }
}

fn too_much(max_rows: usize, max_bytes: usize) -> Failure {
    Failure::new(
        SQL_LIMIT,
        format!(
            "a statement answered more than its deployment is granted: at most {max_rows} rows (max-rows) and {max_bytes} bytes (max-bytes)"
        ),
    )
}

/// What is said to a statement that comes after one that has failed.
fn after(broken: &Failure) -> Failure {
    let mut failure = broken.clone();
    if !failure.message.starts_with(AFTER) {
        failure.message = format!("{AFTER}{}", broken.message);
    }
    failure
}

const AFTER: &str = "the step's transaction is lost, since a statement before has failed: ";

/// What the database says to a statement, as the guest is told.
pub fn sql_failure(error: &StoreError) -> Failure {
    let (StoreError::Unavailable(cause)
    | StoreError::Collision(cause)
    | StoreError::Refused(cause)) = error
    else {
        return Failure::new(SQL, error.to_string());
    };
    let Some(said) = cause.as_database_error() else {
        let source = cause.source().map(|source| format!(": {source}"));
        let message = format!(
            "the connection was lost: {cause}{}",
            source.unwrap_or_default()
        );
        return match cause {
            sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                Failure::new(SQL, cause.to_string())
            }
            _ => retryable(SQL_LOST, message),
        };
    };
    let state = said.code().unwrap_or_default().into_owned();
    let code = match state.as_str() {
        "57014" => SQL_LIMIT,
        state if state.starts_with("08") || state.starts_with("57P") || state == "25P03" => {
            SQL_LOST
        }
        _ => SQL,
    };
    let details = serde_json::json!({
        "sqlState": state,
        "constraint": said.constraint(),
        "table": said.table(),
    });
    Failure {
        // Deadlocks, locks that are not to be had, a server that is full or goes away, time-outs.
        retryable: code != SQL
            || ["40", "53", "55P03"]
                .iter()
                .any(|class| state.starts_with(class)),
        details: Some(Payload::from_trusted(details.to_string())),
        ..Failure::new(code, said.message())
    }
}

fn refused(error: sqlx::Error) -> Failure {
    sql_failure(&StoreError::from(error))
}

/// Whether a step may use such a statement.
fn check_statement(statement: &str) -> Result<(), Failure> {
    let word = first_word(statement).to_ascii_lowercase();
    if STATEMENTS.contains(&word.as_str()) {
        return Ok(());
    }
    let got = if word.is_empty() {
        "none of them".to_owned()
    } else {
        format!("`{}`", word.chars().take(40).collect::<String>())
    };
    let message = format!(
        "expected a statement that begins with one of {}, got {got}: the step's transaction begins and ends with its attempt, and what \
         else is set for it is for the deployment's grant to say",
        STATEMENTS.join(", ")
    );
    Err(Failure::new(SQL_STATEMENT, message))
}

/// The word that a statement begins with, after white space, comments and opening parentheses. Empty: there is none.
fn first_word(statement: &str) -> &str {
    let mut rest = statement;
    loop {
        rest = rest.trim_start_matches(|one: char| one.is_whitespace() || one == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]);
        } else if rest.starts_with("/*") {
            rest = behind_comment(rest);
        } else {
            let end = rest.find(|one: char| !one.is_ascii_alphabetic());
            return &rest[..end.unwrap_or(rest.len())];
        }
    }
}

/// What comes after a comment, in which others may nest.
fn behind_comment(mut rest: &str) -> &str {
    let mut depth = 0_usize;
    loop {
        let (opens, closes) = (rest.find("/*"), rest.find("*/"));
        match (opens, closes) {
            (Some(open), close) if close.is_none_or(|close| open < close) => {
                depth += 1;
                rest = &rest[open + 2..];
            }
            (_, Some(close)) => {
                depth -= 1;
                rest = &rest[close + 2..];
                if depth == 0 {
                    return rest;
                }
            }
            _ => return "",
        }
    }
}

fn arguments(params: Vec<SqlValue>) -> Result<PgArguments, Failure> {
    if params.len() > PARAMS_MAX {
        let message = format!(
            "a statement has {} parameters: expected at most {PARAMS_MAX}",
            params.len()
        );
        return Err(Failure::new(SQL_STATEMENT, message));
    }
    let mut arguments = PgArguments::default();
    for param in params {
        arguments
            .add(Param(param))
            .map_err(|error| Failure::new(SQL_STATEMENT, format!("a parameter: {error}")))?;
    }
    Ok(arguments)
}

/// A parameter, in binary.
struct Param(SqlValue);

/// The server finds out itself what type it is.
const UNSPECIFIED: PgTypeInfo = PgTypeInfo::with_oid(Oid(0));

impl Type<Postgres> for Param {
    fn type_info() -> PgTypeInfo {
        UNSPECIFIED
    }
}

impl Encode<'_, Postgres> for Param {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match &self.0 {
            SqlValue::Null => return Ok(IsNull::Yes),
            SqlValue::Boolean(value) => buffer.push(u8::from(*value)),
            SqlValue::Integer(value) => buffer.extend(value.to_be_bytes()),
            SqlValue::Float(value) => buffer.extend(value.to_be_bytes()),
            SqlValue::Text(value) => buffer.extend(value.as_bytes()),
            SqlValue::Bytes(value) => buffer.extend(value),
            SqlValue::Json(value) => {
                // The version of the form.
                buffer.push(1);
                buffer.extend(value.as_bytes());
            }
            SqlValue::Timestamp(micros) => {
                let sent = micros
                    .checked_sub(POSTGRES_EPOCH_MICROS)
                    .ok_or("a time that Postgres has no form for")?;
                buffer.extend(sent.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(match &self.0 {
            SqlValue::Null => UNSPECIFIED,
            SqlValue::Boolean(_) => PgTypeInfo::with_oid(Oid(oid::BOOL)),
            SqlValue::Integer(_) => PgTypeInfo::with_oid(Oid(oid::INT8)),
            SqlValue::Float(_) => PgTypeInfo::with_oid(Oid(oid::FLOAT8)),
            SqlValue::Text(_) => PgTypeInfo::with_oid(Oid(oid::TEXT)),
            SqlValue::Bytes(_) => PgTypeInfo::with_oid(Oid(oid::BYTEA)),
            SqlValue::Json(_) => PgTypeInfo::with_oid(Oid(oid::JSONB)),
            SqlValue::Timestamp(_) => PgTypeInfo::with_oid(Oid(oid::TIMESTAMPTZ)),
        })
    }
}

/// Postgres' own types, which have the same numbers everywhere.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const NAME: u32 = 19;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const OID: u32 = 26;
    pub(super) const JSON: u32 = 114;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const UNKNOWN: u32 = 705;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const VOID: u32 = 2278;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
}

/// The bytes of a value as they came; none: null.
fn raw(row: &PgRow, index: usize) -> Option<&[u8]> {
    let value = row.try_get_raw(index).ok()?;
    if value.is_null() {
        return None;
    }
    // It is not null, so it has bytes; the reference is to the row's own.
    value.as_bytes().ok()
}

/// A value of a row, whose size is added up.
fn value(row: &PgRow, index: usize, bytes: &mut usize) -> Result<SqlValue, Failure> {
    let column = row.column(index);
    let ty = column.type_info();
    let Some(raw) = raw(row, index) else {
        return Ok(SqlValue::Null);
    };
    *bytes += raw.len();
    let text = || String::from_utf8(raw.to_vec()).ok().map(SqlValue::Text);
    let value = match ty.oid().map_or(0, |oid| oid.0) {
        oid::BOOL => raw.first().map(|byte| SqlValue::Boolean(*byte != 0)),
        oid::INT2 => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Integer(i16::from_be_bytes(raw).into())),
        oid::INT4 => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Integer(i32::from_be_bytes(raw).into())),
        oid::INT8 => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Integer(i64::from_be_bytes(raw))),
        oid::OID => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Integer(u32::from_be_bytes(raw).into())),
        oid::FLOAT4 => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Float(f32::from_be_bytes(raw).into())),
        oid::FLOAT8 => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Float(f64::from_be_bytes(raw))),
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN => text(),
        oid::BYTEA => Some(SqlValue::Bytes(raw.to_vec())),
        oid::JSON => String::from_utf8(raw.to_vec()).ok().map(SqlValue::Json),
        oid::JSONB => match raw {
            [1, json @ ..] => String::from_utf8(json.to_vec()).ok().map(SqlValue::Json),
            _ => None,
        },
        oid::TIMESTAMPTZ => raw
            .try_into()
            .ok()
            .and_then(|raw| i64::from_be_bytes(raw).checked_add(POSTGRES_EPOCH_MICROS))
            .map(SqlValue::Timestamp),
        oid::UUID => Uuid::from_slice(raw)
            .ok()
            .map(|id| SqlValue::Text(id.to_string())),
        oid::VOID => Some(SqlValue::Null),
        _ if matches!(ty.kind(), PgTypeKind::Enum(_)) => text(),
        _ => None,
    };
    value.ok_or_else(|| {
        Failure::new(
            SQL_STATEMENT,
            format!(
                "column `{}` has a value of type {} that has no form here: cast it in the statement, as in `{}::text`",
                column.name(),
                ty.name().to_lowercase(),
                column.name()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_word_behind_comments() {
        for (statement, word) in [
            ("select 1", "select"),
            (
                "  \n-- commit\n/* /* nested */ begin */ ((UPDATE x",
                "UPDATE",
            ),
            ("commit", "commit"),
            ("/**/commit;", "commit"),
            ("--\rcommit", "commit"),
            ("/* never closed select", ""),
            ("-- only a comment", ""),
            (";commit", ""),
            ("", ""),
        ] {
            assert_eq!(first_word(statement), word, "{statement:?}");
        }
    }

    #[test]
    fn statements_that_end_transactions_or_change_sessions_are_not_sent() {
        for statement in [
            "begin",
            "COMMIT",
            "rollback",
            "end",
            "abort",
            "savepoint a",
            "release a",
            "prepare transaction 'a'",
            "start transaction",
            "set role postgres",
            "reset role",
            "set local search_path = x",
            "copy t to stdout",
            "listen a",
            "notify a",
            "do $$ begin commit; end $$",
            "discard all",
            "deallocate all",
            "explain analyze select 1",
            "create table t ()",
            "vacuum",
            "declare c cursor for select 1",
            "fetch c",
            "execute p",
            "/* select */ commit",
            "",
        ] {
            let failure = check_statement(statement).unwrap_err();
            assert_eq!(failure.code, SQL_STATEMENT, "{statement}");
        }
        for statement in [
            "select 1",
            "WITH a as (select 1) select * from a",
            "(values (1))",
            "lock table t",
        ] {
            assert_eq!(check_statement(statement), Ok(()), "{statement}");
        }
    }

    #[test]
    fn temporary_tables_stand_for_no_others() {
        assert_eq!(
            search_path(&["shop".to_owned(), "a\"b".to_owned()]),
            r#""shop", "a""b", pg_temp"#
        );
    }
}
