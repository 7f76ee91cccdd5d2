//! What must have come of a seed when all is over.

use anyhow::Result;

use crate::ledger;
use crate::plan::Plan;
use crate::script::{self, Deed};

use super::World;

impl World<'_> {
    /// Says what is wrong in the end.
    pub(super) fn judge(&mut self) -> Result<()> {
        let found = ledger::examine(&mut self.theatre.server)?;
        let shared = &mut *self.shared.borrow_mut();
        shared.wrong.extend(found);
        for run in &self.plan.runs {
            let Some(id) = &run.id else {
                shared.wrong.push("a run was not started".to_owned());
                continue;
            };
            let Some(known) = shared.ledger.runs.get(id) else {
                shared
                    .wrong
                    .push(format!("run {id} was acknowledged, and is not there"));
                continue;
            };
            // One that has failed has passed its deadline, or was noticed before.
            if known.status == "cancelled" && known.cancel_requested || known.status == "failed" {
                continue;
            }
            let wrong = misplayed(&run.deeds, id, &shared.ledger);
            shared.wrong.extend(wrong);
        }
        let ticks = shared.ledger.runs.iter();
        let ticks: Vec<_> = ticks.filter(|(_, run)| run.tick.is_some()).collect();
        for (id, known) in ticks {
            if let Some(schedule) = &self.plan.schedule
                && !(known.status == "cancelled" && known.cancel_requested)
            {
                let wrong = misplayed(&schedule.deeds, id, &shared.ledger);
                shared.wrong.extend(wrong);
            }
        }
        if self.plan.faults.are_none() {
            for ((run, key), count) in &shared.ledger.effects {
                let name = ledger::name_in(key);
                let first = shared.ledger.ancestor(run);
                let attempts = played(&self.plan, &shared.ledger, first)
                    .and_then(|deeds| script::attempts(deeds, name))
                    .unwrap_or(1);
                if *count > attempts {
                    shared.wrong.push(format!(
                        "run {run}: {key} was executed {count} times for {attempts} attempts, and nothing went wrong"
                    ));
                }
            }
        }
        for (id, run) in &shared.ledger.runs {
            let is_child = run.parent.is_some();
            if run.status == "cancelled" && !run.cancel_requested && !is_child {
                shared
                    .wrong
                    .push(format!("run {id} is cancelled, and nobody asked for it"));
            }
        }
        Ok(())
    }
}

/// What a run has come to that it should not have.
fn misplayed(deeds: &[Deed], id: &str, ledger: &ledger::Ledger) -> Option<String> {
    let expected = match script::expected(deeds, id, ledger) {
        Ok(expected) => expected,
        Err(problem) => return Some(problem),
    };
    let known = ledger.runs.get(id)?;
    let output: Option<String> = known
        .output
        .as_ref()
        .and_then(|text| serde_json::from_str(text).ok());
    (known.status != "completed" || output.as_ref() != Some(&expected)).then(|| {
        format!(
            "run {id} is {} with {output:?}, expected {expected:?}",
            known.status
        )
    })
}

/// What a run that is nobody's child plays.
fn played<'a>(plan: &'a Plan, ledger: &ledger::Ledger, run: &str) -> Option<&'a [Deed]> {
    if ledger.runs.get(run)?.tick.is_some() {
        return plan.schedule.as_ref().map(|schedule| &schedule.deeds[..]);
    }
    let mut runs = plan.runs.iter();
    let planned = runs.find(|planned| planned.id.as_deref() == Some(run))?;
    Some(&planned.deeds)
}
