//! The rows that go through the database.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dacapo_client::{Client, RunId, StartOptions, Status};

use super::Bench;
use super::report::{Measure, Target};
use super::samples::Samples;
use super::worker::Resident;

pub(super) const MIB: f64 = 1024.0 * 1024.0;

/// Runs in flight of the row `flow`, and how many runs of how many steps they are.
const FLOWS: [(usize, u32, u32); 3] = [(64, 3, 6_000), (64, 50, 1_500), (256, 3, 6_000)];

/// No run of the bench takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the memory of a process varies by without growing, whatever it does.
const NO_GROWTH_MIB: f64 = 2.0;

/// So many suspended runs that growth by each would show: 40 bytes for each of them are more than what a process varies by.
const SHOWING_GROWTH: u32 = 50_000;

/// Suspended runs that get their event.
const WOKEN: usize = 1_000;

impl Bench {
    pub(super) async fn start(&self, workflow: &str, input: &str) -> Result<RunId> {
        Ok(self
            .client
            .start_by_name(
                &format!("bench:noop/noop.{workflow}"),
                input,
                StartOptions::default(),
            )
            .await?
            .id)
    }

    /// Starts a run and waits until it is completed. Answers how long that took.
    pub(super) async fn complete(&self, workflow: &str, input: &str) -> Result<Duration> {
        complete(&self.client, workflow, input).await
    }

    pub(super) async fn until_suspended(&self, run: RunId) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if self.client.check_progress(run).await?.status == Status::Suspended {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bail!("run {run} is not suspended after a minute")
    }

    pub(super) fn add(&mut self, measure: Measure) {
        self.report.measures.push(measure);
    }

    pub(super) async fn reference_row(&mut self) -> Result<()> {
        // The worker compiles its component meanwhile.
        self.complete("noop-steps", "1").await?;
        let commits = self.commits().await?;
        self.add(
            Measure::new(
                "reference",
                "single-row commits, one connection",
                commits.per_second,
                "/s",
            )
            .ratio(1.0),
        );
        self.add(Measure::new(
            "reference",
            "one commit p50",
            commits.p50 * 1e3,
            "ms",
        ));
        Ok(())
    }

    /// 3-step runs, one at a time.
    pub(super) async fn single_row(&mut self) -> Result<()> {
        for _ in 0..20 {
            self.complete("three-steps", "null").await?;
        }
        let before = self.commits().await?;
        let calls_before = self.counters.calls().await?;
        let count = self.times(300);
        let begin = Instant::now();
        let mut times = Vec::new();
        for _ in 0..count {
            times.push(self.complete("three-steps", "null").await?);
        }
        let elapsed = begin.elapsed().as_secs_f64();
        let calls = self.counters.calls().await?;
        let commits = self.reference.since(before).await?;
        let samples: Samples = times.into_iter().collect();
        let (p50, p99) = (samples.p50().as_secs_f64(), samples.p99().as_secs_f64());
        let row = "single";
        self.add(
            Measure::new(row, "3-step run, start to complete p50", p50 * 1e3, "ms")
                .ratio(p50 / commits.mean()),
        );
        self.add(
            Measure::new(row, "3-step run, start to complete p99", p99 * 1e3, "ms")
                .ratio(p99 / commits.mean()),
        );
        let rate = f64::from(count) / elapsed;
        self.add(Measure::new(row, "3-step runs", rate, "/s").ratio(rate / commits.per_second));
        if let (Some(before), Some(after)) = (calls_before, calls) {
            let calls = after.since(&before);
            let measure = Measure::new(
                row,
                "statements of a 3-step run",
                calls.total() / f64::from(count),
                "",
            );
            self.add(
                measure
                    .target(Target::AtMost(8.0))
                    .note(calls.per(f64::from(count))),
            );
        }
        Ok(())
    }

