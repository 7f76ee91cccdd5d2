//! The row `compile`: what runs notice while their worker compiles another component.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dacapo_client::{RunId, StartOptions, Status};
use dacapo_sandbox::Described;

use super::Bench;
use super::report::{Measure, Target};
use super::samples::Samples;

/// Where the components live that are compiled, so that no other run goes to them.
const NAMESPACE: &str = "compile";

/// Functions of such a component; with these it is as big as an interpreter, some megabytes.
const FUNCTIONS: u32 = 6_000;

/// No component takes this long.
const COMPILE_MAX: Duration = Duration::from_secs(600);

/// Branches of each function.
const BRANCHES: u32 = 40;

impl Bench {
    /// Runs of three steps, one at a time: on a quiet worker and on one that compiles, in turn.
    pub(super) async fn compile_row(&mut self) -> Result<()> {
        let row = "compile";
        let (rounds, functions) = if self.quick {
            (1, FUNCTIONS / 6)
        } else {
            (3, FUNCTIONS)
        };
        let (mut quiet, mut beside, mut compiling) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for _ in 0..rounds {
            let heavy = self.heavy(functions).await?;
            bytes = heavy.component.len();
            for _ in 0..self.times(300) {
                quiet.push(self.complete("three-steps", "null").await?);
            }
            let client = self.client.clone().with_namespace(NAMESPACE);
            client
                .deploy(&heavy.descriptor, &heavy.digest, &heavy.component)
                .await?;
            let begin = Instant::now();
            let started = client
                .start_by_name("bench:noop/noop.nothing", "null", StartOptions::default())
                .await?;
            let compiled = tokio::spawn(async move {
                let run = client.wait(started.id, Some(COMPILE_MAX)).await?;
                anyhow::ensure!(
                    run.status == Status::Completed,
                    "run {} is {}",
                    run.id,
                    run.status
                );
                Ok(begin.elapsed())
            });
            while !compiled.is_finished() {
                beside.push(self.complete("three-steps", "null").await?);
            }
            compiling.push(compiled.await.context("waiting panicked")??);
        }
        let runs = beside.len();
        let samples = |times: Vec<Duration>| times.into_iter().collect::<Samples>();
        let (quiet, beside, compiling) = (samples(quiet), samples(beside), samples(compiling));
        let megabytes = bytes as f64 / f64::from(1 << 20);
        self.add(
            Measure::new(
                row,
                "a new component until its first run is completed",
                compiling.p50().as_secs_f64(),
                "s",
            )
            .note(format!("{megabytes:.1} MiB, {runs} runs beside it")),
        );
        for (name, quiet, beside, target) in [
            ("p50", quiet.p50(), beside.p50(), Some(2.0)),
            ("p99", quiet.p99(), beside.p99(), None),
        ] {
            let millis = |time: Duration| time.as_secs_f64() * 1e3;
            let ratio = beside.as_secs_f64() / quiet.as_secs_f64();
            let name =
                format!("3-step run while the worker compiles, over one on a quiet one, {name}");
            let (quiet, beside) = (millis(quiet), millis(beside));
            let measure = Measure::new(row, name, ratio, "")
                .note(format!("{beside:.2} ms, quiet {quiet:.2} ms"));
            self.add(match target {
                Some(target) => measure.target(Target::AtMost(target)),
                None => measure,
            });
        }
        Ok(())
    }

    /// The component of the bench with a core module besides, which nobody calls but everybody compiles: another one each time.
    async fn heavy(&self, functions: u32) -> Result<Described> {
        let mut bytes = self.described.component.clone();
        let making = tokio::task::spawn_blocking(move || {
            let module = module(fresh_seed(), functions);
            // A section with a core module.
            section(&mut bytes, 1, &module);
            dacapo_sandbox::describe(&bytes)
        });
        Ok(making.await.context("making a component panicked")??)
    }
}

/// A number that no other call gets.
fn fresh_seed() -> u64 {
    let (high, low) = RunId::new().0.as_u64_pair();
    high ^ low
}

/// A core module with so many functions, all different, which compute and branch.
fn module(seed: u64, functions: u32) -> Vec<u8> {
    let mut numbers = seed;
    let mut next = || {
        numbers = numbers
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Seven bits: the encoding of a small number, which is one byte.
        (numbers >> 57) as u8 & 0x3f
    };
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // One type: from a number to a number.
    section(&mut module, 1, &[1, 0x60, 1, 0x7f, 1, 0x7f]);
    let mut types = Vec::new();
    unsigned(&mut types, functions);
    types.resize(types.len() + functions as usize, 0);
    section(&mut module, 3, &types);
    let mut code = Vec::new();
    unsigned(&mut code, functions);
    for _ in 0..functions {
        // One more local number.
        let mut body = vec![1, 1, 0x7f];
        for _ in 0..BRANCHES {
            // block; if the parameter has one of these bits, leave it; local = (local * a) + (parameter ^ b); parameter = local >> c; end
            body.extend([0x02, 0x40, 0x20, 0, 0x41, next(), 0x71, 0x0d, 0]);
            body.extend([0x20, 1, 0x41, next(), 0x6c]);
            body.extend([0x20, 0, 0x41, next(), 0x73, 0x6a, 0x22, 1]);
            body.extend([0x41, next(), 0x75, 0x21, 0, 0x0b]);
        }
        // The local is the result.
        body.extend([0x20, 1, 0x0b]);
        unsigned(&mut code, u32::try_from(body.len()).unwrap_or(u32::MAX));
        code.extend(body);
    }
    section(&mut module, 10, &code);
    module
}

fn section(to: &mut Vec<u8>, id: u8, content: &[u8]) {
    to.push(id);
    unsigned(to, u32::try_from(content.len()).unwrap_or(u32::MAX));
    to.extend_from_slice(content);
}

/// A number in LEB128.
fn unsigned(to: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heavy_component_is_a_valid_one_with_the_same_workflows() {
        let bench = dacapo_sandbox::describe(super::super::COMPONENT).unwrap();
        let mut digests = Vec::new();
        for seed in [1, 2] {
            let mut bytes = bench.component.clone();
            section(&mut bytes, 1, &module(seed, 200));
            let heavy = dacapo_sandbox::describe(&bytes).unwrap();
            assert_eq!(heavy.descriptor, bench.descriptor);
            digests.push(heavy.digest);
        }
        assert_ne!(digests[0], digests[1]);
    }
}
