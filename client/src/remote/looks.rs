//! What is deployed, who works, and who did what.

use super::{Remote, part, with_query};
use crate::ClientError;
use crate::access::{AuditFilter, AuditPage};
use crate::workers::Worker;
use crate::workflows::WorkflowInfo;

impl Remote {
    pub(crate) async fn workflows(&self) -> Result<Vec<WorkflowInfo>, ClientError> {
        self.get("/workflows?definition=true".to_owned()).await
    }

    pub(crate) async fn workflow(&self, name: &str) -> Result<WorkflowInfo, ClientError> {
        self.get(format!("/workflows/{}?definition=true", part(name)))
            .await
    }

    pub(crate) async fn workers(&self) -> Result<Vec<Worker>, ClientError> {
        self.get("/workers".to_owned()).await
    }

    pub(crate) async fn audit(&self, filter: &AuditFilter) -> Result<AuditPage, ClientError> {
        let mut query = vec![("limit", filter.limit.to_string())];
        let mut put = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
        put("who", filter.who.clone());
        put("action", filter.action.clone());
        put("target", filter.target.clone());
        put("outcome", filter.outcome.clone());
        put("since", filter.since.map(|at| at.to_string()));
        put("before", filter.before.map(|at| at.to_string()));
        put("cursor", filter.after.map(|id| id.to_string()));
        self.get(with_query("/audit", &query)).await
    }
}
