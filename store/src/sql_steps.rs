//! Transactional SQL steps: connections of granted roles, and the transactions in which a step's statements run and its outcome is
//! recorded.
//!
//! A guest's statements go through the extended protocol, one at a time, and only such that neither end a transaction nor change
//! whose it is. Whatever gets past that is found out by `dacapo.finish_sql_step`, which records nothing outside of the transaction and the
//! session that were noted before the first statement.

mod failure;
mod role;
mod statement;
mod transaction;
mod value;

pub use failure::sql_failure;
pub use role::{SqlRole, SqlRoleError};
pub use transaction::{SqlCaps, SqlConnection, SqlTransaction, SqlTransactionId};

use dacapo_model::{RunId, StepKey, Timestamp, WorkerId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Store, StoreError, Time};

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
