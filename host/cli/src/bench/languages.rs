//! The row `languages`: the same workflow in each language that has a kit.
//!
//! The guests are those in `examples-guests/bench/languages`, whose sources are built in; each is built anew, as its author would, by its
//! language's own tools.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use dacapo_client::Client;
use dacapo_kits::{BuildSettings, Engine, KitError, Language, Project};
use dacapo_sandbox::{Described, Prepared, Sandbox, SandboxConfig};
use tokio::task::JoinSet;

use super::Bench;
use super::inside::{Held, Stops, play, recorded, spec, stopped, workflow_of};
use super::report::{Measure, Target};
use super::rows::{MIB, complete, run_lanes};
use super::samples::Samples;
use super::worker::{Scratch, own_memory, processor_time};

/// The types of the guests, and their sources.
const WIT: &str = include_str!("../../../../examples-guests/bench/languages/wit/world.wit");
const TYPESCRIPT: &[(&str, &str)] = &[(
    "src/workflows.ts",
    include_str!("../../../../examples-guests/bench/languages/ts/src/workflows.ts"),
)];
const PYTHON: &[(&str, &str)] = &[(
    "workflows.py",
    include_str!("../../../../examples-guests/bench/languages/python/workflows.py"),
)];
const GO: &[(&str, &str)] = &[
    (
        "workflows.go",
        include_str!("../../../../examples-guests/bench/languages/go/workflows.go"),
    ),
    (
        "go.mod",
        include_str!("../../../../examples-guests/bench/languages/go/go.mod"),
    ),
];
const C: &[(&str, &str)] = &[(
    "workflows.c",
    include_str!("../../../../examples-guests/bench/languages/c/workflows.c"),
)];

/// What is measured of a guest: this many steps, and a wait.
const STEPS: &str = "noop-steps";
const WAIT: &str = "wait-event";

/// Steps of a run in flight.
const RUN_STEPS: u32 = 50;

/// Steps of a run that is played alone.
const LONG_STEPS: u32 = 100;

/// Recorded steps of the run that is replayed.
const REPLAYED: u32 = 5_000;

/// Instances that are alive at the same time, to see what each takes.
const ALIVE: u32 = 128;

/// Steps that they have replayed.
const ALIVE_STEPS: u32 = 100;

/// Suspended runs, to see what each takes, and those beforehand that bring the worker to its usual size.
const SUSPENDED: u32 = 1_000;
const SUSPENDED_BEFORE: u32 = 2_000;

/// Runs in flight: a few, and as many as the worker can do with.
const IN_FLIGHT: [usize; 2] = [16, 64];

/// What no language may fall below, in steps a second of Rust's.
const SHARE_MIN: f64 = 1.0 / 3.0;

/// A guest in one language.
struct Guest {
    language: Language,
    described: Described,
    /// Of the namespace that it is deployed in.
    client: Client,
}

/// What was measured of one.
#[derive(Default)]
struct Figures {
    compile: Duration,
    compile_cpu: Option<Duration>,
    code_bytes: u64,
    load: Duration,
    instantiate: Duration,
    replay: Duration,
    alive_bytes: Option<f64>,
    step: Duration,
    flows: [Flow; IN_FLIGHT.len()],
    suspended_bytes: Option<f64>,
}

/// Runs in flight.
#[derive(Default)]
struct Flow {
    steps: f64,
    elapsed: Duration,
    /// Of the worker.
    cpu: Option<Duration>,
}

impl Flow {
    fn rate(&self) -> f64 {
        self.steps / self.elapsed.as_secs_f64()
    }
}

/// Reads `LANGUAGE=FILE.wasm`.
pub(super) fn named_file(text: &str) -> Result<(Language, PathBuf), String> {
    let (language, file) = text
        .split_once('=')
        .ok_or("expected LANGUAGE=FILE.wasm, such as python=noop.wasm")?;
    match language.parse()? {
        Language::Rust => Err("Rust's is named by --component".to_owned()),
        language => Ok((language, PathBuf::from(file))),
    }
}

