//! Random workflows, and what must come of them.

use std::fmt::Write as _;

use fastrand::Rng;
use serde::Serialize;

/// One thing that a run does. The guest `script` reads them in this form.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Deed {
    Step {
        id: String,
        fails: u32,
        attempts: u32,
        wait: u64,
    },
    Sql {
        id: String,
        fails: u32,
    },
    Sleep {
        id: String,
        ms: u64,
    },
    Wait {
        id: String,
        /// Whichever of these comes first; none: the one that is called as the wait is.
        events: Vec<String>,
        ms: Option<u64>,
    },
    Pause {
        id: String,
    },
    Fork {
        id: String,
        parallel: Option<u32>,
        branches: Vec<Vec<Deed>>,
    },
    Race {
        id: String,
        branches: Vec<Vec<Deed>>,
    },
    Child {
        id: String,
        script: String,
        #[serde(skip)]
        deeds: Vec<Deed>,
        detached: bool,
        awaited: bool,
        ms: Option<u64>,
    },
    Say {
        id: String,
    },
}

/// What scripts are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taste {
    /// So many things in one list, at most.
    pub(crate) size: u32,
    /// So many lists in each other.
    pub(crate) depth: u32,
    /// They wait for people.
    pub(crate) waits: bool,
    /// They use the database.
    pub(crate) sql: bool,
}

impl Taste {
    fn smaller(self) -> Self {
        Self {
            size: (self.size / 2).max(1),
            depth: self.depth - 1,
            ..self
        }
    }
}

/// Makes a script up.
pub(crate) fn make(rng: &mut Rng, taste: Taste) -> Vec<Deed> {
    let mut next = 0;
    deeds(rng, taste, &mut next)
}

fn deeds(rng: &mut Rng, taste: Taste, next: &mut u32) -> Vec<Deed> {
    let count = rng.u32(1..=taste.size);
    (0..count).map(|_| deed(rng, taste, next)).collect()
}

fn deed(rng: &mut Rng, taste: Taste, next: &mut u32) -> Deed {
    *next += 1;
    let number = *next;
    let nests = taste.depth > 0;
    match rng.u32(0..100) {
        0..25 if taste.sql => Deed::Sql {
            id: format!("sql{number}"),
            fails: u32::from(rng.u32(0..4) == 0),
        },
        0..45 => {
            let fails = if rng.u32(0..4) == 0 {
                rng.u32(1..=2)
            } else {
                0
            };
            Deed::Step {
                id: format!("step{number}"),
                fails,
                attempts: rng.u32(1..=3),
                wait: rng.u64(1..400),
            }
        }
        45..55 => Deed::Sleep {
            id: format!("sleep{number}"),
            ms: rng.u64(0..1500),
        },
        55..75 if taste.waits => {
            let events = match rng.u32(0..5) {
                0 | 1 => vec![format!("{SHARED}1")],
                2 => vec![format!("{SHARED}1"), format!("{SHARED}2")],
                _ => Vec::new(),
            };
            let mut id = format!("event{number}");
            // Whoever sees the wait's row can tell what it waits for.
            for event in &events {
                let _ = write!(id, "_{event}");
            }
            Deed::Wait {
                id,
                events,
                ms: rng.bool().then(|| rng.u64(0..2000)),
            }
        }
        75..78 if taste.waits => Deed::Pause {
            id: format!("pause{number}"),
        },
        78..80 if nests => Deed::Race {
            id: format!("race{number}"),
            branches: (0..rng.usize(2..=3))
                .map(|_| deeds(rng, taste.smaller(), next))
                .collect(),
        },
        80..87 if nests => {
            let count = rng.usize(1..=3);
            Deed::Fork {
                id: format!("fork{number}"),
                parallel: rng.bool().then(|| rng.u32(1..=2)),
                branches: (0..count)
                    .map(|_| deeds(rng, taste.smaller(), next))
                    .collect(),
            }
        }
        87..93 if nests => {
            let alone = Taste {
                waits: false,
                ..taste.smaller()
            };
            let deeds = deeds(rng, alone, next);
            let awaited = rng.u32(0..3) > 0;
            Deed::Child {
                id: format!("child{number}"),
                script: text(&deeds),
                deeds,
                detached: rng.u32(0..4) == 0,
                awaited,
                ms: (awaited && rng.u32(0..3) == 0).then(|| rng.u64(0..2000)),
            }
        }
        _ => Deed::Say {
            id: format!("say{number}"),
        },
    }
}

/// A script as the guest reads it.
pub(crate) fn text(deeds: &[Deed]) -> String {
    serde_json::to_string(deeds).unwrap_or_default()
}

/// The payload of an event.
pub(crate) fn payload(event: &str) -> u32 {
    event
        .trim_start_matches(char::is_alphabetic)
        .parse::<u32>()
        .unwrap_or(0)
        * 7
}

/// What events are called that several waits of a run may take.
const SHARED: &str = "shared";

/// Whether several waits may take an event of this name.
pub(crate) fn is_shared(event: &str) -> bool {
    event.starts_with(SHARED)
}

