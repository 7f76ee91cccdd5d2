//! Backtraces with lines of source, from debug sections that may be anything.

use std::fs;
use std::path::{Path, PathBuf};

use dacapo_sandbox::{Ending, Sandbox, SandboxConfig};

use crate::support::{Run, config, details, guest, probe, probe2};

/// The line of the probe's source that has this text, as a backtrace names it.
fn line_of(file: &str, text: &str) -> String {
    let path = format!("tests/guests/probe/src/{file}");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(&path);
    let source = fs::read_to_string(source).unwrap();
    let at = source.lines().position(|line| line.contains(text)).unwrap();
    format!("{path}:{}", at + 1)
}

fn backtrace_of(details: &serde_json::Value) -> Vec<String> {
    serde_json::from_value(details["backtrace"].clone()).unwrap()
}

/// Without the places.
fn names(backtrace: &[String]) -> Vec<&str> {
    let names = backtrace.iter().map(|line| line.split(" (").next());
    names.flatten().collect()
}

#[tokio::test]
async fn a_backtrace_has_the_lines_that_the_debug_sections_name() {
    for (workflow, text) in [
        ("limits.trap", "panic!(\"the probe panics on purpose\")"),
        ("limits.abort", "std::process::abort()"),
    ] {
        let ending = Run::new(workflow, "null").go().await;
        let backtrace = backtrace_of(&details(&ending));
        let expected = format!("({})", line_of("limits.rs", text));
        assert!(
            backtrace.iter().any(|line| line.ends_with(&expected)),
            "{expected}: {backtrace:#?}"
        );
        // Nobody's home, and nobody's copy of Rust.
        assert!(
            backtrace.iter().all(|line| !line.contains("(/")),
            "{backtrace:#?}"
        );
        // The panic's own functions come from a library, which has debug sections of its own.
        assert!(
            backtrace.iter().any(|line| line.contains("(std/src/")),
            "{backtrace:#?}"
        );
    }
}

#[tokio::test]
async fn a_function_that_was_inlined_has_a_line_of_its_own() {
    let ending = Run::new("limits.trap", "null").go().await;
    let backtrace = backtrace_of(&details(&ending));
    let panics = line_of("limits.rs", "panic!(\"the probe panics on purpose\")");
    let called = line_of("limits.rs", "        panic_on_purpose();");
    let at = |place: &str| {
        let ends = format!("({place})");
        backtrace.iter().position(|line| line.ends_with(&ends))
    };
    let (Some(inner), Some(outer)) = (at(&panics), at(&called)) else {
        panic!("{panics}, {called}: {backtrace:#?}")
    };
    assert_eq!(inner + 1, outer, "{backtrace:#?}");
}

#[tokio::test]
async fn a_spin_and_a_failed_attempt_have_lines() {
    // The loop itself is nobody's line; whoever called it has one.
    let ending = Run::new("limits.spin", "null").go().await;
    let backtrace = backtrace_of(&details(&ending));
    assert!(
        backtrace
            .iter()
            .any(|line| line.contains("(tests/guests/probe/src/")),
        "{backtrace:#?}"
    );
    let run = Run::new("limits.trap-in-step", "null");
    run.go().await;
    let attempts = run.journal.failed_attempts();
    let details = attempts[0].failure.details.as_ref().unwrap();
    assert!(
        details.as_str().contains("probe/src/limits.rs:"),
        "{details:?}"
    );
}

#[tokio::test]
async fn a_contradiction_of_the_journal_has_lines() {
    // The other way round: the code with debug sections is the one that does not fit.
    let run = Run::new("changes.renamed", "null");
    assert_eq!(run.go_on(probe2()).await, Ending::Suspended);
    let Ending::Blocked(reason) = run.go().await else {
        panic!("expected a block")
    };
    let details = reason.details.unwrap();
    assert!(
        details.as_str().contains("probe/src/changes.rs:"),
        "{details:?}"
    );
}

