//! Events that a workflow declares in its WIT.

use dacapo_client::{Client, ClientError, Event, RunFilter, SentEvent, SkipOptions};
use dacapo_model::{PayloadLimits, RunId, Status};
use dacapo_tests::{Database, database};
use sqlx::{Connection, PgConnection};

use crate::check::{sound, worker};
use crate::command::{fails, run as dacapo, text};

mod approval {
    dacapo_client::refs!("../examples-guests/approval/wit");
}

use approval::approvals::{APPROVE, Decision, Events, Request, Vote};

async fn approval(database: &Database) -> RunId {
    database.deploy("approval").await;
    let request = Request {
        employee: "Ada".to_owned(),
        purpose: "a book".to_owned(),
        amount_cents: 100,
        cooling_off_seconds: 0,
    };
    database.client.start(APPROVE, &request).await.unwrap().id
}

fn problem(refused: Result<SentEvent, ClientError>) -> String {
    match refused {
        Err(ClientError::BadEvent { problem, .. }) => problem,
        other => panic!("not refused: {other:?}"),
    }
}

/// What SQL says to the event; none: it was sent.
async fn refused_by_sql(database: &Database, run: RunId, name: &str, json: &str) -> Option<String> {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let sent: Result<String, _> =
        sqlx::query_scalar("select dacapo.send_event($1, $2, $3::jsonb, '{}')")
            .bind(run.0)
            .bind(name)
            .bind(json)
            .fetch_one(&mut connection)
            .await;
    sent.err()
        .map(|error| error.as_database_error().unwrap().message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_events_are_checked_when_they_are_sent_and_nothing_is_written_when_they_are_wrong()
{
    let database = database().await;
    let run = approval(&database).await;
    let workflow = database
        .client
        .workflows()
        .await
        .unwrap()
        .remove(0)
        .workflow;
    for (name, payload, message) in [
        (
            "manager-decison",
            r#"{"by": "Grace", "approved": true}"#,
            "there is no event manager-decison: expected one of manager-decision, finance-decision",
        ),
        (
            "manager-decision",
            r#"{"by": "Grace", "approved": "yes"}"#,
            "payload.approved: expected bool, got \"yes\"",
        ),
        (
            "manager-decision",
            r#"{"by": "Grace"}"#,
            "payload.approved: missing, expected bool",
        ),
        (
            "finance-decision",
            "null",
            "payload: expected vote (an object), got null",
        ),
    ] {
        let client = &database.client;
        let refused = problem(client.send_event(run, name, payload, Some("d")).await);
        assert_eq!(refused, message);
        let by_rust = workflow.check_event(name, payload, &PayloadLimits::default());
        assert_eq!(by_rust.unwrap_err().to_string(), message);
        let by_sql = refused_by_sql(&database, run, name, payload).await.unwrap();
        assert_eq!(by_sql, format!("event \"{name}\" for run {run}: {message}"));
    }
    assert_eq!(database.count("select count(*) from dacapo.event").await, 0);
    let grace = Vote {
        by: "Grace".to_owned(),
        approved: true,
    };
    let event = Events::ManagerDecision(grace);
    assert_eq!(
        event.parts().unwrap(),
        (
            "manager-decision".to_owned(),
            r#"{"by":"Grace","approved":true}"#.to_owned()
        )
    );
    let sent = database.client.send(run, &event, Some("d")).await.unwrap();
    assert_eq!(sent, SentEvent::Sent);
    let worker = worker(&database).await;
    database
        .until(
            "it pauses",
            "select count(*) = 1 from dacapo.task_suspended where paused",
        )
        .await;
    database.client.resume(run).await.unwrap();
    let output = database.done(run).await.output.unwrap();
    assert_eq!(
        APPROVE.decode(output.as_str()).unwrap(),
        Decision::Approved(vec!["Grace".to_owned()])
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_for_a_declared_event_is_checked_as_what_is_sent() {
    let database = database().await;
    let run = approval(&database).await;
    let worker = worker(&database).await;
    let reason = |reason: &str| {
        format!("select count(*) = 1 from dacapo.task_suspended where reason = '{reason}'")
    };
    database.until("it pauses", reason("pause").leak()).await;
    database.client.resume(run).await.unwrap();
    database.until("it waits", reason("event").leak()).await;
    for (value, message) in [
        (
            Some(r#"{"by": 1, "approved": true}"#),
            "payload.by: expected string, got 1",
        ),
        (None, "payload: expected vote (an object), got null"),
    ] {
        let skip = SkipOptions {
            step: None,
            value: value.map(str::to_owned),
        };
        match database.client.skip(run, &skip, "ann").await {
            Err(ClientError::BadEvent { name, problem, .. }) => {
                assert_eq!((name.as_str(), &*problem), ("manager-decision", message));
            }
            other => panic!("not refused: {other:?}"),
        }
    }
    let skip = SkipOptions {
        step: None,
        value: Some(r#"{"by": "Grace", "approved": true}"#.to_owned()),
    };
    database.client.skip(run, &skip, "ann").await.unwrap();
    let output = database.done(run).await.output.unwrap();
    assert_eq!(
        APPROVE.decode(output.as_str()).unwrap(),
        Decision::Approved(vec!["Grace".to_owned()])
    );
    worker.drain().await.unwrap();
    sound(&database).await;
    // A wait for any of several events has the event's name beside its payload; ends of children are no events.
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for (plan, value, expected) in [
        (
            Some(r#"["manager-decision","finance-decision"]"#),
            r#"["finance-decision", {"by": "Grace"}]"#,
            Some("finance-decision/payload.approved: missing, expected bool"),
        ),
        (
            Some(r#"["manager-decision","finance-decision"]"#),
            r#"["finance-decision", {"by": "Grace", "approved": false}]"#,
            None,
        ),
        // Whatever else is no event that it waits for.
        (
            Some(r#"["manager-decision","finance-decision"]"#),
            "null",
            Some(
                r#"manager-decision/expected the name of one of manager-decision, finance-decision beside its payload, as in ["manager-decision", null]; got null"#,
            ),
        ),
        // One that was recorded under another name, or a wait for any of one.
        (
            Some(r#"["finance-decision"]"#),
            r#"{"by": "Grace"}"#,
            Some("finance-decision/payload.approved: missing, expected bool"),
        ),
        (
            Some(r#"["finance-decision"]"#),
            r#"["finance-decision", {"by": "Grace", "approved": true}]"#,
            None,
        ),
        // What it waits for is not known until it is played.
        (Some("null"), "7", None),
        (
            None,
            "7",
            Some("manager-decision/payload: expected vote (an object), got 7"),
        ),
        (Some(r#"["child/7"]"#), "7", None),
    ] {
        let problem: Option<String> = sqlx::query_scalar(
            "select dacapo.wait_problem(run_id, jsonb_populate_record(step, jsonb_build_object(
                'outcome', null, 'kind', 'wait', 'key', 'a#1/manager-decision#2', 'payload', $2::text)), $3)
            from dacapo.step where run_id = $1 limit 1",
        )
        .bind(run.0)
        .bind(plan)
        .bind(value)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(problem.as_deref(), expected, "{plan:?} {value}");
    }
    // What is recorded anew in a blocked run may be for one event or for any of several.
    for (value, expected) in [
        (
            r#"["finance-decision", {"by": "Grace", "approved": false}]"#,
            None,
        ),
        (r#"{"by": "Grace", "approved": false}"#, None),
        (
            r#"["nobodys-decision", 1]"#,
            Some(
                r#"manager-decision/payload: expected vote (an object), got ["nobodys-decision", 1]"#,
            ),
        ),
    ] {
        let problem: Option<String> = sqlx::query_scalar(
            "select dacapo.wait_problem(run_id, jsonb_populate_record(step, jsonb_build_object(
                'outcome', 'ok', 'kind', 'wait', 'key', 'manager-decision#1', 'payload', '7'::text)), $2)
            from dacapo.step where run_id = $1 limit 1",
        )
        .bind(run.0)
        .bind(value)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(problem.as_deref(), expected, "{value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_an_event_that_is_not_declared_ends_the_run_with_an_explanation() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let run = database.start("waits-undeclared", "null").await;
    let client = &database.client;
    let refused = problem(client.send_event(run, "knwon", "null", None).await);
    assert_eq!(
        refused,
        "there is no event knwon: expected one of known, late"
    );
    let refused = problem(client.send_event(run, "known", "1", None).await);
    assert_eq!(refused, "payload: known has no payload, got 1");
    client.send_event(run, "known", "null", None).await.unwrap();
    let done = database.done(run).await;
    let failure = done.failure.unwrap();
    assert_eq!(
        (done.status, failure.code.as_str()),
        (Status::Failed, "misuse")
    );
    assert!(
        failure.message.contains("`knwon`") && failure.message.contains("known, late"),
        "{failure:?}"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_many_reaches_those_that_declare_it_and_says_who_does_not() {
    let database = database().await;
    let run = approval(&database).await;
    database.deploy("probe").await;
    let other = database.start("step-wait-step", "null").await;
    let client: &Client = &database.client;
    let all = RunFilter::default;
    let sent = client
        .send_event_to_many(all(), "go", "1", None)
        .await
        .unwrap();
    assert_eq!((sent.sent, sent.refused), (1, 1));
    assert!(sent.stopped.is_none());
    let refusal = sent.refusal.unwrap().to_string();
    assert!(
        refusal.contains(&run.to_string()) && refusal.contains("there is no event go"),
        "{refusal}"
    );
    let told = dacapo(&database, &["event", "--since", "1h", "go", "1"]).await;
    fails(&told, 1, &["1 run did not take it", "`dacapo workflows`"]);
    let sent = database.count("select count(*) from dacapo.event").await;
    assert_eq!(sent, 2, "both to {other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_what_events_a_workflow_takes() {
    let database = database().await;
    approval(&database).await;
    let shown = text(&dacapo(&database, &["workflows"]).await.stdout);
    assert!(
        shown.contains("takes the events manager-decision(vote"),
        "{shown}"
    );
    let json = dacapo(&database, &["workflows", "--output", "json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let event = &json[0]["events"][1];
    assert_eq!(event["name"], "finance-decision");
    assert_eq!(event["payload"]["schema"]["required"][1], "approved");
}
