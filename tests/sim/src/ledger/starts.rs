//! What must hold of runs that are started with regard to others, and by the clock.

use std::collections::BTreeMap;

use dacapo_model::Overlap;

use super::Ledger;

/// A tick that is older than this was missed, and may be passed over without a trace when others are passed over after it.
const MISSED_AFTER: i64 = 60_000_000;

impl Ledger {
    /// At most one run that has begun, or may begin, and has not ended has a singleton's key.
    pub(super) fn check_singletons(&self, wrong: &mut Vec<String>) {
        let mut under_way: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, run) in &self.runs {
            let Some(key) = run.singleton.as_deref() else {
                continue;
            };
            let waits = |task: &super::Task| {
                task.place == "suspended" && task.reason.as_deref() == Some("singleton")
            };
            let tasks = self.tasks.get(id).map_or(&[][..], Vec::as_slice);
            if run.status == "active" && !tasks.iter().any(waits) {
                under_way.entry(key).or_default().push(id);
            }
        }
        for (key, runs) in under_way {
            if runs.len() > 1 {
                wrong.push(format!(
                    "the singleton's key {key} belongs to several runs at the same time: {runs:?}"
                ));
            }
        }
    }

    /// Each tick starts one run when its time has come, or is passed over and starts none.
    pub(super) fn check_schedule(&self, now: &Ledger, wrong: &mut Vec<String>) {
        let Some(rhythm) = now.rhythm else { return };
        let mut ticks: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        let mut active = 0;
        for (id, run) in &now.runs {
            let Some(tick) = run.tick else { continue };
            ticks.entry(tick).or_default().push(id);
            active += u32::from(run.status == "active");
            if !self.runs.contains_key(id) && tick > now.time {
                wrong.push(format!("the tick {tick} was started at {}", now.time));
            }
        }
        if active > 1 && rhythm.overlap != Overlap::Allow {
            wrong.push(format!(
                "{active} runs of the schedule are active, and overlap is {}",
                rhythm.overlap
            ));
        }
        for (tick, runs) in &ticks {
            if runs.len() > 1 {
                wrong.push(format!("the tick {tick} has started {runs:?}"));
            }
        }
        let (Some(before), Some(after)) = (&self.schedule, &now.schedule) else {
            return;
        };
        let (Some(first), Some(next)) = (before.next, after.next) else {
            return;
        };
        if next < first {
            wrong.push(format!("the schedule went back from {first} to {next}"));
        }
        let is_passed = |tick: i64| {
            let (from, until) = after.passed?;
            Some(from <= tick && until.is_none_or(|until| tick < until))
        };
        let mut tick = first;
        while tick < next {
            let is_started = ticks.contains_key(&tick);
            let is_passed = is_passed(tick).unwrap_or(false);
            let was_missed = tick + MISSED_AFTER < now.time;
            if is_started && is_passed {
                wrong.push(format!("the tick {tick} was passed over, and started"));
            }
            if !is_started && !is_passed && !was_missed {
                wrong.push(format!(
                    "the tick {tick} was neither started nor passed over"
                ));
            }
            tick += rhythm.every_s * 1_000_000;
        }
        let is_old = |tick: i64| tick < first || next <= tick;
        for (id, run) in &now.runs {
            if let Some(tick) = run.tick
                && !self.runs.contains_key(id)
                && is_old(tick)
            {
                wrong.push(format!(
                    "the tick {tick} was started, and what is decided about are those from {first} to {next}"
                ));
            }
        }
    }
}