    /// What one more recorded step costs in statements and WAL.
    pub(super) async fn wal_row(&mut self) -> Result<()> {
        let private = self.server.is_private();
        self.server.set_page_images(false).await?;
        self.counters.without_page_images(private);
        let count = self.times(60);
        let mut costs = Vec::new();
        for steps in ["0", "50"] {
            // The first ones touch pages and plans for the first time.
            for _ in 0..3 {
                self.complete("noop-steps", steps).await?;
            }
            let (calls_before, from) =
                (self.counters.calls().await?, self.counters.wal_end().await?);
            for _ in 0..count {
                self.complete("noop-steps", steps).await?;
            }
            let (calls, to) = (self.counters.calls().await?, self.counters.wal_end().await?);
            let bytes = self.counters.wal_between(&from, &to).await?;
            let statements = match (calls_before, calls) {
                (Some(before), Some(after)) => {
                    Some(after.since(&before).without_those_by_the_clock().total())
                }
                _ => None,
            };
            costs.push((bytes, statements));
        }
        let method = self.counters.wal_method();
        self.counters.without_page_images(false);
        self.server.set_page_images(true).await?;
        let steps = 50.0 * f64::from(count);
        let (none, fifty) = (costs[0], costs[1]);
        let bytes = (fifty.0 - none.0) / steps;
        let measure = Measure::new(
            "wal",
            "WAL of a recorded step, one run at a time",
            bytes,
            "B",
        );
        self.add(measure.target(Target::AtMost(400.0)).note(method));
        self.add(Measure::new(
            "wal",
            "WAL of a run without steps",
            none.0 / f64::from(count),
            "B",
        ));
        if let (Some(none), Some(fifty)) = (none.1, fifty.1) {
            let measure = Measure::new(
                "wal",
                "statements of a recorded step, one run at a time",
                (fifty - none) / steps,
                "",
            );
            self.add(measure.target(Target::AtMost(1.0)));
        }
        Ok(())
    }

    /// Many runs in flight.
    pub(super) async fn flow_row(&mut self) -> Result<()> {
        for (in_flight, steps, count) in FLOWS {
            let before = self.commits().await?;
            let calls_before = self.counters.calls().await?;
            let (workflow, input) = if steps == 3 {
                ("three-steps", "null".to_owned())
            } else {
                ("noop-steps", steps.to_string())
            };
            let each = self.times(count).div_ceil(u32::try_from(in_flight)?);
            let elapsed = run_lanes(&self.client, in_flight, each, workflow, &input).await?;
            let elapsed = elapsed.as_secs_f64();
            let runs = f64::from(each) * in_flight as f64;
            let calls = self.counters.calls().await?;
            let commits = self.reference.since(before).await?;
            let what = format!("{steps}-step runs, {in_flight} in flight");
            let rate = runs / elapsed;
            self.add(
                Measure::new("flow", what.clone(), rate, "runs/s").ratio(rate / commits.per_second),
            );
            let rate = rate * f64::from(steps);
            let mut measure =
                Measure::new("flow", what, rate, "steps/s").ratio(rate / commits.per_second);
            // Runs of three steps show what starts and ends cost beside them.
            if in_flight == 64 && steps == 50 {
                measure = measure.target(Target::RatioAtLeast(3.0));
            }
            if let (Some(before), Some(after)) = (calls_before, calls) {
                let per_step = after.since(&before).total() / (runs * f64::from(steps));
                measure = measure.note(format!("{per_step:.2} statements a step in all"));
            }
            self.add(measure);
        }
        Ok(())
    }

    /// From an event to the end of the run that waits for it.
    pub(super) async fn event_row(&mut self) -> Result<()> {
        let before = self.commits().await?;
        let mut times = Vec::new();
        for _ in 0..self.times(200) {
            let run = self.start("wait-event", "null").await?;
            self.until_suspended(run).await?;
            let begin = Instant::now();
            self.client.send_event(run, "go", "null", None).await?;
            self.client.wait(run, None).await?;
            times.push(begin.elapsed());
        }
        let commits = self.reference.since(before).await?;
        let samples: Samples = times.into_iter().collect();
        for (name, time) in [("p50", samples.p50()), ("p99", samples.p99())] {
            let time = time.as_secs_f64();
            self.add(
                Measure::new(
                    "event",
                    format!("event to complete {name}"),
                    time * 1e3,
                    "ms",
                )
                .ratio(time / commits.mean()),
            );
        }
        Ok(())
    }

