//! The row `proof`: how fast runs in flight are replayed over a component.

use std::time::Instant;

use anyhow::{Context, Result};
use dacapo_client::{RunId, StartOptions};
use dacapo_model::Manifest;
use dacapo_sandbox::{Sandbox, SandboxConfig};
use dacapo_worker::Candidate;

use super::Bench;
use super::report::{Measure, Target};

/// Rows of each run's journal, its wait besides.
const STEPS: u32 = 20;

/// What proving this many runs may take, in seconds.
const RUNS: u32 = 10_000;
const SECONDS_MAX: f64 = 3.0;

impl Bench {
    /// Suspended runs of some steps each, all replayed.
    pub(super) async fn proof_row(&mut self) -> Result<()> {
        let count = if self.quick { RUNS / 10 } else { RUNS };
        let workflow = "bench:noop/noop.steps-then-wait";
        let starts = vec![(STEPS.to_string(), StartOptions::default()); count as usize];
        let started = self.client.start_many_by_name(workflow, &starts).await?;
        let runs: Vec<RunId> = started.iter().map(|run| run.id).collect();
        self.until_quiet().await?;
        let described = self.described.clone();
        let candidate = tokio::task::spawn_blocking(move || {
            let sandbox = Sandbox::new(SandboxConfig::default())?;
            let manifest = Manifest::default();
            let (digest, component) = (&described.digest, &described.component);
            Candidate::new(sandbox, digest, component, &described.descriptor, &manifest)
                .context("compiling")
        });
        let candidate = candidate.await.context("compiling panicked")??;
        let (mut proven, begin) = (0_u32, Instant::now());
        let judging = candidate.judge_all(self.client.store(), &runs, |judged| {
            proven += u32::from(judged.verdict.is_proven());
        });
        judging.await?;
        let seconds = begin.elapsed().as_secs_f64();
        anyhow::ensure!(proven == count, "{proven} of {count} runs were proven");
        let name = format!("replay proof of {count} runs of {STEPS} steps");
        let note = format!("{:.0} runs/s", f64::from(count) / seconds);
        let measure = Measure::new("proof", name, seconds, "s").note(note);
        self.add(match count {
            RUNS => measure.target(Target::AtMost(SECONDS_MAX)),
            _ => measure,
        });
        Ok(())
    }
}
