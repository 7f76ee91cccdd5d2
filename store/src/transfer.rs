//! Runs on their way from one database to another.

use std::collections::BTreeMap;

use dacapo_model::{
    ExportedAttempt, ExportedDeployment, ExportedEvent, ExportedIntervention, ExportedLine,
    ExportedOrigin, ExportedProgress, ExportedRun, ExportedStep, Failure, Payload, RunExport,
    RunId, StepKey,
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{Store, StoreError, Time};

/// All that is known of a run at one moment. None: there is no such run.
pub async fn export_run(
    store: &Store,
    run: RunId,
    with_log: bool,
) -> Result<Option<RunExport>, StoreError> {
    let mut transaction = store.pool().begin().await?;
    // All statements see the same moment.
    sqlx::query("set transaction isolation level repeatable read, read only")
        .execute(&mut *transaction)
        .await?;
    let Some(mut export) = head(&mut transaction, run).await? else {
        return Ok(None);
    };
    export.journal = journal(&mut transaction, run).await?;
    export.events = events(&mut transaction, run).await?;
    export.interventions = interventions(&mut transaction, run).await?;
    if with_log {
        export.log = Some(log(&mut transaction, run).await?);
    }
    transaction.commit().await?;
    Ok(Some(export))
}

fn failure(text: &str) -> Result<Failure, StoreError> {
    Failure::from_json(text).map_err(|error| StoreError::Unreadable(error.to_string()))
}

async fn head(connection: &mut PgConnection, run: RunId) -> Result<Option<RunExport>, StoreError> {
    let row = sqlx::query!(
        r#"select
            clock_timestamp() as "now!: Time",
            deployment.package, deployment.number, deployment.digest,
            run.workflow, run_status.status as "status!", run.input, run.output, run.failure, run.labels::text as "labels!",
            run.created_at as "created_at: Time", run_status.started_at as "started_at: Time", run.finished_at as "finished_at: Time",
            run.deadline as "deadline: Time", run.cancel_requested_at as "cancel_requested_at: Time",
            run.origin_id, run.origin_created_at as "origin_created_at: Time",
            progress.done as "said_done?", progress.total as "said_total?", progress.note as "said_note?", progress.at as "said_at?: Time"
        from dacapo.run
        join dacapo.run_status on run_status.run_id = run.id
        join dacapo.deployment on deployment.id = run.deployment_id
        left join dacapo.progress on progress.run_id = run.id
        where run.id = $1"#,
        run.0
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let labels: BTreeMap<String, String> = serde_json::from_str(&row.labels)
        .map_err(|error| StoreError::Unreadable(format!("labels of run {run}: {error}")))?;
    let exported =
        ExportedRun {
            id: run,
            workflow: row.workflow,
            status: row.status.parse().map_err(|_| {
                StoreError::Unreadable(format!("run {run}: unknown status {:?}", row.status))
            })?,
            input: Payload::from_trusted(row.input),
            output: row.output.map(Payload::from_trusted),
            failure: row.failure.as_deref().map(failure).transpose()?,
            labels,
            created_at: row.created_at.0,
            started_at: row.started_at.map(|time| time.0),
            finished_at: row.finished_at.map(|time| time.0),
            deadline: row.deadline.map(|time| time.0),
            cancel_requested_at: row.cancel_requested_at.map(|time| time.0),
            origin: row
                .origin_id
                .zip(row.origin_created_at)
                .map(|(id, created_at)| ExportedOrigin {
                    id: RunId(id),
                    created_at: created_at.0,
                }),
            progress: row.said_done.zip(row.said_total).zip(row.said_at).map(
                |((done, total), at)| ExportedProgress {
                    done,
                    total,
                    note: row.said_note,
                    at: at.0,
                },
            ),
        };
    let deployment = ExportedDeployment {
        package: row.package,
        number: row.number,
        digest: row.digest,
    };
    Ok(Some(RunExport::new(row.now.0, deployment, exported)))
}

async fn journal(
    connection: &mut PgConnection,
    run: RunId,
) -> Result<Vec<ExportedStep>, StoreError> {
    let rows = sqlx::query!(
        r#"select key, position, kind, outcome, payload, due as "due: Time", started_at as "started_at: Time",
            finished_at as "finished_at: Time"
        from dacapo.step where run_id = $1 order by position"#,
        run.0
    )
    .fetch_all(&mut *connection)
    .await?;
    let attempts = sqlx::query!(
        r#"select key, number, started_at as "started_at: Time", finished_at as "finished_at: Time", failure, worker
        from dacapo.attempt where run_id = $1 order by key, number"#,
        run.0
    )
    .fetch_all(connection)
    .await?;
    let mut attempts_of: BTreeMap<String, Vec<ExportedAttempt>> = BTreeMap::new();
    for row in attempts {
        attempts_of
            .entry(row.key)
            .or_default()
            .push(ExportedAttempt {
                number: row.number,
                started_at: row.started_at.0,
                finished_at: row.finished_at.0,
                failure: failure(&row.failure)?,
                worker: row.worker,
            });
    }
    rows.into_iter()
        .map(|row| {
            let unreadable =
                |_| StoreError::Unreadable(format!("step {}: kind {:?}", row.key, row.kind));
            Ok(ExportedStep {
                position: row.position,
                kind: row.kind.parse().map_err(unreadable)?,
                outcome: row.outcome,
                payload: row.payload.map(Payload::from_trusted),
                due: row.due.map(|time| time.0),
                started_at: row.started_at.0,
                finished_at: row.finished_at.map(|time| time.0),
                failed_attempts: attempts_of.remove(&row.key).unwrap_or_default(),
                key: StepKey::from_trusted(row.key),
            })
        })
        .collect()
}

async fn events(
    connection: &mut PgConnection,
    run: RunId,
) -> Result<Vec<ExportedEvent>, StoreError> {
    let rows = sqlx::query!(
        r#"select seq, name, payload, delivery_id, received_at as "received_at: Time", taken_by
        from dacapo.event where run_id = $1 order by seq"#,
        run.0
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ExportedEvent {
            seq: row.seq,
            name: row.name,
            payload: Payload::from_trusted(row.payload),
            delivery_id: row.delivery_id,
            received_at: row.received_at.0,
            taken_by: row.taken_by.map(StepKey::from_trusted),
        })
        .collect())
}

async fn interventions(
    connection: &mut PgConnection,
    run: RunId,
) -> Result<Vec<ExportedIntervention>, StoreError> {
    let rows = sqlx::query!(
        r#"select at as "at: Time", action, who, details from dacapo.intervention where run_id = $1 order by at, id"#,
        run.0
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ExportedIntervention {
            at: row.at.0,
            action: row.action,
            who: row.who,
            details: Payload::from_trusted(row.details),
        })
        .collect())
}