/// The components that are named, which have what is measured with the same types as that of Rust.
pub(super) fn read(
    named: &[(Language, PathBuf)],
    rust: &Described,
) -> Result<Vec<(Language, Described)>> {
    let guests = named.iter().map(|(language, file)| {
        let what = || format!("{language}={}", file.display());
        let bytes = std::fs::read(file).with_context(what)?;
        let described = dacapo_sandbox::describe(&bytes).with_context(what)?;
        check(&described, rust).with_context(what)?;
        Ok((*language, described))
    });
    guests.collect()
}

fn check(guest: &Described, rust: &Described) -> Result<()> {
    for function in [STEPS, WAIT] {
        let wanted = workflow_of(rust, function)?;
        let found = workflow_of(guest, function)?;
        let types = |workflow: &dacapo_model::Workflow| {
            let param = workflow.param.as_ref().map(|param| param.ty.clone());
            (workflow.name.clone(), param, workflow.result.clone())
        };
        ensure!(
            types(&found) == types(&wanted),
            "its workflow {} is not {} of examples-guests/bench/languages/wit/world.wit",
            found.name,
            wanted.name
        );
    }
    Ok(())
}

/// Builds the guest of a language, and answers the component's bytes.
fn build(language: Language) -> Result<Vec<u8>, KitError> {
    let files: &[(&str, &str)] = match language {
        Language::Rust => &[],
        Language::TypeScript => TYPESCRIPT,
        Language::Python => PYTHON,
        Language::Go => GO,
        Language::C => C,
    };
    let scratch = Scratch::new(&format!("guest-{language}"));
    for (path, text) in files.iter().chain(&[("wit/world.wit", WIT)]) {
        write(&scratch.0.join(path), text)?;
    }
    let settings = BuildSettings {
        language,
        world: None,
        entry: None,
        component: None,
        engine: Engine::QuickJs,
    };
    let built = Project::new(&scratch.0, settings).build()?;
    std::fs::read(&built.component).map_err(|source| KitError::File {
        action: "read",
        path: built.component,
        source,
    })
}

fn write(path: &Path, text: &str) -> Result<(), KitError> {
    let cannot = |source| KitError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(cannot)?;
    }
    std::fs::write(path, text).map_err(cannot)
}

/// As people write it.
fn name(language: Language) -> &'static str {
    match language {
        Language::Rust => "Rust",
        Language::TypeScript => "TypeScript (QuickJS)",
        Language::Python => "Python",
        Language::Go => "Go",
        Language::C => "C",
    }
}

impl Bench {
    /// Each language by itself in this process, and then all on the worker, in turn.
    pub(super) async fn languages_row(&mut self) -> Result<()> {
        let guests = self.language_guests().await?;
        let mut figures = Vec::new();
        for guest in &guests {
            let text = format!("languages: {} by itself", name(guest.language));
            self.progress.set_message(text);
            let one = self.by_itself(guest).await;
            figures.push(one.with_context(|| name(guest.language))?);
        }
        for guest in &guests {
            if guest.language != Language::Rust {
                let described = &guest.described;
                guest
                    .client
                    .deploy(
                        &described.descriptor,
                        &described.digest,
                        &described.component,
                    )
                    .await?;
            }
            for _ in 0..20 {
                complete(&guest.client, STEPS, "3").await?;
            }
        }
        self.progress.set_message("languages: steps".to_owned());
        let before = self.commits().await?;
        self.language_steps(&guests, &mut figures).await?;
        let commits = self.reference.since(before).await?;
        self.progress
            .set_message("languages: suspended runs".to_owned());
        for (guest, figures) in guests.iter().zip(&mut figures) {
            figures.suspended_bytes = self.suspended_bytes(guest).await?;
        }
        self.language_measures(&guests, &figures, commits.per_second, commits.mean());
        Ok(())
    }

    /// That of Rust, those that are named, and those whose tools are here.
    async fn language_guests(&mut self) -> Result<Vec<Guest>> {
        let mut guests = Vec::new();
        for language in Language::ALL {
            let mut named = self.guests.iter();
            let named = named.rfind(|(named, _)| *named == language);
            let described = match (language, named) {
                (Language::Rust, _) => self.described.clone(),
                (_, Some((_, described))) => described.clone(),
                (_, None) => {
                    let text = format!("languages: building {}", name(language));
                    self.progress.set_message(text);
                    let building = tokio::task::spawn_blocking(move || build(language));
                    match building.await.context("building panicked")? {
                        Ok(bytes) => dacapo_sandbox::describe(&bytes)?,
                        Err(error) => {
                            let hint = error.hint().map(|hint| format!("; {hint}"));
                            let hint = hint.unwrap_or_default();
                            let what = format!("{}: {error}{hint}", name(language));
                            self.report.left_out.push(what);
                            continue;
                        }
                    }
                }
            };
            let namespace = match language {
                Language::Rust => self.client.namespace(),
                _ => language.name(),
            };
            let client = self.client.clone().with_namespace(namespace);
            guests.push(Guest {
                language,
                described,
                client,
            });
        }
        Ok(guests)
    }

