//! What goes wrong is said in the language's own words.

use dacapo_testkit::{Component, Failure, RunOutcome, Value, json};
use tokio::sync::OnceCell;

use crate::projects::{C, GO, Language, MISTAKEN, PYTHON, TYPESCRIPT, mistakes};

/// The component of a language, compiled once for all tests: that takes a while for one that brings an interpreter.
async fn component(language: Language) -> Component {
    static CELLS: [OnceCell<Component>; MISTAKEN.len()] =
        [const { OnceCell::const_new() }; MISTAKEN.len()];
    let at = MISTAKEN
        .iter()
        .position(|known| *known == language)
        .unwrap();
    let load = || async { Component::load(mistakes(language).await).unwrap() };
    CELLS[at].get_or_init(load).await.clone()
}

async fn play(language: Language, workflow: &str, input: Value) -> (RunOutcome, String) {
    let component = component(language).await;
    let mut run = component
        .run(&format!("mistakes.{workflow}"), input)
        .unwrap();
    let outcome = run.run_to_completion().await.unwrap();
    (outcome, run.journal())
}

/// The run failed so.
async fn failure(language: Language, workflow: &str, input: Value) -> Failure {
    match play(language, workflow, input).await.0 {
        RunOutcome::Failed(failure) => failure,
        other => panic!(
            "{} {workflow}: expected a failure, the run {other}",
            language.name
        ),
    }
}

