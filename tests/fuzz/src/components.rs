//! Bytes that are to be deployed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use dacapo_sandbox::{Sandbox, SandboxConfig, describe};

use crate::check::panic_text;
use crate::{Random, Target};

/// No component of a few hundred kilobytes may take longer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What one of them may take of memory, beyond what was taken before, in bytes.
const MEMORY_MAX: u64 = 1 << 30;
/// Words that an operator reads.
const WORDS_MAX: usize = 64 << 10;

/// Modules and components that are made up, and guests with a few bytes changed: each is described and made ready, or refused with words.
#[derive(Debug)]
pub struct Components {
    guests: Vec<Vec<u8>>,
    sandbox: Sandbox,
}

impl Components {
    /// With the guests that `./x guests` has built.
    pub fn new() -> Self {
        let names = [
            "bad_empty",
            "bad_import",
            "bad_resource",
            "bad_two_params",
            "bench_guest",
            "kept",
            "wild",
        ];
        let config = SandboxConfig {
            cache_dir: None,
            ..SandboxConfig::default()
        };
        Self {
            guests: names.iter().map(|name| dacapo_tests::guest(name)).collect(),
            sandbox: Sandbox::new(config).unwrap(),
        }
    }
}

impl Default for Components {
    fn default() -> Self {
        Self::new()
    }
}

/// Lets the kernel forget the most memory that this process has held, so that each input shows what it takes.
fn forget_the_most() {
    // Where it cannot, an input shows only what it takes beyond all before it.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that this process has held since, in bytes.
fn held() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

impl Target for Components {
    const NAME: &'static str = "components";

    fn generate(&self, random: &mut Random) -> Vec<u8> {
        let count = 200 + random.below(6_000);
        let bytes = random.bytes(count);
        let mut unstructured = Unstructured::new(&bytes);
        let config = wasm_smith::Config {
            allow_start_export: true,
            max_memories: 3,
            multi_value_enabled: true,
            ..wasm_smith::Config::default()
        };
        match random.below(5) {
            0 => wasm_smith::Module::new(config, &mut unstructured)
                .map(|module| module.to_bytes())
                .unwrap_or(bytes),
            1 => wasm_smith::Component::new(config, &mut unstructured)
                .map(|component| component.to_bytes())
                .unwrap_or(bytes),
            _ => {
                let mut guest = random.pick(&self.guests).clone();
                random.mutate(&mut guest);
                guest
            }
        }
    }

    async fn check(&mut self, input: &[u8]) -> Result<(), String> {
        forget_the_most();
        let (began, before) = (Instant::now(), held());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let described = match describe(input) {
                Ok(described) => described,
                Err(error) => return Some(error.to_string()),
            };
            let prepared = self
                .sandbox
                .prepare(&described.digest, &described.component);
            prepared.err().map(|error| error.to_string())
        }));
        let words = outcome.map_err(|panic| format!("it panics: {}", panic_text(panic)))?;
        if let Some(words) = words
            && (words.trim().is_empty() || words.len() > WORDS_MAX)
        {
            return Err(format!("it is refused with {} bytes of words", words.len()));
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("it takes {} s", began.elapsed().as_secs()));
        }
        if held().saturating_sub(before) > MEMORY_MAX {
            return Err(format!("it takes {} MiB", (held() - before) >> 20));
        }
        Ok(())
    }
}
