//! The row of what a workflow can say: each primitive against a plain step.

use anyhow::{Context, Result};
use dacapo_client::StartOptions;
use dacapo_model::RunId;

use super::Bench;
use super::report::{Measure, Target};
use super::samples::Samples;

/// What a run does many times over: the workflow, what it is called, and how many of them are in one.
const PRIMITIVES: [(&str, &str, f64); 4] = [
    ("timers", "sleep of 1 ms, until it goes on", 1.0),
    ("events", "event that is there already", 1.0),
    (
        "children",
        "child run that does nothing, and its outcome",
        1.0,
    ),
    ("forks", "branch with a step, of a fork of 10", 10.0),
];

/// How often a run does it.
const TIMES: u32 = 40;

impl Bench {
    /// One run at a time does the same thing again and again.
    pub(super) async fn primitives_row(&mut self) -> Result<()> {
        let row = "primitives";
        let before = self.commits().await?;
        let runs = self.times(12);
        let mut samples: Vec<Samples> = Vec::new();
        for (workflow, _, _) in [("plain-steps", "", 1.0)].into_iter().chain(PRIMITIVES) {
            let mut times = Vec::new();
            for _ in 0..runs {
                times.push(self.stretch(workflow, TIMES).await?);
            }
            samples.push(
                times
                    .into_iter()
                    .map(std::time::Duration::from_secs_f64)
                    .collect(),
            );
        }
        let mut computed = Vec::new();
        for workflow in ["computes", "computes-in-branches"] {
            let mut times = Vec::new();
            for _ in 0..self.times(3).min(3) {
                times.push(std::time::Duration::from_secs_f64(
                    self.stretch(workflow, 2).await?,
                ));
            }
            computed.push(times.into_iter().collect::<Samples>().p50().as_secs_f64());
        }
        let commits = self.reference.since(before).await?;

        let each = |samples: &Samples| samples.p50().as_secs_f64() / f64::from(TIMES);
        let step = each(&samples[0]);
        self.add(Measure::new(row, "step", step * 1e6, "us").ratio(step / commits.mean()));
        for ((_, name, parts), samples) in PRIMITIVES.iter().zip(&samples[1..]) {
            let each = each(samples) / parts;
            self.add(
                Measure::new(row, *name, each * 1e6, "us")
                    .ratio(each / commits.mean())
                    .note(format!("{:.1} steps", each / step)),
            );
        }
        let [one_after_the_other, in_branches] = computed[..] else {
            return Ok(());
        };
        self.add(
            Measure::new(
                row,
                "two branches that compute, over the same one after the other",
                in_branches / one_after_the_other,
                "",
            )
            .target(Target::AtMost(0.8))
            .note(format!("{:.0} ms in all", one_after_the_other * 1e3)),
        );
        Ok(())
    }

    /// How long a run takes from its event `begin` until it has done what it does `times` times, by its journal, in seconds.
    async fn stretch(&self, workflow: &str, times: u32) -> Result<f64> {
        let name = format!("bench:noop/noop.{workflow}");
        let started = self
            .client
            .start_by_name(&name, &times.to_string(), StartOptions::default())
            .await?;
        if workflow == "events" {
            for _ in 0..times {
                self.client
                    .send_event(started.id, "go", "null", None)
                    .await?;
            }
        }
        self.until_suspended(started.id).await?;
        self.client
            .send_event(started.id, "begin", "null", None)
            .await?;
        self.client.wait_output(&started).await?;
        self.since_begin(started.id).await
    }

    async fn since_begin(&self, run: RunId) -> Result<f64> {
        sqlx::query_scalar(
            "select extract(epoch from max(finished_at) - min(finished_at) filter (where key = 'begin#1'))::float8
            from dacapo.step where run_id = $1",
        )
        .bind(run.0)
        .fetch_one(self.client.store().pool())
        .await
        .context("how long a run took")
    }
}
