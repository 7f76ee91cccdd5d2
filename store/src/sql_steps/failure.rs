//! What a guest is told when a statement fails.

use std::error::Error;

use dacapo_model::{Failure, Payload, SQL, SQL_LIMIT, SQL_LOST};

use crate::StoreError;

pub(super) fn retryable(code: &str, message: impl Into<String>) -> Failure {
    Failure {
        retryable: true,
        ..Failure::new(code, message)
    }
}

/// What a statement may answer, and who says so.
#[derive(Debug)]
pub(super) struct AnswerMax {
    pub(super) rows: u32,
    pub(super) bytes: u32,
    /// Whether it is the worker and not the grant that allows no more rows, or bytes.
    pub(super) by_worker: (bool, bool),
}

impl AnswerMax {
    pub(super) fn too_much(&self) -> Failure {
        let name = |by_worker, granted, of_worker| if by_worker { of_worker } else { granted };
        let message = format!(
            "a statement answered more than it may: at most {} rows ({}) and {} bytes ({})",
            self.rows,
            name(self.by_worker.0, "max-rows", "the worker's --sql-rows-max"),
            self.bytes,
            name(
                self.by_worker.1,
                "max-bytes",
                "the worker's --sql-bytes-max"
            ),
        );
        Failure::new(SQL_LIMIT, message)
    }
}

/// What is said to a statement that comes after one that has failed.
pub(super) fn after(broken: &Failure) -> Failure {
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
        // A protocol violation, such as too few parameters: the session lives on, and another try would be the same.
        "08P01" => SQL,
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

pub(super) fn refused(error: sqlx::Error) -> Failure {
    sql_failure(&StoreError::from(error))
}
