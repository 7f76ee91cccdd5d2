//! Queues, what is paused, and how long runs are kept.

use std::time::Duration;

use dacapo_model::Status;
use dacapo_store::{LimitChange, QueueChange, RetentionRule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Ignored, Remote, RemoteRequest, part, request, with_query};
use crate::ClientError;

impl Remote {
    /// `pause` or `resume`. The workflow's full name.
    pub(crate) async fn steer_workflow(
        &self,
        name: &str,
        what: &str,
    ) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct Paused {
            workflow: String,
        }
        let path = format!("/workflows/{}/{what}", part(name));
        let paused: Paused = self.ask(request("POST", path, None)).await?;
        Ok(paused.workflow)
    }

    pub(crate) async fn paused_workflows(&self) -> Result<Vec<crate::PausedWorkflow>, ClientError> {
        self.get("/paused-workflows".to_owned()).await
    }

    pub(crate) async fn queues(&self) -> Result<Vec<crate::Queue>, ClientError> {
        #[derive(Deserialize)]
        struct Queues {
            queues: Vec<crate::Queue>,
        }
        let all: Queues = self.get("/queues".to_owned()).await?;
        Ok(all.queues)
    }

    pub(crate) async fn queue(&self, name: &str) -> Result<crate::Queue, ClientError> {
        self.get(format!("/queues/{}", part(name))).await
    }

    pub(crate) async fn set_queue(
        &self,
        name: &str,
        change: QueueChange,
    ) -> Result<crate::Queue, ClientError> {
        fn put<T: Serialize>(body: &mut Map<String, Value>, name: &str, change: LimitChange<T>) {
            match change {
                LimitChange::Keep => {}
                LimitChange::Remove => {
                    body.insert(name.to_owned(), Value::Null);
                }
                LimitChange::Set(limit) => {
                    body.insert(name.to_owned(), json!(limit));
                }
            }
        }
        let mut body = Map::new();
        put(&mut body, "concurrency", change.concurrency);
        let per_key = change.concurrency_per_key;
        put(&mut body, "concurrencyPerKey", per_key);
        put(&mut body, "rate", change.rate);
        put(&mut body, "ratePerKey", change.rate_per_key);
        self.send("PATCH", format!("/queues/{}", part(name)), None, &body)
            .await
    }

    /// `pause` or `resume`.
    pub(crate) async fn steer_queue(&self, name: &str, what: &str) -> Result<(), ClientError> {
        let path = format!("/queues/{}/{what}", part(name));
        let _: Ignored = self.ask(request("POST", path, None)).await?;
        Ok(())
    }

    pub(crate) async fn delete_queue(&self, name: &str) -> Result<(), ClientError> {
        let path = format!("/queues/{}", part(name));
        let _: Ignored = self.ask(request("DELETE", path, None)).await?;
        Ok(())
    }

    pub(crate) async fn standstill(&self) -> Result<Option<crate::Standstill>, ClientError> {
        self.all_paused(request("GET", "/standstill".to_owned(), None))
            .await
    }

    pub(crate) async fn begin_standstill(&self, reason: Option<&str>) -> Result<(), ClientError> {
        let body = json!({ "reason": reason });
        let _: Ignored = self
            .send("PUT", "/standstill".to_owned(), None, &body)
            .await?;
        Ok(())
    }

    pub(crate) async fn end_standstill(&self) -> Result<(), ClientError> {
        self.all_paused(request("DELETE", "/standstill".to_owned(), None))
            .await?;
        Ok(())
    }

    async fn all_paused(
        &self,
        request: RemoteRequest,
    ) -> Result<Option<crate::Standstill>, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct All {
            all_paused: Option<crate::Standstill>,
        }
        let all: All = self.ask(request).await?;
        Ok(all.all_paused)
    }

    pub(crate) async fn retention(&self) -> Result<Vec<RetentionRule>, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Rule {
            workflow: Option<String>,
            status: Option<Status>,
            keep_seconds: Option<u64>,
        }
        let rules: Vec<Rule> = self.get("/retention".to_owned()).await?;
        let rule = |rule: Rule| RetentionRule {
            workflow: rule.workflow,
            status: rule.status,
            keep: rule.keep_seconds.map(Duration::from_secs),
        };
        Ok(rules.into_iter().map(rule).collect())
    }

    pub(crate) async fn set_retention(&self, rule: &RetentionRule) -> Result<(), ClientError> {
        let body = json!({
            "workflow": rule.workflow,
            "status": rule.status,
            "keepSeconds": rule.keep.map(|keep| keep.as_secs()),
        });
        let _: Value = self
            .send("PUT", "/retention".to_owned(), None, &body)
            .await?;
        Ok(())
    }

    /// Whether something was set.
    pub(crate) async fn reset_retention(
        &self,
        workflow: Option<String>,
        status: Option<Status>,
    ) -> Result<bool, ClientError> {
        let before: Value = self.get("/retention".to_owned()).await?;
        let mut query = Vec::new();
        query.extend(workflow.map(|workflow| ("workflow", workflow)));
        query.extend(status.map(|status| ("status", status.to_string())));
        let path = with_query("/retention", &query);
        let after: Value = self.ask(request("DELETE", path, None)).await?;
        Ok(before != after)
    }
}
