//! Runs that use all primitives together, for tests of what breaks. What came of them is read from the database and from what their steps
//! did outside of it, and from nothing else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dacapo_client::{ClientError, RunId, StartOptions};
use tokio::time::Instant;

use crate::{Dacapo, Database, database_with, sound_to_the_doctor};

/// How long a database may be away, and how long runs may take when all is well again.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often a run is started beside whatever happens.
const START_EVERY: Duration = Duration::from_millis(60);

/// How often the body of a step may have been executed beyond what its attempts say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Not at all: no worker died, and none lost its lease.
    Never,
    /// At most so many times: so often a worker died, or lost its lease. What was recorded is what the last execution did.
    Times(usize),
    /// The same, but a worker that was stopped may have gone on in the middle of a body that another one had recorded meanwhile.
    TimesAndLate(usize),
    /// As often as needed, since the database has lost what it had recorded.
    Lost,
}

/// Runs of the guest `mix`.
#[derive(Debug)]
pub struct Workload {
    /// The database that they are in, as clients reach it.
    pub database: Database,
    directory: tempfile::TempDir,
    all: Vec<(u32, RunId)>,
    failing: Vec<RunId>,
    number: u32,
}

/// What the workflow `all` returns.
fn expected(n: u32) -> String {
    format!(
        "\"{n} {} [1, 2, 3] [0, 1, 4, 9] 1 {} {n} {n}\"",
        n + 1,
        3 * n
    )
}

/// Asks until the database is there.
async fn patiently<T, F: Future<Output = Result<T, ClientError>>>(mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
}

impl Workload {
    /// On a database that is migrated.
    pub async fn on(database: Database) -> Self {
        database.deploy("mix").await;
        Self {
            database,
            directory: tempfile::tempdir().unwrap(),
            all: Vec::new(),
            failing: Vec::new(),
            number: 0,
        }
    }

    /// Where effects of steps go.
    pub fn effects(&self) -> PathBuf {
        self.directory.path().join("effects")
    }

    /// A worker for these runs.
    pub fn worker(&self) -> Dacapo {
        Dacapo::on(&self.database).effects(self.effects())
    }

    /// The same with this lease, and heartbeats that fit it.
    pub fn worker_with_lease(&self, lease: &str) -> Dacapo {
        self.worker()
            .arg("--lease")
            .arg(lease)
            .arg("--heartbeat")
            .arg("200ms")
    }

    /// How many runs were started that return something.
    pub fn started(&self) -> u32 {
        self.number
    }

