//! A transaction in which a step's statements run and its outcome is recorded.

use std::fmt::Write as _;
use std::time::Duration;

use dacapo_model::{
    Failure, Payload, RunId, SQL_LIMIT, SqlGrant, SqlRows, SqlValue, StepKey, Timestamp,
};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column, Executor, Row};

use super::failure::{AnswerMax, after, refused, retryable};
use super::statement::check_statement;
use super::value::{arguments, size, value};
use super::{EarlierTransaction, FinishedSqlStep, SqlToken, unknown};
use crate::{StoreError, Time};

/// Statements that one attempt may use: the server keeps each prepared until the session is reset.
const STATEMENTS_MAX: u32 = 10_000;

/// How much longer than the server's own time-out a statement is waited for.
const TIMEOUT_GRACE: Duration = Duration::from_secs(5);

/// What finishing and committing may take each; the server ends what takes longer.
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// How much longer than the worker the server lets a session wait: it comes into play if the worker hangs.
const IDLE_GRACE: Duration = Duration::from_secs(5);

/// What a worker allows at most, whatever its deployments are granted.
#[derive(Debug, Clone)]
pub struct SqlCaps {
    /// Rows that one statement may answer.
    pub rows_max: u32,
    /// What the values that one statement answers may hold together, in bytes.
    pub bytes_max: u32,
    /// How long a session may wait for its guest.
    pub idle_max: Duration,
}

/// A connection of a granted role, with no transaction.
#[derive(Debug)]
pub struct SqlConnection {
    pub(super) connection: PgConnection,
    pub(super) role: String,
}

/// A transaction of a step.
#[derive(Debug)]
pub struct SqlTransaction {
    connection: PgConnection,
    role: String,
    backend: i32,
    /// Its id, as text.
    transaction: String,
    statement_timeout: Duration,
    answer_max: AnswerMax,
    /// Sets the limits that the server holds.
    limits: String,
    /// Those that were sent.
    statements: u32,
    /// Why it can only be rolled back.
    broken: Option<Failure>,
}

/// Which transaction it is, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlTransactionId {
    pub(super) role: String,
    pub(super) backend: i32,
    pub(super) transaction: String,
}

impl SqlConnection {
    /// Begins a transaction, with all settings as the grant says whatever was left behind.
    pub async fn begin(
        mut self,
        grant: &SqlGrant,
        caps: &SqlCaps,
    ) -> Result<SqlTransaction, StoreError> {
        let limits = format!(
            "set local statement_timeout = {}; set local idle_in_transaction_session_timeout = {}; \
             set local client_connection_check_interval = 2000",
            grant.statement_timeout_ms,
            (caps.idle_max + IDLE_GRACE)
                .as_millis()
                .min(i32::MAX as u128),
        );
        let begin = async {
            let begin = format!("begin isolation level read committed read write; {limits}");
            self.connection
                .execute(sqlx::raw_sql(AssertSqlSafe(begin)))
                .await?;
            // It has an id from here on, so that it can be told whether it is still the same one when it ends.
            let (backend, transaction, _): (i32, String, String) = sqlx::query_as(
                "select pg_catalog.pg_backend_pid(), pg_catalog.pg_current_xact_id()::text, pg_catalog.set_config('search_path', $1, true)",
            )
            .bind(search_path(&grant.search_path))
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
            statement_timeout: Duration::from_millis(grant.statement_timeout_ms),
            answer_max: AnswerMax {
                rows: grant.max_rows.min(caps.rows_max),
                bytes: grant.max_bytes.min(caps.bytes_max),
                by_worker: (
                    caps.rows_max < grant.max_rows,
                    caps.bytes_max < grant.max_bytes,
                ),
            },
            limits,
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

pub(super) fn too_slow() -> StoreError {
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
                *answer_bytes += size(row, index);
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
        let limit = self.statement_timeout + TIMEOUT_GRACE;
        let (connection, answer_max, limits) =
            (&mut self.connection, &self.answer_max, &self.limits);
        let work = async {
            use futures_util::TryStreamExt as _;
            // With a name of its own: an unnamed one is lost when the driver asks what an unknown type is.
            let query = sqlx::query_with(AssertSqlSafe(statement.to_owned()), arguments);
            let mut answers = (&mut *connection).fetch_many(query.persistent(true));
            let (mut touched, mut rows, mut bytes) = (0, 0_u32, 0);
            while let Some(answer) = answers.try_next().await.map_err(refused)? {
                match answer {
                    sqlx::Either::Left(done) => touched += done.rows_affected(),
                    sqlx::Either::Right(row) => {
                        rows += 1;
                        take(&row, &mut bytes)?;
                        if rows > answer_max.rows || bytes > answer_max.bytes as usize {
                            return Err(answer_max.too_much());
                        }
                    }
                }
            }
            drop(answers);
            // Once more, since the statement may have changed them: for the next one, and while the session waits for it.
            let limits = sqlx::raw_sql(AssertSqlSafe(limits.clone()));
            connection.execute(limits).await.map_err(refused)?;
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
        // With its name in full and parameters of known types, so that nothing that the statements have set can lead it astray, be it the
        // encoding of texts; and the token is no part of the statement, which others of the role could read.
        let finish =
            sqlx::query_scalar::<_, String>("select dacapo.finish_sql_step($1, $2, $3, $4, $5)")
                .bind(run.0)
                .bind(key.as_str().as_bytes())
                .bind(&token.0)
                .bind(payload.as_str().as_bytes())
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

    /// Commits. An error: only [`take_back_sql_step`](crate::take_back_sql_step) can tell whether it is committed.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_tables_stand_for_no_others() {
        assert_eq!(
            search_path(&["shop".to_owned(), "a\"b".to_owned()]),
            r#""shop", "a""b", pg_temp"#
        );
    }
}