    /// Without a database: compiled, loaded, instantiated, replayed, and held alive.
    async fn by_itself(&self, guest: &Guest) -> Result<Figures> {
        // The worker finds there what is compiled here. That of Rust it has compiled itself already.
        let own = Scratch::new("compiled-here");
        let cache_dir = match guest.language {
            Language::Rust => own.0.clone(),
            _ => self.worker.cache_dir().to_owned(),
        };
        let sandbox = Sandbox::new(SandboxConfig {
            cache_dir: Some(cache_dir.clone()),
            ..SandboxConfig::default()
        })?;
        let mut figures = Figures::default();
        let (digest, component) = (
            guest.described.digest.clone(),
            guest.described.component.clone(),
        );
        let compiling = {
            let (sandbox, digest) = (sandbox.clone(), digest.clone());
            tokio::task::spawn_blocking(move || {
                let (begin, cpu) = (Instant::now(), processor_time("self"));
                sandbox.prepare(&digest, &component)?;
                let cpu = processor_time("self").zip(cpu);
                let cpu = cpu.map(|(after, before)| after.saturating_sub(before));
                anyhow::Ok((begin.elapsed(), cpu))
            })
        };
        (figures.compile, figures.compile_cpu) =
            compiling.await.context("compiling panicked")??;
        figures.code_bytes = code_bytes(&cache_dir, &digest);

        let loading = {
            let (sandbox, times) = (sandbox.clone(), self.times(60));
            tokio::task::spawn_blocking(move || load(&sandbox, &digest, times))
        };
        let (prepared, load) = loading.await.context("loading panicked")??;
        figures.load = load;

        let workflow = workflow_of(&guest.described, STEPS)?;
        let mut times = Vec::new();
        for _ in 0..self.times(1_000) + 50 {
            let spec = spec(&sandbox, &workflow, "1", Vec::new());
            let begin = Instant::now();
            stopped(play(&sandbox, &prepared, &workflow, spec, Stops::default()).await)?;
            times.push(begin.elapsed());
        }
        figures.instantiate = times.into_iter().skip(50).collect::<Samples>().p50();

        let mut times = Vec::new();
        for _ in 0..self.times(30) {
            let input = (REPLAYED + 1).to_string();
            let spec = spec(&sandbox, &workflow, &input, recorded(REPLAYED));
            let begin = Instant::now();
            stopped(play(&sandbox, &prepared, &workflow, spec, Stops::default()).await)?;
            times.push(begin.elapsed());
        }
        let replay = times.into_iter().collect::<Samples>().p50();
        figures.replay = replay.saturating_sub(figures.instantiate) / REPLAYED;

        figures.alive_bytes = alive_bytes(&sandbox, &prepared, &guest.described).await?;
        Ok(figures)
    }

