//! Waiting until runs end.

use std::pin::pin;
use std::time::Duration;

use dacapo_model::{Failure, RunId, Status};
use dacapo_store::{RunRow, Store, StoreError};
use tokio::time::{Instant, timeout};

use crate::gather::Question;
use crate::reference::DecodeError;
use crate::remote::output_of;
use crate::retry::retried;
use crate::run::Run;
use crate::{Client, ClientError, Started};

/// How often a run is looked at although nothing was heard of it: first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// How long a database may be away before waiting for it is given up.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// Those who wait for many runs look at them together.
impl Question for RunId {
    type Answer = Option<RunRow>;

    async fn ask_all(store: &Store, runs: &[Self]) -> Result<Vec<Option<RunRow>>, StoreError> {
        dacapo_store::get_runs(store, runs).await
    }
}

impl Client {
    /// Waits until a run has ended, however it ends. Dropping the future ends the waiting, not the run. A database that goes away for
    /// less than a minute is waited for. A server that has too much to do is asked again when it says, even if that is later.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::WaitTimedOut`].
    pub async fn wait(&self, run: RunId, timeout: Option<Duration>) -> Result<Run, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.wait(run, timeout).await;
        }
        let row = self.wait_for_end(run, timeout).await?;
        self.with_steps(row).await
    }

    /// Waits until a run has ended, and takes its output: as it is, with all that is secret in it, since whoever has started a run
    /// needs what comes of it. [`Client::wait`] and [`Client::get`] show it without.
    ///
    /// # Errors
    /// [`ClientError::Failed`] and [`ClientError::RunCancelled`] if there is none; [`ClientError::Decode`] if it is of another type.
    pub async fn wait_output<O>(&self, started: &Started<O>) -> Result<O, ClientError> {
        let run = started.id;
        if let Some(remote) = self.remote() {
            let output = output_of(remote.wait(run, None).await?)?;
            return (started.decode)(output.as_str()).map_err(|error| ClientError::Decode {
                run,
                error: DecodeError(error),
            });
        }
        let row = self.wait_for_end(run, None).await?;
        let failure = match &row.failure {
            Some(text) => Some(Box::new(Failure::from_json(text.as_str()).map_err(
                |error| StoreError::Unreadable(format!("failure of run {run}: {error}")),
            )?)),
            None => None,
        };
        match (row.status, row.output, failure) {
            (Status::Completed, Some(output), _) => {
                (started.decode)(output.as_str()).map_err(|error| ClientError::Decode {
                    run,
                    error: DecodeError(error),
                })
            }
            (Status::Failed, _, Some(failure)) => Err(ClientError::Failed { run, failure }),
            (Status::Cancelled, _, failure) => Err(ClientError::RunCancelled { run, failure }),
            (status, ..) => Err(StoreError::Unreadable(format!(
                "run {run} is {status} without an output or a failure"
            ))
            .into()),
        }
    }

    async fn wait_for_end(
        &self,
        run: RunId,
        patience: Option<Duration>,
    ) -> Result<RunRow, ClientError> {
        let mut status = Status::Queued;
        // Who is not that patient is to hear how the run stands.
        let may_listen = patience.is_none_or(|patience| patience >= FIRST_LOOK * 4);
        let end = self.watch_until_end(run, may_listen, &mut status);
        match patience {
            None => end.await,
            Some(patience) => match timeout(patience, end).await {
                Ok(result) => result,
                Err(_) => Err(ClientError::WaitTimedOut {
                    run,
                    status,
                    waited: patience,
                }),
            },
        }
    }

    async fn watch_until_end(
        &self,
        run: RunId,
        mut may_listen: bool,
        status: &mut Status,
    ) -> Result<RunRow, ClientError> {
        let store = self.store();
        let watch = self.shared.announcer.watch(run);
        let mut pause = FIRST_LOOK;
        let mut away_since: Option<Instant> = None;
        loop {
            let mut rings = pin!(watch.rings());
            // From here on a ring is heard, so that one between the look and the sleep is not lost.
            rings.as_mut().enable();
            // Of one that was just started there is nothing to see.
            if std::mem::take(&mut may_listen) && watch.goes_on() {
                let _ = timeout(pause, rings).await;
                continue;
            }
            match retried(|| self.shared.looks.ask(store, run)).await {
                Ok(None) => return Err(ClientError::RunNotFound(run)),
                Ok(Some(row)) => {
                    self.check_row(&row)?;
                    if row.status.is_terminal() {
                        return Ok(row);
                    }
                    *status = row.status;
                    away_since = None;
                }
                Err(error)
                    if error.is_transient()
                        && away_since.get_or_insert_with(Instant::now).elapsed() < AWAY_MAX =>
                {
                    tracing::debug!(%error, %run, "waiting for the database");
                }
                Err(error) => return Err(error.into()),
            }
            let _ = timeout(pause, rings).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }
}
