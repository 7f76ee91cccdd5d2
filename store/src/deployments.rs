//! Deployments as things to steer: deployed, activated, rolled out by and by, retired, collected.

use std::time::Duration;

use dacapo_model::{DeploymentId, Descriptor, Manifest, Rollout, Timestamp, Workflow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::code::{parse, parse_manifest, rollout};
use crate::{Store, StoreError, Time};

/// The database says why a deployment cannot be had so, in words for people. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentRefusal {
    /// A word for programs.
    pub code: &'static str,
    /// Why not.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A component to be put into service.
#[derive(Debug, Clone, Copy)]
pub struct NewDeployment<'a> {
    /// SHA-256 of the component, in hex.
    pub digest: &'a str,
    /// Its bytes.
    pub component: &'a [u8],
    /// What it offers.
    pub descriptor: &'a Descriptor,
    /// What it says beside its code; workflows are named in full.
    pub manifest: &'a Manifest,
    /// Only these new runs go there.
    pub rollout: Option<&'a Rollout>,
    /// The number of the deployment that must be active, 0 for none.
    pub expects: Option<i32>,
    /// Who does it.
    pub who: Option<&'a str>,
}

/// What became of a deployment that was to take new runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Steered {
    /// It is there now, and takes them.
    Created,
    /// It was there, and takes them now.
    Activated,
    /// It was there, and takes a part of them now.
    RolledOut,
    /// Nothing was changed: it takes them already.
    Same,
    /// Nothing was changed: another deployment is active than was expected.
    Moved,
    /// No new run can go there any more.
    Retired,
    /// It may be activated again.
    Unretired,
}

/// What steering a deployment did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteerOutcome {
    /// The package.
    pub package: String,
    /// The deployment's number.
    pub number: i32,
    /// Number of the deployment that was active before.
    #[serde(default)]
    pub before: Option<i32>,
    /// What became of it.
    pub outcome: Steered,
    /// Number of the deployment that is being rolled out beside the same bytes, and goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<i32>,
    /// Number of the deployment whose roll-out has been ended by a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<i32>,
}

/// Puts a component into service, by `dacapo.deploy`, as anybody may do from SQL.
pub async fn deploy(
    store: &Store,
    namespace: &str,
    new: &NewDeployment<'_>,
) -> Result<Result<SteerOutcome, DeploymentRefusal>, StoreError> {
    let text = |error: serde_json::Error| StoreError::Unreadable(error.to_string());
    let mut descriptor = serde_json::to_value(new.descriptor).map_err(text)?;
    descriptor["digest"] = json!(new.digest);
    descriptor["manifest"] = serde_json::to_value(new.manifest).map_err(text)?;
    let mut options = options(namespace, new.who, new.rollout);
    if let Some(expects) = new.expects {
        options["expects"] = json!(expects);
    }
    let answer = sqlx::query_scalar!(
        r#"select dacapo.deploy($1::bytea, $2::text::jsonb, $3::text::jsonb)::text as "answer!""#,
        new.component,
        descriptor.to_string(),
        options.to_string()
    )
    .fetch_one(store.pool())
    .await;
    steered(answer)
}

/// Lets new runs go to a deployment that is there, all or a part of them, if the active one has the number `expects` (0: none is), where
/// that is given. See `dacapo.activate`.
pub async fn activate(
    store: &Store,
    namespace: &str,
    package: &str,
    number: i32,
    rollout: Option<&Rollout>,
    expects: Option<i32>,
    who: &str,
) -> Result<Result<SteerOutcome, DeploymentRefusal>, StoreError> {
    let mut options = options(namespace, Some(who), rollout);
    if let Some(expects) = expects {
        options["expects"] = json!(expects);
    }
    let answer = sqlx::query_scalar!(
        r#"select dacapo.activate($1, $2, $3::text::jsonb)::text as "answer!""#,
        package,
        number,
        options.to_string()
    )
    .fetch_one(store.pool())
    .await;
    steered(answer)
}

/// Lets no new run go to a deployment, or takes that back. See `dacapo.retire`.
pub async fn retire_deployment(
    store: &Store,
    namespace: &str,
    package: &str,
    number: i32,
    undo: bool,
    who: &str,
) -> Result<Result<SteerOutcome, DeploymentRefusal>, StoreError> {
    let mut options = options(namespace, Some(who), None);
    options["undo"] = json!(undo);
    let answer = sqlx::query_scalar!(
        r#"select dacapo.retire($1, $2, $3::text::jsonb)::text as "answer!""#,
        package,
        number,
        options.to_string()
    )
    .fetch_one(store.pool())
    .await;
    steered(answer)
}

fn options(namespace: &str, who: Option<&str>, rollout: Option<&Rollout>) -> Value {
    let mut options = json!({ "namespace": namespace });
    if let Some(who) = who {
        options["by"] = json!(who);
    }
    if let Some(rollout) = rollout {
        if rollout.percent > 0 {
            options["percent"] = json!(rollout.percent);
        }
        options["labels"] = json!(rollout.labels);
    }
    options
}

