//! The same order in each language: the same journal, whatever happens to it.

use std::time::Duration;

use dacapo_model::Status;
use dacapo_testkit::{Child, Component, Error, Run, json};
use dacapo_tests::database;
use dacapo_worker::{Worker, WorkerConfig};

use crate::projects::{FOREIGN, Language, PYTHON, RUST, dacapo, order, root, said};

const HOUR: Duration = Duration::from_secs(60 * 60);
const ORDER: &str = r#"{"number":7,"customer":"Ada","items":[{"sku":"tea","quantity":2},{"sku":"cup","quantity":1},{"sku":"pot","quantity":1}]}"#;

/// What happens to an order.
type Script = fn(&mut Run);

/// Each with its name.
const SCRIPTS: [(&str, Script); 5] = [
    ("paid", |run| {
        run.send_event_at(2 * HOUR, "paid", json!({ "reference": "bank-1" }));
        run.script_child("ship", Child::ends(Ok(json!("Ada-3"))));
    }),
    ("not paid", |_| {}),
    ("paid too late", |run| {
        run.send_event_at(25 * HOUR, "paid", json!({ "reference": "bank-1" }));
    }),
    ("not shipped", |run| {
        run.send_event("paid", json!({ "reference": "bank-1" }));
        let lost = dacapo_testkit::Failure::new("lost", "it got lost");
        run.script_child("ship", Child::ends(Err(lost)));
    }),
    ("cancelled", |run| {
        run.cancel_at(HOUR);
    }),
];

/// The journal and the end of an order.
async fn played(component: &Component, script: Script) -> Result<(String, String), Error> {
    let mut run = component.run_json("orders.place", ORDER)?;
    script(&mut run);
    let end = run.run_to_completion().await?.to_string();
    run.crash_everywhere().await?;
    Ok((run.journal(), end))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_has_the_same_journal_in_each_language_also_with_crashes_everywhere() {
    let rust = Component::load(order(RUST).await).unwrap();
    for language in FOREIGN.into_iter().filter(|language| language.is_here()) {
        let component = Component::load(order(language).await).unwrap();
        for (name, script) in SCRIPTS {
            let expected = played(&rust, script).await.unwrap();
            let played = played(&component, script).await;
            let played = played.unwrap_or_else(|error| panic!("{} {name}: {error}", language.name));
            assert_eq!(played.0, expected.0, "{} {name}", language.name);
            assert_eq!(played.1, expected.1, "{} {name}", language.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_begun_in_rust_is_proven_for_python_and_ends_there() {
    if !PYTHON.is_here() {
        return;
    }
    let (database, python) = (database().await, order(PYTHON).await);
    database.deploy("order").await;
    let worker = Worker::start(database.store.clone(), WorkerConfig::default())
        .await
        .unwrap();
    let run = database.start("orders.place", ORDER).await;
    database
        .until(
            "it waits for its payment",
            "select count(*) = 1 from dacapo.task_suspended where 'paid' = any (events)",
        )
        .await;
    let url = database.url.as_str();
    let python = python.to_str().unwrap();
    let deploy = [
        "deploy",
        python,
        "--upgrade",
        "proven",
        "--require-all",
        "--database-url",
        url,
    ];
    let deployed = said(&dacapo(root(), &deploy).await);
    assert!(
        deployed.contains("1 of them go on with it now"),
        "{deployed}"
    );
    let sent = database
        .client
        .send_event(run, "paid", r#"{"reference":"bank-1"}"#, None);
    sent.await.unwrap();
    // This worker has no cache, and compiles an interpreter first, behind whatever else the machine does.
    let patience = Some(Duration::from_secs(300));
    let done = database.client.wait(run, patience).await.unwrap();
    assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
    assert_eq!(done.deployment.number, 2);
    let output = done.output.unwrap();
    assert!(
        output.as_str().contains(r#""tracking":"Ada-3""#),
        "{output:?}"
    );
    worker.drain().await.unwrap();
}

/// What a kit says of itself is what the example does.
#[test]
fn each_language_has_the_order() {
    for language in FOREIGN {
        let Language { name, .. } = language;
        let project = root().join("examples-guests/order").join(name);
        assert!(project.join("dacapo.toml").is_file(), "{name}");
    }
}
