//! What a step that uses SQL needs from whoever holds the database: a transaction that its outcome is recorded in, too.
//!
//! The sandbox decides when a transaction begins and how it ends; connections, roles and tokens are behind [`SqlTransaction`], which the
//! worker implements.

use async_trait::async_trait;
use dacapo_model::{Failure, Payload, SqlRows, SqlValue, StepKey, Timestamp};

use crate::ending::BlockCode;
use crate::journal::Stop;

/// The step whose attempt a transaction is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlStep {
    /// The step.
    pub key: StepKey,
    /// Its place in the journal.
    pub position: u32,
    /// When it was first reached, whichever attempt this is.
    pub started_at: Timestamp,
}

/// A transaction of an attempt. Dropped, it is rolled back.
#[async_trait]
pub trait SqlTransaction: Send {
    /// Carries a statement out and answers its rows. A failure is the guest's to deal with.
    async fn query(&mut self, statement: String, params: Vec<SqlValue>)
    -> Result<SqlRows, Failure>;

    /// Carries a statement out and answers how many rows it has touched. A failure is the guest's to deal with.
    async fn execute(&mut self, statement: String, params: Vec<SqlValue>) -> Result<u64, Failure>;

    /// Records the step's outcome and commits, both or neither. When it returns without an error the row is in the journal for good, and
    /// must not be appended to it.
    ///
    /// # Errors
    /// The transaction is rolled back for good: why the attempt has failed, or why this process must stop advancing the run.
    async fn commit(
        self: Box<Self>,
        outcome: &Payload,
        finished_at: Timestamp,
    ) -> Result<(), SqlRefusal>;

    /// Rolls back, and returns when nothing is locked any more.
    async fn roll_back(self: Box<Self>);
}

/// Why there is no transaction, or it was not committed.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlRefusal {
    /// It may be another time: a failure of the guest's.
    Failed(Failure),
    /// The run waits until somebody has changed something.
    Blocked(BlockCode, String),
    /// This process must stop advancing the run.
    Stopped(Stop),
}
