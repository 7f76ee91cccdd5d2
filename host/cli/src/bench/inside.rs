//! The row that needs no database: instantiation and replay, in this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use dacapo_model::{
    Kind, Manifest, Outcome, Payload, Recorded, RecordedState, RunId, StepKey, Timestamp, Workflow,
};
use dacapo_sandbox::{
    ChildState, ChildWorkflow, Described, Ending, Event, Journal, Prepared, RunSpec, Sandbox,
    SandboxConfig, Signal, Stop, Suspended, Suspension, Write,
};
use tokio::sync::Semaphore;

use super::Bench;
use super::report::{Measure, Target};
use super::samples::Samples;

/// Recorded steps of the run that is replayed.
const STEPS: u32 = 5_000;

/// A journal that writes nothing, and stops the run at its first call for something new; or holds it there, if there is a place for that.
#[derive(Default)]
pub(super) struct Stops(Option<Arc<Held>>);

/// Where runs are held, alive, before the body of their first new step.
#[derive(Debug)]
pub(super) struct Held {
    /// A permit for each that is here.
    pub(super) here: Semaphore,
    /// Closed when they may go.
    pub(super) free: Semaphore,
}

impl Held {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            here: Semaphore::new(0),
            free: Semaphore::new(0),
        })
    }
}

#[async_trait]
impl Journal for Stops {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1)
    }

    fn append(&self, _write: Write) {}

    fn nudge(&self) {}

    async fn settle(&self) -> Result<(), Stop> {
        if let Some(held) = &self.0 {
            held.here.add_permits(1);
            // It has none and is closed one day.
            let _ = held.free.acquire().await;
            return Err(Stop::Drained);
        }
        Ok(())
    }

    fn boundary(&self) -> Option<Signal> {
        let stop = Signal::Stop(Stop::Drained);
        self.0.is_none().then_some(stop)
    }

    fn take_event(&self, _names: &[String], _received_by: Option<Timestamp>) -> Option<Event> {
        None
    }

    fn has_event(&self, _names: &[String]) -> bool {
        false
    }

    async fn look(&self) {}

    fn has_looked_since(&self, _at: Timestamp) -> bool {
        true
    }

    async fn find_workflow(
        &self,
        _name: &str,
        _child: RunId,
        _labels: Option<&[(String, String)]>,
    ) -> Result<Result<ChildWorkflow, String>, Stop> {
        Err(Stop::Drained)
    }

    async fn has_queue(&self, _name: &str) -> Result<bool, Stop> {
        Err(Stop::Drained)
    }

    async fn child_state(&self, _child: RunId) -> Result<ChildState, Stop> {
        Err(Stop::Drained)
    }

    async fn suspend(&self, _suspension: Suspension) -> Result<Suspended, Stop> {
        Err(Stop::Drained)
    }
}

impl Bench {
    /// Instantiation and replay.
    pub(super) async fn inside_row(&mut self) -> Result<()> {
        let sandbox = Sandbox::new(SandboxConfig {
            instances_max: 16,
            ..SandboxConfig::default()
        })?;
        let (digest, bytes) = (
            self.described.digest.clone(),
            self.described.component.clone(),
        );
        let begin = Instant::now();
        let prepared = {
            let sandbox = sandbox.clone();
            tokio::task::spawn_blocking(move || sandbox.prepare(&digest, &bytes)).await??
        };
        let compile = begin.elapsed();
        let before = self.commits().await?;

        let first_call = self.workflow("three-steps")?;
        let mut times = Vec::new();
        for _ in 0..self.times(3_000) + 100 {
            let spec = spec(&sandbox, &first_call, "null", Vec::new());
            let begin = Instant::now();
            stopped(play(&sandbox, &prepared, &first_call, spec, Stops::default()).await)?;
            times.push(begin.elapsed());
        }
        // The first ones fill the pool.
        let instantiate = times.into_iter().skip(100).collect::<Samples>().p50();

        let long = self.workflow("steps-then-wait")?;
        let mut times = Vec::new();
        for _ in 0..self.times(60) {
            let spec = spec(&sandbox, &long, "5000", recorded(STEPS));
            let begin = Instant::now();
            stopped(play(&sandbox, &prepared, &long, spec, Stops::default()).await)?;
            times.push(begin.elapsed());
        }
        let replay = times.into_iter().collect::<Samples>().p50();
        let commits = self.reference.since(before).await?;

        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let row = "inside";
        let mut add = |measure| self.report.measures.push(measure);
        add(Measure::new(
            row,
            "compile the component",
            micros(compile) / 1e3,
            "ms",
        ));
        let measure = Measure::new(
            row,
            "instantiate, first call, and end p50",
            micros(instantiate),
            "us",
        );
        add(measure
            .ratio(instantiate.as_secs_f64() / commits.mean())
            .target(Target::AtMost(80.0)));
        let step = replay.as_secs_f64() / f64::from(STEPS);
        add(
            Measure::new(row, "replay of a recorded step", step * 1e6, "us")
                .ratio(step / commits.mean()),
        );
        Ok(())
    }

    fn workflow(&self, function: &str) -> Result<Workflow> {
        workflow_of(&self.described, function)
    }
}

pub(super) fn workflow_of(described: &Described, function: &str) -> Result<Workflow> {
    let mut workflows = described.descriptor.workflows.iter();
    workflows
        .find(|workflow| workflow.function == function)
        .cloned()
        .with_context(|| format!("the component has no {function}"))
}

pub(super) async fn play(
    sandbox: &Sandbox,
    prepared: &Prepared,
    workflow: &Workflow,
    spec: RunSpec,
    journal: Stops,
) -> Ending {
    sandbox
        .run(prepared, workflow, spec, Arc::new(journal))
        .await
}

impl Stops {
    pub(super) fn holding(held: &Arc<Held>) -> Self {
        Self(Some(Arc::clone(held)))
    }
}

pub(super) fn stopped(ending: Ending) -> Result<()> {
    match ending {
        Ending::Stopped(_) => Ok(()),
        other => bail!("expected the run to stop at its first new call, it ended with {other:?}"),
    }
}

pub(super) fn spec(
    sandbox: &Sandbox,
    workflow: &Workflow,
    input: &str,
    recorded: Vec<Recorded>,
) -> RunSpec {
    let run_id = RunId::new();
    RunSpec {
        run_id,
        workflow: workflow.name.clone(),
        input: Payload::from_trusted(input.to_owned()),
        seed: run_id,
        retries: 0,
        retry: None,
        terms: sandbox.terms(&Manifest::default()),
        created_at: Timestamp::from_micros(0),
        labels: Vec::new(),
        changes: None,
        recorded,
    }
}

/// So many steps `s` that recorded `null`.
pub(super) fn recorded(steps: u32) -> Vec<Recorded> {
    let at = Timestamp::from_micros(1);
    (1..=steps)
        .map(|occurrence| Recorded {
            key: StepKey::new("", "s", occurrence),
            kind: Kind::Step,
            position: occurrence,
            started_at: at,
            state: RecordedState::Done {
                outcome: Outcome::Ok(Payload::null()),
                finished_at: at,
            },
        })
        .collect()
}