async fn log(connection: &mut PgConnection, run: RunId) -> Result<Vec<ExportedLine>, StoreError> {
    let rows = sqlx::query!(
        r#"select id, at as "at: Time", level, step, source, message, fields
        from dacapo.log where run_id = $1 order by id"#,
        run.0
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ExportedLine {
            id: row.id,
            at: row.at.0,
            level: row.level,
            step: row.step.map(StepKey::from_trusted),
            source: row.source,
            message: row.message,
            fields: row.fields.map(Payload::from_trusted),
        })
        .collect())
}

/// What became of a run from another database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It is there, as it was; paused if it had not ended.
    Imported,
    /// A run with this id was there; nothing was written.
    Exists,
    /// No deployment of its package has its component; nothing was written.
    NoDeployment,
}

/// Writes a run that comes from another database. See `sql/run/import.sql`.
pub async fn import_run(
    connection: &mut PgConnection,
    namespace: &str,
    export: &RunExport,
    who: &str,
) -> Result<Imported, StoreError> {
    let run = &export.run;
    let status = if run.status.is_terminal() {
        run.status.as_str()
    } else {
        "active"
    };
    let labels = serde_json::to_string(&run.labels)
        .map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let details = json!({ "exportedAt": export.exported_at, "status": run.status });
    let answer = sqlx::query_file_scalar!(
        "sql/run/import.sql",
        namespace,
        run.id.0,
        run.workflow,
        export.deployment.digest,
        export.deployment.package,
        status,
        run.input.as_str(),
        run.output.as_ref().map(Payload::as_str),
        run.failure.as_ref().map(Failure::to_json),
        labels,
        Time(run.created_at) as _,
        run.started_at.map(Time) as _,
        run.finished_at.map(Time) as _,
        run.deadline.map(Time) as _,
        run.cancel_requested_at.map(Time) as _,
        run.origin.map(|origin| origin.id.0),
        run.origin.map(|origin| Time(origin.created_at)) as _,
        rows(export.journal.iter().map(|step| json!({
            "key": step.key, "position": step.position, "kind": step.kind, "outcome": step.outcome,
            "payload": text(&step.payload), "due": step.due, "started_at": step.started_at, "finished_at": step.finished_at,
        }))),
        rows(export.journal.iter().flat_map(attempts)),
        rows(export.events.iter().map(|event| json!({
            "seq": event.seq, "name": event.name, "payload": event.payload.as_str(), "delivery_id": event.delivery_id,
            "received_at": event.received_at, "taken_by": event.taken_by,
        }))),
        rows(export.interventions.iter().map(|one| json!({
            "at": one.at, "action": one.action, "who": one.who, "details": one.details.as_str(),
        }))),
        rows(export.log.iter().flatten().map(|line| json!({
            "id": line.id, "at": line.at, "level": line.level, "step": line.step, "source": line.source,
            "message": line.message, "fields": text(&line.fields),
        }))),
        who,
        details.to_string(),
        run.progress.as_ref().map(|said| said.done),
        run.progress.as_ref().map(|said| said.total),
        run.progress.as_ref().and_then(|said| said.note.as_deref()),
        run.progress.as_ref().map(|said| Time(said.at)) as _
    )
    .fetch_one(connection)
    .await?;
    match answer.as_str() {
        "imported" => Ok(Imported::Imported),
        "exists" => Ok(Imported::Exists),
        "no-deployment" => Ok(Imported::NoDeployment),
        other => Err(StoreError::Unreadable(format!("answer {other:?}"))),
    }
}

fn attempts(step: &ExportedStep) -> impl Iterator<Item = Value> {
    step.failed_attempts.iter().map(|attempt| {
        json!({
            "key": step.key, "number": attempt.number, "started_at": attempt.started_at, "finished_at": attempt.finished_at,
            "failure": attempt.failure.to_json(), "worker": attempt.worker,
        })
    })
}

/// A payload as a text within JSON: the database must not read it.
fn text(payload: &Option<Payload>) -> Option<&str> {
    payload.as_ref().map(Payload::as_str)
}

fn rows(rows: impl Iterator<Item = Value>) -> String {
    Value::Array(rows.collect()).to_string()
}