    /// Whether time for a step grows with the run, and how long a long run takes to come back.
    pub(super) async fn long_row(&mut self) -> Result<()> {
        let before = self.commits().await?;
        let (mut short, mut long) = (Vec::new(), Vec::new());
        for _ in 0..self.times(12).min(5) {
            // In turn, so that both see the same machine.
            for _ in 0..10 {
                short.push(self.complete("noop-steps", "100").await? / 100);
            }
            long.push(self.complete("noop-steps", "5000").await? / 5_000);
        }
        let commits = self.reference.since(before).await?;
        let middle =
            |times: Vec<Duration>| times.into_iter().collect::<Samples>().p50().as_secs_f64();
        let (short, long) = (middle(short), middle(long));
        self.add(
            Measure::new("long", "time of a step, run of 100", short * 1e6, "us")
                .ratio(short / commits.mean()),
        );
        self.add(
            Measure::new("long", "time of a step, run of 5,000", long * 1e6, "us")
                .ratio(long / commits.mean()),
        );
        self.add(
            Measure::new("long", "the one over the other", long / short, "")
                .target(Target::AtMost(1.3)),
        );

        let before = self.commits().await?;
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..self.times(12) {
            // In turn, so that both see the same machine.
            without.push(self.resume("0").await?);
            with.push(self.resume("5000").await?);
        }
        let commits = self.reference.since(before).await?;
        let (without, with) = (middle(without), middle(with));
        self.add(
            Measure::new(
                "long",
                "event to complete with 5,000 recorded steps",
                with * 1e3,
                "ms",
            )
            .ratio(with / commits.mean()),
        );
        // What the event, the claim and the end take is the same without any steps.
        let load_and_replay = (with - without).max(0.0);
        self.add(
            Measure::new(
                "long",
                "of that, loading and replaying the steps",
                load_and_replay * 1e3,
                "ms",
            )
            .ratio(load_and_replay / commits.mean())
            .target(Target::RatioAtMost(50.0))
            .note(format!("without steps {:.2} ms", without * 1e3)),
        );
        Ok(())
    }

