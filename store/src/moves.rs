//! Runs and the deployments that may take them over.

use dacapo_model::{
    DeploymentId, Failure, Payload, Recorded, RecordedState, RunId, Status, Timestamp,
};

use crate::columns::{Integers, Times};
use crate::queue::labels_of;
use crate::recorded::{JournalColumns, journal_of};
use crate::{Store, StoreError, Time};

/// All runs in flight of a package, with the full names of their workflows, but for those of one deployment. See
/// `sql/run/in_flight.sql`.
pub async fn runs_in_flight(
    store: &Store,
    namespace: &str,
    package: &str,
    except: Option<DeploymentId>,
) -> Result<Vec<(RunId, String)>, StoreError> {
    let rows = sqlx::query_file!(
        "sql/run/in_flight.sql",
        namespace,
        package,
        except.map(|id| id.0)
    )
    .fetch_all(store.pool())
    .await?;
    let runs = rows.into_iter().map(|row| (RunId(row.id), row.workflow));
    Ok(runs.collect())
}

/// A run with all that is needed to play it from the top, as it is at one moment.
#[derive(Debug, Clone)]
pub struct WholeRun {
    /// The run.
    pub run: RunId,
    /// Full name of its workflow.
    pub workflow: String,
    /// Whether it has ended, and how; none: it has not.
    pub ended: Option<Status>,
    /// How it failed, if it has.
    pub failure: Option<Failure>,
    /// Its input as given.
    pub input: Payload,
    /// Its labels, sorted by name.
    pub labels: Vec<(String, String)>,
    /// The run that its randomness outside of attempts is derived from.
    pub seed: RunId,
    /// When that was started.
    pub created_at: Timestamp,
    /// How often it was retried after it had failed.
    pub retries: u16,
    /// Its journal.
    pub recorded: Vec<Recorded>,
    /// Names and payloads of the events that it has not taken.
    pub inbox: Vec<(String, Payload)>,
    /// Up to where its inbox has been filled; 0 for one that has ended.
    pub inbox_seq: i32,
}

/// Looks at runs as a whole. See `sql/run/look_whole.sql`.
pub async fn look_whole(store: &Store, runs: &[RunId]) -> Result<Vec<WholeRun>, StoreError> {
    let ids: Vec<uuid::Uuid> = runs.iter().map(|run| run.0).collect();
    let rows = sqlx::query_file!("sql/run/look_whole.sql", &ids)
        .fetch_all(store.pool())
        .await?;
    rows.into_iter()
        .map(|row| {
            let recorded = journal_of(&JournalColumns {
                keys: row.keys.unwrap_or_default(),
                kinds: row.kinds.unwrap_or_default(),
                outcomes: row.outcomes.unwrap_or_default(),
                payloads: row.payloads.unwrap_or_default(),
                positions: row.positions.unwrap_or_default().0,
                finished_ats: row.finished_ats.unwrap_or_default().0,
                open_started_ats: row.open_started_ats.unwrap_or_default().0,
                open_dues: row.open_dues.unwrap_or_default().0,
                open_failed_attempts: row.open_failed_attempts.unwrap_or_default().0,
            })?;
            let names = row.names.unwrap_or_default().into_iter();
            let payloads = row.event_payloads.unwrap_or_default();
            let payloads = payloads.into_iter().map(Payload::from_trusted);
            Ok(WholeRun {
                run: RunId(row.run_id),
                workflow: row.workflow,
                ended: match row.status.as_str() {
                    "active" => None,
                    status => Some(status.parse().map_err(|_| {
                        StoreError::Unreadable(format!("a run with the status {status:?}"))
                    })?),
                },
                failure: match row.failure {
                    Some(failure) => Some(Failure::from_json(&failure).map_err(|error| {
                        StoreError::Unreadable(format!("the failure of a run: {error}"))
                    })?),
                    None => None,
                },
                input: Payload::from_trusted(row.input),
                labels: labels_of(&row.labels)?,
                seed: RunId(row.seed),
                created_at: row.created_at.0,
                retries: u16::try_from(row.retries).unwrap_or(0),
                recorded,
                inbox: names.zip(payloads).collect(),
                inbox_seq: row.inbox_seq.unwrap_or(0),
            })
        })
        .collect()
}

/// A run that was found to go on with another deployment, and how it stood then.
#[derive(Debug, Clone, Copy)]
pub struct Move {
    /// The run.
    pub run: RunId,
    /// Rows of its journal.
    pub rows: u32,
    /// Those of them that have an outcome.
    pub done: u32,
    /// When the last of these came out.
    pub latest: Option<Timestamp>,
    /// Up to where its inbox was filled.
    pub inbox_seq: i32,
}

impl Move {
    /// Of a run that was looked at.
    #[must_use]
    pub fn of(whole: &WholeRun) -> Self {
        let count = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        let ends = whole.recorded.iter().filter_map(|row| match row.state {
            RecordedState::Done { finished_at, .. } => Some(finished_at),
            RecordedState::Open { .. } => None,
        });
        Self {
            run: whole.run,
            rows: count(whole.recorded.len()),
            done: count(ends.clone().count()),
            latest: ends.max(),
            inbox_seq: whole.inbox_seq,
        }
    }
}

/// What became of a run that was to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It goes on with the other deployment.
    Moved,
    /// Its journal has grown since it was looked at, or it was sent something.
    Changed,
    /// A worker plays it.
    Busy,
    /// It has ended.
    Ended,
    /// The deployment is retired, or is not there any more.
    Retired,
}

/// Moves runs to a deployment, and tells for each what became of it. See `sql/run/move.sql`.
pub async fn move_runs(
    store: &Store,
    to: DeploymentId,
    moves: &[Move],
    who: &str,
) -> Result<Vec<(RunId, Moved)>, StoreError> {
    let ids: Vec<uuid::Uuid> = moves.iter().map(|one| one.run.0).collect();
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let rows: Vec<i32> = moves.iter().map(|one| number(one.rows)).collect();
    let done: Vec<i32> = moves.iter().map(|one| number(one.done)).collect();
    let latest: Vec<Option<Time>> = moves.iter().map(|one| one.latest.map(Time)).collect();
    let inboxes: Vec<i32> = moves.iter().map(|one| one.inbox_seq).collect();
    let rows = sqlx::query_file!(
        "sql/run/move.sql",
        to.0,
        &ids,
        &rows,
        &done,
        &latest as &[Option<Time>],
        &inboxes,
        who
    )
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            let moved = match row.answer.as_str() {
                "moved" => Moved::Moved,
                "changed" => Moved::Changed,
                "busy" => Moved::Busy,
                "ended" => Moved::Ended,
                "retired" => Moved::Retired,
                other => return Err(StoreError::Unreadable(format!("answer {other:?}"))),
            };
            Ok((RunId(row.run), moved))
        })
        .collect()
}
