//! Starting runs: names, inputs, keys, labels.

use std::collections::BTreeMap;

use dacapo_client::{Client, ClientError, PayloadLimits, RunId, StartOptions, Status, WorkflowRef};
use dacapo_model::Type;

use crate::database::{
    GREET, PING, bare_client, client, code, deploy, empty_url, greeter, runs, workflow,
};

const ADA: &str = r#"{"name": "Ada"}"#;

async fn start(client: &Client, workflow: &str, input: &str) -> Result<RunId, ClientError> {
    client
        .start_by_name(workflow, input, StartOptions::default())
        .await
        .map(|started| started.id)
}

async fn keyed(client: &Client, key: &str, input: &str) -> Result<(RunId, bool), ClientError> {
    let started = client
        .start_by_name(GREET, input, StartOptions::keyed(key))
        .await?;
    Ok((started.id, started.created))
}

#[tokio::test]
async fn a_started_run_is_queued_with_what_it_was_given() {
    let client = client().await;
    let options = StartOptions::default()
        .label("team", "core")
        .label("kind", "test");
    let started = client.start_by_name(GREET, ADA, options).await.unwrap();
    assert!(started.created);
    assert_eq!(
        (started.workflow.as_str(), started.deployment.number),
        (GREET, 1)
    );

    let run = client.get(started.id).await.unwrap();
    let json = serde_json::to_value(&run).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "id": started.id.to_string(),
            "workflow": GREET,
            "deployment": {"package": "test:greeter", "number": 1},
            "status": "queued",
            "input": {"name": "Ada"},
            "output": null,
            "failure": null,
            "labels": {"kind": "test", "team": "core"},
            "createdAt": run.created_at.to_string(),
            "startedAt": null,
            "finishedAt": null,
            "progress": {"done": 0},
            "steps": [],
        })
    );
    let progress = client.check_progress(started.id).await.unwrap();
    assert_eq!(
        (progress.status, progress.done, progress.total),
        (Status::Queued, 0, None)
    );
    assert!(client.logs(started.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_typed_start_writes_the_types_of_the_workflow() {
    #[derive(serde::Serialize)]
    struct Person {
        name: String,
    }
    let client = client().await;
    let greet: WorkflowRef<Person, String> = WorkflowRef::new(GREET);
    let run = client
        .start(
            greet,
            &Person {
                name: "Ada".to_owned(),
            },
        )
        .await
        .unwrap();
    assert_eq!(
        client.get(run.id).await.unwrap().input.as_str(),
        r#"{"name":"Ada"}"#
    );
    let ping: WorkflowRef<(), ()> = WorkflowRef::new(PING);
    let run = client.start(ping, &()).await.unwrap();
    assert_eq!(client.get(run.id).await.unwrap().input.as_str(), "null");
}

#[tokio::test]
async fn an_end_of_a_name_is_enough_where_it_is_unique() {
    let client = client().await;
    for name in ["greet", "greetings.greet", "greeter/greetings.greet", GREET] {
        let run = start(&client, name, ADA)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(client.get(run).await.unwrap().workflow, GREET);
    }
}

#[tokio::test]
async fn an_ambiguous_name_lists_what_it_could_stand_for() {
    let client = client().await;
    let mut other = greeter(Type::String);
    other.package = "test:other".to_owned();
    other.workflows = vec![workflow("test:other/greetings.greet", None, None)];
    deploy(&client, &other, "2").await;
    for name in ["greet", "greetings.greet"] {
        let error = start(&client, name, ADA).await.unwrap_err();
        let ClientError::AmbiguousWorkflow { full_names, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(full_names, &[GREET, "test:other/greetings.greet"]);
    }
    assert!(start(&client, "ping", "").await.is_ok());
    assert_eq!(runs(&client).await, 1);
}

#[tokio::test]
async fn an_unknown_workflow_names_similar_ones() {
    let client = client().await;
    let error = start(&client, "great", ADA).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("there is no workflow \"great\"; did you mean {GREET}?")
    );
    assert_eq!(error.code(), "unknown-workflow");
    assert_eq!(runs(&client).await, 0);
}

#[tokio::test]
async fn nothing_deployed_says_how_to_deploy() {
    let client = bare_client().await;
    let error = start(&client, "greet", ADA).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no workflow \"greet\": no workflow is deployed"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("deploy one with `dacapo deploy FILE.wasm`")
    );
}

#[tokio::test]
async fn bad_input_writes_nothing() {
    let client = client().await;
    let error = start(&client, GREET, r#"{"name": 4}"#).await.unwrap_err();
    assert_eq!(error.to_string(), "input.name: expected string, got 4");
    assert_eq!(
        error.hint().unwrap(),
        format!("{GREET} takes record {{ name: string, age: option<u32> }}")
    );
    for input in [
        "",
        "null",
        "{",
        r#"{"name": "a", "nome": "b"}"#,
        r#"{"name": "a", "name": "b"}"#,
        &"[".repeat(200_000),
    ] {
        assert_eq!(
            code(start(&client, GREET, input).await),
            "bad-input",
            "{input:.40}"
        );
    }
    assert_eq!(code(start(&client, PING, "1").await), "bad-input");
    assert_eq!(runs(&client).await, 0);
}

#[tokio::test]
async fn too_large_an_input_writes_nothing_and_says_the_limit() {
    let limits = PayloadLimits {
        max_bytes: 100,
        ..PayloadLimits::default()
    };
    let client = client().await.with_payload_limits(limits);
    let input = format!(r#"{{"name": "{}"}}"#, "x".repeat(100));
    let error = start(&client, GREET, &input).await.unwrap_err();
    assert_eq!(error.code(), "too-large");
    assert!(
        error.to_string().contains("the limit is 100 bytes"),
        "{error}"
    );
    assert_eq!(runs(&client).await, 0);
}

#[tokio::test]
async fn bad_options_write_nothing() {
    let client = client().await;
    let labels = |name: &str, value: &str| StartOptions::default().label(name, value);
    for options in [
        StartOptions::keyed(""),
        StartOptions::keyed("a\0b"),
        StartOptions::keyed("x".repeat(1_001)),
        labels("", "x"),
        labels("a\0", "x"),
        labels("a", "\0"),
        labels("a", &"x".repeat(201)),
    ] {
        assert_eq!(
            code(client.start_by_name(GREET, ADA, options).await),
            "bad-argument"
        );
    }
    assert_eq!(code(start(&client, "gr\0eet", ADA).await), "bad-argument");
    assert_eq!(runs(&client).await, 0);
}

#[tokio::test]
async fn a_key_names_one_run() {
    let client = client().await;
    let (run, created) = keyed(&client, "k", ADA).await.unwrap();
    assert!(created);
    assert_eq!(keyed(&client, "k", ADA).await.unwrap(), (run, false));
    // The same value, written in another way.
    assert_eq!(
        keyed(&client, "k", r#"{"age":null,"name":"\u0041da"}"#)
            .await
            .unwrap(),
        (run, false)
    );
    assert_ne!(keyed(&client, "l", ADA).await.unwrap().0, run);
    assert_eq!(runs(&client).await, 2);
}

#[tokio::test]
async fn a_key_is_the_same_by_every_name_of_the_workflow_and_in_no_other_namespace() {
    let client = client().await;
    let by_short_name = client
        .start_by_name("greet", ADA, StartOptions::keyed("k"))
        .await
        .unwrap();
    assert_eq!(
        keyed(&client, "k", ADA).await.unwrap(),
        (by_short_name.id, false)
    );
    let other = client.clone().with_namespace("other");
    assert_eq!(code(keyed(&other, "k", ADA).await), "unknown-workflow");
    deploy(&other, &greeter(Type::String), "1").await;
    let (run, created) = keyed(&other, "k", ADA).await.unwrap();
    assert!(created && run != by_short_name.id);
}

#[tokio::test]
async fn a_key_with_another_input_is_a_conflict_that_shows_both() {
    let client = client().await;
    let (run, _) = keyed(&client, "k", ADA).await.unwrap();
    let error = keyed(&client, "k", r#"{"name":"Bob"}"#).await.unwrap_err();
    assert_eq!(error.code(), "key-conflict");
    let message = error.to_string();
    assert!(
        message.contains(&run.to_string()) && message.contains(ADA) && message.contains("Bob"),
        "{message}"
    );
    assert_eq!(runs(&client).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rivals_with_one_key_get_one_run() {
    let client = client().await;
    let rivals: Vec<_> = (0..16)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { keyed(&client, "k", ADA).await })
        })
        .collect();
    let mut started = Vec::new();
    for rival in rivals {
        started.push(rival.await.unwrap().unwrap());
    }
    assert_eq!(started.iter().filter(|(_, created)| *created).count(), 1);
    assert!(started.iter().all(|(run, _)| *run == started[0].0));
    assert_eq!(runs(&client).await, 1);
}

#[tokio::test]
async fn a_new_deployment_is_found_by_a_client_that_knew_the_old_one() {
    let client = client().await;
    let first = start(&client, GREET, ADA).await.unwrap();
    let second = deploy(&client, &greeter(Type::U32), "2").await;
    assert_eq!((second.number, second.replaces), (2, Some(1)));

    // Refused by what the client remembers, taken by what is deployed.
    let run = start(&client, GREET, r#"{"name": 1}"#).await.unwrap();
    assert_eq!(client.get(run).await.unwrap().deployment.number, 2);
    assert_eq!(code(start(&client, GREET, ADA).await), "bad-input");
    assert_eq!(client.get(first).await.unwrap().deployment.number, 1);
}

#[tokio::test]
async fn an_input_that_the_new_deployment_refuses_is_not_started_on_the_old_one() {
    let client = client().await;
    start(&client, GREET, ADA).await.unwrap();
    deploy(&client, &greeter(Type::U32), "2").await;
    assert_eq!(code(start(&client, GREET, ADA).await), "bad-input");
    assert_eq!(runs(&client).await, 1);
}

#[tokio::test]
async fn the_same_bytes_are_not_deployed_twice() {
    let client = client().await;
    let again = deploy(&client, &greeter(Type::String), "1").await;
    assert_eq!((again.number, again.created), (1, false));
}

#[tokio::test]
async fn workflows_show_their_types() {
    let client = client().await;
    let workflows = client.workflows().await.unwrap();
    let json = serde_json::to_value(&workflows).unwrap();
    assert_eq!(json[0]["name"], GREET);
    assert_eq!(
        json[0]["deployment"],
        serde_json::json!({"package": "test:greeter", "number": 1})
    );
    assert_eq!(
        (&json[0]["input"]["name"], &json[0]["input"]["type"]),
        (&"person".into(), &"person".into())
    );
    assert_eq!(json[0]["output"]["type"], "string");
    assert!(json[0]["input"]["schema"].is_object());
    assert!(json[1]["input"].is_null() && json[1]["output"].is_null());
}

#[tokio::test]
async fn an_unknown_run_is_said_to_be_unknown() {
    let client = client().await;
    let run = RunId::new();
    assert_eq!(code(client.get(run).await), "run-not-found");
    assert_eq!(code(client.check_progress(run).await), "run-not-found");
    assert_eq!(code(client.logs(run).await), "run-not-found");
    assert_eq!(code(client.wait(run, None).await), "run-not-found");
}

#[tokio::test]
async fn a_database_that_was_never_migrated_says_so() {
    let url = empty_url().await;
    let error = Client::connect(&url).await.unwrap_err();
    assert_eq!(
        (error.code(), error.hint().as_deref()),
        ("schema", Some("run `dacapo migrate`"))
    );
    // A client that did not look finds out.
    let client = Client::new(dacapo_client::Store::new(&url, 1).unwrap());
    assert_eq!(code(start(&client, GREET, ADA).await), "schema");
    assert_eq!(code(client.pause(RunId::new()).await), "schema");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_an_error_at_once() {
    let error = Client::connect("postgres://postgres@127.0.0.1:9/nowhere")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "unavailable");
    assert!(error.is_transient());
}

#[test]
fn options_are_plain_data() {
    let options = StartOptions::keyed("k").label("a", "b");
    assert_eq!(
        options.labels,
        BTreeMap::from([("a".to_owned(), "b".to_owned())])
    );
}

#[tokio::test]
async fn a_start_whose_place_in_line_cannot_be_written_leaves_no_run() {
    let client = client().await;
    sqlx::raw_sql(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no more tasks'; end $$;
        create trigger refuse before insert on dacapo.task_ready for each row execute function refuse()",
    )
    .execute(client.store().pool())
    .await
    .unwrap();
    for options in [StartOptions::default(), StartOptions::keyed("k")] {
        let error = client.start_by_name(PING, "", options).await.unwrap_err();
        assert!(format!("{error:?}").contains("no more tasks"), "{error:?}");
        assert_eq!(runs(&client).await, 0);
    }
    sqlx::raw_sql("drop function refuse cascade")
        .execute(client.store().pool())
        .await
        .unwrap();
    let started = client
        .start_by_name(PING, "", StartOptions::keyed("k"))
        .await;
    assert!(started.unwrap().created);
    assert_eq!(runs(&client).await, 1);
}