    /// Time of a step alone, and steps of many runs, each language in its turn, so that all see the same machine.
    async fn language_steps(&self, guests: &[Guest], figures: &mut [Figures]) -> Result<()> {
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); guests.len()];
        for _ in 0..self.times(60) {
            for (guest, times) in guests.iter().zip(&mut times) {
                let took = complete(&guest.client, STEPS, &LONG_STEPS.to_string()).await?;
                times.push(took / LONG_STEPS);
            }
        }
        for (figures, times) in figures.iter_mut().zip(times) {
            figures.step = times.into_iter().collect::<Samples>().p50();
        }
        let rounds = if self.quick { 2 } else { 8 };
        for (at, in_flight) in IN_FLIGHT.into_iter().enumerate() {
            let each = self.times(512).div_ceil(u32::try_from(in_flight)?);
            for _ in 0..rounds {
                for (guest, figures) in guests.iter().zip(&mut *figures) {
                    let flow = &mut figures.flows[at];
                    let cpu = self.worker.processor_time();
                    let input = RUN_STEPS.to_string();
                    flow.elapsed +=
                        run_lanes(&guest.client, in_flight, each, STEPS, &input).await?;
                    flow.steps += f64::from(each * RUN_STEPS) * in_flight as f64;
                    let cpu = self.worker.processor_time().zip(cpu);
                    if let Some((after, before)) = cpu {
                        *flow.cpu.get_or_insert_default() += after.saturating_sub(before);
                    }
                }
            }
        }
        Ok(())
    }

    /// By how much the worker grows for each run that waits.
    async fn suspended_bytes(&self, guest: &Guest) -> Result<Option<f64>> {
        let namespace = guest.client.namespace();
        // Until it is as big as it gets when it is busy.
        self.start_many(namespace, SUSPENDED_BEFORE).await?;
        self.until_quiet().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = self.worker.resident();
        self.start_many(namespace, SUSPENDED).await?;
        self.until_quiet().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let grown = before.zip(self.worker.resident());
        Ok(grown.map(|(before, after)| after.now - before.now))
    }

    fn language_measures(
        &mut self,
        guests: &[Guest],
        figures: &[Figures],
        commits: f64,
        commit: f64,
    ) {
        let row = "languages";
        let all = || {
            let names = guests.iter().map(|guest| name(guest.language));
            names.zip(figures)
        };
        let mut add = |measure| self.report.measures.push(measure);
        for (guest, figures) in guests.iter().zip(figures) {
            let size = guest.described.component.len() as f64 / MIB;
            let code = figures.code_bytes as f64 / MIB;
            let name = name(guest.language);
            add(Measure::new(row, format!("component, {name}"), size, "MiB")
                .note(format!("{code:.1} MiB of machine code")));
        }
        for (name, figures) in all() {
            let seconds = figures.compile.as_secs_f64();
            let measure = Measure::new(row, format!("compile, {name}"), seconds, "s");
            add(match figures.compile_cpu {
                Some(cpu) => measure.note(format!("{:.2} s of processors", cpu.as_secs_f64())),
                None => measure,
            });
        }
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        for (name, figures) in all() {
            let name = format!("load from the cache p50, {name}");
            add(Measure::new(row, name, micros(figures.load) / 1e3, "ms"));
        }
        for (name, figures) in all() {
            let name = format!("instantiate, first call, and end p50, {name}");
            add(Measure::new(row, name, micros(figures.instantiate), "us"));
        }
        for (name, figures) in all() {
            let name = format!("replay of a recorded step, {name}");
            add(Measure::new(row, name, micros(figures.replay), "us"));
        }
        for (name, figures) in all() {
            if let Some(bytes) = figures.alive_bytes {
                let name = format!("own memory of an active run, {name}");
                add(Measure::new(row, name, bytes / 1024.0, "KiB")
                    .note(format!("{ALIVE} alive after {ALIVE_STEPS} steps")));
            }
        }
        for (name, figures) in all() {
            if let Some(bytes) = figures.suspended_bytes {
                let name = format!("memory of {SUSPENDED} more suspended runs, {name}");
                add(Measure::new(row, name, bytes / MIB, "MiB"));
            }
        }
        for (name, figures) in all() {
            let step = figures.step.as_secs_f64();
            let name = format!("time of a step, run of {LONG_STEPS}, one at a time, {name}");
            add(Measure::new(row, name, step * 1e6, "us").ratio(step / commit));
        }
        for (at, in_flight) in IN_FLIGHT.into_iter().enumerate() {
            for (name, figures) in all() {
                let flow = &figures.flows[at];
                let rate = flow.rate();
                let name = format!("{RUN_STEPS}-step runs, {in_flight} in flight, {name}");
                let measure = Measure::new(row, name, rate, "steps/s").ratio(rate / commits);
                add(match flow.cpu {
                    Some(cpu) => measure.note(format!(
                        "{:.0} us of processors in the worker for a step",
                        cpu.as_secs_f64() * 1e6 / flow.steps
                    )),
                    None => measure,
                });
            }
        }
        let rust = &figures[0];
        for (at, in_flight) in IN_FLIGHT.into_iter().enumerate() {
            for (guest, figures) in guests.iter().zip(figures).skip(1) {
                let share = figures.flows[at].rate() / rust.flows[at].rate();
                let text = format!("{in_flight} in flight, {} over Rust", name(guest.language));
                let measure = Measure::new(row, text, share, "");
                // With so many in flight an interpreter may be all that the processors have time for.
                let asked = match guest.language {
                    Language::TypeScript => true,
                    Language::Python | Language::Go => at == 0,
                    Language::Rust | Language::C => false,
                };
                add(match asked {
                    true => measure.target(Target::AtLeast(SHARE_MIN)),
                    false => measure,
                });
            }
        }
    }
}