/// The events that a wait of this name takes.
pub(crate) fn awaited(wait: &str) -> Vec<&str> {
    match wait.split_once('_') {
        Some((_, events)) => events.split('_').collect(),
        None => vec![wait],
    }
}

/// The events that a script waits for, one for each wait.
pub(crate) fn events(deeds: &[Deed]) -> Vec<String> {
    let mut found = Vec::new();
    for deed in deeds {
        match deed {
            Deed::Wait { id, events, .. } => found.push(events.last().unwrap_or(id).clone()),
            Deed::Fork { branches, .. } | Deed::Race { branches, .. } => {
                found.extend(branches.iter().flat_map(|deeds| events(deeds)));
            }
            _ => {}
        }
    }
    found
}

/// How often a step is tried, if a script has one of this id.
pub(crate) fn attempts(deeds: &[Deed], step: &str) -> Option<u32> {
    deeds.iter().find_map(|deed| match deed {
        Deed::Step {
            id,
            fails,
            attempts,
            ..
        } if id == step => Some((fails + 1).min(*attempts)),
        Deed::Sql { id, fails } if id == step => Some(fails + 1),
        Deed::Fork { branches, .. } | Deed::Race { branches, .. } => {
            branches.iter().find_map(|deeds| attempts(deeds, step))
        }
        Deed::Child { deeds, .. } => attempts(deeds, step),
        _ => None,
    })
}

/// What a journal says: by run and by the name of a durable call.
pub(crate) trait Journals {
    /// The code of the outcome, and its payload.
    fn outcome(&self, run: &str, name: &str) -> Option<(String, Option<String>)>;
}

/// What a run must return, if its journal is to be believed where chance decides.
pub(crate) fn expected(
    deeds: &[Deed],
    run: &str,
    journals: &dyn Journals,
) -> Result<String, String> {
    let mut said = String::new();
    let outcome = |run: &str, name: &str| {
        journals
            .outcome(run, name)
            .ok_or_else(|| format!("run {run} has no outcome of {name}"))
    };
    for deed in deeds {
        let (id, came) = match deed {
            Deed::Step {
                id,
                fails,
                attempts,
                ..
            } => {
                let (code, payload) = outcome(run, id)?;
                let (wanted, came) = match fails < attempts {
                    true => ("ok", format!("{id}!")),
                    false => ("failed", "failed".to_owned()),
                };
                if code != wanted
                    || (code == "ok" && payload.as_deref() != Some(&format!("\"{id}!\"")))
                {
                    return Err(format!("run {run}: {id} is recorded as {code} {payload:?}"));
                }
                (id, came)
            }
            Deed::Sql { id, .. } => {
                let (code, payload) = outcome(run, id)?;
                if code != "ok" || payload.as_deref() != Some(&format!("\"{id}!\"")) {
                    return Err(format!("run {run}: {id} is recorded as {code} {payload:?}"));
                }
                (id, format!("{id}!"))
            }
            Deed::Sleep { id, .. } => (id, "slept".to_owned()),
            Deed::Wait { id, events, .. } => {
                let (code, found) = outcome(run, id)?;
                let found = found.unwrap_or_default();
                let came = match code.as_str() {
                    "ok" if events.is_empty() => {
                        (found == payload(id).to_string()).then(|| found.clone())
                    }
                    // What it took is compared with what was sent when it is recorded.
                    "ok" => serde_json::from_str(&found)
                        .ok()
                        .filter(|(event, _): &(String, u32)| events.contains(event))
                        .map(|(_, payload)| payload.to_string()),
                    "timed-out" => Some("late".to_owned()),
                    _ => None,
                };
                match came {
                    Some(came) => (id, came),
                    None => return Err(format!("run {run}: {id} is recorded as {code} {found}")),
                }
            }
            Deed::Pause { id } => (id, "resumed".to_owned()),
            Deed::Fork { id, branches, .. } => {
                let mut came = Vec::new();
                for deeds in branches {
                    came.push(expected(deeds, run, journals)?);
                }
                (id, format!("[{}]", came.join("|")))
            }
            Deed::Race { id, branches } => {
                let (_, plan) = outcome(run, id)?;
                let plan: serde_json::Value =
                    serde_json::from_str(&plan.unwrap_or_default()).unwrap_or_default();
                let won = plan["winner"]
                    .as_u64()
                    .and_then(|index| branches.get(usize::try_from(index).ok()?))
                    .ok_or_else(|| format!("run {run}: nobody has won {id}: {plan}"))?;
                (id, expected(won, run, journals)?)
            }
            Deed::Child {
                id, deeds, awaited, ..
            } => {
                let (_, started) = outcome(run, id)?;
                let started: serde_json::Value =
                    serde_json::from_str(&started.unwrap_or_default()).unwrap_or_default();
                let child = started["run"].as_str().unwrap_or_default();
                let came = match *awaited {
                    false => "started".to_owned(),
                    true => match outcome(run, &format!("{id}-end"))?.0.as_str() {
                        "timed-out" => "late".to_owned(),
                        _ => expected(deeds, child, journals)?,
                    },
                };
                (id, format!("({came})"))
            }
            Deed::Say { id } => (id, "said".to_owned()),
        };
        let _ = write!(said, "{id}={came};");
    }
    Ok(said)
}
