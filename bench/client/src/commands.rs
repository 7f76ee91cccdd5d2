//! The commands, and what has to be remembered from one to the next.

use std::time::{Duration, Instant};

use dacapo_client::{Client, ClientError, RunId, StartOptions, Started, Status};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Trouble;

/// How often a run that is about to wait is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Starts that one call makes together, at most.
const TOGETHER: usize = 5_000;

/// What is to be done.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// Starts many runs in the fastest way.
    Start { workflow: Workflow, n: usize },
    /// Starts runs one by one, so many at a time, each acknowledged on its own.
    #[serde(rename_all = "camelCase")]
    StartEach {
        workflow: Workflow,
        n: usize,
        in_flight: usize,
    },
    /// Three-step runs, one after the other, each from its start until its output is there, while there is time.
    Once { n: usize, seconds: f64 },
    /// Runs that wait, one after the other, each from its event until it has ended, while there is time.
    Event { n: usize, seconds: f64 },
    /// One run of so many steps.
    Steps { n: usize, seconds: f64 },
    /// Sends an event to so many of the runs that were started, taken from all over.
    #[serde(rename_all = "camelCase")]
    Send { n: usize, in_flight: usize },
}

/// The workflows that all engines have.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workflow {
    /// Three steps that do nothing.
    Three,
    /// Waits for an event.
    Wait,
}

impl Workflow {
    fn name(self) -> &'static str {
        match self {
            Self::Three => "bench:noop/noop.three-steps",
            Self::Wait => "bench:noop/noop.wait-event",
        }
    }
}

/// A client, and the runs that it has started.
#[derive(Debug)]
pub struct Session {
    client: Client,
    started: Vec<RunId>,
}

impl Session {
    /// Nothing was started yet.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            started: Vec::new(),
        }
    }

    /// Does what it is told, and answers what that took, in seconds.
    pub async fn obey(&mut self, command: Command) -> Result<Value, Trouble> {
        match command {
            Command::Start { workflow, n } => self.start_many(workflow, n).await,
            Command::StartEach {
                workflow,
                n,
                in_flight,
            } => self.start_each(workflow, n, in_flight).await,
            Command::Once { n, seconds } => self.once(n, seconds).await,
            Command::Event { n, seconds } => self.event(n, seconds).await,
            Command::Steps { n, seconds } => self.steps(n, seconds).await,
            Command::Send { n, in_flight } => self.send(n, in_flight).await,
        }
    }

    async fn start_many(&mut self, workflow: Workflow, n: usize) -> Result<Value, Trouble> {
        let begin = Instant::now();
        let mut left = n;
        while left > 0 {
            let part = left.min(TOGETHER);
            let starts = vec![("null".to_owned(), StartOptions::default()); part];
            let started = self
                .client
                .start_many_by_name(workflow.name(), &starts)
                .await?;
            self.started
                .extend(started.iter().map(|started| started.id));
            left -= part;
        }
        Ok(json!({ "seconds": begin.elapsed().as_secs_f64() }))
    }

    async fn start_each(
        &mut self,
        workflow: Workflow,
        n: usize,
        in_flight: usize,
    ) -> Result<Value, Trouble> {
        let begin = Instant::now();
        let mut lanes = JoinSet::new();
        for lane in shares(n, in_flight) {
            let client = self.client.clone();
            lanes.spawn(async move {
                let mut started = Vec::with_capacity(lane);
                for _ in 0..lane {
                    started.push(start(&client, workflow).await?.id);
                }
                Ok::<_, ClientError>(started)
            });
        }
        while let Some(lane) = lanes.join_next().await {
            self.started.extend(lane??);
        }
        Ok(json!({ "seconds": begin.elapsed().as_secs_f64() }))
    }

    async fn once(&self, n: usize, patience: f64) -> Result<Value, Trouble> {
        let all = Instant::now();
        let mut seconds = Vec::with_capacity(n);
        while seconds.len() < n && all.elapsed().as_secs_f64() < patience {
            let begin = Instant::now();
            let started = start(&self.client, Workflow::Three).await?;
            self.client.wait_output(&started).await?;
            seconds.push(begin.elapsed().as_secs_f64());
        }
        Ok(json!({ "seconds": seconds }))
    }

    async fn event(&self, n: usize, patience: f64) -> Result<Value, Trouble> {
        let all = Instant::now();
        let mut seconds = Vec::with_capacity(n);
        while seconds.len() < n && all.elapsed().as_secs_f64() < patience {
            let started = start(&self.client, Workflow::Wait).await?;
            while self.client.check_progress(started.id).await?.status != Status::Suspended {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let begin = Instant::now();
            self.client
                .send_event(started.id, "go", "null", None)
                .await?;
            self.client.wait_output(&started).await?;
            seconds.push(begin.elapsed().as_secs_f64());
        }
        Ok(json!({ "seconds": seconds }))
    }

    /// How long each step took is in the journal, where `bench/` reads it.
    async fn steps(&self, n: usize, seconds: f64) -> Result<Value, Trouble> {
        let begin = Instant::now();
        let started = self
            .client
            .start_by_name(
                "bench:noop/noop.noop-steps",
                &n.to_string(),
                StartOptions::default(),
            )
            .await?;
        let patience = Duration::from_secs_f64(seconds);
        let ended = match self.client.wait(started.id, Some(patience)).await {
            Ok(_) => true,
            Err(ClientError::WaitTimedOut { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(json!({
            "ended": ended,
            "seconds": begin.elapsed().as_secs_f64(),
            "run": started.id.to_string(),
        }))
    }

    async fn send(&self, n: usize, in_flight: usize) -> Result<Value, Trouble> {
        let every = (self.started.len() / n.max(1)).max(1);
        let chosen: Vec<RunId> = self
            .started
            .iter()
            .copied()
            .step_by(every)
            .take(n)
            .collect();
        let begin = Instant::now();
        let mut lanes = JoinSet::new();
        for lane in chosen.chunks(chosen.len().div_ceil(in_flight).max(1)) {
            let (client, lane) = (self.client.clone(), lane.to_vec());
            lanes.spawn(async move {
                for run in lane {
                    client.send_event(run, "go", "null", None).await?;
                }
                Ok::<_, ClientError>(())
            });
        }
        while let Some(lane) = lanes.join_next().await {
            lane??;
        }
        Ok(json!({ "seconds": begin.elapsed().as_secs_f64(), "sent": chosen.len() }))
    }
}

async fn start(client: &Client, workflow: Workflow) -> Result<Started<Value>, ClientError> {
    client
        .start_by_name(workflow.name(), "null", StartOptions::default())
        .await
}

/// `n` in so many parts that differ by one at most.
fn shares(n: usize, parts: usize) -> impl Iterator<Item = usize> {
    (0..parts).map(move |part| n / parts + usize::from(part < n % parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_leave_nothing_out() {
        assert_eq!(shares(10, 4).collect::<Vec<_>>(), [3, 3, 2, 2]);
        assert_eq!(shares(2, 4).sum::<usize>(), 2);
    }
}
