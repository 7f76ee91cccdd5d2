//! Queues and their limits, and what is paused in an incident. The serde forms are stable.

use std::time::Duration;

use dacapo_model::{DEFAULT_QUEUE, Timestamp};
use dacapo_store::{DeletedQueue, LimitChange, QueueChange, QueueDepth, QueueRow, Rate};
use serde::{Deserialize, Serialize};

use crate::options::{check_queue_name, check_text};
use crate::retry::retried;
use crate::{Client, ClientError};

/// The highest limit of runs.
const RUNS_MAX: u32 = 1_000_000;

/// The shortest and the longest stretch of time of a rate.
const RATE_MIN: Duration = Duration::from_millis(100);
const RATE_MAX: Duration = Duration::from_secs(31 * 86_400);

/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// A named queue as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Runs on their way at the same time, at most.
    pub concurrency: Option<u32>,
    /// The same among those with one concurrency key.
    pub concurrency_per_key: Option<u32>,
    /// Runs that begin within any stretch of time of this length.
    pub rate: Option<Rate>,
    /// The same among those with one concurrency key.
    pub rate_per_key: Option<Rate>,
    /// Whether it is paused.
    pub paused: bool,
    /// Runs that wait: for their turn, or for a worker.
    pub queued: u64,
    /// Runs that a worker plays.
    pub running: u64,
    /// Active runs that wait for something else: an event, a time, a person. They take no room.
    pub suspended: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody last changed it.
    pub updated_at: Timestamp,
}

/// A workflow whose runs are not played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PausedWorkflow {
    /// Its full name.
    pub workflow: String,
    /// Since when.
    pub since: Timestamp,
}

/// Since when no worker takes anything, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standstill {
    /// Since when.
    pub since: Timestamp,
    /// What whoever asked for it said.
    pub reason: Option<String>,
}