#[track_caller]
fn holds(failure: &Failure, words: &[&str]) {
    let details = failure
        .details
        .as_ref()
        .map_or("", |details| details.as_str());
    let all = format!("{}: {} {details}", failure.code, failure.message);
    for word in words {
        assert!(all.contains(word), "expected {word:?} in {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_catches_fails_the_run_with_the_languages_own_trace() {
    for language in MISTAKEN.into_iter().filter(|language| language.is_here()) {
        let failure = failure(language, "throws", Value::Null).await;
        assert_eq!(failure.code, "exception", "{}", language.name);
        let words: &[&str] = match language {
            C => &["assertion failed", "trace", "deep at workflows.c:13"],
            GO => &[
                "panic: there",
                "trace",
                "mistakes.deep(",
                "mistakes.deeper(",
                "workflows.go:16",
            ],
            TYPESCRIPT => &[
                "TypeError",
                "trace",
                "deep",
                "src/workflows.ts:5",
                "src/workflows.ts:9",
                "src/workflows.ts:26",
            ],
            _ => &["TypeError", "trace", "deep", "deeper"],
        };
        holds(&failure, words);
        holds(&failure, &["there is no such order"]);
        assert!(!failure.retryable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_thrown_in_a_step_is_the_failure_of_its_attempt() {
    for language in MISTAKEN.into_iter().filter(|language| language.is_here()) {
        let failure = failure(language, "throws-in-step", Value::Null).await;
        assert_eq!(failure.code, "error", "{}", language.name);
        holds(&failure, &["there is no such order", "deeper"]);
        if language == GO {
            holds(&failure, &["panic: ", "trace", "workflows.go:20"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_json_cannot_carry_is_refused_in_words_of_the_language() {
    let words = |language: Language, what: &str| match (language, what) {
        (TYPESCRIPT, "function") => "a function at \"inner\"",
        (TYPESCRIPT, "cycle") => "circular",
        (TYPESCRIPT, "nan") => "NaN",
        (C, _) => "its outcome is NULL",
        (GO, "function") => "unsupported type: func()",
        (GO, "cycle") => "encountered a cycle via *workflows.node",
        (GO, "nan") => "unsupported value: NaN",
        (GO, _) => "unsupported type: chan int",
        (TYPESCRIPT, _) => "a BigInt at \"value\"",
        (_, "function") => "function has no form in JSON",
        (_, "cycle") => "Circular",
        (_, "nan") => "not JSON compliant",
        _ => "a set has no order",
    };
    for language in MISTAKEN.into_iter().filter(|language| language.is_here()) {
        for what in ["function", "cycle", "nan", "big"] {
            let failure = failure(language, "records", json!(what)).await;
            assert_eq!(
                failure.code, "encode",
                "{} {what}: {failure}",
                language.name
            );
            assert!(!failure.retryable, "{} {what}", language.name);
            holds(&failure, &["record", words(language, what)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_in_a_step_or_two_at_once_are_misuse_with_what_to_do() {
    for language in MISTAKEN.into_iter().filter(|language| language.is_here()) {
        let failure = failure(language, "nests", Value::Null).await;
        assert_eq!(failure.code, "misuse", "{}", language.name);
        holds(&failure, &["step", "outer"]);
        if language == TYPESCRIPT {
            holds(&failure, &["parallel()", "await one before the next"]);
        }
        if language == GO {
            holds(&failure, &["MapParallel", "not into goroutines"]);
        }
        if matches!(language, GO | TYPESCRIPT) {
            let says = "step \"inner\" was called while step \"outer\" is running";
            assert!(failure.message.starts_with(says), "{failure}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn randomness_is_the_runs_own_and_not_that_of_the_build() {
    for language in MISTAKEN.into_iter().filter(|language| language.is_here()) {
        let component = component(language).await;
        let mut seen = Vec::new();
        for id in [7_u128, 8, 7] {
            let mut run = component.run("mistakes.draws", Value::Null).unwrap();
            run.id(dacapo_model::RunId(uuid::Uuid::from_u128(id)));
            let outcome = run.run_to_completion().await.unwrap();
            let drawn: Vec<f64> = outcome.output().unwrap();
            assert!(
                drawn.iter().all(|number| (0.0..1.0).contains(number)),
                "{drawn:?}"
            );
            seen.push(drawn);
        }
        assert_ne!(seen[0][0], seen[1][0], "{}", language.name);
        assert_eq!(
            (seen[0][0], seen[0][2]),
            (seen[2][0], seen[2][2]),
            "{}",
            language.name
        );
        assert_ne!(seen[0][1], seen[2][1], "{}", language.name);
        assert_ne!(seen[0][0], seen[0][2], "{}", language.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_has_its_code_and_its_details_where_it_is_caught() {
    for language in MISTAKEN.into_iter().filter(|language| language.is_here()) {
        let (outcome, journal) = play(language, "declines", Value::Null).await;
        let said: String = outcome.output().unwrap();
        assert_eq!(
            said, r#"declined: no funds {"missing":5}"#,
            "{}",
            language.name
        );
        assert_eq!(journal.lines().count(), 1, "{journal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_code_cannot_read_any_more_blocks_the_run_and_names_the_step() {
    for language in MISTAKEN.into_iter().filter(|language| language.is_here()) {
        let (outcome, journal) = play(language, "rereads", Value::Null).await;
        let RunOutcome::Blocked(why) = outcome else {
            panic!(
                "{}: expected it to be blocked, the run {outcome}",
                language.name
            );
        };
        assert_eq!(why.code.as_str(), "rejected", "{}", language.name);
        let words = match language {
            GO => "cannot unmarshal string into Go value of type workflows.number",
            PYTHON => "expected int",
            _ => "expected a number, got \"a text\"",
        };
        for words in ["step `count`", words] {
            assert!(
                why.message.contains(words),
                "{}: {}",
                language.name,
                why.message
            );
        }
        // Nothing is lost.
        assert!(journal.contains(r#"count#1 step ok "a text""#), "{journal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn integers_of_64_bits_are_exact_or_refused() {
    const EXACT: u64 = (1 << 53) - 1;
    for language in MISTAKEN.into_iter().filter(|language| language.is_here()) {
        for number in [0, EXACT] {
            let (outcome, _) = play(language, "keeps", json!(number)).await;
            assert_eq!(
                outcome.output::<u64>().unwrap(),
                number,
                "{}",
                language.name
            );
        }
        for number in [(1 << 53) + 1, 1 << 63, u64::MAX] {
            let (outcome, journal) = play(language, "keeps", json!(number)).await;
            if language == TYPESCRIPT {
                let RunOutcome::Failed(failure) = outcome else {
                    panic!("expected a failure, the run {outcome}");
                };
                assert_eq!(
                    (failure.code.as_str(), failure.retryable),
                    ("inexact", false)
                );
                holds(
                    &failure,
                    &[
                        "input is a u64",
                        "2^53",
                        "string in the WIT",
                        "spidermonkey",
                    ],
                );
                assert_eq!(journal, "");
                continue;
            }
            // Beyond 2^53 they are texts outside.
            let kept: String = outcome.output().unwrap();
            assert_eq!(kept, number.to_string(), "{}", language.name);
            assert!(journal.contains(&number.to_string()), "{journal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workflow_returns_is_held_against_its_type() {
    let right = json!({
        "total": 7, "name": "Ada", "colour": "red", "parts": [], "note": null, "place": [1, 2.5], "raw": "", "from": 3,
    });
    // What is said in TypeScript, and in Python; the fields that some have only are of no use to others.
    let wrong: [(Value, &str, &str); 10] = [
        (
            json!({ "total": "5" }),
            r#"output.total: expected an integer from 0 to 4294967295 (u32), got "5""#,
            "output.total: expected an int from 0 to 4294967295 (u32), got '5' (str)",
        ),
        (
            json!({ "total": 1.5 }),
            "output.total: expected an integer from 0 to 4294967295 (u32), got 1.5",
            "output.total: expected an int from 0 to 4294967295 (u32), got 1.5 (float)",
        ),
        (
            json!({ "total": -1 }),
            "(u32), got -1",
            "(u32), got -1 (int)",
        ),
        (
            json!({ "name": null }),
            "output.name: expected a string, got null",
            "output.name: expected a str, got None",
        ),
        (
            json!({ "colour": "blue" }),
            r#"output.colour: expected one of "red", "dark-green" (colour), got "blue""#,
            "output.colour: expected one of Colour.RED, Colour.DARK_GREEN, got 'blue' (str)",
        ),
        (
            json!({ "parts": [3] }),
            r#"output.parts[0]: expected the variant part, { tag, val } with one of "#,
            "output.parts[0]: expected one of Part_",
        ),
        (
            json!({ "note": 5 }),
            "output.note: expected a string, got 5",
            "output.note: expected a str, got 5 (int)",
        ),
        (
            json!({ "place": [1] }),
            "output.place: expected an array of 2, got an array of 1",
            "output.place: expected a tuple of 2, got [1] (list)",
        ),
        (
            json!({ "place": ["1", 2.5] }),
            r#"output.place[0]: expected an integer of -2^53 + 1 to 2^53 - 1 (s64), got "1""#,
            "output.place: expected a tuple of 2",
        ),
        (
            json!({ "raw": [1, 256] }),
            "output.raw[1]: expected an integer from 0 to 255 (u8), got 256",
            "output.raw: expected bytes, got [1, 256] (list)",
        ),
    ];
    for language in MISTAKEN.into_iter().filter(|language| language.is_here()) {
        let (outcome, _) = play(language, "returns", json!("{}")).await;
        assert_eq!(
            outcome.output::<Value>().unwrap(),
            right,
            "{}",
            language.name
        );
    }
    for language in [TYPESCRIPT, PYTHON] {
        if !language.is_here() {
            continue;
        }
        let refused = async |fields: &str, says: &str| {
            let failure = failure(language, "returns", json!(fields)).await;
            assert_eq!(failure.code, "exception", "{failure}");
            assert!(!failure.retryable);
            holds(&failure, &["TypeError: ", says, "trace"]);
        };
        for (fields, typescript, python) in &wrong {
            let says = if language == PYTHON {
                python
            } else {
                typescript
            };
            refused(&fields.to_string(), says).await;
        }
        if language == TYPESCRIPT {
            let says =
                r#"error.counted: expected an integer from 0 to 4294967295 (u32), got "many""#;
            refused("error", says).await;
            let parts =
                r#"{"parts": [{"tag": "named", "val": "tea"}, {"tag": "counted", "val": 1.5}]}"#;
            refused(parts, "output.parts[1].counted: expected an integer").await;
        } else {
            refused("error", "error.value: expected an int").await;
            refused("parts", "output.parts[1].value: expected an int from 0").await;
            refused("later", "got a coroutine: a workflow is a plain function").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_some_languages_do_wrong_is_said_in_their_words() {
    // How it is done, the code, and what is said.
    type Slip = (&'static str, &'static str, &'static [&'static str]);
    const TS: &[Slip] = &[
        (
            "rejects",
            "exception",
            &[
                "a promise that nothing awaits was rejected: TypeError: there is no such order",
                "trace",
                "at deep (",
            ],
        ),
        (
            "rejects-a-step",
            "declined",
            &[
                "a promise that nothing awaits was rejected: no funds",
                r#"{"missing":5}"#,
            ],
        ),
        (
            "rejects-beside-a-step",
            "exception",
            &["a promise that nothing awaits was rejected: TypeError: there is no such order"],
        ),
        (
            "level",
            "exception",
            &[r"TypeError: log: expected a level of trace, debug, info, warn, error, got loud"],
        ),
        ("object", "declined", &["no funds"]),
        ("plain", "exception", &[r#"thrown: {"missing":5}"#]),
        (
            "fetch",
            "error",
            &[r#"import { fetch } from "dacapo""#, "trace"],
        ),
        (
            "details",
            "encode",
            &["no funds", "details cannot be recorded"],
        ),
        (
            "path",
            "encode",
            &[r#"NaN at "items[1].price" has no form there"#],
        ),
    ];
    const PY: &[Slip] = &[
        (
            "level",
            "exception",
            &["ValueError: log() has the levels trace, debug, info, warn, error, and not 'loud'"],
        ),
        ("exit", "exception", &["SystemExit: 3", "trace", "slips"]),
        ("exit-in-step", "error", &["SystemExit", "trace"]),
        ("async", "misuse", &["step `later`", "write def"]),
        ("details", "encode", &["no funds", "cannot be recorded"]),
        (
            "path",
            "encode",
            &["at 'items[1].price': ", "not JSON compliant"],
        ),
    ];
    const GOING: &[Slip] = &[
        (
            "goroutine",
            "misuse",
            &[
                "step \"record\" was called by another goroutine",
                "MapParallel",
            ],
        ),
        (
            "goroutine-in-step",
            "misuse",
            &["step \"record\" was called while step \"outer\" is running"],
        ),
        (
            "path",
            "encode",
            &["at Items[1].Price: json: unsupported value: NaN"],
        ),
        (
            "text",
            "encode",
            &["Notes.by[1] is not UTF-8", "strings.ToValidUTF8"],
        ),
        ("knot", "error", &["it is 9007199254740993"]),
        ("embedded", "error", &["it is 9007199254740993"]),
    ];
    for (language, slips) in [(TYPESCRIPT, TS), (PYTHON, PY), (GO, GOING)] {
        if !language.is_here() {
            continue;
        }
        for (how, code, words) in slips {
            let failure = failure(language, "slips", json!(how)).await;
            assert_eq!(failure.code, *code, "{} {how}: {failure}", language.name);
            holds(&failure, words);
        }
    }
    // These are nobody's mistake.
    for (language, how) in [(TYPESCRIPT, "rejects-in-step"), (GO, "replaced")] {
        if language.is_here() {
            let (outcome, _) = play(language, "slips", json!(how)).await;
            assert_eq!(outcome.output::<Value>().unwrap(), Value::Null, "{how}");
        }
    }
}
