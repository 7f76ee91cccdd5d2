//! What a queue's limits cost: runs in a queue that has all of them against the same runs in none.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dacapo_client::{Client, ClientError, LimitChange, QueueChange, Rate, StartOptions};

use super::Bench;
use super::report::{Measure, Target};
use super::samples::Samples;

/// The workflow of these runs.
const WORKFLOW: &str = "bench:noop/noop.three-steps";

/// Runs in flight, of as many customers.
const IN_FLIGHT: usize = 64;
const CUSTOMERS: usize = 8;

/// Rounds of runs in flight, with and without limits in turn, so that both see the same machine.
const ROUNDS: u32 = 6;

/// With limits a run takes so many times as long as without, at most.
const COST_MAX: f64 = 1.5;

impl Bench {
    /// A queue with all limits, none of which is reached; then one whose concurrency is.
    pub(super) async fn queue_row(&mut self) -> Result<()> {
        let row = "queue";
        let rate = Rate {
            runs: 1_000_000,
            per: Duration::from_secs(1),
        };
        let wide = QueueChange {
            concurrency: LimitChange::Set(1_000),
            concurrency_per_key: LimitChange::Set(1_000),
            rate: LimitChange::Set(rate),
            rate_per_key: LimitChange::Set(rate),
        };
        self.client.set_queue("wide", wide).await?;
        let narrow = QueueChange {
            concurrency: LimitChange::Set(16),
            ..QueueChange::default()
        };
        self.client.set_queue("narrow", narrow).await?;
        for _ in 0..20 {
            complete(&self.client, StartOptions::default()).await?;
            complete(&self.client, in_queue("wide", 0)).await?;
        }
        let before = self.commits().await?;
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..self.times(300) {
            without.push(complete(&self.client, StartOptions::default()).await?);
            with.push(complete(&self.client, in_queue("wide", 0)).await?);
        }
        let commits = self.reference.since(before).await?;
        let middle =
            |times: Vec<Duration>| times.into_iter().collect::<Samples>().p50().as_secs_f64();
        let (without, with) = (middle(without), middle(with));
        for (name, time) in [("no named queue", without), ("a queue with limits", with)] {
            let name = format!("3-step run, one at a time, {name}, p50");
            self.add(Measure::new(row, name, time * 1e3, "ms").ratio(time / commits.mean()));
        }
        self.add(
            Measure::new(row, "the one over the other", with / without, "")
                .target(Target::AtMost(COST_MAX)),
        );

        let before = self.commits().await?;
        let each = self.times(12);
        let mut elapsed = [Duration::ZERO; 3];
        for _ in 0..ROUNDS {
            for (queue, elapsed) in [None, Some("wide"), Some("narrow")]
                .into_iter()
                .zip(&mut elapsed)
            {
                *elapsed += in_flight(&self.client, queue, each).await?;
            }
        }
        let commits = self.reference.since(before).await?;
        let runs = f64::from(each) * f64::from(ROUNDS) * IN_FLIGHT as f64;
        let rates = elapsed.map(|elapsed| runs / elapsed.as_secs_f64());
        for (name, rate) in [
            ("no named queue", rates[0]),
            ("a queue with limits", rates[1]),
            ("a queue that takes 16 at a time", rates[2]),
        ] {
            let name = format!("3-step runs, {IN_FLIGHT} in flight, {name}");
            self.add(Measure::new(row, name, rate, "runs/s").ratio(rate / commits.per_second));
        }
        self.add(
            Measure::new(
                row,
                "without limits over with limits",
                rates[0] / rates[1],
                "",
            )
            .target(Target::AtMost(COST_MAX)),
        );
        Ok(())
    }
}

fn in_queue(queue: &str, customer: usize) -> StartOptions {
    StartOptions::default()
        .queue(queue)
        .concurrency_key(format!("customer-{customer}"))
}

/// Starts a run and waits until it is completed. Answers how long that took.
async fn complete(client: &Client, options: StartOptions) -> Result<Duration, ClientError> {
    let begin = Instant::now();
    let started = client.start_by_name(WORKFLOW, "null", options).await?;
    client.wait_output(&started).await?;
    Ok(begin.elapsed())
}

/// So many runs in each lane, one after the other, all lanes at the same time.
async fn in_flight(client: &Client, queue: Option<&'static str>, each: u32) -> Result<Duration> {
    let begin = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..IN_FLIGHT {
        let client = client.clone();
        let options = queue.map_or_else(StartOptions::default, |queue| {
            in_queue(queue, lane % CUSTOMERS)
        });
        lanes.spawn(async move {
            for _ in 0..each {
                complete(&client, options.clone()).await?;
            }
            Ok::<_, ClientError>(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.context("a lane panicked")??;
    }
    Ok(begin.elapsed())
}