/// What the functions answer, or what they raise.
fn steered(
    answer: Result<String, sqlx::Error>,
) -> Result<Result<SteerOutcome, DeploymentRefusal>, StoreError> {
    match answer {
        Ok(answer) => Ok(Ok(parse(&answer, "a deployment")?)),
        Err(sqlx::Error::Database(said)) => {
            let code = match said.code().as_deref() {
                Some("P0002") => "deployment-not-found",
                Some("55000") => "deployment-conflict",
                Some("42704") => "queue-not-found",
                Some("22023" | "22004") => "bad-deployment",
                _ => return Err(sqlx::Error::Database(said).into()),
            };
            let hint = said
                .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
                .and_then(|said| said.hint().map(str::to_owned));
            Ok(Err(DeploymentRefusal {
                code,
                message: said.message().to_owned(),
                hint,
            }))
        }
        Err(error) => Err(error.into()),
    }
}

/// A deployment, for lists.
#[derive(Debug, Clone)]
pub struct DeploymentSummary {
    /// Its id.
    pub id: DeploymentId,
    /// Its package.
    pub package: String,
    /// Its number within the package.
    pub number: i32,
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// Whether new runs go to it.
    pub active: bool,
    /// The part of new runs that goes to it while it is rolled out.
    pub rollout: Option<Rollout>,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
    /// When it was deployed.
    pub created_at: Timestamp,
    /// Who did what to it last, and when.
    pub last_change: Option<DeploymentChange>,
    /// Runs on it that have not ended.
    pub in_flight: i64,
}

/// What was done to a deployment.
#[derive(Debug, Clone)]
pub struct DeploymentChange {
    /// `deployed`, `activated`, `rolled-out`, `retired`, `unretired`.
    pub what: String,
    /// Who did it.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// The part of a roll-out.
    pub rollout: Option<Rollout>,
}

fn change(
    what: Option<String>,
    who: Option<String>,
    at: Option<Time>,
    details: Option<String>,
) -> Result<Option<DeploymentChange>, StoreError> {
    let (Some(what), Some(who), Some(at)) = (what, who, at) else {
        return Ok(None);
    };
    Ok(Some(DeploymentChange {
        what,
        who,
        at: at.0,
        rollout: details
            .map(|details| parse(&details, "a roll-out"))
            .transpose()?,
    }))
}

/// Deployments, by package and the newest first; all, or those of one package, or one of those. See `sql/deployment/list.sql`.
pub async fn list_deployments(
    store: &Store,
    namespace: &str,
    package: Option<&str>,
    number: Option<i32>,
) -> Result<Vec<DeploymentSummary>, StoreError> {
    let rows = sqlx::query_file!("sql/deployment/list.sql", namespace, package, number)
        .fetch_all(store.pool())
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(DeploymentSummary {
                id: DeploymentId(row.id),
                package: row.package,
                number: row.number,
                digest: row.digest,
                active: row.active,
                rollout: rollout(row.rollout_percent, row.rollout_labels.as_deref())?,
                retired_at: row.retired_at.map(|at| at.0),
                created_at: row.created_at.0,
                last_change: change(row.what, row.who, row.at, row.details)?,
                in_flight: row.in_flight,
            })
        })
        .collect()
}

/// What a deployment offers, and what it says beside its code.
#[derive(Debug, Clone)]
pub struct DeploymentContent {
    /// What its runs are pinned to.
    pub id: DeploymentId,
    /// What it offers and calls.
    pub descriptor: Descriptor,
    /// What it says beside its code.
    pub manifest: Manifest,
    /// No new run can go there.
    pub is_retired: bool,
}

/// The content of one deployment. None: there is none with this number.
pub async fn deployment_content(
    store: &Store,
    namespace: &str,
    package: &str,
    number: i32,
) -> Result<Option<DeploymentContent>, StoreError> {
    let row = sqlx::query!(
        r#"select id, descriptor, manifest, retired_at is not null as "is_retired!"
        from dacapo.deployment where namespace = $1 and package = $2 and number = $3"#,
        namespace,
        package,
        number
    )
    .fetch_optional(store.pool())
    .await?;
    row.map(|row| {
        Ok(DeploymentContent {
            id: DeploymentId(row.id),
            descriptor: parse(&row.descriptor, package)?,
            manifest: parse_manifest(&row.manifest, package)?,
            is_retired: row.is_retired,
        })
    })
    .transpose()
}

