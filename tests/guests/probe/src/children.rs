//! Children as a workflow uses them.

use std::time::Duration;

use dacapo_guest::raw::children;
use dacapo_guest::tracing::info;
use dacapo_guest::{Failure, child, map, step};
use serde_json::Value;

use crate::Probe;
use crate::bindings::exports::test::probe::children::{Guest, Plan};

fn input(plan: &Plan) -> Result<Value, String> {
    serde_json::from_str(&plan.input).map_err(|error| error.to_string())
}

fn text(failure: Failure) -> String {
    format!("{}: {failure}", failure.code)
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

    fn awaits_stranger(run: String) -> Result<String, String> {
        match children::await_child("stranger", &run, None) {
            Ok(_) => Ok("ended".to_owned()),
            Err(failure) => Err(failure.code),
        }
    }
}
