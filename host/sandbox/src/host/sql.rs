//! `dacapo:workflow/sql`: statements in a transaction that the step's outcome is part of.

use dacapo_model::{Outcome, Payload, Recorded, RecordedState, SqlRows, SqlValue};

use super::bindings::dacapo::workflow::sql::{Host, Rows, Value};
use super::bindings::dacapo::workflow::types;
use crate::attempt::OpenAttempt;
use crate::ending::BlockReason;
use crate::guest::Guest;
use crate::interrupt::Interrupt;
use crate::sql::{SqlRefusal, SqlStep, SqlTransaction};

impl Host for Guest {
    async fn query(
        &mut self,
        statement: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<Rows, types::Failure>> {
        let transaction = match self.transaction("query").await? {
            Ok(transaction) => transaction,
            Err(failure) => return Ok(Err(failure)),
        };
        let params = params.into_iter().map(SqlValue::from).collect();
        let answer = transaction.query(statement, params).await;
        Ok(answer.map(Rows::from).map_err(types::Failure::from))
    }

    async fn execute(
        &mut self,
        statement: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<u64, types::Failure>> {
        let transaction = match self.transaction("execute").await? {
            Ok(transaction) => transaction,
            Err(failure) => return Ok(Err(failure)),
        };
        let params = params.into_iter().map(SqlValue::from).collect();
        let answer = transaction.execute(statement, params).await;
        Ok(answer.map_err(types::Failure::from))
    }
}

impl Guest {
    /// The open attempt's transaction, which the first call begins. A failure is handed to the guest.
    async fn transaction(
        &mut self,
        call: &str,
    ) -> Result<Result<&mut Box<dyn SqlTransaction>, types::Failure>, Interrupt> {
        self.limit_attempt();
        let Some(attempt) = &self.attempt else {
            return Err(Interrupt::misuse(format!(
                "`{call}` of dacapo:workflow/sql was called outside of a step: move it into a step's body"
            )));
        };
        if self.sql.is_none() {
            let step = SqlStep {
                key: attempt.slot.key.clone(),
                position: attempt.slot.position,
                started_at: attempt.step_started_at(),
            };
            match self.journal.begin_sql(step).await {
                Ok(transaction) => self.sql = Some(transaction),
                Err(SqlRefusal::Failed(failure)) => return Ok(Err(failure.into())),
                Err(refusal) => return Err(interrupt(refusal)),
            }
        }
        match &mut self.sql {
            Some(transaction) => Ok(Ok(transaction)),
            None => Err(Interrupt::misuse(
                "a transaction is gone that has just begun",
            )),
        }
    }

    /// Commits a transaction with its step's outcome. The outer error ends the instance, the inner one is that of the attempt.
    pub(super) async fn commit(
        &mut self,
        transaction: Box<dyn SqlTransaction>,
        open: &OpenAttempt,
        payload: Payload,
    ) -> Result<Result<(), dacapo_model::Failure>, Interrupt> {
        // What the body has logged comes before its outcome.
        self.console.flush();
        self.go.settle().await?;
        let started_at = open.step_started_at();
        let finished_at = self.journal.now().max(started_at);
        match transaction.commit(&payload, finished_at).await {
            Ok(()) => {}
            Err(SqlRefusal::Failed(failure)) => return Ok(Err(failure)),
            Err(refusal) => return Err(interrupt(refusal)),
        }
        self.note_durable(Recorded {
            key: open.slot.key.clone(),
            kind: open.slot.kind,
            position: open.slot.position,
            started_at,
            state: RecordedState::Done {
                outcome: Outcome::Ok(payload),
                finished_at,
            },
        });
        Ok(Ok(()))
    }
}

fn interrupt(refusal: SqlRefusal) -> Interrupt {
    match refusal {
        SqlRefusal::Failed(failure) => Interrupt::Failed(failure),
        SqlRefusal::Blocked(code, message) => Interrupt::Blocked(BlockReason {
            code,
            message,
            details: None,
        }),
        SqlRefusal::Stopped(stop) => stop.into(),
    }
}

impl From<Value> for SqlValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Integer(value) => Self::Integer(value),
            Value::Float(value) => Self::Float(value),
            Value::Text(value) => Self::Text(value),
            Value::Bytes(value) => Self::Bytes(value),
            Value::Json(value) => Self::Json(value),
            Value::Timestamp(value) => Self::Timestamp(value),
        }
    }
}

impl From<SqlValue> for Value {
    fn from(value: SqlValue) -> Self {
        match value {
            SqlValue::Null => Self::Null,
            SqlValue::Boolean(value) => Self::Boolean(value),
            SqlValue::Integer(value) => Self::Integer(value),
            SqlValue::Float(value) => Self::Float(value),
            SqlValue::Text(value) => Self::Text(value),
            SqlValue::Bytes(value) => Self::Bytes(value),
            SqlValue::Json(value) => Self::Json(value),
            SqlValue::Timestamp(value) => Self::Timestamp(value),
        }
    }
}

impl From<SqlRows> for Rows {
    fn from(rows: SqlRows) -> Self {
        let SqlRows { columns, rows } = rows;
        let rows = rows
            .into_iter()
            .map(|row| row.into_iter().map(Value::from).collect())
            .collect();
        Self { columns, rows }
    }
}