/// What was done to a deployment, in its order.
pub async fn deployment_changes(
    store: &Store,
    id: DeploymentId,
) -> Result<Vec<DeploymentChange>, StoreError> {
    let rows = sqlx::query!(
        r#"select what, who, at as "at: Time", details::text as details
        from dacapo.deployment_change where deployment_id = $1 order by id"#,
        id.0
    )
    .fetch_all(store.pool())
    .await?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        changes.extend(change(
            Some(row.what),
            Some(row.who),
            Some(row.at),
            row.details,
        )?);
    }
    Ok(changes)
}

/// Runs that somebody moved to a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedRuns {
    /// Who.
    pub who: String,
    /// The number of the deployment that they were on before.
    pub from: i32,
    /// How many.
    pub runs: u64,
    /// When the last of them was moved.
    pub last_at: Timestamp,
}

/// Who moved runs to a deployment: of each of these workflows no more than the `oldest` runs on it are looked at. See
/// `sql/deployment/moved.sql`.
pub async fn moved_to(
    store: &Store,
    id: DeploymentId,
    workflows: &[String],
    oldest: u32,
) -> Result<Vec<MovedRuns>, StoreError> {
    let rows = sqlx::query_file!(
        "sql/deployment/moved.sql",
        id.0,
        workflows,
        i64::from(oldest)
    )
    .fetch_all(store.pool())
    .await?;
    let moved = rows.into_iter().map(|row| MovedRuns {
        who: row.who,
        from: row.from_number,
        runs: u64::try_from(row.runs).unwrap_or(0),
        last_at: row.last_at.0,
    });
    Ok(moved.collect())
}

/// What of a namespace may mind that another deployment of a package comes.
#[derive(Debug, Clone, Default)]
pub struct Dependents {
    /// The number and the workflows of the active deployment.
    pub active: Option<(i32, Vec<Workflow>)>,
    /// Runs in flight, by workflow.
    pub in_flight: Vec<(String, i64)>,
    /// Names of schedules, with their workflows.
    pub schedules: Vec<(String, String)>,
    /// The deployments that call its workflows.
    pub callers: Vec<Caller>,
}

/// A deployment that calls workflows of a package.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its package.
    pub package: String,
    /// Its number.
    pub number: i32,
    /// Its runs in flight.
    pub in_flight: i64,
    /// The workflows that it calls, as it knows them.
    pub calls: Vec<Workflow>,
}

/// Who deals with the workflows of a package. See `sql/deployment/dependents.sql`.
pub async fn dependents(
    store: &Store,
    namespace: &str,
    package: &str,
) -> Result<Dependents, StoreError> {
    let rows = sqlx::query_file!("sql/deployment/dependents.sql", namespace, package)
        .fetch_all(store.pool())
        .await?;
    let mut found = Dependents::default();
    let prefix = format!("{package}/");
    for row in rows {
        match row.kind.as_str() {
            "runs" => found.in_flight.push((row.name, row.runs)),
            "schedule" => found
                .schedules
                .push((row.name, row.content.unwrap_or_default())),
            kind => {
                let number = i32::try_from(row.number).unwrap_or(i32::MAX);
                let descriptor: Descriptor = parse(&row.content.unwrap_or_default(), &row.name)?;
                if kind == "active" {
                    found.active = Some((number, descriptor.workflows));
                } else {
                    let mut calls = descriptor.children;
                    calls.retain(|call| call.name.starts_with(&prefix));
                    found.callers.push(Caller {
                        package: row.name,
                        number,
                        in_flight: row.runs,
                        calls,
                    });
                }
            }
        }
    }
    Ok(found)
}

/// Something that was taken away because nothing needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectedRow {
    /// Tenant, package and number of the deployment; none: a component that no deployment had.
    pub deployment: Option<(String, String, i32)>,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// The size of the component, if that went, too.
    pub bytes: Option<i64>,
}

/// Takes away deployments without runs that have been retired for this long, and components that no deployment has; or only says which
/// they are. One stays while transactions are open that may have started a run there before it was retired: a later call takes it. See
/// `dacapo.collect_deployments`.
pub async fn collect_deployments(
    store: &Store,
    dry_run: bool,
    retired_for: Duration,
) -> Result<Vec<CollectedRow>, StoreError> {
    if !dry_run {
        // In a transaction of its own: what is open is known only once the retirement is committed.
        sqlx::query!("select from dacapo.see_retirements()")
            .execute(store.pool())
            .await?;
    }
    let rows = sqlx::query!(
        r#"select namespace, package, number, digest as "digest!", bytes
        from dacapo.collect_deployments($1, $2::bigint * interval '1 second')"#,
        dry_run,
        i64::try_from(retired_for.as_secs()).unwrap_or(i64::MAX)
    )
    .fetch_all(store.pool())
    .await?;
    let collected = rows.into_iter().map(|row| CollectedRow {
        deployment: match (row.namespace, row.package, row.number) {
            (Some(namespace), Some(package), Some(number)) => Some((namespace, package, number)),
            _ => None,
        },
        digest: row.digest,
        bytes: row.bytes,
    });
    Ok(collected.collect())
}
