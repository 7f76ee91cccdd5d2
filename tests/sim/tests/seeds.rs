//! Some seeds, each time. `./x sim` plays as many as one likes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dacapo_sim::{Deaths, KILLED, KILLED_ASKING, MUTANTS, Theatre};
use dacapo_worker::Failpoint;

/// A mutant that so many seeds do not find is not found.
const SEEDS_FOR_MUTANTS: u64 = 300;

/// How many seeds are played; fewer when the machine is slow, but not as few as to say nothing.
const SEEDS: u64 = 300;
const SEEDS_MIN: u64 = 200;
const TIME_BOX: Duration = Duration::from_secs(60);

/// So many are played twice, to see whether they go the same way.
const SEEDS_FOR_ORDER: u64 = 60;

struct Stage {
    theatre: Option<Theatre>,
    directory: PathBuf,
}

impl Stage {
    fn new(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("dacapo-sim-{}-{name}", std::process::id()));
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let guest = target.join("wasm32-wasip2/guest/script.wasm");
        Self {
            theatre: Some(Theatre::new(&directory, &guest).unwrap()),
            directory,
        }
    }

    fn theatre(&mut self) -> &mut Theatre {
        self.theatre.as_mut().unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.theatre = None;
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn no_seed_loses_or_repeats_anything() {
    let mut stage = Stage::new("s");
    let began = Instant::now();
    let mut played = 0;
    let mut deaths = Deaths::new();
    for seed in 1..=SEEDS {
        if began.elapsed() > TIME_BOX && played >= SEEDS_MIN {
            break;
        }
        let report = stage.theatre().play(seed, false).unwrap();
        assert!(
            report.wrong.is_empty(),
            "seed {seed} went wrong: {:#?}; play it again: ./x sim --seed {seed}; if it goes well alone, behind those before it: ./x sim {seed}",
            report.wrong
        );
        for (name, times) in report.deaths {
            *deaths.entry(name).or_default() += times;
        }
        played += 1;
    }
    println!(
        "{played} seeds in {:?}; workers died: {deaths:?}",
        began.elapsed()
    );
    if played < SEEDS {
        return;
    }
    // Few runs have SQL steps.
    let never = Failpoint::ALL
        .into_iter()
        .filter(|failpoint| !Failpoint::OF_SQL_STEPS.contains(failpoint))
        .map(Failpoint::name)
        .chain([KILLED, KILLED_ASKING])
        .filter(|name| !deaths.contains_key(name));
    assert_eq!(never.collect::<Vec<_>>(), Vec::<&str>::new(), "{deaths:?}");
}

#[test]
fn seeds_go_the_same_way_each_time() {
    // In the same order of seeds: where Postgres puts rows, and so in which order it finds them, depends on those that were there before, and
    // on when it cleans up.
    let (mut first, mut second) = (Stage::new("t"), Stage::new("u"));
    for seed in 1..=SEEDS_FOR_ORDER {
        let [one, another] =
            [&mut first, &mut second].map(|stage| stage.theatre().play(seed, true).unwrap().trace);
        assert!(one.len() > 10, "seed {seed}: {one:#?}");
        let differs = one
            .iter()
            .zip(&another)
            .position(|(line, other)| line != other);
        let differs =
            differs.or((one.len() != another.len()).then_some(one.len().min(another.len())));
        if let Some(at) = differs {
            panic!(
                "seed {seed}: after {:#?}\n{:?} in the one, and {:?} in the other",
                &one[at.saturating_sub(10)..at],
                one.get(at),
                another.get(at)
            );
        }
    }
}

#[test]
fn whatever_is_taken_out_of_dacapo_is_noticed() {
    let mut stage = Stage::new("m");
    let mut survived = Vec::new();
    let known = MUTANTS
        .iter()
        .filter_map(|mutant| Some((mutant, mutant.first?)));
    for (mutant, first) in known {
        stage.theatre().change(Some(mutant)).unwrap();
        let began = Instant::now();
        let found = (first..first + SEEDS_FOR_MUTANTS).find_map(|seed| {
            let report = stage.theatre().play(seed, false).unwrap();
            Some((seed, report.wrong.into_iter().next()?))
        });
        assert!(
            stage.theatre().has_changed(),
            "{}: no statement has the text that is to be changed",
            mutant.name
        );
        match found {
            Some((seed, wrong)) => {
                println!(
                    "{}: seed {seed} ({:?}): {wrong}",
                    mutant.name,
                    began.elapsed()
                );
            }
            None => survived.push(mutant.name),
        }
    }
    assert!(
        survived.is_empty(),
        "not noticed within {SEEDS_FOR_MUTANTS} seeds: {survived:?}"
    );
}