    /// Starts a run and sends it its events, each of them twice, and now and then one that fails.
    pub async fn start_one(&mut self) {
        let number = self.number;
        self.number += 1;
        let client = &self.database.client;
        let start = |workflow: &'static str, input: String| {
            patiently(move || {
                let options = StartOptions {
                    key: Some(format!("{workflow} {number}")),
                    ..StartOptions::default()
                };
                let input = input.clone();
                async move { client.start_by_name(workflow, &input, options).await }
            })
        };
        let run = start("mix.all", format!(r#"{{"number": {number}}}"#))
            .await
            .id;
        for event in 1..=3 {
            let (payload, delivery) = (event.to_string(), format!("{number}-{event}"));
            // Whoever does not know whether an event was taken in sends it again.
            for _ in 0..2 {
                patiently(|| client.send_event(run, "go", &payload, Some(&delivery))).await;
            }
        }
        let failing = match number % 4 {
            0 => Some(start("mix.fails", number.to_string()).await.id),
            _ => None,
        };
        self.all.push((number, run));
        self.failing.extend(failing);
    }

    /// Starts runs for as long as something else goes on.
    pub async fn start_during<T>(&mut self, fault: impl Future<Output = T>) -> T {
        let is_over = AtomicBool::new(false);
        let fault = async {
            let answer = fault.await;
            is_over.store(true, Ordering::Relaxed);
            answer
        };
        let starts = async {
            while !is_over.load(Ordering::Relaxed) {
                self.start_one().await;
                tokio::time::sleep(START_EVERY).await;
            }
        };
        tokio::join!(fault, starts).0
    }

    /// Waits until all runs have ended, and leaves no pooled connection to whatever was there before.
    pub async fn settle(&mut self) {
        self.database = database_with(&self.database.url);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let active: Result<i64, _> =
                sqlx::query_scalar("select count(*) from dacapo.run where status = 'active'")
                    .fetch_one(self.database.store.pool())
                    .await;
            match active {
                Ok(0) => return,
                _ if Instant::now() < deadline => {}
                Ok(_) => panic!("runs are left: {:#?}", self.left().await),
                Err(error) => panic!("the database is not back: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn left(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select concat_ws(' ', run.id, run.workflow, run_status.status, blocked, waiting_for, waiting_for_events::text,
                (select string_agg(key || ' ' || coalesce(outcome, 'open'), ', ' order by position) from dacapo.step where step.run_id = run.id))
            from dacapo.run_status join dacapo.run on run.id = run_status.run_id
            where run.status = 'active' limit 10",
        )
        .fetch_all(self.database.store.pool())
        .await
        .unwrap()
    }

    /// Waits until all runs have ended, and checks all that can be known of them: each has ended as its code says, each step is there once and
    /// is what the world outside has seen of it, each child was started once and each event taken once, and the database is sound.
    pub async fn check(&mut self, again: Again) {
        self.settle().await;
        self.assert_ended_as_told().await;
        assert_each_step_once(&self.database, &self.effects(), again).await;
        assert_each_child_and_event_once(&self.database).await;
        sound_to_the_doctor(&self.database).await;
    }

    async fn assert_ended_as_told(&self) {
        for (number, run) in &self.all {
            let run = self.database.client.get(*run).await.unwrap();
            let output = run.output.as_ref().map(ToString::to_string);
            assert_eq!(
                output.as_deref(),
                Some(expected(*number).as_str()),
                "{run:#?}"
            );
        }
        for run in &self.failing {
            let run = self.database.client.get(*run).await.unwrap();
            let failure = run.failure.as_ref().map(|failure| failure.message.as_str());
            assert_eq!(failure, Some("there is no ship"), "{run:#?}");
        }
        let others = self
            .database
            .count(
                "select count(*) from dacapo.run
                where status <> 'completed' and workflow <> 'test:mix/mix.fails'",
            )
            .await;
        assert_eq!(others, 0, "leaves and ticks complete");
        let roots: i64 = self
            .database
            .count("select count(*) from dacapo.run where workflow in ('test:mix/mix.all', 'test:mix/mix.fails')")
            .await;
        assert_eq!(
            usize::try_from(roots).unwrap(),
            self.all.len() + self.failing.len(),
            "each was started once"
        );
    }
}

/// What was recorded is what was done, and once it was recorded a body did not run again.
async fn assert_each_step_once(database: &Database, effects: &Path, again: Again) {
    let log = std::fs::read_to_string(effects).unwrap();
    let mut done: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
    for line in log.lines() {
        let [run, key, number] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("not an effect: {line}")
        };
        done.entry((run, key)).or_default().push(number);
    }
    let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
        "select run_id::text, key, payload,
            (select count(*) from dacapo.attempt where attempt.run_id = step.run_id and attempt.key = step.key)
        from dacapo.step where kind = 'step' and outcome = 'ok'",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    assert!(!rows.is_empty());
    let mut repeated = 0;
    for (run, key, payload, failed) in &rows {
        let numbers = done
            .get(&(run.as_str(), key.as_str()))
            .unwrap_or_else(|| panic!("{run} {key} was recorded and never done"));
        let attempts = usize::try_from(*failed).unwrap() + 1;
        let beyond = numbers.len().saturating_sub(attempts);
        repeated += beyond;
        let most = match again {
            Again::Never => 0,
            Again::Times(times) | Again::TimesAndLate(times) => times,
            Again::Lost => usize::MAX,
        };
        assert!(
            numbers.len() >= attempts && beyond <= most,
            "{run} {key} had {attempts} attempts and was executed {} times; {again:?}",
            numbers.len()
        );
        // Compensations record nothing that tells.
        if payload == "null" {
            continue;
        }
        let of_the_recorded = match again {
            Again::TimesAndLate(_) => numbers.as_slice(),
            _ => numbers.last().map_or(&[][..], std::slice::from_ref),
        };
        assert!(
            of_the_recorded
                .iter()
                .any(|number| payload.ends_with(&format!(",{number}]"))),
            "{run} {key} recorded {payload}, and has done {numbers:?}"
        );
    }
    println!(
        "{} effects of {} recorded steps; {repeated} executions beyond their attempts",
        log.lines().count(),
        rows.len()
    );
}

async fn assert_each_child_and_event_once(database: &Database) {
    let wrong: Vec<String> = sqlx::query_scalar(
        "select 'child started ' || count(run.id) || ' times: ' || step.run_id || ' ' || step.key
        from dacapo.step left join dacapo.run on run.parent = step.run_id and run.id = (step.payload::json ->> 'run')::uuid
        where step.kind = 'child' and step.outcome = 'ok'
        group by step.run_id, step.key
        having count(run.id) <> 1
        union all
        select 'a child that its parent does not know: ' || run.id from dacapo.run
        where run.parent is not null and not exists (
            select from dacapo.step where step.run_id = run.parent and kind = 'child' and payload::json ->> 'run' = run.id::text
        )
        union all
        select 'event taken by none, or by a wait that knows nothing of it: ' || event.run_id || ' ' || event.name
        from dacapo.event left join dacapo.step on step.run_id = event.run_id and step.key = event.taken_by
        where step.key is null or step.payload is distinct from event.payload
        union all
        select 'two waits with one event: ' || run_id from dacapo.event group by run_id, taken_by having count(*) > 1",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
