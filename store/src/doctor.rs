//! Looks for what should not be: runs that nobody will ever wake, leases that nobody renews, settings that lose data.
//!
//! These statements read whole tables. They are for a person who asks, never for a loop.

use dacapo_model::RunId;
use serde::Serialize;
use sqlx::PgConnection;

use crate::{Store, StoreError};

/// At most this many runs are named in one finding.
const RUNS_NAMED_MAX: i64 = 10;

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at, a stable word: `workers`, `expired-leases`.
    pub check: &'static str,
    /// Whether something is wrong.
    pub problem: bool,
    /// What was found, in one line.
    pub message: String,
    /// What to do about it, if something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The runs that it is about, ten at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunId>,
}

impl Finding {
    fn fine(check: &'static str, message: impl Into<String>) -> Self {
        Self {
            check,
            problem: false,
            message: message.into(),
            advice: None,
            runs: Vec::new(),
        }
    }

    fn problem(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            check,
            problem: true,
            message: message.into(),
            advice: Some(advice.into()),
            runs: Vec::new(),
        }
    }

    fn about(mut self, runs: Vec<RunId>) -> Self {
        self.runs = runs;
        self
    }
}

/// Runs that have something in common: how many, and the first few.
#[derive(Default)]
struct Group {
    count: i64,
    runs: Vec<RunId>,
}

macro_rules! group {
    ($rows:expr) => {{
        let mut group = Group::default();
        for row in $rows {
            group.count = row.total;
            group.runs.push(RunId(row.run_id));
        }
        group
    }};
}

impl Group {
    fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// "1 run", "12 runs".
    fn counted(&self) -> String {
        counted(self.count, "run")
    }
}

