//! docs/semantics.md names a test behind each sentence, docs/conformance.md behind each promise, and the tests are there.

use std::collections::HashSet;
use std::path::Path;

/// Names of all functions that are tests, in every Rust file below.
fn tests_below(directory: &Path, found: &mut HashSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                tests_below(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let function = line.trim_start_matches("async ").strip_prefix("fn ");
                if let Some(function) = function
                    && std::mem::take(&mut is_test)
                {
                    found.extend(function.split('(').next().map(str::to_owned));
                }
            }
        }
    }
}

/// Promises that may be answered by why they do not apply.
const DO_NOT_APPLY_MAX: usize = 10;

/// Words in code that look like a test's name: several words, joined.
fn named(text: &str) -> Vec<&str> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.matches('_').count() >= 2 && !word.contains('.'))
        .collect()
}

#[test]
fn every_sentence_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut tests = HashSet::new();
    tests_below(&root, &mut tests);
    let text = std::fs::read_to_string(root.join("docs/semantics.md")).unwrap();
    // A sentence begins with its number, and ends before the next one or a heading.
    let mut sentences: Vec<String> = Vec::new();
    for line in text.lines() {
        let begins = line
            .split_once(". ")
            .is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        match sentences.last_mut() {
            _ if begins => sentences.push(line.to_owned()),
            Some(sentence) if line.starts_with("   ") => sentence.push_str(line),
            _ => {}
        }
    }
    assert!(sentences.len() > 30, "{}", sentences.len());
    for sentence in sentences {
        let named = named(&sentence);
        assert!(!named.is_empty(), "no test stands behind: {sentence}");
        for name in named {
            assert!(
                tests.contains(name),
                "there is no test `{name}`: {sentence}"
            );
        }
    }
}

#[test]
fn every_promise_names_a_test_that_is_there_or_says_why_it_does_not_apply() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut tests = HashSet::new();
    tests_below(&root, &mut tests);
    let text = std::fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| ") && *line != "| promise | held by |")
        .collect();
    assert!(rows.len() > 60, "{}", rows.len());
    let mut do_not_apply = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, held_by] = cells[..] else {
            panic!("expected two cells: {row}");
        };
        if let Some(why) = held_by.strip_prefix("Does not apply: ") {
            assert!(why.len() > 20, "no reason is given: {row}");
            do_not_apply += 1;
            continue;
        }
        let named = named(held_by);
        assert!(!named.is_empty(), "no test stands behind: {row}");
        for name in named {
            assert!(tests.contains(name), "there is no test `{name}`: {row}");
        }
    }
    assert!(do_not_apply <= DO_NOT_APPLY_MAX, "{do_not_apply}");
}
