//! A workflow that does what its input says, so that a simulation can make workflows up. Each step's body leaves an effect that names all
//! that was done before it: so whoever sees the effect can tell whether that is durable.

use std::fmt::Write;
use std::time::Duration;

use dacapo_guest::{
    Failure, Fatal, Retry, child, context, map, pause, progress, race, raw, sleep, step, wait_for,
    wait_for_any,
};
use serde::Deserialize;

dacapo_guest::workflows!(Script);
use bindings::dacapo::test::effects;
use bindings::exports::test::script::script::Guest;

struct Script;

/// One thing to do. The ids of a script's things are all different.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Deed {
    /// A step whose first attempts fail.
    Step {
        id: String,
        fails: u32,
        attempts: u32,
        wait: u64,
    },
    /// A step that writes a row for itself, in the transaction that records it. Its first attempts fail when they have done so.
    Sql { id: String, fails: u32 },
    /// Sleeps for so many milliseconds.
    Sleep { id: String, ms: u64 },
    /// Waits for the first of these events; if there are none, for one of its id.
    Wait {
        id: String,
        events: Vec<String>,
        ms: Option<u64>,
    },
    /// Waits to be resumed.
    Pause { id: String },
    /// Does several lists of things beside each other.
    Fork {
        id: String,
        parallel: Option<u32>,
        branches: Vec<Vec<Deed>>,
    },
    /// Does several lists of things beside each other until one is done.
    Race {
        id: String,
        branches: Vec<Vec<Deed>>,
    },
    /// Starts a child, and waits for its end if it is to.
    Child {
        id: String,
        script: String,
        detached: bool,
        awaited: bool,
        ms: Option<u64>,
    },
    /// Says something.
    Say { id: String },
}

impl Guest for Script {
    fn play(script: String) -> Result<String, String> {
        let deeds: Vec<Deed> =
            serde_json::from_str(&script).map_err(|error| format!("bad script: {error}"))?;
        let mut said = String::new();
        match all(&deeds, &mut Vec::new(), &mut said) {
            Ok(()) => Ok(said),
            Err(failure) => {
                // What is done once the run is being cancelled is done as ever.
                if failure.is_cancelled() {
                    let undone = step("undo").run(|| {
                        effects::append("");
                        Ok(())
                    });
                    undone.map_err(|failure| failure.message)?;
                }
                context::fail(failure)
            }
        }
    }
}

/// Does all of it in order. `done` holds the ids of what was done before.
fn all(deeds: &[Deed], done: &mut Vec<String>, said: &mut String) -> Result<(), Failure> {
    for deed in deeds {
        let (id, came) = one(deed, done)?;
        done.push(id.to_owned());
        // Writing to a string cannot fail.
        let _ = write!(said, "{id}={came};");
    }
    Ok(())
}

fn one<'a>(deed: &'a Deed, done: &[String]) -> Result<(&'a str, String), Failure> {
    Ok(match deed {
        Deed::Step {
            id,
            fails,
            attempts,
            wait,
        } => {
            let wait = Duration::from_millis(*wait);
            let outcome: Result<String, Failure> = step(id)
                .attempts(*attempts)
                .backoff(wait, 1.0, wait)
                .run_with(|attempt| {
                    effects::append(&done.join(","));
                    match attempt <= *fails {
                        true if *attempts == 1 => Err(Fatal("no").into()),
                        true => Err(Retry("not yet").into()),
                        false => Ok(format!("{id}!")),
                    }
                });
            let came = match outcome {
                Ok(value) => value,
                Err(failure) if failure.is_cancelled() => return Err(failure),
                Err(_) => "failed".to_owned(),
            };
            (id, came)
        }
        Deed::Sql { id, fails } => {
            let wait = Duration::from_millis(50);
            let outcome: Result<String, Failure> = step(id)
                // A connection that is lost takes one, too.
                .attempts(1_000)
                .backoff(wait, 1.0, wait)
                .run_with(|attempt| {
                    effects::append(&done.join(","));
                    let params = [
                        raw::sql::Value::Text(context::run_id()),
                        raw::sql::Value::Text(id.clone()),
                    ];
                    raw::sql::execute("insert into effect (run, step) values ($1, $2)", &params)
                        .map_err(Failure::from)?;
                    match attempt <= *fails {
                        true => Err(Retry("not yet").into()),
                        false => Ok(format!("{id}!")),
                    }
                });
            (id, outcome?)
        }
        Deed::Sleep { id, ms } => {
            sleep(id, Duration::from_millis(*ms))?;
            (id, "slept".to_owned())
        }
        Deed::Wait { id, events, ms } => {
            let events: Vec<&str> = events.iter().map(String::as_str).collect();
            let limit = ms.map(Duration::from_millis);
            let came = match (events.is_empty(), limit) {
                (true, None) => Some(wait_for::<u32>(id).recv()?),
                (true, Some(limit)) => wait_for::<u32>(id).timeout(limit).recv()?,
                (false, None) => Some(wait_for_any::<u32>(id, &events).recv()?.1),
                (false, Some(limit)) => wait_for_any::<u32>(id, &events)
                    .timeout(limit)
                    .recv()?
                    .map(|(_, came)| came),
            };
            (
                id,
                came.map_or_else(|| "late".to_owned(), |n| n.to_string()),
            )
        }
        Deed::Pause { id } => {
            pause(id)?;
            (id, "resumed".to_owned())
        }
        Deed::Fork {
            id,
            parallel,
            branches,
        } => {
            let mut fork = map(id, branches);
            if let Some(parallel) = parallel {
                fork = fork.max_parallel(*parallel);
            }
            let came = fork.run(|deeds| {
                let (mut done, mut said) = (done.to_vec(), String::new());
                all(deeds, &mut done, &mut said)?;
                Ok(said)
            })?;
            (id, format!("[{}]", came.join("|")))
        }
        Deed::Race { id, branches } => {
            let mut plays: Vec<_> = branches
                .iter()
                .map(|deeds| {
                    || {
                        let (mut done, mut said) = (done.to_vec(), String::new());
                        all(deeds, &mut done, &mut said)?;
                        Ok(said)
                    }
                })
                .collect();
            let mut plays: Vec<&mut dyn FnMut() -> Result<String, Failure>> = plays
                .iter_mut()
                .map(|play| play as &mut dyn FnMut() -> Result<String, Failure>)
                .collect();
            (id, race(id, &mut plays)?)
        }
        Deed::Child {
            id,
            script,
            detached,
            awaited,
            ms,
        } => {
            let mut started = child(id, "test:script/script.play");
            if *detached {
                started = started.detached();
            }
            let started = started.start::<_, String>(script)?;
            let came = match (*awaited, ms) {
                (false, _) => "started".to_owned(),
                (true, None) => ended(started.output())?,
                (true, Some(ms)) => match started.output_within(Duration::from_millis(*ms)) {
                    Ok(None) => "late".to_owned(),
                    Ok(Some(output)) => output,
                    Err(failure) => ended(Err(failure))?,
                },
            };
            (id, format!("({came})"))
        }
        Deed::Say { id } => {
            println!("{id}");
            progress(u64::try_from(done.len()).unwrap_or(0), 0, id.as_str());
            (id, "said".to_owned())
        }
    })
}

/// A child that was cancelled by somebody else is no reason to fail.
fn ended(output: Result<String, Failure>) -> Result<String, Failure> {
    match output {
        Err(failure) if failure.code == "child-cancelled" => Ok("cancelled".to_owned()),
        output => output,
    }
}