/// The probe, compiled once, whose debug sections can be exchanged: they are read from the cache when something goes wrong.
struct Exchanged {
    sandbox: Sandbox,
    source: PathBuf,
    _dir: tempfile::TempDir,
}

impl Exchanged {
    fn new() -> Exchanged {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::new(SandboxConfig {
            cache_dir: Some(dir.path().to_owned()),
            instances_max: 2,
            ..config()
        })
        .unwrap();
        let digest = &probe().described.digest;
        sandbox
            .prepare(digest, &probe().described.component)
            .unwrap();
        let engine = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
        Exchanged {
            sandbox,
            source: engine.path().join(format!("{digest}.wasm")),
            _dir: dir,
        }
    }

    /// The backtrace of a panic with these bytes in the place of the component's own.
    async fn backtrace(&self, component: &[u8]) -> Vec<String> {
        fs::write(&self.source, component).unwrap();
        let digest = &probe().described.digest;
        let prepared = self.sandbox.prepare_cached(digest).unwrap().unwrap();
        let run = Run::new("limits.trap", "null");
        let ending = run.go_in(&self.sandbox, probe(), &prepared).await;
        backtrace_of(&details(&ending))
    }
}

/// Where the contents of the debug sections are in a component.
fn debug_sections(component: &[u8]) -> Vec<std::ops::Range<usize>> {
    let sections = wasmparser::Parser::new(0).parse_all(component);
    let sections = sections.filter_map(|payload| match payload.unwrap() {
        wasmparser::Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
            Some(section.data_offset()..section.data_offset() + section.data().len())
        }
        _ => None,
    });
    sections.collect()
}

#[tokio::test]
async fn debug_sections_that_lie_cost_the_lines_and_nothing_else() {
    let exchanged = Exchanged::new();
    let whole = guest("probe");
    let honest = exchanged.backtrace(&whole).await;
    assert!(honest.iter().any(|line| line.contains("limits.rs:")));
    let plain = exchanged.backtrace(b"").await;
    assert!(
        plain.iter().all(|line| !line.contains(".rs:")),
        "{plain:#?}"
    );

    let sections = debug_sections(&whole);
    assert!(sections.len() > 4, "the probe has debug sections");
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("text".to_owned(), b"not wasm at all".to_vec()),
        ("half".to_owned(), whole[..whole.len() / 2].to_vec()),
        (
            "all but the end".to_owned(),
            whole[..whole.len() - 9].to_vec(),
        ),
    ];
    // Every section, and then all of them, of one byte: no length, the greatest lengths, tags that are none.
    for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
        for which in 0..=sections.len() {
            let mut bytes = whole.clone();
            for (at, section) in sections.iter().enumerate() {
                if which == at || which == sections.len() {
                    bytes[section.clone()].fill(byte);
                }
            }
            cases.push((format!("section {which} of {byte:#x}"), bytes));
        }
    }
    // Noise here and there, the same at each go.
    let mut noise: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        usize::try_from(noise >> 33).unwrap()
    };
    for seed in 0..150 {
        let mut bytes = whole.clone();
        let flips = [1, 10, 1_000, 20_000][seed % 4];
        for _ in 0..flips {
            let section = &sections[next() % sections.len()];
            let at = section.start + next() % section.len().max(1);
            bytes[at.min(section.end - 1)] = next().to_le_bytes()[0];
        }
        cases.push((format!("{flips} bytes of noise, {seed}"), bytes));
    }
    for (case, bytes) in cases {
        let backtrace = exchanged.backtrace(&bytes).await;
        // What was not inlined is there whatever the sections say, in its order.
        let found = names(&backtrace);
        let mut found = found.iter();
        assert!(
            names(&plain)
                .iter()
                .all(|name| found.any(|one| one == name)),
            "{case}: {backtrace:#?}"
        );
        assert!(backtrace.len() <= 64, "{case}");
        assert!(
            backtrace
                .iter()
                .all(|line| line.chars().count() < 500 && !line.contains(char::is_control)),
            "{case}: {backtrace:#?}"
        );
    }
}
