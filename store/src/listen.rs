//! Notifications. A lost one may cost latency, never a run: whoever listens looks by itself now and then too.

use std::time::Duration;

use dacapo_model::{DeploymentId, RunId, Timestamp};
use sqlx::postgres::PgListener;
use tokio::time::timeout;

use crate::{Store, StoreError, in_time};

/// A connection on which nothing is heard for so long is tried: it may be dead, and nobody would say so.
const TRY_AFTER: Duration = Duration::from_secs(30);

/// How long a server may take to answer then.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What can be listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Runs are ready to be claimed.
    Ready,
    /// A leased run has a signal for its worker.
    Signal,
    /// Runs have finished.
    Run,
    /// A deployment was activated.
    Deployment,
    /// A schedule was made or changed.
    Schedule,
    /// Children of runs have ended, or are to be cancelled.
    Children,
    /// Runs wait for their turn in queues.
    Held,
    /// Runs are to begin later.
    Due,
    /// Queues, or what is paused, were changed.
    Queue,
}

impl Channel {
    fn name(self) -> &'static str {
        match self {
            Self::Ready => "dacapo_ready",
            Self::Signal => "dacapo_signal",
            Self::Run => "dacapo_run",
            Self::Deployment => "dacapo_deployment",
            Self::Schedule => "dacapo_schedule",
            Self::Children => "dacapo_children",
            Self::Held => "dacapo_held",
            Self::Due => "dacapo_due",
            Self::Queue => "dacapo_queue",
        }
    }
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Runs are ready to be claimed.
    Ready,
    /// Runs are ready that may stand further in front than where a worker last claimed.
    ReadyFirst,
    /// This leased run has a signal for its worker.
    Signal(RunId),
    /// These runs have finished.
    Finished(Vec<RunId>),
    /// This deployment was activated.
    Deployment(DeploymentId),
    /// A schedule was made or changed.
    Schedule,
    /// Children of runs have ended, or are to be cancelled.
    Children,
    /// Runs wait for their turn in these queues.
    Held(Vec<i32>),
    /// A run is to begin at this time.
    Due(Timestamp),
    /// Queues, or what is paused, were changed.
    Queue,
    /// The connection was lost and is there again: anything may have been missed.
    Reconnected,
}

/// One connection that listens.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// Listens on these channels, by a connection of its own.
    pub async fn connect(store: &Store, channels: &[Channel]) -> Result<Self, StoreError> {
        // A pool of one: the listener keeps its connection for good and must not use up a client's pool.
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(store.direct().clone());
        in_time(ANSWER_MAX, async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener
                .listen_all(channels.iter().map(|channel| channel.name()))
                .await?;
            Ok(Self(listener))
        })
        .await
    }

    /// The next notice. An error means that the connection cannot be had back at the moment; call again after a pause.
    pub async fn next(&mut self) -> Result<Notice, StoreError> {
        loop {
            let heard = match timeout(TRY_AFTER, self.0.try_recv()).await {
                Ok(heard) => heard?,
                Err(_) => {
                    in_time(ANSWER_MAX, async {
                        sqlx::query("select 1").execute(&mut self.0).await?;
                        Ok::<_, StoreError>(())
                    })
                    .await?;
                    continue;
                }
            };
            let Some(notification) = heard else {
                return Ok(Notice::Reconnected);
            };
            let payload = notification.payload();
            return Ok(match notification.channel() {
                "dacapo_ready" if payload == "first" => Notice::ReadyFirst,
                "dacapo_ready" => Notice::Ready,
                "dacapo_queue" => Notice::Queue,
                "dacapo_held" => Notice::Held(
                    payload
                        .split(',')
                        .filter_map(|id| id.parse().ok())
                        .collect(),
                ),
                "dacapo_due" => match payload.parse() {
                    Ok(micros) => Notice::Due(Timestamp::from_micros(micros)),
                    Err(_) => continue,
                },
                "dacapo_schedule" => Notice::Schedule,
                "dacapo_children" => Notice::Children,
                "dacapo_deployment" => match payload.parse() {
                    Ok(id) => Notice::Deployment(DeploymentId(id)),
                    Err(_) => continue,
                },
                "dacapo_signal" => match payload.parse() {
                    Ok(run) => Notice::Signal(run),
                    Err(_) => continue,
                },
                _ => Notice::Finished(
                    payload
                        .split(',')
                        .filter_map(|id| id.parse().ok())
                        .collect(),
                ),
            });
        }
    }
}
