//! `./x sim`: plays seeds, and says which of them went wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use dacapo_sim::{Deaths, MUTANTS, Mutant, Report, Theatre};

const HELP: &str = "usage: sim [COUNT] [--from SEED] [--jobs N] [--trace]
                                               plays COUNT seeds (100), beginning with SEED (1); shows what happened in those that go wrong
       sim … --mutant NAME                     with something taken out of Dacapo, which must be found
       sim --mutants                           lists what can be taken out
       sim --seed SEED                         plays one seed, and shows what happened";

struct Arguments {
    from: u64,
    count: u64,
    jobs: usize,
    traced: bool,
    mutant: Option<&'static Mutant>,
}

fn arguments() -> Result<Option<Arguments>> {
    let mut given = Arguments {
        from: 1,
        count: 100,
        jobs: 1,
        traced: false,
        mutant: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => {
                (given.from, given.count, given.traced) = (number(&word, &mut words)?, 1, true);
            }
            "--from" => given.from = number(&word, &mut words)?,
            "--jobs" => given.jobs = usize::try_from(number(&word, &mut words)?)?.max(1),
            "--mutant" => {
                let name = words.next().unwrap_or_default();
                given.mutant = Some(Mutant::named(&name).with_context(|| {
                    format!("there is no mutant {name:?}; --mutants lists them\n{HELP}")
                })?);
            }
            "--mutants" => {
                for mutant in MUTANTS {
                    println!("{:32}{}", mutant.name, mutant.about);
                }
                std::process::exit(0);
            }
            "--trace" => given.traced = true,
            "--help" | "-h" => return Ok(None),
            text => match text.parse() {
                Ok(count) => given.count = count,
                Err(_) => bail!("expected a number of seeds, got {text:?}\n{HELP}"),
            },
        }
    }
    Ok(Some(given))
}

fn number(option: &str, words: &mut impl Iterator<Item = String>) -> Result<u64> {
    let text = words
        .next()
        .with_context(|| format!("{option} takes a number\n{HELP}"))?;
    text.parse()
        .with_context(|| format!("{option}: expected a number, got {text:?}"))
}

fn main() -> Result<ExitCode> {
    let Some(arguments) = arguments()? else {
        println!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let played = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    let deaths = Mutex::new(Deaths::new());
    let choices = AtomicU64::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..arguments.jobs)
            .map(|job| {
                let (played, failed, choices, deaths) = (&played, &failed, &choices, &deaths);
                let (traced, arguments) = (arguments.traced, &arguments);
                scope.spawn(move || -> Result<()> {
                    let directory = directory(job);
                    let _ = std::fs::remove_dir_all(&directory);
                    let mut theatre = Theatre::new(&directory, &guest())?;
                    theatre.change(arguments.mutant)?;
                    // Seeds of its own, one after the other: what came before one may matter.
                    let share = |job: usize| arguments.count * job as u64 / arguments.jobs as u64;
                    let first = arguments.from + share(job);
                    for seed in first..arguments.from + share(job + 1) {
                        let report = theatre.play(seed, traced)?;
                        choices.fetch_add(u64::from(report.choices), Ordering::Relaxed);
                        if !report.wrong.is_empty() || arguments.count == 1 {
                            tell(&report, first);
                        }
                        for (name, times) in &report.deaths {
                            *deaths.lock().unwrap().entry(*name).or_default() += times;
                        }
                        if !report.wrong.is_empty() {
                            failed.lock().unwrap().push(seed);
                        }
                        let played = played.fetch_add(1, Ordering::Relaxed) + 1;
                        if played.is_multiple_of(1_000) {
                            let rate = played as f64 / began.elapsed().as_secs_f64();
                            println!("{played} seeds, {rate:.1}/s");
                        }
                    }
                    if let Some(mutant) = arguments.mutant
                        && !theatre.has_changed()
                    {
                        bail!(
                            "{}: no statement has the text that is to be changed",
                            mutant.name
                        );
                    }
                    drop(theatre);
                    let _ = std::fs::remove_dir_all(&directory);
                    Ok(())
                })
            })
            .collect();
        jobs.into_iter().try_for_each(|job| match job.join() {
            Ok(played) => played,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let failed = failed.into_inner().unwrap();
    println!(
        "{} seeds, {} choices, {} went wrong, {:.1} seeds/s",
        arguments.count,
        choices.into_inner(),
        failed.len(),
        arguments.count as f64 / began.elapsed().as_secs_f64()
    );
    for (name, times) in deaths.into_inner().unwrap() {
        println!("{times:>8} workers died: {name}");
    }
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What happened in a seed, which a job has played after those from `first` on.
fn tell(report: &Report, first: u64) {
    for line in &report.trace {
        println!("  {line}");
    }
    for wrong in &report.wrong {
        println!("seed {}: {wrong}", report.seed);
    }
    if !report.wrong.is_empty() {
        let seed = report.seed;
        println!(
            "seed {seed} went wrong; play it again: ./x sim --seed {seed}; if it goes well alone, behind those before it: ./x sim {} --from {first}",
            seed + 1 - first
        );
    }
}

fn directory(job: usize) -> PathBuf {
    std::env::temp_dir().join(format!("dacapo-sim-{}-{job}", std::process::id()))
}

fn guest() -> PathBuf {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("wasm32-wasip2/guest/script.wasm")
}
