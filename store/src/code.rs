//! Code: components, deployments and their workflows.

use dacapo_model::{DeploymentId, Descriptor, Manifest, Rollout, Timestamp, Workflow};

use crate::{PlacingDefaults, Store, StoreError, Time};

/// A workflow of a deployment that new runs go to.
#[derive(Debug, Clone)]
pub struct ActiveWorkflow {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its package.
    pub package: String,
    /// Its number.
    pub number: i32,
    /// The part of the new runs that goes there, if it is being rolled out beside the active one.
    pub rollout: Option<Rollout>,
    /// What the deployment says of runs of it whose start does not say it.
    pub defaults: PlacingDefaults,
    /// The workflow and its types.
    pub workflow: Workflow,
}

/// The workflows that go by this name, a full name (`ns:pkg/interface.function`) or a function's name alone, on the active deployment and
/// on the one that is being rolled out beside it. More than one name: the name is not unique. None: there is no such workflow.
pub async fn active_workflow(
    store: &Store,
    namespace: &str,
    name: &str,
) -> Result<Vec<ActiveWorkflow>, StoreError> {
    let (function, full) = match name.rsplit_once('.') {
        Some((_, function)) => (function, Some(name)),
        None => (name, None),
    };
    let rows = sqlx::query_file!(
        "sql/deployment/active_workflow.sql",
        namespace,
        function,
        full
    )
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ActiveWorkflow {
                deployment: DeploymentId(row.deployment_id),
                package: row.package,
                number: row.number,
                rollout: rollout(row.rollout_percent, row.rollout_labels.as_deref())?,
                defaults: PlacingDefaults {
                    queue: row.queue,
                    priority: row.priority,
                },
                workflow: parse(&row.schema, &row.name)?,
            })
        })
        .collect()
}

/// A deployment.
#[derive(Debug, Clone)]
pub struct DeploymentRow {
    /// Its id.
    pub id: DeploymentId,
    /// Its tenant.
    pub namespace: String,
    /// Its package.
    pub package: String,
    /// Its number within the package.
    pub number: i32,
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// What it offers.
    pub descriptor: Descriptor,
    /// What it says about its workflows beside their code.
    pub manifest: Manifest,
    /// Whether new runs go to it.
    pub active: bool,
    /// Whether a worker has found the descriptor to be that of the component.
    pub verified: bool,
    /// When it was deployed.
    pub created_at: Timestamp,
}

/// One deployment. None: there is none with this id.
pub async fn deployment(
    store: &Store,
    id: DeploymentId,
) -> Result<Option<DeploymentRow>, StoreError> {
    let row = sqlx::query!(
        r#"select id, namespace, package, number, digest, descriptor, manifest, active, verified, created_at as "created_at: Time"
        from dacapo.deployment where id = $1"#,
        id.0
    )
    .fetch_optional(store.pool())
    .await?;
    row.map(|row| {
        Ok(DeploymentRow {
            id: DeploymentId(row.id),
            namespace: row.namespace,
            descriptor: parse(&row.descriptor, &row.package)?,
            manifest: parse_manifest(&row.manifest, &row.package)?,
            package: row.package,
            number: row.number,
            digest: row.digest,
            active: row.active,
            verified: row.verified,
            created_at: row.created_at.0,
        })
    })
    .transpose()
}

/// Notes that the descriptor of a deployment is that of its component.
pub async fn note_verified(store: &Store, id: DeploymentId) -> Result<(), StoreError> {
    sqlx::query!(
        "update dacapo.deployment set verified = true where id = $1 and not verified",
        id.0
    )
    .execute(store.pool())
    .await?;
    Ok(())
}

/// The bytes of a component. None: there is none with this digest.
pub async fn component_bytes(store: &Store, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(sqlx::query_scalar!(
        "select bytes from dacapo.component where digest = $1",
        digest
    )
    .fetch_optional(store.pool())
    .await?)
}

/// Whether a component with this digest is stored.
pub async fn component_exists(store: &Store, digest: &str) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from dacapo.component where digest = $1) as "there!""#,
        digest
    )
    .fetch_one(store.pool())
    .await?)
}

/// A workflow of an active deployment, for lists.
#[derive(Debug, Clone)]
pub struct WorkflowRow {
    /// The deployment's package.
    pub package: String,
    /// The deployment's number.
    pub number: i32,
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// When it was deployed.
    pub deployed_at: Timestamp,
    /// What the deployment says beside its code; or why this binary cannot read that.
    pub manifest: Result<Manifest, String>,
    /// The workflow and its types.
    pub workflow: Workflow,
}

/// The workflows that new runs can be of, by name: those of active deployments, and what a deployment has beyond that which is being rolled
/// out. A manifest that cannot be read hides nobody else's workflows.
pub async fn list_workflows(
    store: &Store,
    namespace: &str,
) -> Result<Vec<WorkflowRow>, StoreError> {
    let rows = sqlx::query!(
        r#"select deployment.package, deployment.number, deployment.digest, deployment.created_at as "deployed_at: Time", deployment.manifest,
            workflow.name, workflow.schema
        from dacapo.workflow join dacapo.deployment on deployment.id = workflow.deployment_id
        where deployment.namespace = $1 and (
            deployment.active
            -- What only a deployment has that is being rolled out.
            or (deployment.rollout_percent is not null and not exists (
                select from dacapo.deployment as active
                join dacapo.workflow as same on same.deployment_id = active.id and same.name = workflow.name
                where active.namespace = $1 and active.package = deployment.package and active.active
            ))
        )
        order by workflow.name"#,
        namespace
    )
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(WorkflowRow {
                workflow: parse(&row.schema, &row.name)?,
                manifest: serde_json::from_str(&row.manifest).map_err(|error| error.to_string()),
                package: row.package,
                number: row.number,
                digest: row.digest,
                deployed_at: row.deployed_at.0,
            })
        })
        .collect()
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    text: &str,
    what: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Unreadable(format!("schema of {what}: {error}")))
}

/// What is said of a roll-out in columns.
pub(crate) fn rollout(
    percent: Option<i16>,
    labels: Option<&str>,
) -> Result<Option<Rollout>, StoreError> {
    let (Some(percent), Some(labels)) = (percent, labels) else {
        return Ok(None);
    };
    Ok(Some(Rollout {
        percent: u8::try_from(percent).unwrap_or(0),
        labels: parse(labels, "a roll-out")?,
    }))
}

pub(crate) fn parse_manifest(text: &str, package: &str) -> Result<Manifest, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Unreadable(format!("manifest of {package}: {error}")))
}
