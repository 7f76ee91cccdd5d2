//! What is deployed.

use dacapo_model::{Case, RetentionSettings, RetryPolicy, SecretFields, Timestamp, Type, Workflow};
use dacapo_store::WorkflowRow;
use serde::{Deserialize, Serialize};

use crate::retry::retried;
use crate::run::Deployment;
use crate::{Client, ClientError};

/// A workflow that can be started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowInfo {
    /// Its full name, `ns:pkg/interface.function`.
    pub name: String,
    /// The deployment that new runs go to.
    pub deployment: Deployment,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// When it was deployed.
    pub deployed_at: Timestamp,
    /// What it takes; none if it takes nothing.
    pub input: Option<ValueInfo>,
    /// What it returns; none if it returns nothing.
    pub output: Option<ValueInfo>,
    /// The events that it declares; empty if any will do.
    pub events: Vec<EventInfo>,
    /// How steps are tried again that do not say so themselves, where the deployment's manifest says it; none: as workers are configured.
    pub retry: Option<RetryPolicy>,
    /// The named queue of runs whose start names none, where the manifest says it.
    pub queue: Option<String>,
    /// The priority of runs whose start says none, where the manifest says it.
    pub priority: Option<i16>,
    /// How long runs are kept once they have ended, where the manifest says it.
    pub retention: Option<RetentionSettings>,
    /// Why its runs are blocked, if its deployment is one that cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What its WIT says about it.
    pub docs: Option<String>,
    /// The workflow and its types as plain data.
    #[serde(rename = "definition", skip_serializing)]
    pub workflow: Workflow,
    /// Whether its manifest says that something in its payloads is secret, so that they may be shown with something else in that place.
    #[serde(skip_serializing)]
    pub has_secrets: bool,
}

/// What a workflow takes or returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueInfo {
    /// The name of the parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The type in WIT syntax.
    #[serde(rename = "type")]
    pub ty: String,
    /// The JSON Schema of the type.
    pub schema: serde_json::Value,
}

/// An event that a workflow declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventInfo {
    /// Its name.
    pub name: String,
    /// What its payload is; none if it has none, which is `null` in JSON.
    pub payload: Option<ValueInfo>,
    /// What its WIT says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
}

impl ValueInfo {
    pub(crate) fn new(name: Option<String>, ty: &Type) -> Self {
        Self {
            name,
            ty: ty.to_string(),
            schema: dacapo_model::json_schema(ty),
        }
    }
}

impl EventInfo {
    pub(crate) fn new(event: &Case) -> Self {
        Self {
            name: event.name.clone(),
            payload: event.ty.as_ref().map(|ty| ValueInfo::new(None, ty)),
            docs: event.docs.clone(),
        }
    }
}

impl WorkflowInfo {
    fn from_row(row: WorkflowRow) -> Self {
        let workflow = row.workflow;
        let (manifest, problem) = match row.manifest {
            Ok(manifest) => (Some(manifest), None),
            Err(error) => (None, Some(format!("its manifest cannot be read: {error}"))),
        };
        let manifest = manifest.as_ref();
        Self {
            name: workflow.name.clone(),
            deployment: Deployment {
                package: row.package,
                number: row.number,
            },
            digest: row.digest,
            deployed_at: row.deployed_at,
            input: workflow
                .param
                .as_ref()
                .map(|param| ValueInfo::new(Some(param.name.clone()), &param.ty)),
            output: workflow.result.as_ref().map(|ty| ValueInfo::new(None, ty)),
            events: workflow.events.iter().map(EventInfo::new).collect(),
            retry: manifest.and_then(|manifest| manifest.retry_of(&workflow.name)),
            queue: manifest
                .and_then(|manifest| manifest.queue_of(&workflow.name))
                .map(str::to_owned),
            priority: manifest.and_then(|manifest| manifest.priority_of(&workflow.name)),
            retention: manifest.and_then(|manifest| manifest.retention_of(&workflow.name)),
            problem,
            docs: workflow.docs.clone(),
            has_secrets: manifest.is_none_or(|manifest| {
                manifest.secrets_of(&workflow.name) != SecretFields::default()
            }),
            workflow,
        }
    }
}

impl Client {
    /// The workflows of all active deployments in the client's namespace, by name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn workflows(&self) -> Result<Vec<WorkflowInfo>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.workflows().await;
        }
        let store = self.store();
        let rows = retried(|| dacapo_store::list_workflows(store, &self.namespace)).await?;
        let seen = rows
            .into_iter()
            .filter(|row| self.check_workflow(&row.workflow.name).is_ok());
        Ok(seen.map(WorkflowInfo::from_row).collect())
    }

    /// A workflow of an active deployment, by its name: a full one, or an end of one that is unique.
    ///
    /// # Errors
    /// [`ClientError::UnknownWorkflow`], [`ClientError::AmbiguousWorkflow`].
    pub async fn workflow(&self, name: &str) -> Result<WorkflowInfo, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.workflow(name).await;
        }
        let resolved = self.resolve(name).await?;
        let mut workflows = self.workflows().await?.into_iter();
        workflows
            .find(|workflow| workflow.name == resolved.workflow.name)
            .ok_or_else(|| ClientError::UnknownWorkflow {
                name: name.to_owned(),
                similar: Vec::new(),
                any: true,
            })
    }
}