    /// A run records this many steps and waits for its event. Answers how long it takes from the event to its end.
    async fn resume(&self, steps: &str) -> Result<Duration> {
        let name = "bench:noop/noop.steps-then-wait";
        let started = self
            .client
            .start_by_name(name, steps, StartOptions::default())
            .await?;
        self.until_suspended(started.id).await?;
        // Somebody waits already, so that the end is heard of and not looked for: looking would take a core of its own.
        let (client, waiting) = (self.client.clone(), started.clone());
        let waiting = tokio::spawn(async move { client.wait_output(&waiting).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begin = Instant::now();
        self.client
            .send_event(started.id, "go", "null", None)
            .await?;
        waiting.await.context("waiting panicked")??;
        Ok(begin.elapsed())
    }

    /// Very many suspended runs.
    pub(super) async fn suspended_row(&mut self) -> Result<()> {
        let row = "suspended";
        let count = self.suspended;
        // Half of them beforehand, so that the worker has been as busy as it will get, and has what it keeps for that; the other half
        // shows whether each costs memory.
        self.start_many("default", count - count / 2).await?;
        self.until_quiet().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let resident_before = self.worker.resident();
        let begin = Instant::now();
        let half = count / 2;
        self.start_many("default", half).await?;
        self.until_quiet().await?;
        let elapsed = begin.elapsed().as_secs_f64();
        self.add(
            Measure::new(
                row,
                "runs played until they wait",
                f64::from(half) / elapsed,
                "/s",
            )
            .note(format!("{half} of {count} runs")),
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
        if let (Some(before), Some(after)) = (resident_before, self.worker.resident()) {
            let grown = (after.now - before.now) / MIB;
            let measure = Measure::new(row, "memory of the worker, grown by these", grown, "MiB")
                .note(format!("from {:.1} MiB", before.now / MIB));
            self.add(if half >= SHOWING_GROWTH {
                measure.target(Target::AtMost(NO_GROWTH_MIB))
            } else {
                measure
            });
        }

        let idle = Duration::from_secs(if self.quick { 3 } else { 10 });
        let (calls_before, time_before) =
            (self.counters.calls().await?, self.worker.processor_time());
        tokio::time::sleep(idle).await;
        let (calls, time) = (self.counters.calls().await?, self.worker.processor_time());
        if let (Some(before), Some(after)) = (time_before, time) {
            let share = 100.0 * after.saturating_sub(before).as_secs_f64() / idle.as_secs_f64();
            self.add(
                Measure::new(row, "idle worker", share, "% of a core").target(Target::AtMost(2.0)),
            );
        }
        if let (Some(before), Some(after)) = (calls_before, calls) {
            let rate = after.since(&before).total() / idle.as_secs_f64();
            self.add(
                Measure::new(row, "idle worker", rate, "statements/s").target(Target::AtMost(2.0)),
            );
        }

        let resident_idle = self.worker.resident();
        let chosen: Vec<uuid::Uuid> =
            sqlx::query_scalar("select run_id from dacapo.task_suspended where 'go' = any (events) order by random() limit $1")
                .bind(i64::try_from(WOKEN.min(count as usize))?)
                .fetch_all(self.client.store().pool())
                .await?;
        let begin = Instant::now();
        let mut senders = tokio::task::JoinSet::new();
        for part in chosen.chunks(chosen.len().div_ceil(32).max(1)) {
            let (client, part) = (self.client.clone(), part.to_vec());
            senders.spawn(async move {
                for run in part {
                    client.send_event(RunId(run), "go", "null", None).await?;
                }
                Ok::<_, dacapo_client::ClientError>(())
            });
        }
        while let Some(sender) = senders.join_next().await {
            sender.context("a sender panicked")??;
        }
        for run in &chosen {
            let run = self
                .client
                .wait(RunId(*run), Some(Duration::from_secs(60)))
                .await?;
            if run.status != Status::Completed {
                bail!("run {} is {} after its event", run.id, run.status);
            }
        }
        let elapsed = begin.elapsed().as_secs_f64();
        self.add(Measure::new(
            row,
            format!(
                "{} of them, at random, from event to complete",
                chosen.len()
            ),
            elapsed,
            "s in all",
        ));
        tokio::time::sleep(Duration::from_secs(2)).await;
        if let (Some(before), Some(after)) = (resident_idle, self.worker.resident()) {
            self.add(Measure::new(
                row,
                "memory of the worker after that, grown by",
                (after.now - before.now) / MIB,
                "MiB",
            ));
        }
        Ok(())
    }

    /// Starts runs in bulk, past the client: what is measured is what the worker does with them.
    pub(super) async fn start_many(&self, namespace: &str, count: u32) -> Result<()> {
        sqlx::query(
            "with started as (
                insert into dacapo.run (id, namespace, workflow, deployment_id, input)
                select gen_random_uuid(), namespace, 'bench:noop/noop.wait-event', deployment.id, 'null'
                from dacapo.deployment, generate_series(1, $1)
                where active and namespace = $2
                returning id
            ), queued as (
                insert into dacapo.task_ready (run_id) select id from started
            )
            select pg_notify('dacapo_ready', '')",
        )
        .bind(i32::try_from(count)?)
        .bind(namespace)
        .execute(self.client.store().pool())
        .await?;
        Ok(())
    }

    /// Waits until no run is to be played.
    pub(super) async fn until_quiet(&self) -> Result<()> {
        let quiet = "select not exists (select from dacapo.task_ready) and not exists (select from dacapo.task_leased)";
        let deadline = Instant::now() + Duration::from_secs(600);
        while Instant::now() < deadline {
            if sqlx::query_scalar::<_, bool>(quiet)
                .fetch_one(self.client.store().pool())
                .await?
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("it takes longer than ten minutes")
    }

    pub(super) fn peak_row(&mut self, resident: Resident) {
        self.add(Measure::new(
            "worker",
            "peak memory",
            resident.peak / MIB,
            "MiB",
        ));
    }
}

/// Starts a run and waits until it is completed. Answers how long that took.
pub(super) async fn complete(client: &Client, workflow: &str, input: &str) -> Result<Duration> {
    let begin = Instant::now();
    let name = format!("bench:noop/noop.{workflow}");
    let started = client
        .start_by_name(&name, input, StartOptions::default())
        .await?;
    // A run that is blocked would be waited for for ever.
    let Ok(output) = tokio::time::timeout(PATIENCE, client.wait_output(&started)).await else {
        let run = client.get(started.id).await?;
        let blocked = run.blocked.as_ref().map_or("", |reason| reason.as_str());
        bail!(
            "run {} is {} after two minutes {blocked}",
            run.id,
            run.status
        );
    };
    output?;
    Ok(begin.elapsed())
}

/// So many runs in each lane, one after the other, all lanes at the same time. Answers how long that took.
pub(super) async fn run_lanes(
    client: &Client,
    lanes: usize,
    each: u32,
    workflow: &str,
    input: &str,
) -> Result<Duration> {
    let begin = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..lanes {
        let (client, input) = (client.clone(), input.to_owned());
        let name = format!("bench:noop/noop.{workflow}");
        running.spawn(async move {
            for _ in 0..each {
                let started = client
                    .start_by_name(&name, &input, StartOptions::default())
                    .await?;
                client.wait_output(&started).await?;
            }
            Ok::<_, dacapo_client::ClientError>(())
        });
    }
    while let Some(lane) = running.join_next().await {
        lane.context("a lane panicked")??;
    }
    Ok(begin.elapsed())
}
