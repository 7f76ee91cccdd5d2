//! What is typed behind `dacapo`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dacapo_tests::Database;
use serde_json::json;

use crate::{Random, Target};

/// The help of all commands, as it was accepted.
const REFERENCE: &str = include_str!(
    "../../tests/engine/snapshots/engine__command__the_reference_of_the_command_is_as_it_was_accepted.snap"
);

/// Those that work until they are told to stop, or make files.
const ENDLESS: &[&str] = &[
    "dev", "worker", "serve", "mcp", "bench", "new", "build", "watch", "logs",
];

/// How long a command may take that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Usage {
    words: Vec<String>,
    places: usize,
    options: Vec<(String, bool)>,
}

/// Commands with any of their options and any values: none panics or hangs, and each says with its exit code and in words how it went.
#[derive(Debug)]
pub struct Commands {
    database: Database,
    usages: Vec<Usage>,
    directory: tempfile::TempDir,
    runs: Vec<String>,
}

impl Commands {
    /// Against this database, in which there is a deployment and a few runs.
    pub async fn new(database: Database) -> Self {
        database.deploy("kept").await;
        let mut runs = Vec::new();
        for workflow in ["waits", "leaf", "retries"] {
            let workflow = format!("test:kept/kept.{workflow}");
            runs.push(database.start(&workflow, "1").await.to_string());
        }
        let directory = tempfile::tempdir().unwrap();
        let component = dacapo_tests::guest("kept");
        std::fs::write(directory.path().join("kept.wasm"), component).unwrap();
        std::fs::write(directory.path().join("a.json"), "[1, 2]").unwrap();
        Self {
            database,
            usages: usages(),
            directory,
            runs,
        }
    }

    fn value(&self, random: &mut Random) -> String {
        match random.below(5) {
            0 => random.pick(&self.runs).clone(),
            1 => (*random.pick(&[
                "kept.wasm",
                "a.json",
                "@a.json",
                ".",
                "-",
                "test:kept",
                "leaf",
                "test:kept/kept.leaf",
                "json",
                "table",
                "5",
                "1h",
            ]))
            .to_owned(),
            _ => random.text(),
        }
    }
}

/// Reads commands and options from the reference.
fn usages() -> Vec<Usage> {
    let mut usages: Vec<Usage> = Vec::new();
    for line in REFERENCE.lines() {
        let line = line.trim_end();
        if let Some(usage) = line.strip_prefix("Usage: dacapo ") {
            let words = usage.split(' ');
            let words = words.take_while(|word| !word.starts_with(['[', '<', '-']));
            usages.push(Usage {
                words: words.map(ToOwned::to_owned).collect(),
                places: usage.matches(['<', '[']).count().saturating_sub(1),
                options: Vec::new(),
            });
        } else if let Some(at) = line.find("--")
            && line[..at].trim_matches([' ', ',']).len() <= 2
            && let Some(usage) = usages.last_mut()
        {
            let option = line[at..].split([' ', '=']).next().unwrap().to_owned();
            let takes = line[at..].contains('<');
            if option.len() > 2 {
                usage.options.push((option, takes));
            }
        }
    }
    usages.retain(|usage| {
        !usage
            .words
            .iter()
            .any(|word| ENDLESS.contains(&word.as_str()))
    });
    assert!(usages.len() > 30, "{usages:?}");
    usages
}

impl Target for Commands {
    const NAME: &'static str = "command";

    fn generate(&self, random: &mut Random) -> Vec<u8> {
        let usage = random.pick(&self.usages);
        let mut arguments = usage.words.clone();
        for _ in 0..random.below(5) {
            if usage.options.is_empty() {
                break;
            }
            let (option, takes) = random.pick(&usage.options);
            // The database stays where it is, and nothing is waited for.
            if ["--database-url", "--wait", "--follow", "--database", "--to"]
                .contains(&option.as_str())
            {
                continue;
            }
            arguments.push(option.clone());
            if *takes != random.one_in(20) {
                arguments.push(self.value(random));
            }
        }
        let places = match random.one_in(4) {
            true => random.below(4),
            false => usage.places,
        };
        for _ in 0..places {
            arguments.push(self.value(random));
        }
        json!(arguments).to_string().into_bytes()
    }

    async fn check(&mut self, input: &[u8]) -> Result<(), String> {
        let arguments: Vec<String> = serde_json::from_slice(input).map_err(|e| e.to_string())?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        said_well(&self.database, &arguments, self.directory.path()).await
    }
}

/// The command ends in time with a documented exit code, and says what was wrong, if something was.
pub(crate) async fn said_well(
    database: &Database,
    arguments: &[&str],
    directory: &Path,
) -> Result<(), String> {
    // No argument of a process can have it.
    if arguments.iter().any(|argument| argument.contains('\0')) {
        return Ok(());
    }
    let running = tokio::process::Command::new(dacapo_tests::dacapo_binary())
        .args(arguments)
        .current_dir(directory)
        .env("DATABASE_URL", &database.url)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let Ok(output) = tokio::time::timeout(PATIENCE, running).await else {
        return Err(format!("it does not end: {arguments:?}"));
    };
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("panicked") {
        return Err(format!("it panics: {arguments:?}: {said}"));
    }
    match output.status.code() {
        Some(0) => Ok(()),
        Some(1 | 2) if !said.trim().is_empty() || !output.stdout.is_empty() => Ok(()),
        other => Err(format!("it ends with {other:?}: {arguments:?}: {said}")),
    }
}
