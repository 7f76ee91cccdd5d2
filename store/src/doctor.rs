//! Looking for what is wrong with a database.

use crate::{Store, StoreError};

/// Something that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A word for programs.
    pub code: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

/// Examines a migrated database. Reads only; on a large database it takes a while.
pub async fn examine(store: &Store) -> Result<Vec<Finding>, StoreError> {
    // It compares all runs with all tasks.
    let mut transaction = store.planned_anew().await?;
    let rows = sqlx::query_file!("sql/doctor/examine.sql")
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(rows
        .into_iter()
        .map(|row| Finding {
            code: row.code,
            what: row.what,
            advice: row.advice,
        })
        .collect())
}
