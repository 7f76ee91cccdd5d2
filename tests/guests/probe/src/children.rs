//! Children as a workflow uses them.

use std::time::Duration;

use dacapo_guest::raw::children;
use dacapo_guest::tracing::info;
use dacapo_guest::{Failure, child, map, step, wait_for};
use serde_json::Value;

use crate::Probe;
use crate::bindings::exports::test::probe::children::{Guest, Placed, Plan};

fn input(plan: &Plan) -> Result<Value, String> {
    serde_json::from_str(&plan.input).map_err(|error| error.to_string())
}

fn text(failure: Failure) -> String {
    format!("{}: {failure}", failure.code)
}

/// A step that fails in its first attempt, for good.
fn gate() -> Result<(), Failure> {
    step("gate").run_with(|attempt| {
        if attempt == 1 {
            return Err(Failure::fatal("shut", "the gate is shut").into());
        }
        Ok(())
    })
}

impl Guest for Probe {
    fn runs_child(plan: Plan) -> Result<String, String> {
        let child = child("child", &plan.workflow)
            .start::<_, Value>(&input(&plan)?)
            .map_err(text)?;
        step("between").run(|| Ok(()))?;
        Ok(child.output().map_err(text)?.to_string())
    }

    fn runs_many(n: u32) -> Result<u64, String> {
        let numbers: Vec<u32> = (0..n).collect();
        let squares = map("many", &numbers)
            .run(|number| child("square", "test:probe/children.square").run::<_, u64>(number))?;
        Ok(squares.iter().sum())
    }

    fn square(n: u32) -> Result<u64, String> {
        Ok(step("square").run(|| {
            info!("effect square {n}");
            Ok(u64::from(n) * u64::from(n))
        })?)
    }

    fn waits_again(plan: Plan) -> Result<String, String> {
        let child = child("child", &plan.workflow)
            .start::<_, Value>(&input(&plan)?)
            .map_err(text)?;
        let early = child
            .output_within(Duration::from_millis(50))
            .map_err(text)?;
        let (first, second) = (child.output().map_err(text)?, child.output().map_err(text)?);
        Ok(format!("{} {first} {second}", early.is_some()))
    }

    fn leaves_child(plan: Plan) -> Result<String, String> {
        let child = child("child", &plan.workflow)
            .labels([("left", "yes")])
            .start::<_, Value>(&input(&plan)?)
            .map_err(text)?;
        Ok(child.id().to_owned())
    }

    fn detaches_child(plan: Plan) -> Result<String, String> {
        let child = child("child", &plan.workflow)
            .detached()
            .start::<_, Value>(&input(&plan)?)
            .map_err(text)?;
        Ok(child.id().to_owned())
    }

    fn cycle() -> Result<(), String> {
        child("cycle", "test:probe/children.cycle")
            .run::<_, ()>(&())
            .map_err(|failure| failure.message)
    }

    fn places_child(placed: Placed) -> Result<String, String> {
        let mut child = child("child", &placed.plan.workflow);
        if let Some(queue) = &placed.queue {
            child = child.queue(queue);
        }
        if let Some(key) = &placed.key {
            child = child.concurrency_key(key);
        }
        if let Some(priority) = placed.priority {
            child = child.priority(priority);
        }
        let output: Value = child.run(&input(&placed.plan)?).map_err(text)?;
        Ok(output.to_string())
    }

    fn keeps_child(plan: Plan) -> Result<String, String> {
        let child = child("child", &plan.workflow)
            .start::<_, Value>(&input(&plan)?)
            .map_err(text)?;
        wait_for::<Value>("go").recv().map_err(text)?;
        gate()?;
        Ok(child.output().map_err(text)?.to_string())
    }

    fn starts_behind_gate(plan: Plan) -> Result<String, String> {
        let gate = gate();
        let child = child("child", &plan.workflow)
            .start::<_, Value>(&input(&plan)?)
            .map_err(text)?;
        wait_for::<Value>("go").recv().map_err(text)?;
        gate?;
        Ok(child.output().map_err(text)?.to_string())
    }

    fn releases() -> Result<String, String> {
        step("reserve").run(|| {
            info!("effect reserve");
            Ok(())
        })?;
        match wait_for::<Value>("go").recv() {
            Ok(go) => {
                step("pack").run(|| Ok(()))?;
                Ok(go.to_string())
            }
            Err(failure) => {
                step("release").run(|| Ok(()))?;
                Err(text(failure))
            }
        }
    }

    fn awaits_stranger(run: String) -> Result<String, String> {
        match children::await_child("stranger", &run, None) {
            Ok(_) => Ok("ended".to_owned()),
            Err(failure) => Err(failure.code),
        }
    }
}