/// Loads a component that is in the cache again and again. Answers the last one, and how long it takes.
fn load(sandbox: &Sandbox, digest: &str, times: u32) -> Result<(Prepared, Duration)> {
    let (mut loaded, mut took) = (None, Vec::new());
    for _ in 0..times {
        drop(loaded.take());
        let begin = Instant::now();
        loaded = sandbox.prepare_cached(digest)?;
        took.push(begin.elapsed());
    }
    let Some(prepared) = loaded else {
        bail!("the cache has not kept what was compiled")
    };
    Ok((prepared, took.into_iter().collect::<Samples>().p50()))
}

/// Bytes of the compiled code that the cache has of a component.
fn code_bytes(cache: &Path, digest: &str) -> u64 {
    let kinds = std::fs::read_dir(cache).into_iter().flatten().flatten();
    kinds
        .filter_map(|kind| std::fs::metadata(kind.path().join(format!("{digest}.cwasm"))).ok())
        .map(|file| file.len())
        .max()
        .unwrap_or_default()
}

/// By how much this process grows for each instance that is alive, after some steps, within another one. None where the system does not tell.
async fn alive_bytes(
    sandbox: &Sandbox,
    prepared: &Prepared,
    described: &Described,
) -> Result<Option<f64>> {
    let workflow = workflow_of(described, STEPS)?;
    let held = Held::new();
    let mut playing = JoinSet::new();
    let before = own_memory();
    for _ in 0..ALIVE {
        let (sandbox, prepared) = (sandbox.clone(), prepared.clone());
        let (workflow, held) = (workflow.clone(), Arc::clone(&held));
        let input = (ALIVE_STEPS + 1).to_string();
        let spec = spec(&sandbox, &workflow, &input, recorded(ALIVE_STEPS));
        playing.spawn(async move {
            play(&sandbox, &prepared, &workflow, spec, Stops::holding(&held)).await
        });
    }
    let all_here = tokio::select! {
        all_here = held.here.acquire_many(ALIVE) => all_here.is_ok(),
        // None of them ends by itself.
        Some(ended) = playing.join_next() => bail!("an instance ended: {ended:?}"),
    };
    let after = own_memory();
    held.free.close();
    while let Some(ended) = playing.join_next().await {
        stopped(ended.context("playing panicked")?)?;
    }
    let grown = before.zip(after).filter(|_| all_here);
    Ok(grown.map(|(before, after)| (after - before) / f64::from(ALIVE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_of_another_kind_is_refused_before_anything_is_measured() {
        let rust = dacapo_sandbox::describe(super::super::COMPONENT).unwrap();
        check(&rust, &rust).unwrap();
        let mut other = rust.clone();
        let mut workflows = other.descriptor.workflows.iter_mut();
        let steps = workflows.find(|workflow| workflow.function == STEPS);
        steps.unwrap().result = None;
        let error = check(&other, &rust).unwrap_err().to_string();
        assert!(error.contains("bench:noop/noop.noop-steps"), "{error}");
        other.descriptor.workflows.clear();
        let error = check(&other, &rust).unwrap_err().to_string();
        assert_eq!(error, "the component has no noop-steps");
    }

    #[test]
    fn a_component_is_named_by_its_language() {
        let (language, file) = named_file("js=a=b.wasm").unwrap();
        assert_eq!(
            (language, file),
            (Language::TypeScript, PathBuf::from("a=b.wasm"))
        );
        for (text, problem) in [
            ("noop.wasm", "expected LANGUAGE=FILE.wasm"),
            ("perl=noop.wasm", "a language that has a kit"),
            ("rust=noop.wasm", "--component"),
        ] {
            let error = named_file(text).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
