//! Code: components, deployments and their workflows.

use dacapo_model::{DeploymentId, Descriptor, Manifest, Timestamp, Workflow};

use crate::{Store, StoreError, Time};

/// A workflow of an active deployment.
#[derive(Debug, Clone)]
pub struct ActiveWorkflow {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its package.
    pub package: String,
    /// Its number.
    pub number: i32,
    /// The workflow and its types.
    pub workflow: Workflow,
}

/// The active workflows that go by this name: a full name (`ns:pkg/interface.function`), or a function's name alone. More than one:
/// the name is not unique. None: there is no such workflow.
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
                workflow: parse(&row.schema, &row.name)?,
            })
        })
        .collect()
}

/// What a deploy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployOutcome {
    /// The deployment.
    pub id: DeploymentId,
    /// Its number within the package.
    pub number: i32,
    /// False: the active deployment has these bytes and this manifest already, and nothing was changed.
    pub created: bool,
    /// Number of the deployment that was active before, if another one was.
    pub replaces: Option<i32>,
}

/// Stores a component and makes it the active deployment of its package. The bytes and the manifest that the active deployment has already
/// change nothing; the manifest names workflows in full.
pub async fn deploy(
    store: &Store,
    namespace: &str,
    digest: &str,
    component: &[u8],
    descriptor: &Descriptor,
    manifest: &Manifest,
) -> Result<DeployOutcome, StoreError> {
    let text = |error: serde_json::Error| StoreError::Unreadable(error.to_string());
    let descriptor_text = serde_json::to_string(descriptor).map_err(text)?;
    let manifest_text = serde_json::to_string(manifest).map_err(text)?;
    let mut tx = store.pool().begin().await?;
    // Deploys of one package go one after the other, so that numbers have no gaps and one of them is active.
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended($1, 0))",
        format!("dacapo.deploy {namespace} {}", descriptor.package)
    )
    .execute(&mut *tx)
    .await?;
    let active = sqlx::query!(
        "select id, number, digest, descriptor, manifest from dacapo.deployment where namespace = $1 and package = $2 and active",
        namespace,
        descriptor.package
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(active) = &active
        && active.digest == digest
        && active.descriptor == descriptor_text
        && active.manifest == manifest_text
    {
        return Ok(DeployOutcome {
            id: DeploymentId(active.id),
            number: active.number,
            created: false,
            replaces: None,
        });
    }
    sqlx::query!("insert into dacapo.component (digest, bytes) values ($1, $2) on conflict (digest) do nothing", digest, component)
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "update dacapo.deployment set active = false where namespace = $1 and package = $2 and active",
        namespace,
        descriptor.package
    )
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query!(
        r#"insert into dacapo.deployment (namespace, package, number, digest, descriptor, manifest, active)
        select $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, true
        from dacapo.deployment where namespace = $1 and package = $2
        returning id, number"#,
        namespace,
        descriptor.package,
        digest,
        descriptor_text,
        manifest_text
    )
    .fetch_one(&mut *tx)
    .await?;
    for workflow in &descriptor.workflows {
        sqlx::query!(
            "insert into dacapo.workflow (deployment_id, name, function, schema) values ($1, $2, $3, $4)",
            row.id,
            workflow.name,
            workflow.function,
            serde_json::to_string(workflow).map_err(text)?
        )
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query!(
        "select pg_notify('dacapo_deployment', $1)",
        row.id.to_string()
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(DeployOutcome {
        id: DeploymentId(row.id),
        number: row.number,
        created: true,
        replaces: active.map(|active| active.number),
    })
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
    /// When it was deployed.
    pub created_at: Timestamp,
}

/// One deployment. None: there is none with this id.
pub async fn deployment(
    store: &Store,
    id: DeploymentId,
) -> Result<Option<DeploymentRow>, StoreError> {
    let row = sqlx::query!(
        r#"select id, namespace, package, number, digest, descriptor, manifest, active, created_at as "created_at: Time"
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
            created_at: row.created_at.0,
        })
    })
    .transpose()
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
    /// What the deployment says beside its code.
    pub manifest: Manifest,
    /// The workflow and its types.
    pub workflow: Workflow,
}

/// The workflows of all active deployments, by name.
pub async fn list_workflows(
    store: &Store,
    namespace: &str,
) -> Result<Vec<WorkflowRow>, StoreError> {
    let rows = sqlx::query!(
        r#"select deployment.package, deployment.number, deployment.digest, deployment.created_at as "deployed_at: Time", deployment.manifest,
            workflow.name, workflow.schema
        from dacapo.workflow join dacapo.deployment on deployment.id = workflow.deployment_id
        where deployment.active and deployment.namespace = $1 order by workflow.name"#,
        namespace
    )
    .fetch_all(store.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(WorkflowRow {
                workflow: parse(&row.schema, &row.name)?,
                manifest: parse_manifest(&row.manifest, &row.package)?,
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

fn parse_manifest(text: &str, package: &str) -> Result<Manifest, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Unreadable(format!("manifest of {package}: {error}")))
}