impl Client {
    /// Makes a queue, or changes the limits of one that is there. It holds at once for runs that wait; runs that are on their way go on.
    ///
    /// # Errors
    /// [`ClientError::BadArgument`] if it is none that can be.
    pub async fn set_queue(&self, name: &str, change: QueueChange) -> Result<Queue, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.set_queue(name, change).await;
        }
        named(name)?;
        self.check_whole("queues")?;
        for (what, limit) in [
            ("concurrency", change.concurrency),
            ("concurrency per key", change.concurrency_per_key),
        ] {
            if let LimitChange::Set(runs) = limit {
                check_runs(what, runs)?;
            }
        }
        for (what, rate) in [("rate", change.rate), ("rate per key", change.rate_per_key)] {
            let LimitChange::Set(rate) = rate else {
                continue;
            };
            check_runs(what, rate.runs)?;
            if !(RATE_MIN..=RATE_MAX).contains(&rate.per) {
                return Err(ClientError::BadArgument {
                    what,
                    message: format!("expected runs within 100 ms to 31 days, got {:?}", rate.per),
                });
            }
        }
        let store = self.store();
        retried(|| dacapo_store::set_queue(store, &self.namespace, name, change)).await?;
        self.queue(name).await
    }

    /// The named queues of the client's namespace, by name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn queues(&self) -> Result<Vec<Queue>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.queues().await;
        }
        self.check_whole("queues")?;
        let store = self.store();
        let rows = retried(|| dacapo_store::list_queues(store, &self.namespace, None)).await?;
        Ok(rows.into_iter().map(Queue::from_row).collect())
    }

    /// What waits in each queue of the client's namespace and for how long, and last what is in no named one, of all namespaces. No more than
    /// `rows` rows of each kind are counted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn queue_depths(&self, rows: u32) -> Result<Vec<QueueDepth>, ClientError> {
        self.needs_no_server("to see how much waits in the queues")?;
        self.check_whole("queues")?;
        let store = self.store();
        Ok(retried(|| dacapo_store::queue_depths(store, Some(&self.namespace), rows)).await?)
    }

    /// A queue as it stands.
    ///
    /// # Errors
    /// [`ClientError::QueueNotFound`].
    pub async fn queue(&self, name: &str) -> Result<Queue, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.queue(name).await;
        }
        self.check_whole("queues")?;
        let store = self.store();
        let rows =
            retried(|| dacapo_store::list_queues(store, &self.namespace, Some(name))).await?;
        let row = rows.into_iter().next();
        row.map(Queue::from_row)
            .ok_or_else(|| ClientError::QueueNotFound(name.to_owned()))
    }

    /// Lets workers take no more runs of a queue. Those that are played go back into it at their next step or wait. False: it was paused.
    ///
    /// # Errors
    /// [`ClientError::QueueNotFound`].
    pub async fn pause_queue(&self, name: &str) -> Result<bool, ClientError> {
        self.set_paused(name, true).await
    }

    /// Lets a paused queue go on. False: it was not paused.
    ///
    /// # Errors
    /// [`ClientError::QueueNotFound`].
    pub async fn resume_queue(&self, name: &str) -> Result<bool, ClientError> {
        self.set_paused(name, false).await
    }

    async fn set_paused(&self, name: &str, paused: bool) -> Result<bool, ClientError> {
        named(name)?;
        self.check_whole("queues")?;
        let before = self.queue(name).await?;
        if let Some(remote) = self.remote() {
            let what = if paused { "pause" } else { "resume" };
            remote.steer_queue(name, what).await?;
            return Ok(before.paused != paused);
        }
        let store = self.store();
        match retried(|| dacapo_store::pause_queue(store, &self.namespace, name, paused)).await? {
            true => Ok(before.paused != paused),
            false => Err(ClientError::QueueNotFound(name.to_owned())),
        }
    }

    /// Takes a queue away.
    ///
    /// # Errors
    /// [`ClientError::QueueNotFound`]; [`ClientError::QueueInUse`] while active runs are in it.
    pub async fn delete_queue(&self, name: &str) -> Result<(), ClientError> {
        if let Some(remote) = self.remote() {
            return remote.delete_queue(name).await;
        }
        named(name)?;
        self.check_whole("queues")?;
        let store = self.store();
        match retried(|| dacapo_store::delete_queue(store, &self.namespace, name)).await? {
            DeletedQueue::Deleted => Ok(()),
            DeletedQueue::InUse => Err(ClientError::QueueInUse(name.to_owned())),
            DeletedQueue::NotFound => Err(ClientError::QueueNotFound(name.to_owned())),
        }
    }

    /// Keeps all workers from taking runs, of every queue and every namespace. Those that are played go back at their next step or wait.
    /// False: that was so already.
    ///
    /// # Errors
    /// [`ClientError::BadArgument`] if the reason is longer than 1,000 bytes.
    pub async fn begin_standstill(&self, reason: Option<&str>) -> Result<bool, ClientError> {
        if let Some(remote) = self.remote() {
            let before = remote.standstill().await?;
            remote.begin_standstill(reason).await?;
            return Ok(before.is_none());
        }
        if let Some(reason) = reason {
            check_text("reason", reason, REASON_BYTES_MAX)?;
        }
        self.check_whole("a standstill of everything")?;
        let store = self.store();
        Ok(retried(|| dacapo_store::begin_standstill(store, reason)).await?)
    }

    /// Lets workers take runs again; queues and workflows that were paused by themselves stay so. False: there was no standstill.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_standstill(&self) -> Result<bool, ClientError> {
        if let Some(remote) = self.remote() {
            let before = remote.standstill().await?;
            remote.end_standstill().await?;
            return Ok(before.is_some());
        }
        self.check_whole("a standstill of everything")?;
        let store = self.store();
        Ok(retried(|| dacapo_store::end_standstill(store)).await?)
    }

    /// Whether workers are kept from taking runs.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn standstill(&self) -> Result<Option<Standstill>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.standstill().await;
        }
        let pool = self.store().pool();
        let row = retried(|| dacapo_store::standstill(pool)).await?;
        Ok(row.map(|row| Standstill {
            since: row.since,
            reason: row.reason,
        }))
    }

    /// Lets no run of a workflow be played. Those that are go back into their queue at their next step or wait, and those that come wait
    /// there. Answers with its full name.
    ///
    /// # Errors
    /// [`ClientError::UnknownWorkflow`], [`ClientError::AmbiguousWorkflow`]; [`ClientError::AlreadySo`] if it is paused.
    pub async fn pause_workflow(&self, workflow: &str) -> Result<String, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.steer_workflow(workflow, "pause").await;
        }
        let workflow = self.resolve(workflow).await?.workflow.name.clone();
        self.check_workflows(std::iter::once(workflow.as_str()))?;
        let store = self.store();
        match retried(|| dacapo_store::pause_workflow(store, &self.namespace, &workflow)).await? {
            true => Ok(workflow),
            false => Err(ClientError::AlreadySo(format!(
                "workflow {workflow} is paused already"
            ))),
        }
    }

    /// Lets the runs of a paused workflow go on. Answers with its full name.
    ///
    /// # Errors
    /// [`ClientError::UnknownWorkflow`], [`ClientError::AmbiguousWorkflow`]; [`ClientError::AlreadySo`] if it is not paused.
    pub async fn resume_workflow(&self, workflow: &str) -> Result<String, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.steer_workflow(workflow, "resume").await;
        }
        let workflow = self.resolve(workflow).await?.workflow.name.clone();
        self.check_workflows(std::iter::once(workflow.as_str()))?;
        let store = self.store();
        match retried(|| dacapo_store::resume_workflow(store, &self.namespace, &workflow)).await? {
            true => Ok(workflow),
            false => Err(ClientError::AlreadySo(format!(
                "workflow {workflow} is not paused"
            ))),
        }
    }

    /// The workflows of the client's namespace that are paused, by name.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn paused_workflows(&self) -> Result<Vec<PausedWorkflow>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.paused_workflows().await;
        }
        let store = self.store();
        let rows = retried(|| dacapo_store::paused_workflows(store, &self.namespace)).await?;
        Ok(rows
            .into_iter()
            .filter(|(workflow, _)| self.check_workflow(workflow).is_ok())
            .map(|(workflow, since)| PausedWorkflow { workflow, since })
            .collect())
    }
}

impl Queue {
    fn from_row(row: QueueRow) -> Self {
        Self {
            name: row.name,
            concurrency: row.concurrency,
            concurrency_per_key: row.concurrency_per_key,
            rate: row.rate,
            rate_per_key: row.rate_per_key,
            paused: row.paused,
            queued: row.held + row.ready,
            running: row.running,
            suspended: row.suspended,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Whether this may be the name of a queue with limits.
fn named(name: &str) -> Result<(), ClientError> {
    check_queue_name(name)?;
    if name == DEFAULT_QUEUE {
        return Err(ClientError::BadArgument {
            what: "queue",
            message: "the queue default has no limits and cannot be changed or paused: start runs in a queue of another name, or pause \
                 everything"
                .to_owned(),
        });
    }
    Ok(())
}

fn check_runs(what: &'static str, runs: u32) -> Result<(), ClientError> {
    if (1..=RUNS_MAX).contains(&runs) {
        return Ok(());
    }
    let message = match runs {
        0 => "expected 1 run or more, got 0: pause the queue to stop it".to_owned(),
        _ => format!("expected at most 1,000,000 runs, got {runs}"),
    };
    Err(ClientError::BadArgument { what, message })
}
