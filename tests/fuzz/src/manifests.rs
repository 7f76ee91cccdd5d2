//! Text that is to be a manifest.

use std::path::{Path, PathBuf};

use dacapo_tests::Database;

use crate::command::said_well;
use crate::{Random, Target};

/// The manifests that the documentation shows, with lines, words and letters changed: each is taken, or refused with words, by the command.
#[derive(Debug)]
pub struct Manifests {
    database: Database,
    directory: tempfile::TempDir,
    shown: Vec<String>,
    count: u64,
}

impl Manifests {
    /// Against this database.
    pub fn new(database: Database) -> Self {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let mut shown = Vec::new();
        for page in ["manifest.md", "deploying.md", "sql-steps.md", "testing.md"] {
            let text = std::fs::read_to_string(docs.join(page)).unwrap();
            let mut parts = text.split("```toml\n").skip(1);
            shown.extend(parts.by_ref().filter_map(|part| {
                let (toml, _) = part.split_once("```")?;
                Some(toml.trim_start().to_owned())
            }));
        }
        assert!(!shown.is_empty());
        Self {
            database,
            directory: tempfile::tempdir().unwrap(),
            shown,
            count: 0,
        }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("dacapo.toml")
    }
}

/// What may stand behind a `=`.
const VALUES: &[&str] = &[
    "0",
    "-1",
    "1",
    "99999999999999999999",
    "1e400",
    "nan",
    "inf",
    "0.5",
    "true",
    "\"\"",
    "\"a\"",
    "\"1s\"",
    "\"64MiB\"",
    "\"99999999999GiB\"",
    "\"forever\"",
    "\"30 days\"",
    "\"-1s\"",
    "[]",
    "{}",
    "[[]]",
    "[\"*\"]",
    "[\"*.example.com:0\"]",
    "[\"http://a/b\"]",
    "[\"127.0.0.1:99999\"]",
    "1979-05-27",
    "\"\\u0000\"",
    "\"💥\"",
    "{ keep = \"1s\" }",
    "{ allow = [\"a\"] }",
    "'''\n'''",
    "\"default\"",
    "\"high\"",
];

impl Target for Manifests {
    const NAME: &'static str = "manifests";

    fn generate(&self, random: &mut Random) -> Vec<u8> {
        let mut lines: Vec<String> = random
            .pick(&self.shown)
            .lines()
            .map(ToOwned::to_owned)
            .collect();
        for _ in 0..1 + random.below(4) {
            if lines.is_empty() {
                break;
            }
            let at = random.below(lines.len());
            match random.below(6) {
                0 => drop(lines.remove(at)),
                1 => {
                    let line = lines[at].clone();
                    let to = random.below(lines.len() + 1);
                    lines.insert(to, line);
                }
                2 => {
                    let other = random.pick(&self.shown).clone();
                    let others: Vec<&str> = other.lines().collect();
                    if !others.is_empty() {
                        lines.insert(at, (*random.pick(&others)).to_owned());
                    }
                }
                _ => {
                    if let Some((key, _)) = lines[at].clone().split_once('=') {
                        lines[at] = format!("{key}= {}", random.pick(VALUES));
                    }
                }
            }
        }
        let mut text = lines.join("\n").into_bytes();
        if random.one_in(3) {
            random.mutate(&mut text);
        }
        text
    }

    async fn check(&mut self, input: &[u8]) -> Result<(), String> {
        std::fs::write(self.file(), input).unwrap();
        let component = dacapo_tests::guest_path("kept");
        let manifest = self.file();
        let mut arguments = vec![
            "deploy",
            component.to_str().unwrap(),
            "--manifest",
            manifest.to_str().unwrap(),
        ];
        self.count += 1;
        // Now and then it is put into service.
        if !self.count.is_multiple_of(4) {
            arguments.push("--check");
        }
        said_well(&self.database, &arguments, self.directory.path()).await
    }
}
