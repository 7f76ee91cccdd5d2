//! How long runs are kept once they have ended.

use std::time::Duration;

use dacapo_model::{Keep, Status};
use dacapo_store::RetentionRule;

use crate::options::check_text;
use crate::retry::retried;
use crate::{Client, ClientError};

/// The shortest time for which runs are kept.
const KEEP_MIN: Duration = Duration::from_secs(Keep::SECONDS_MIN);

/// The longest time.
const KEEP_MAX: Duration = Duration::from_secs(Keep::SECONDS_MAX);

/// The longest name of a workflow, in bytes.
const WORKFLOW_BYTES_MAX: usize = 1_000;

impl Client {
    /// The rules of the client's namespace, the most general first: of those that fit a run the last one counts. The first one fits
    /// every run; unless it was changed it says 30 days. What the manifest of a run's deployment says of its workflow counts before all rules
    /// but those for that very workflow.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn retention(&self) -> Result<Vec<RetentionRule>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.retention().await;
        }
        self.check_whole("retention")?;
        let store = self.store();
        Ok(retried(|| dacapo_store::retention_rules(store, &self.namespace)).await?)
    }

    /// Sets how long runs of the client's namespace are kept once they have ended. It holds from the next sweep of a worker on, also for
    /// runs that are there already.
    ///
    /// # Errors
    /// [`ClientError::BadArgument`] if that is less than a minute or more than a hundred years, or if the status is none that a run ends
    /// with; and those of a short name of a workflow.
    pub async fn set_retention(&self, mut rule: RetentionRule) -> Result<(), ClientError> {
        if let Some(remote) = self.remote() {
            return remote.set_retention(&rule).await;
        }
        if let Some(keep) = rule.keep
            && !(KEEP_MIN..=KEEP_MAX).contains(&keep)
        {
            return Err(ClientError::BadArgument {
                what: "retention",
                message: format!(
                    "{} seconds is not within a minute and a hundred years",
                    keep.as_secs()
                ),
            });
        }
        rule.workflow = self.retained(rule.workflow, rule.status).await?;
        let store = self.store();
        Ok(retried(|| dacapo_store::set_retention(store, &self.namespace, &rule)).await?)
    }

    /// Takes back what was set for this workflow and status, so that more general rules count again. False: nothing was set.
    ///
    /// # Errors
    /// Those of [`Client::set_retention`].
    pub async fn reset_retention(
        &self,
        workflow: Option<String>,
        status: Option<Status>,
    ) -> Result<bool, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.reset_retention(workflow, status).await;
        }
        let workflow = self.retained(workflow, status).await?;
        let store = self.store();
        let workflow = workflow.as_deref();
        Ok(
            retried(|| dacapo_store::reset_retention(store, &self.namespace, workflow, status))
                .await?,
        )
    }

    /// The full name of the workflow that a rule is about, once nothing is wrong with the rule.
    async fn retained(
        &self,
        workflow: Option<String>,
        status: Option<Status>,
    ) -> Result<Option<String>, ClientError> {
        self.check_whole("retention")?;
        if let Some(status) = status
            && !status.is_terminal()
        {
            return Err(ClientError::BadArgument {
                what: "status",
                message: format!(
                    "a run that is {status} is never deleted: expected completed, failed or cancelled"
                ),
            });
        }
        self.full_workflow(workflow).await
    }

    /// A workflow that may not be deployed any more: its full name is taken as it is, a short one is looked up.
    pub(crate) async fn full_workflow(
        &self,
        name: Option<String>,
    ) -> Result<Option<String>, ClientError> {
        Ok(match name {
            Some(name) if name.contains([':', '/']) && name.contains('.') => {
                check_text("workflow", &name, WORKFLOW_BYTES_MAX)?;
                Some(name)
            }
            Some(name) => Some(self.resolve(&name).await?.workflow.name.clone()),
            None => None,
        })
    }
}
