//! Calls of guests: in any order, with any arguments.

use std::time::Duration;

use dacapo_client::{RunId, StartOptions};
use dacapo_tests::{Dacapo, Database};
use serde_json::json;

use crate::check::healthy;
use crate::{Random, Target};

/// What is played at once, beside one another.
const RUNS: usize = 12;
/// How long all of them may take until they rest.
const PATIENCE: Duration = Duration::from_secs(120);

/// Scripts that the guest `wild` plays on a worker that lives through all of them. None of them is a mistake of the host, and the database is
/// as it should be when they have ended.
#[derive(Debug)]
pub struct Calls {
    database: Database,
    worker: dacapo_tests::Worker,
}

impl Calls {
    /// Against this database.
    pub async fn new(database: Database) -> Self {
        database.deploy("wild").await;
        let mut worker = Dacapo::on(&database);
        // Limits that are reached soon.
        for argument in [
            "--memory-max=32",
            "--cpu-between-calls-max=1s",
            "--attempt-time-max=2s",
            "--runs-max=64",
        ] {
            worker = worker.arg(argument);
        }
        let worker = worker.worker().await;
        Self { database, worker }
    }

    /// Waits until nothing is ready or played.
    async fn rests(&self) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let busy = "select (select count(*) from dacapo.task_ready) + (select count(*) from dacapo.task_leased)
                + (select count(*) from dacapo.child_end) + (select count(*) from dacapo.child_cancel)
                + (select count(*) from dacapo.task_suspended where wake_at < now() + interval '1 s' and not paused)";
            if self.database.count(busy).await == 0 {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err("the runs do not come to rest".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn active(&self) -> Vec<RunId> {
        let ids: Vec<uuid::Uuid> =
            sqlx::query_scalar("select id from dacapo.run where status = 'active'")
                .fetch_all(self.database.store.pool())
                .await
                .unwrap();
        ids.into_iter().map(RunId).collect()
    }
}

/// A number for a script. One that is sane means a name, a JSON or a call that ends no run by itself, whatever it is taken for.
fn number(random: &mut Random, any: bool) -> u32 {
    loop {
        // The upper half, which the lower bits do not show.
        let number = u32::try_from(random.number() >> 32).unwrap();
        let is_name = number % 30 < 7;
        let is_json = matches!(number % 18, 0..=6 | 8 | 16 | 17);
        let is_call = !matches!(number % 40, 6 | 8 | 23 | 26 | 29 | 30 | 31 | 35);
        if any || (is_name && is_json && is_call) {
            return number;
        }
    }
}

impl Target for Calls {
    const NAME: &'static str = "calls";

    fn generate(&self, random: &mut Random) -> Vec<u8> {
        let scripts: Vec<Vec<u32>> = (0..RUNS)
            .map(|_| {
                let length = 1 + random.below(80);
                // Mostly sane, so that runs get far, or mostly not.
                let insane = *random.pick(&[0, 1, 1, 2, 16]);
                let mut script = Vec::new();
                for _ in 0..length {
                    let any = random.below(32) < insane;
                    script.push(number(random, any));
                }
                script
            })
            .collect();
        json!(scripts).to_string().into_bytes()
    }

    async fn check(&mut self, input: &[u8]) -> Result<(), String> {
        let scripts: Vec<Vec<u32>> = serde_json::from_slice(input).map_err(|e| e.to_string())?;
        for script in &scripts {
            let input = json!(script).to_string();
            let options = StartOptions::default();
            let client = &self.database.client;
            let started = client
                .start_by_name("test:wild/wild.play", &input, options)
                .await;
            started.map_err(|error| error.to_string())?;
        }
        self.rests().await?;
        // What some of them wait for.
        for round in 0..3 {
            for id in self.active().await {
                for event in ["a", "go", "stop"] {
                    let _ = self
                        .database
                        .client
                        .send_event(id, event, &round.to_string(), None)
                        .await;
                }
                let _ = self.database.client.resume(id).await;
            }
            self.rests().await?;
        }
        for id in self.active().await {
            let _ = self.database.client.cancel(id).await;
        }
        self.rests().await?;
        // Whoever starts others while it ends is followed.
        for _ in 0..20 {
            let active = self.active().await;
            if active.is_empty() {
                break;
            }
            for id in active {
                let _ = self.database.client.kill(id).await;
            }
            self.rests().await?;
        }
        let left = self.active().await;
        if !left.is_empty() {
            return Err(format!("{} runs cannot be ended", left.len()));
        }
        let mistakes: Vec<String> = sqlx::query_scalar(
            "select failure::text from dacapo.run where failure::jsonb ->> 'code' in ('internal', 'nondeterminism')",
        )
        .fetch_all(self.database.store.pool())
        .await
        .unwrap();
        if let Some(mistake) = mistakes.first() {
            return Err(format!("a mistake of the host: {mistake}"));
        }
        if self.worker.has_ended() {
            return Err("the worker has ended".to_owned());
        }
        healthy(&self.database).await?;
        Ok(())
    }
}