fn counted(count: i64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Examines a database that has this binary's schema, and changes nothing.
pub async fn examine(store: &Store) -> Result<Vec<Finding>, StoreError> {
    let mut connection = store.pool().acquire().await?;
    let connection = &mut *connection;
    let mut findings = vec![settings(connection).await?];
    let (workers, alive) = workers(connection).await?;
    findings.push(workers);
    findings.push(expired_leases(connection, alive > 0).await?);
    findings.push(runs_without_task(connection).await?);
    findings.push(tasks_without_run(connection).await?);
    findings.push(runs_with_two_tasks(connection).await?);
    findings.extend(blocked(connection).await?);
    findings.push(overdue(connection, alive > 0).await?);
    findings.push(waiting(connection, alive > 0).await?);
    findings.push(missing_components(connection).await?);
    Ok(findings)
}

async fn settings(connection: &mut PgConnection) -> Result<Finding, StoreError> {
    let off: Vec<String> = sqlx::query_scalar!(
        r#"select name as "name!" from pg_settings
        where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off'
        order by name"#
    )
    .fetch_all(connection)
    .await?;
    if off.is_empty() {
        return Ok(Finding::fine(
            "settings",
            "what is committed survives a crash of the server",
        ));
    }
    Ok(Finding::problem(
        "settings",
        format!(
            "the server may lose what is committed when it crashes: {} = off",
            off.join(" = off, ")
        ),
        format!(
            "set {} = on in the server's configuration and reload it",
            off.join(" = on, ")
        ),
    ))
}

/// Also tells how many workers are alive.
async fn workers(connection: &mut PgConnection) -> Result<(Finding, usize), StoreError> {
    let rows = sqlx::query!(
        r#"select
            worker.name,
            worker.version,
            lease_until >= clock_timestamp() as "alive!",
            (select count(*) from dacapo.task_leased where worker_id = worker.id) as "runs!",
            abs(extract(epoch from clock_timestamp() - lease_until))::float8 as "seconds!"
        from dacapo.worker
        order by worker.started_at"#
    )
    .fetch_all(&mut *connection)
    .await?;
    let alive: Vec<String> = rows
        .iter()
        .filter(|row| row.alive)
        .map(|row| {
            let runs = counted(row.runs, "run");
            format!(
                "{} (version {}, {runs}, lease for another {:.1} s)",
                row.name, row.version, row.seconds
            )
        })
        .collect();
    if !alive.is_empty() {
        return Ok((
            Finding::fine("workers", format!("alive: {}", alive.join(", "))),
            alive.len(),
        ));
    }
    let unfinished = sqlx::query_scalar!(
        r#"select exists (select from dacapo.run where status = 'active') as "there!""#
    )
    .fetch_one(connection)
    .await?;
    let last = rows
        .iter()
        .min_by(|a, b| a.seconds.total_cmp(&b.seconds))
        .map(|row| {
            format!(
                "; the last one was {}, whose lease was over {:.0} s ago",
                row.name, row.seconds
            )
        })
        .unwrap_or_default();
    let finding = if unfinished {
        Finding::problem(
            "workers",
            format!("no worker is alive, and there are runs to be worked on{last}"),
            "start one with `dacapo worker`, or `dacapo dev`",
        )
    } else {
        Finding::fine(
            "workers",
            format!("no worker is alive, and there is nothing to work on{last}"),
        )
    };
    Ok((finding, 0))
}

async fn expired_leases(
    connection: &mut PgConnection,
    any_worker: bool,
) -> Result<Finding, StoreError> {
    let group = group!(
        sqlx::query!(
            r#"select run_id, count(*) over () as "total!"
            from dacapo.task_leased
            where not exists (
                select from dacapo.worker
                where worker.id = task_leased.worker_id
                and worker.lease_until > clock_timestamp() - interval '3 seconds'
            )
            order by run_id limit $1"#,
            RUNS_NAMED_MAX
        )
        .fetch_all(connection)
        .await?
    );
    if group.is_empty() {
        return Ok(Finding::fine(
            "expired-leases",
            "no run is held by a dead worker",
        ));
    }
    let advice = if any_worker {
        "a live worker takes them over within a second or two: look again; if they stay, read that worker's log"
    } else {
        "start a worker with `dacapo worker`: it takes them over"
    };
    Ok(Finding::problem(
        "expired-leases",
        format!("{} held by workers that are dead", group.counted()),
        advice,
    )
    .about(group.runs))
}

async fn runs_without_task(connection: &mut PgConnection) -> Result<Finding, StoreError> {
    let group = group!(
        sqlx::query!(
            r#"select run.id as run_id, count(*) over () as "total!"
            from dacapo.run
            where status = 'active'
            and not exists (select from dacapo.task_ready where run_id = run.id)
            and not exists (select from dacapo.task_leased where run_id = run.id)
            and not exists (select from dacapo.task_suspended where run_id = run.id)
            order by run.id limit $1"#,
            RUNS_NAMED_MAX
        )
        .fetch_all(connection)
        .await?
    );
    if group.is_empty() {
        return Ok(Finding::fine(
            "runs-without-task",
            "every unfinished run has its place in the queue",
        ));
    }
    Ok(Finding::problem(
        "runs-without-task",
        format!("{} unfinished and in no table of the queue: nothing will ever wake them", group.counted()),
        "rows were deleted by hand, or this is a bug. To put one back: insert into dacapo.task_ready (run_id, started_at) \
         values ('<run>', now())",
    )
    .about(group.runs))
}

async fn tasks_without_run(connection: &mut PgConnection) -> Result<Finding, StoreError> {
    let group = group!(
        sqlx::query!(
            r#"select task.run_id as "run_id!", count(*) over () as "total!"
            from (
                select run_id from dacapo.task_ready
                union all select run_id from dacapo.task_leased
                union all select run_id from dacapo.task_suspended
            ) as task
            where not exists (select from dacapo.run where run.id = task.run_id and run.status = 'active')
            order by task.run_id limit $1"#,
            RUNS_NAMED_MAX
        )
        .fetch_all(connection)
        .await?
    );
    if group.is_empty() {
        return Ok(Finding::fine(
            "tasks-without-run",
            "every place in the queue belongs to an unfinished run",
        ));
    }
    Ok(Finding::problem(
        "tasks-without-run",
        format!("{} in the queue that are finished or do not exist", group.counted()),
        "rows were deleted or changed by hand, or this is a bug. Delete these rows from dacapo.task_ready, task_leased and \
         task_suspended while no worker is running",
    )
    .about(group.runs))
}

async fn runs_with_two_tasks(connection: &mut PgConnection) -> Result<Finding, StoreError> {
    let group = group!(
        sqlx::query!(
            r#"select task.run_id as "run_id!", count(*) over () as "total!"
            from (
                select run_id from dacapo.task_ready
                union all select run_id from dacapo.task_leased
                union all select run_id from dacapo.task_suspended
            ) as task
            group by task.run_id having count(*) > 1
            order by task.run_id limit $1"#,
            RUNS_NAMED_MAX
        )
        .fetch_all(connection)
        .await?
    );
    if group.is_empty() {
        return Ok(Finding::fine(
            "runs-with-two-tasks",
            "no run has two places in the queue",
        ));
    }
    Ok(Finding::problem(
        "runs-with-two-tasks",
        format!("{} in more than one table of the queue", group.counted()),
        "rows were inserted by hand, or this is a bug. Keep one row for each of these runs while no worker is running",
    )
    .about(group.runs))
}

async fn blocked(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    let rows = sqlx::query!(
        r#"select
            coalesce(blocked::jsonb ->> 'code', 'unknown') as "code!",
            min(coalesce(blocked::jsonb ->> 'message', '')) as "message!",
            count(*) as "total!",
            (array_agg(run_id order by run_id))[1:10] as "runs!"
        from dacapo.task_suspended
        where reason = 'blocked'
        group by 1 order by 1"#
    )
    .fetch_all(connection)
    .await?;
    if rows.is_empty() {
        return Ok(vec![Finding::fine("blocked-runs", "no run is blocked")]);
    }
    Ok(rows
        .into_iter()
        .map(|row| {
            let runs: Vec<RunId> = row.runs.into_iter().map(RunId).collect();
            Finding::problem(
                "blocked-runs",
                format!(
                    "{} blocked ({}): {}",
                    counted(row.total, "run"),
                    row.code,
                    row.message
                ),
                "mend the cause, then `dacapo resume RUN`; nothing of these runs is lost",
            )
            .about(runs)
        })
        .collect())
}

async fn overdue(connection: &mut PgConnection, any_worker: bool) -> Result<Finding, StoreError> {
    let group = group!(
        sqlx::query!(
            r#"select run_id, count(*) over () as "total!"
            from dacapo.task_suspended
            where wake_at < clock_timestamp() - interval '10 seconds' and not paused
            order by wake_at limit $1"#,
            RUNS_NAMED_MAX
        )
        .fetch_all(connection)
        .await?
    );
    if group.is_empty() {
        return Ok(Finding::fine(
            "overdue-timers",
            "no run has slept past its time",
        ));
    }
    let advice = if any_worker {
        "the workers do not keep up: look at the server's load and at the workers' logs, or start more workers"
    } else {
        "start a worker with `dacapo worker`: it wakes them"
    };
    Ok(Finding::problem(
        "overdue-timers",
        format!("{} still asleep 10 s after their time", group.counted()),
        advice,
    )
    .about(group.runs))
}

async fn waiting(connection: &mut PgConnection, any_worker: bool) -> Result<Finding, StoreError> {
    let group = group!(
        sqlx::query!(
            r#"select run_id, count(*) over () as "total!"
            from dacapo.task_ready
            where ready_at < clock_timestamp() - interval '60 seconds'
            order by ready_at limit $1"#,
            RUNS_NAMED_MAX
        )
        .fetch_all(connection)
        .await?
    );
    if group.is_empty() {
        return Ok(Finding::fine(
            "waiting-runs",
            "no run has waited for a worker for more than 60 s",
        ));
    }
    let advice = if any_worker {
        "the workers are busy: start more of them, or raise `--runs-max`"
    } else {
        "start a worker with `dacapo worker`"
    };
    Ok(Finding::problem(
        "waiting-runs",
        format!(
            "{} waiting for a worker for more than 60 s",
            group.counted()
        ),
        advice,
    )
    .about(group.runs))
}

async fn missing_components(connection: &mut PgConnection) -> Result<Finding, StoreError> {
    let missing: Vec<String> = sqlx::query_scalar!(
        r#"select format('%s (deployment %s)', package, number) as "name!"
        from dacapo.deployment
        where not exists (select from dacapo.component where component.digest = deployment.digest)
        order by package, number"#
    )
    .fetch_all(connection)
    .await?;
    if missing.is_empty() {
        return Ok(Finding::fine(
            "components",
            "the code of every deployment is stored",
        ));
    }
    Ok(Finding::problem(
        "components",
        format!("the code is missing of {}", missing.join(", ")),
        "deploy the same files again with `dacapo deploy FILE.wasm`",
    ))
}
