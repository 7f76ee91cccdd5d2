//! One readable check of what a database holds, instead of field by field.

use dacapo_model::RunId;
use dacapo_tests::Database;
pub use dacapo_tests::sound;
use dacapo_worker::{Worker, WorkerConfig};

/// A worker in this process, with default limits.
pub async fn worker(database: &Database) -> Worker {
    Worker::start(database.store.clone(), WorkerConfig::default())
        .await
        .unwrap()
}

/// The journal of a run as one line a step: `key kind outcome payload`.
pub async fn journal(database: &Database, run: RunId) -> Vec<String> {
    let rows: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
        "select key, kind, outcome, payload from dacapo.step where run_id = $1 order by position",
    )
    .bind(run.0)
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    rows.into_iter()
        .map(|(key, kind, outcome, payload)| {
            let words = [
                Some(key),
                Some(kind),
                Some(outcome.unwrap_or_else(|| "open".to_owned())),
                payload,
            ];
            words.into_iter().flatten().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// What the bodies of a run's steps have logged: the lines that begin with `effect`, in order.
pub async fn effects(database: &Database, run: RunId) -> Vec<String> {
    sqlx::query_scalar(
        "select message from dacapo.log where run_id = $1 and message like 'effect %' order by id",
    )
    .bind(run.0)
    .fetch_all(database.store.pool())
    .await
    .unwrap()
}

/// The body of each of a run's steps was executed once to be recorded, and never again after that. A body that was interrupted before
/// it was recorded may have left its line, too: before the recorded one began.
pub async fn bodies_once(database: &Database, run: RunId) {
    let wrong: Vec<String> = sqlx::query_scalar(
        "select step.key || ': ' || count(log.id) filter (where log.at between step.started_at and step.finished_at)
            || ' lines of the recorded body, ' || count(log.id) filter (where log.at > step.finished_at) || ' after it'
        from dacapo.step left join dacapo.log
            on log.run_id = step.run_id and log.step = step.key and log.message like 'effect %'
        where step.run_id = $1 and step.kind = 'step'
        group by step.key, step.started_at, step.finished_at
        having count(log.id) filter (where log.at between step.started_at and step.finished_at) <> 1
            or count(log.id) filter (where log.at > step.finished_at) <> 0",
    )
    .bind(run.0)
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
