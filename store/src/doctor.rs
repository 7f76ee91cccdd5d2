//! Looking for what is wrong with a database.

use std::time::Duration;

use dacapo_model::{DeploymentId, Obstacle};

use crate::{Store, StoreError};

/// How much of what a blocked run says is shown.
const MESSAGE_CHARS: usize = 500;

/// Something that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A word for programs.
    pub code: String,
    /// What is wrong.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// What to do about it.
    pub advice: String,
    /// How many runs, workers, tables, … it is about.
    pub count: i64,
    /// The first few of them: their ids or names.
    pub which: Vec<String>,
}

/// What is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Examination<'a> {
    /// The version that workers should be of.
    pub version: &'a str,
    /// From when on a transaction is long.
    pub long_transaction: Duration,
}

/// Examines a migrated database. Reads only; on a large database it takes a while.
pub async fn examine(
    store: &Store,
    examination: Examination<'_>,
) -> Result<Vec<Finding>, StoreError> {
    let seconds = i64::try_from(examination.long_transaction.as_secs()).unwrap_or(i64::MAX);
    // It compares all runs with all tasks.
    let mut transaction = store.planned_anew().await?;
    let mut findings = Vec::new();
    macro_rules! look {
        ($file:literal $(, $argument:expr)*) => {
            let rows = sqlx::query_file!($file $(, $argument)*)
                .fetch_all(&mut *transaction)
                .await?;
            findings.extend(rows.into_iter().map(|row| Finding {
                code: row.code,
                what: row.what,
                why: row.why,
                advice: row.advice,
                count: row.count,
                which: row.which,
            }));
        };
    }
    let blocked = sqlx::query_file!("sql/doctor/blocked.sql")
        .fetch_all(&mut *transaction)
        .await?;
    findings.extend(blocked.into_iter().map(|row| {
        let known = Obstacle::of(&row.code);
        let what = known.map_or("they cannot go on", |known| known.what);
        let message = row.message.unwrap_or_default();
        let message: String = message.chars().take(MESSAGE_CHARS).collect();
        Finding {
            code: format!("blocked-{}", row.code),
            what: format!(
                "{} runs are blocked: {what}; the first says: {message}",
                row.count
            ),
            why: "nothing of them is lost, and they stand still until that is mended".to_owned(),
            advice: known
                .map_or(Obstacle::ADVICE, |known| known.advice)
                .to_owned(),
            count: row.count,
            which: row.which,
        }
    }));
    look!("sql/doctor/runs.sql");
    look!("sql/doctor/fleet.sql", examination.version);
    look!("sql/doctor/code.sql");
    look!("sql/doctor/invariants.sql");
    look!("sql/doctor/server.sql", seconds);
    transaction.commit().await?;
    Ok(findings)
}

/// A deployment that new runs go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingDeployment {
    /// Its id.
    pub id: DeploymentId,
    /// Its package.
    pub package: String,
    /// Its number within the package.
    pub number: i32,
}

/// The deployments that new runs go to, of all namespaces.
pub async fn serving_deployments(store: &Store) -> Result<Vec<ServingDeployment>, StoreError> {
    let rows = sqlx::query!(
        "select id, package, number from dacapo.deployment where active or rollout_percent is not null order by package, number"
    )
    .fetch_all(store.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ServingDeployment {
            id: DeploymentId(row.id),
            package: row.package,
            number: row.number,
        })
        .collect())
}
