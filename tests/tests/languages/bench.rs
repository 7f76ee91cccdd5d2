//! What `dacapo bench` measures in each language is the same in all.

use std::time::Duration;

use dacapo_testkit::{Component, Error, Run, json};

use crate::projects::{FOREIGN, bench, root};

/// The journal and the end of a run.
async fn played(mut run: Run) -> Result<(String, String), Error> {
    run.send_event_at(Duration::from_secs(60), "go", json!({ "a": [1, null] }));
    let end = run.run_to_completion().await?.to_string();
    run.crash_everywhere().await?;
    Ok((run.journal(), end))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bench_has_the_same_workflows_in_each_language() {
    let rust = Component::load(root().join("host/cli/assets/bench.wasm")).unwrap();
    for language in FOREIGN.into_iter().filter(|language| language.is_here()) {
        let component = Component::load(bench(language).await).unwrap();
        for (workflow, input) in [("noop.noop-steps", "3"), ("noop.wait-event", "null")] {
            let expected = played(rust.run_json(workflow, input).unwrap())
                .await
                .unwrap();
            let played = played(component.run_json(workflow, input).unwrap()).await;
            let played = played.unwrap_or_else(|error| panic!("{}: {error}", language.name));
            assert_eq!(played, expected, "{} {workflow}", language.name);
        }
    }
}

/// Long enough that Go collects its memory meanwhile, several times.
#[tokio::test(flavor = "multi_thread")]
async fn runs_of_many_steps_are_played_in_each_language() {
    for language in FOREIGN.into_iter().filter(|language| language.is_here()) {
        let component = Component::load(bench(language).await).unwrap();
        let mut run = component.run_json("noop.noop-steps", "1900").unwrap();
        let end = run.run_to_completion().await;
        let end = end.unwrap_or_else(|error| panic!("{}: {error}", language.name));
        assert_eq!(end.to_string(), "completed with 1900", "{}", language.name);
    }
}
