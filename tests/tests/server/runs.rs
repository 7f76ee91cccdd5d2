//! Looking at runs.

use std::collections::HashSet;

use dacapo_client::StartOptions;
use dacapo_tests::{Dacapo, database};
use serde_json::json;

use crate::api::Api;

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_runs_are_read_page_by_page_in_both_directions_each_once() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let starts: Vec<_> = (0..250)
        .map(|n| {
            let options = StartOptions::default().label("half", (n % 2).to_string());
            ("null".to_owned(), options)
        })
        .collect();
    let client = &database.client;
    client
        .start_many_by_name("step-wait-step", &starts)
        .await
        .unwrap();

    let mut path = "/runs?limit=30&label=half%3D1".to_owned();
    let (mut seen, mut pages) = (HashSet::new(), Vec::new());
    loop {
        let answer = api.get(&path).await;
        let page = answer.is(200);
        for run in page["items"].as_array().unwrap() {
            assert_eq!(run["labels"]["half"], "1");
            assert!(seen.insert(run["id"].as_str().unwrap().to_owned()));
        }
        let links: Vec<&str> = answer
            .headers
            .get_all("link")
            .iter()
            .map(|link| link.to_str().unwrap())
            .collect();
        pages.push(page.clone());
        let Some(next) = page["next"].as_str() else {
            assert!(links.iter().all(|link| !link.contains("rel=\"next\"")));
            break;
        };
        // The link leads to the same place, with the filter that was there.
        let link = links.iter().find(|link| link.contains("rel=\"next\""));
        let link = link.unwrap().split(['<', '>']).nth(1).unwrap();
        let link = link.strip_prefix("/api/v1").unwrap();
        assert!(link.contains(&format!("cursor={next}")) && link.contains("half%3D1"));
        path = link.to_owned();
    }
    assert_eq!((seen.len(), pages.len()), (125, 5));

    let back = pages[1]["previous"].as_str().unwrap();
    let page = api
        .get(&format!("/runs?limit=30&label=half%3D1&backFrom={back}"))
        .await
        .is(200);
    assert_eq!(page["items"], pages[0]["items"]);

    let counts = api.get("/runs/count?label=half%3D1").await.is(200);
    assert_eq!(counts["queued"], 125);
    let counts = api.get("/runs/count?status=queued").await.is(200);
    assert_eq!(counts, json!({ "queued": 250 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_shown_as_the_command_shows_it() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let _worker = Dacapo::on(&database).worker().await;
    let run = api
        .start(
            "flaky",
            json!({ "bad": 1, "attempts": 2, "backoffMs": 1, "how": "fail" }),
        )
        .await;

    let waited = api.get(&format!("/runs/{run}/wait")).await.is(200);
    assert_eq!(waited["status"], "completed");
    let shown = api.get(&format!("/runs/{run}")).await.is(200);
    assert_eq!(shown, waited);
    let client = database.client.get(run).await.unwrap();
    assert_eq!(shown, serde_json::to_value(&client).unwrap());
    assert_eq!(shown["steps"][0]["failedAttempts"][0]["number"], 1);

    let steps = api.get(&format!("/runs/{run}/steps")).await.is(200);
    assert_eq!(steps, shown["steps"]);
    let progress = api.get(&format!("/runs/{run}/progress")).await.is(200);
    assert_eq!(progress["done"], 1);
    let lines = api.get(&format!("/runs/{run}/logs")).await.is(200);
    assert!(lines.as_array().unwrap().len() >= 2, "{lines}");
    let lines = api
        .get(&format!("/runs/{run}/logs?level=error"))
        .await
        .is(200);
    assert_eq!(lines, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_in_vain_is_shown_the_run_as_it_stands() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let run = api.start("step-wait-step", json!(null)).await;
    let shown = api
        .get(&format!("/runs/{run}/wait?timeoutMs=10"))
        .await
        .is(202);
    assert_eq!(shown["status"], "queued");
    api.get(&format!("/runs/{run}/wait?timeoutMs=60001"))
        .await
        .is_problem(400, "bad-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_to_another_database_and_what_is_no_run_does_not() {
    let (one, other) = (database().await, database().await);
    one.deploy("probe").await;
    let (api, there) = (Api::on(&one).await, Api::on(&other).await);
    let run = api.start("step-wait-step", json!(null)).await;
    let export = api
        .get(&format!("/runs/{run}/export?log=true"))
        .await
        .is(200);

    there
        .post("/runs/import", &export)
        .await
        .is_problem(409, "component-missing");
    other.deploy("probe").await;
    let imported = there.post("/runs/import", &export).await.is(201);
    assert_eq!(imported, json!({ "run": run, "status": "paused" }));
    let again = there.post("/runs/import", &export).await;
    assert_eq!(again.is_problem(409, "run-exists")["run"], json!(run));
    for body in [
        json!({}),
        json!([]),
        json!({ "format": "dacapo-run", "version": 99 }),
    ] {
        there
            .post("/runs/import", &body)
            .await
            .is_problem(422, "not-importable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_are_shown_with_json_schemas_and_paused_in_an_incident() {
    let database = database().await;
    database.deploy("approval").await;
    let api = Api::on(&database).await;
    let workflows = api.get("/workflows").await.is(200);
    let approve = &workflows[0];
    assert_eq!(approve["name"], "hr:approvals/approvals.approve");
    assert_eq!(
        approve["input"]["schema"]["properties"]["amountCents"]["anyOf"][0]["type"],
        "integer"
    );
    for name in [
        "approve",
        "approvals.approve",
        "hr:approvals%2Fapprovals.approve",
    ] {
        assert_eq!(
            &api.get(&format!("/workflows/{name}")).await.is(200),
            approve
        );
    }
    api.get("/workflows/approves")
        .await
        .is_problem(404, "unknown-workflow");

    api.tell("/workflows/approve/pause").await.is(200);
    api.tell("/workflows/approve/pause")
        .await
        .is_problem(409, "already-so");
    let paused = api.get("/paused-workflows").await.is(200);
    assert_eq!(paused[0]["workflow"], approve["name"]);
    let resumed = api.tell("/workflows/approve/resume").await.is(200);
    assert_eq!(resumed["paused"], false);
}
