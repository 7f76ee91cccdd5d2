//! Deployments.

use axum::http::Method;
use dacapo_tests::{Dacapo, database, guest};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::{Answer, Api};

const BOUNDARY: &str = "----parts";

/// A form with these parts, and the bytes of a component if there are any.
fn form(component: Option<&[u8]>, parts: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parts {
        body.extend(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .bytes(),
        );
    }
    if let Some(bytes) = component {
        body.extend(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"component\"; filename=\"a.wasm\"\r\nContent-Type: application/wasm\r\n\r\n")
                .bytes(),
        );
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

async fn deploy(api: &Api, component: Option<&[u8]>, parts: &[(&str, &str)]) -> Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers = [("content-type", kind.as_str()), ("dacapo-by", "ada")];
    api.ask(
        Method::POST,
        "/deployments",
        &headers,
        form(component, parts),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_uploaded_compared_rolled_out_and_retired() {
    let database = database().await;
    let api = Api::on(&database).await;
    let (old, new) = (guest("probe"), guest("probe2"));
    let first = deploy(&api, Some(&old), &[]).await.is(201);
    assert_eq!(
        (&first["package"], &first["number"], &first["created"]),
        (&json!("test:probe"), &json!(1), &json!(true))
    );
    assert!(first["workflows"].as_array().unwrap().len() > 10);
    let nowhere = [("manifest", r#"{"queue": "nowhere"}"#)];
    let refused = deploy(&api, Some(&old), &nowhere).await;
    assert!(refused.status.is_client_error(), "{refused:?}");
    let audit = api.get("/audit?action=deploy").await.is(200);
    let noted: Vec<(&Value, &Value)> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["target"], &entry["outcome"]))
        .collect();
    assert_eq!(
        noted,
        [
            (&json!("test:probe"), &json!("refused")),
            (&json!("test:probe/1"), &json!("done")),
        ]
    );
    let again = deploy(&api, Some(&old), &[]).await.is(200);
    assert_eq!(
        (&again["number"], &again["created"]),
        (&json!(1), &json!(false))
    );

    let parts = [
        ("percent", "10"),
        ("label", "canary=yes"),
        ("allowBreaking", "true"),
        ("manifest", r#"{"priority": 5}"#),
    ];
    let second = deploy(&api, Some(&new), &parts).await.is(201);
    assert_eq!(
        second["rollout"],
        json!({ "percent": 10, "labels": { "canary": "yes" } })
    );
    // A form without its manifest takes the settings away, and the answer says so.
    assert_eq!(
        second["settings"],
        json!([{ "setting": "priority", "before": null, "now": 5 }])
    );

    let list = api.get("/deployments?package=probe").await.is(200);
    let stand: Vec<(&Value, &Value)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["number"], &one["status"]))
        .collect();
    assert_eq!(
        stand,
        [
            (&json!(2), &json!("rolling-out")),
            (&json!(1), &json!("active"))
        ]
    );
    let shown = api.get("/deployments/test:probe/active").await.is(200);
    assert_eq!(shown["number"], 1);
    assert_eq!(shown["changes"][0]["who"], "ada");
    let shown = api.get("/deployments/probe/2").await.is(200);
    assert_eq!(shown["manifest"], json!({ "priority": 5 }));
    let types = api.get("/deployments/probe/2/types").await.is(200);
    assert_eq!(types, shown["workflows"]);
    let diff = api.get("/deployments/probe/diff?from=1&to=2").await.is(200);
    assert_eq!(diff["sameComponent"], false);

    let body = json!({ "allowBreaking": true });
    let activated = api
        .post("/deployments/probe/2/activate", &body)
        .await
        .is(200);
    assert_eq!(activated["before"], 1);
    let retired = api.tell("/deployments/probe/1/retire").await.is(200);
    assert_eq!(retired["outcome"], "retired");
    api.tell("/deployments/probe/1/activate")
        .await
        .is_problem(409, "deployment-conflict");
    api.tell("/deployments/probe/2/retire")
        .await
        .is_problem(409, "deployment-conflict");
    let gone = api
        .post("/collect-deployments", &json!({ "dryRun": true }))
        .await
        .is(200);
    assert_eq!(gone[0]["number"], 1);
    api.get("/deployments/probe/7")
        .await
        .is_problem(404, "deployment-not-found");
    api.get("/deployments/probe/x")
        .await
        .is_problem(400, "bad-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_component_or_no_form_is_refused() {
    let database = database().await;
    let api = Api::on(&database).await;
    deploy(&api, Some(b"not wasm"), &[])
        .await
        .is_problem(422, "bad-component");
    deploy(&api, None, &[]).await.is_problem(400, "bad-request");
    deploy(&api, None, &[("color", "red")])
        .await
        .is_problem(400, "bad-request");
    deploy(&api, None, &[("percent", "200")])
        .await
        .is_problem(400, "bad-request");
    let probe = guest("bench_guest");
    deploy(&api, Some(&probe), &[("manifest", r#"{"color": 1}"#)])
        .await
        .is_problem(422, "bad-manifest");
    let manifest = r#"{"workflows": {"no-such-thing": {"queue": "q"}}}"#;
    deploy(&api, Some(&probe), &[("manifest", manifest)])
        .await
        .is_problem(422, "bad-manifest");
    let manifest = r#"{"queue": "nowhere"}"#;
    let refused = deploy(&api, Some(&probe), &[("manifest", manifest)]).await;
    assert!(refused.status.is_client_error(), "{refused:?}");
    api.post("/deployments", &json!({}))
        .await
        .is_problem(415, "unsupported-media-type");
}

/// A form of the dashboard, and the browser's cookie that it repeats.
const FORM: &str = "token=0123456789abcdef0123456789abcdef";

/// What a browser is answered.
async fn browsed(api: &Api, method: &str, path: &str, form: &str) -> String {
    let url = api.url();
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (kind, length) = ("application/x-www-form-urlencoded", form.len());
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         cookie: dacapo-form={}\r\n\r\n{form}",
        &FORM[6..]
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_in_flight_are_tried_with_the_code_of_another_deployment() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = Dacapo::on(&database).worker().await;
    for workflow in [
        "changes.same",
        "changes.renamed",
        "changes.same",
        "changes.renamed",
        "changes.same",
    ] {
        database.start(workflow, "null").await;
    }
    let waiting = "select count(*) = 5 from dacapo.task_suspended where reason = 'event'";
    database.until("all of them wait", waiting).await;
    worker.kill().await;
    database.deploy("probe2").await;
    let api = Api::on(&database).await;
    let path = "/deployments/test:probe/2/proof";
    let proof = api.post(path, &json!({})).await.is(200);
    assert_eq!(
        (&proof["proven"], &proof["notProven"]),
        (&json!(3), &json!(2)),
        "{proof:#}"
    );
    assert_eq!(proof["sampledOf"], Value::Null);
    let findings = proof["findings"].as_array().unwrap();
    let renamed = findings
        .iter()
        .find(|one| one["verdict"] == "diverges")
        .unwrap();
    assert_eq!(
        (&renamed["runs"], &renamed["says"]),
        (&json!(2), &json!("diverge"))
    );
    assert!(
        renamed["reason"].as_str().unwrap().contains("`book#1`"),
        "{renamed}"
    );
    let sampled = api.post(path, &json!({ "sample": 1 })).await.is(200);
    assert_eq!(sampled["sampledOf"], 5);
    assert_eq!(sampled["findings"].as_array().unwrap().len(), 1);
    // The dashboard does the same for whoever asks there, and keeps it on its page.
    let page = "/deployments/test:probe/2";
    let before = browsed(&api, "GET", page, "").await;
    assert!(
        before.contains("Try them<") && !before.contains("would go on with it."),
        "{before}"
    );
    let answer = browsed(&api, "POST", "/deployments/test:probe/2/proof", FORM).await;
    assert!(answer.starts_with("HTTP/1.1 303 "), "{answer}");
    let shown = browsed(&api, "GET", page, "").await.replace("&#x2f;", "/");
    for words in [
        "<strong>3 of 5</strong> runs in flight on other deployments would go on with it.",
        "test:probe/changes.renamed",
        ">diverge</span>",
        "Try them again",
    ] {
        assert!(shown.contains(words), "{words} is not in\n{shown}");
    }
    let missing = browsed(&api, "POST", "/deployments/test:probe/9/proof", FORM).await;
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
    // Those that are on it are not tried, and none was moved.
    let own = api
        .post("/deployments/test:probe/1/proof", &json!({}))
        .await;
    assert_eq!(own.is(200)["findings"], json!([]));
    api.post(path, &json!({ "sample": 0 }))
        .await
        .is_problem(400, "bad-request");
    api.post("/deployments/test:probe/9/proof", &json!({}))
        .await
        .is_problem(404, "deployment-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_runs_are_played_over_mended_code() {
    let database = database().await;
    database.deploy("probe").await;
    let api = Api::on(&database).await;
    let body = json!({ "package": "probe", "number": 1 });
    let report = api.post("/bulk/repair", &body).await.is(200);
    assert_eq!(report["findings"], json!([]));
    let body = json!({ "package": "probe", "number": 9 });
    api.post("/bulk/repair", &body)
        .await
        .is_problem(404, "deployment-not-found");
    let body = json!({ "package": "probe", "number": 1, "filter": { "status": "queued" } });
    api.post("/bulk/repair", &body)
        .await
        .is_problem(422, "bad-argument");
}
