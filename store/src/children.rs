//! Children of runs: what they are runs of, how they came out, and who is to be told.

use dacapo_model::{DeploymentId, Payload, RunId, Workflow};

use crate::code::parse;
use crate::{PlacingDefaults, Store, StoreError};

/// A workflow that a child may be a run of.
#[derive(Debug, Clone)]
pub struct ChildWorkflow {
    /// The deployment that takes it now.
    pub deployment: DeploymentId,
    /// The workflow.
    pub workflow: Workflow,
    /// How many runs have started each other on the way to the parent.
    pub depth: u16,
    /// What the deployment says of runs of it whose start does not say it.
    pub defaults: PlacingDefaults,
}

/// How a child stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildState {
    /// The run has no such child.
    Unknown,
    /// It has not ended.
    Active,
    /// It has ended, with this: `{"ok": …}` or `{"failed": …}`.
    Ended(Payload),
}

/// The workflows in the namespace of `parent` that go by this name, a full one or the end of one, each on the deployment that takes the new
/// run `child` with these labels (none: its parent's). See `sql/child/find_workflow.sql`.
pub async fn find_child_workflow(
    store: &Store,
    parent: RunId,
    name: &str,
    child: RunId,
    labels: Option<&[(String, String)]>,
) -> Result<Vec<ChildWorkflow>, StoreError> {
    let labels = labels.map(|labels| {
        let labels = labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        serde_json::Value::from_iter(labels).to_string()
    });
    let function = name.rsplit_once('.').map_or(name, |(_, function)| function);
    let rows = sqlx::query_file!(
        "sql/child/find_workflow.sql",
        parent.0,
        function,
        name,
        child.0,
        labels
    )
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ChildWorkflow {
                deployment: DeploymentId(row.deployment_id),
                workflow: parse(&row.schema, &row.name)?,
                depth: u16::try_from(row.depth).unwrap_or(0),
                defaults: PlacingDefaults {
                    queue: row.queue,
                    priority: row.priority,
                },
            })
        })
        .collect()
}

/// Whether there is a queue of this name in the namespace of `parent`.
pub async fn has_queue(store: &Store, parent: RunId, name: &str) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        r#"select exists (
            select from dacapo.run join dacapo.queue on queue.namespace = run.namespace and queue.name = $2 where run.id = $1
        ) as "found!""#,
        parent.0,
        name
    )
    .fetch_one(store.pool())
    .await?;
    Ok(found)
}

/// How a child of `parent` stands.
pub async fn child_state(
    store: &Store,
    parent: RunId,
    child: RunId,
) -> Result<ChildState, StoreError> {
    let outcome = sqlx::query_scalar!(
        "select dacapo.outcome_of(run)
        from dacapo.run
        where id = $1 and exists (select from dacapo.child where child.parent = $2 and child.run_id = $1)",
        child.0,
        parent.0
    )
    .fetch_optional(store.pool())
    .await?;
    Ok(match outcome {
        None => ChildState::Unknown,
        Some(None) => ChildState::Active,
        Some(Some(outcome)) => ChildState::Ended(Payload::from_trusted(outcome)),
    })
}

/// Parents of children that have ended, of up to `max` children: they are to be told. A look at the table, which takes long while somebody holds
/// an old snapshot: so it is for many of them, and each is found by its key after that.
pub async fn parents_to_tell(store: &Store, max: u32) -> Result<Vec<RunId>, StoreError> {
    let max = i32::try_from(max).unwrap_or(i32::MAX);
    let parents = sqlx::query_scalar!(r#"select dacapo.parents_to_tell($1) as "parents!""#, max)
        .fetch_one(store.pool())
        .await?;
    Ok(parents.into_iter().map(RunId).collect())
}

/// Tells a parent of all its children that have ended. False: somebody else is at it, or has done it.
pub async fn tell_parent(store: &Store, parent: RunId) -> Result<bool, StoreError> {
    let told = sqlx::query_scalar!(r#"select dacapo.tell_parent($1) as "told!""#, parent.0)
        .fetch_one(store.pool())
        .await?;
    Ok(told > 0)
}

/// Up to `max` parents that have ended or are being cancelled, whose children are to be cancelled.
pub async fn parents_to_leave(store: &Store, max: u32) -> Result<Vec<RunId>, StoreError> {
    let max = i32::try_from(max).unwrap_or(i32::MAX);
    let parents = sqlx::query_scalar!(r#"select dacapo.parents_to_leave($1) as "parents!""#, max)
        .fetch_one(store.pool())
        .await?;
    Ok(parents.into_iter().map(RunId).collect())
}

/// What a try to cancel a child came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftChild {
    /// One was cancelled; there may be more.
    Cancelled,
    /// The parent has no child that is to be cancelled.
    None,
    /// Somebody else is at it, or has done it.
    NotNoted,
}

/// Cancels one child of a parent that has ended or is being cancelled.
pub async fn cancel_child(store: &Store, parent: RunId) -> Result<LeftChild, StoreError> {
    let cancelled = sqlx::query_scalar!("select dacapo.cancel_child($1)", parent.0)
        .fetch_one(store.pool())
        .await?;
    Ok(match cancelled {
        Some(true) => LeftChild::Cancelled,
        Some(false) => LeftChild::None,
        None => LeftChild::NotNoted,
    })
}
