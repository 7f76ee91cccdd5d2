//! All runs that a filter finds.

use std::collections::BTreeMap;

use dacapo_model::RunId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::{ProblemForm, known};
use super::{Members, Remote, RemoteProblem, needs_database, raw, read};
use crate::ClientError;
use crate::broadcast::SentToMany;
use crate::going_back::{Change, Changed, InBulk, OnDeployment};
use crate::list::RunFilter;

impl Remote {
    /// How many runs would be changed.
    pub(crate) async fn count_changes(
        &self,
        filter: &RunFilter,
        change: &Change,
    ) -> Result<u64, ClientError> {
        let (path, mut body) = bulk_form(filter, change)?;
        body.insert("dryRun", raw(&true)?);
        let counted: CountedForm = self.send("POST", path, None, &body).await?;
        Ok(counted.runs)
    }

    pub(crate) async fn change_many(
        &self,
        filter: &RunFilter,
        change: &Change,
        who: &str,
    ) -> Result<InBulk, ClientError> {
        #[derive(Deserialize)]
        struct Refused {
            run: RunId,
            code: String,
            message: String,
        }
        #[derive(Deserialize)]
        struct Done {
            changed: Vec<Changed>,
            refused: Vec<Refused>,
            stopped: Option<ProblemForm>,
        }
        let (path, body) = bulk_form(filter, change)?;
        let done: Done = self.send("POST", path, Some(who), &body).await?;
        let refused = done.refused.into_iter().map(|refused| {
            let problem = RemoteProblem {
                status: 409,
                code: known(&refused.code),
                detail: refused.message,
                hint: None,
                run: Some(refused.run),
                retry_after: None,
            };
            (refused.run, ClientError::Remote(problem))
        });
        Ok(InBulk {
            changed: done.changed,
            refused: refused.collect(),
            stopped: done.stopped.map(ProblemForm::error),
        })
    }

    pub(crate) async fn count_receivers(&self, filter: &RunFilter) -> Result<u64, ClientError> {
        let body: Members = BTreeMap::from([
            ("filter", raw(&filter_form(filter))?),
            ("name", raw(&"counted")?),
            ("dryRun", raw(&true)?),
        ]);
        let path = "/bulk/events".to_owned();
        let counted: CountedForm = self.send("POST", path, None, &body).await?;
        Ok(counted.runs)
    }

    pub(crate) async fn event_to_many(
        &self,
        filter: &RunFilter,
        name: &str,
        payload: &str,
        id: Option<&str>,
    ) -> Result<SentToMany, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Done {
            delivery_id: String,
            sent: u64,
            duplicates: u64,
            refused: u64,
            refusal: Option<ProblemForm>,
            stopped: Option<ProblemForm>,
        }
        let mut body: Members = BTreeMap::from([
            ("filter", raw(&filter_form(filter))?),
            ("name", raw(&name)?),
            ("payload", read(payload, "the payload")?),
        ]);
        if let Some(id) = id {
            body.insert("id", raw(&id)?);
        }
        let path = "/bulk/events".to_owned();
        let done: Done = self.send("POST", path, None, &body).await?;
        Ok(SentToMany {
            delivery_id: done.delivery_id,
            sent: done.sent,
            duplicates: done.duplicates,
            refused: done.refused,
            refusal: done.refusal.map(ProblemForm::error),
            stopped: done.stopped.map(ProblemForm::error),
        })
    }
}

#[derive(Deserialize)]
struct CountedForm {
    runs: u64,
}

fn filter_form(filter: &RunFilter) -> Value {
    json!({
        "status": filter.status,
        "workflow": filter.workflow,
        "deployment": filter.deployment,
        "labels": filter.labels,
        "failure": filter.failure,
        "since": filter.created_since,
        "before": filter.created_before,
    })
}

/// Where a change of many runs is asked for, and how.
fn bulk_form(filter: &RunFilter, change: &Change) -> Result<(String, Members), ClientError> {
    let mut body: Members = BTreeMap::from([("filter", raw(&filter_form(filter))?)]);
    let what = match change {
        Change::Rerun(options) => {
            if matches!(options.deployment, OnDeployment::Of(_)) {
                return Err(needs_database("to start runs again on another deployment"));
            }
            let own = options.deployment == OnDeployment::Own;
            body.insert("from", raw(&options.from)?);
            body.insert("sameDeployment", raw(&own)?);
            "rerun"
        }
        Change::Retry => "retry",
        Change::Skip(options) => {
            body.insert("step", raw(&options.step)?);
            if let Some(value) = &options.value {
                body.insert("value", read(value, "the value")?);
            }
            "skip"
        }
    };
    Ok((format!("/bulk/{what}"), body))
}
