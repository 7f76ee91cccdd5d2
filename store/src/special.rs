//! Starts that look at other starts: singletons and debounces.

use std::time::Duration;

use dacapo_model::RunId;
use sqlx::Postgres;

use crate::queues::Begins;
use crate::{StartRun, StoreConnection, StoreError, Time};

/// How a start goes together with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special<'a> {
    /// At most one active run of the workflow has the key.
    Singleton {
        /// The key.
        key: &'a str,
        /// What happens if there is one.
        on_conflict: OnConflict,
    },
    /// Starts with the key that come soon after each other are one run.
    Debounce {
        /// The key.
        key: &'a str,
        /// It begins when it has been quiet for this long.
        quiet: Duration,
        /// It begins this long after its first start at the latest.
        at_most: Duration,
    },
}

/// What happens to a start whose singleton's key belongs to an active run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Reject,
    /// The run begins when the other one has ended, and those that came before.
    Queue,
    /// The other one is cancelled, and those that wait; the run begins when they have ended.
    Replace,
}

impl OnConflict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Reject, Self::Queue, Self::Replace];

    /// As a word: `reject`, `queue` or `replace`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Queue => "queue",
            Self::Replace => "replace",
        }
    }
}

/// What became of such a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpecialStart {
    /// The run is there.
    Started,
    /// This run was there, has not begun, and has the new input now.
    Debounced(RunId),
    /// A run with this id was there; nothing was written.
    Exists {
        /// Its input.
        input: String,
    },
    /// The key belongs to this active run; nothing was written.
    Taken(RunId),
    /// The deployment is not active any more; nothing was written.
    NotActive,
    /// There is no such queue; nothing was written.
    UnknownQueue,
}

/// Starts one such run, also inside a transaction of the caller's. See `dacapo.start_special`.
pub async fn start_special<'e>(
    executor: impl sqlx::Executor<'e, Database = Postgres>,
    start: &StartRun<'_>,
    special: Special<'_>,
) -> Result<SpecialStart, StoreError> {
    let labels = serde_json::to_string(start.labels)
        .map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let (at, delay) = match start.placing.begins {
        Begins::Now => (None, None),
        Begins::At(at) => (Some(Time(at)), None),
        Begins::After(delay) => (None, Some(millis(delay))),
    };
    let (singleton, on_conflict, debounce, quiet, at_most) = match special {
        Special::Singleton { key, on_conflict } => {
            (Some(key), Some(on_conflict.as_str()), None, None, None)
        }
        Special::Debounce {
            key,
            quiet,
            at_most,
        } => (
            None,
            None,
            Some(key),
            Some(millis(quiet)),
            Some(millis(at_most)),
        ),
    };
    let row = sqlx::query!(
        r#"select outcome as "outcome!", run as "run!", existing
        from dacapo.start_special(
            $1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9,
            (
                select at
                from (select coalesce($10::timestamptz, clock_timestamp() + $11::bigint * interval '1 millisecond') as at) as begins
                where at > clock_timestamp()
            ),
            $12, $13, $14, $15, $16
        )"#,
        start.id.0,
        start.workflow,
        start.input.as_str(),
        start.deployment.0,
        labels,
        start.deadline.map(millis),
        start.placing.queue,
        Some(start.placing.priority).filter(|priority| *priority != 0),
        start.placing.concurrency_key,
        at as _,
        delay,
        singleton,
        on_conflict,
        debounce,
        quiet,
        at_most
    )
    .fetch_one(executor)
    .await?;
    Ok(match row.outcome.as_str() {
        "started" => SpecialStart::Started,
        "debounced" => SpecialStart::Debounced(RunId(row.run)),
        "exists" => SpecialStart::Exists {
            input: row.existing.unwrap_or_default(),
        },
        "taken" => SpecialStart::Taken(RunId(row.run)),
        "not-active" => SpecialStart::NotActive,
        "no-queue" => SpecialStart::UnknownQueue,
        other => {
            return Err(StoreError::Unreadable(format!(
                "outcome {other:?} of a start"
            )));
        }
    })
}

/// Lets runs begin that wait for a singleton's key which nobody has. See `dacapo.promote_singletons`.
pub async fn promote_singletons(
    connection: &mut StoreConnection,
    max: u32,
) -> Result<(), StoreError> {
    sqlx::query_scalar!(
        r#"select dacapo.promote_singletons($1) as "promoted!""#,
        i32::try_from(max).unwrap_or(i32::MAX)
    )
    .fetch_one(&mut connection.0)
    .await?;
    Ok(())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
