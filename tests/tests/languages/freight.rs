//! What others hand over, where a kit reads it into types: integers that no double holds, and texts as large as they may be.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use dacapo_sandbox::SandboxConfig;
use dacapo_testkit::{Child, Component, Run, RunOutcome, json};

use crate::projects::{GO, Language, PYTHON, RUST, cache, freight};

/// The component of this language, which is compiled once.
async fn loaded(language: Language) -> Component {
    static LOADED: Mutex<BTreeMap<&str, Component>> = Mutex::new(BTreeMap::new());
    let file = freight(language).await;
    let limits = SandboxConfig {
        cache_dir: Some(cache()),
        ..Component::default_limits()
    };
    let mut loaded = LOADED.lock().unwrap();
    let load = || Component::load_with(file, limits).unwrap();
    loaded.entry(language.name).or_insert_with(load).clone()
}

async fn output<T: serde::de::DeserializeOwned>(language: Language, run: &mut Run) -> T {
    let outcome: RunOutcome = run.run_to_completion().await.unwrap();
    let output = outcome.output();
    output.unwrap_or_else(|_| panic!("{}: {outcome}", language.name))
}

fn typed() -> impl Iterator<Item = Language> {
    [RUST, GO, PYTHON].into_iter().filter(|it| it.is_here())
}

#[tokio::test(flavor = "multi_thread")]
async fn integers_of_64_bits_arrive_whole_from_children_and_events() {
    for language in typed() {
        let mut run = loaded(language).await.run("freight.count", ()).unwrap();
        run.script_child(
            "test:port/port.most",
            Child::ends(Ok(json!(u64::MAX.to_string()))),
        )
        .send_event(
            "parcel",
            json!({ "id": "9007199254740993", "others": [7, i64::MIN.to_string(), "9223372036854775807"] }),
        );
        let counted: String = output(language, &mut run).await;
        assert_eq!(
            counted,
            "18446744073709551615 9007199254740993 [7, -9223372036854775808, 9223372036854775807]",
            "{}",
            language.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_as_large_as_they_may_be_arrive_while_memory_is_asked_for() {
    // With its quotes that is just below what a payload may have.
    const SIZE: usize = (1 << 20) - 64;
    const ROUNDS: usize = 12;
    for language in typed() {
        let text = "y".repeat(SIZE);
        let mut run = loaded(language).await.run("freight.load", SIZE).unwrap();
        run.script_child("test:port/port.load", Child::ends(Ok(json!(text))))
            .send_event_at(Duration::from_secs(1), "last", text);
        let total: usize = output(language, &mut run).await;
        assert_eq!(total, (2 * ROUNDS + 1) * SIZE, "{}", language.name);
    }
}
