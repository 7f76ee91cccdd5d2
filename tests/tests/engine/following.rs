//! Looking on: a run and its log as they grow, and the notes that people leave.

use std::process::Stdio;

use dacapo_client::{ClientError, LogLevel, SkipOptions, Watched};
use dacapo_model::RunId;
use dacapo_tests::{Database, database};
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::{NoContext, Timestamp, Uuid};

use crate::check::worker;
use crate::command::{dacapo, fails, run as command, text};

/// The id of a line that is written when a clock shows so many seconds.
fn at(seconds: u64) -> Uuid {
    Uuid::new_v7(Timestamp::from_unix(NoContext, 1_795_420_800 + seconds, 0))
}

/// A line that some worker writes.
async fn log(database: &Database, run: RunId, id: Uuid, level: &str, message: &str) {
    sqlx::query(
        "insert into dacapo.log (run_id, id, at, level, source, message, fields)
        values ($1, $2, now(), $3, 'log', $4, '{\"n\":\"1\"}')",
    )
    .bind(run.0)
    .bind(id)
    .bind(level)
    .bind(message)
    .execute(database.store.pool())
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_run_is_followed_from_its_first_line_until_the_run_ends() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("step-wait-step", "null").await;
    let client = &database.client;
    let mut all = client.log_tail(run, LogLevel::Trace).await.unwrap();
    let mut urgent = client.log_tail(run, LogLevel::Warn).await.unwrap();
    let mut seen = [Vec::new(), Vec::new()];
    for (seconds, level, message) in [
        (60, "info", "a"),
        (70, "error", "b"),
        // A worker whose clock is slower has taken the run over.
        (20, "warn", "c"),
        (80, "debug", "d"),
    ] {
        log(&database, run, at(seconds), level, message).await;
        for (tail, seen) in [&mut all, &mut urgent].into_iter().zip(&mut seen) {
            for line in tail.next_lines().await.unwrap() {
                seen.push(line.message);
            }
            assert!(tail.next_lines().await.unwrap().is_empty());
        }
    }
    assert_eq!(seen, [vec!["a", "b", "c", "d"], vec!["b", "c"]]);
    // More than are read at a time.
    sqlx::query(
        "insert into dacapo.log (run_id, id, at, level, source, message)
        select $1, (lpad(to_hex(n), 8, '0') || '-0000-7000-8000-000000000000')::uuid, now(), 'info', 'log', n::text
        from generate_series(1, 2500) as n",
    )
    .bind(run.0)
    .execute(database.store.pool())
    .await
    .unwrap();
    let lines = client.logs(run).await.unwrap();
    assert_eq!(lines.len(), 2_504);
    assert_eq!(
        (lines[0].message.as_str(), lines[2_503].message.as_str()),
        ("1", "d")
    );
    let refused = client.log_tail(RunId::new(), LogLevel::Info).await;
    assert!(matches!(refused, Err(ClientError::RunNotFound(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_lists_and_follows_lines_of_a_level() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("step-wait-step", "null").await;
    let id = run.to_string();
    let client = &database.client;
    let follow = [
        "runs", "logs", &id, "--follow", "--level", "info", "-o", "json",
    ];
    let mut follower = dacapo(&database, &follow)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let worker = worker(&database).await;
    let line = lines.next_line().await.unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["message"], &line["level"], &line["step"]),
        (&"effect a".into(), &"info".into(), &"a#1".into())
    );
    log(&database, run, Uuid::now_v7(), "debug", "not asked for").await;
    log(&database, run, Uuid::now_v7(), "warn", "odd").await;
    client.send_event(run, "go", "1", None).await.unwrap();
    let mut rest = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        rest.push(line["message"].as_str().unwrap().to_owned());
    }
    rest.sort();
    assert_eq!(rest, ["effect b", "odd"]);
    assert!(
        follower.wait().await.unwrap().success(),
        "it ends with the run"
    );
    let listed = text(
        &command(&database, &["runs", "logs", &id, "--level", "warn"])
            .await
            .stdout,
    );
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(listed.contains("warn  odd {\"n\":\"1\"}"), "{listed}");
    fails(
        &command(&database, &["runs", "logs", &id, "--level", "loud"]).await,
        2,
        &["expected one of trace, debug, info, warn, error"],
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_is_shown_with_who_left_it_and_when() {
    let database = database().await;
    database.deploy("probe").await;
    let run = database.start("effects", "1").await;
    let id = run.to_string();
    let noted = command(
        &database,
        &["runs", "note", &id, "asked the bank", "--by", "ann"],
    )
    .await;
    assert!(noted.status.success(), "{}", text(&noted.stderr));
    let worker = worker(&database).await;
    database.done(run).await;
    database
        .client
        .note(run, "it \"answered\"", "bob")
        .await
        .unwrap();
    let notes = database.client.get(run).await.unwrap().interventions;
    assert!(notes[0].at < notes[1].at);
    let shown = text(&command(&database, &["runs", "show", &id]).await.stdout);
    for line in [
        "note by ann: asked the bank",
        "note by bob: it \"answered\"",
    ] {
        assert!(shown.contains(line), "{line} is missing: {shown}");
    }
    fails(
        &command(&database, &["runs", "note", &id, " "]).await,
        2,
        &["bad note: it is empty"],
    );
    fails(
        &command(&database, &["runs", "note", &RunId::new().to_string(), "x"]).await,
        1,
        &["there is no run"],
    );
    worker.drain().await.unwrap();
}

/// The next look, which sees what somebody sees who reads all of it.
async fn looked(database: &Database, watched: Watched) -> Watched {
    let client = &database.client;
    let watched = client.watch_again(watched).await.unwrap();
    assert_eq!(*watched.run(), client.get(watched.run().id).await.unwrap());
    watched
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_again_and_again_sees_all_that_is_there_whatever_becomes_of_the_run() {
    let database = database().await;
    database.deploy("probe").await;
    let client = &database.client;
    let run = database.start("step-wait-step", "null").await;
    let watched = client.watch(run).await.unwrap();
    assert!(watched.run().steps.is_empty());
    let worker = worker(&database).await;
    let waits = "select exists (select from dacapo.task_suspended where reason = 'event')";
    database.until("it waits", waits).await;
    let watched = looked(&database, watched).await;
    assert_eq!(watched.run().steps.len(), 2);
    // A person gives what it waits for, which counts as no attempt.
    let value = Some("\"given\"".to_owned());
    let options = SkipOptions { step: None, value };
    client.skip(run, &options, "ann@desk").await.unwrap();
    database.done(run).await;
    let watched = looked(&database, watched).await;
    assert_eq!(watched.run().steps.len(), 3);
    // What nobody says that they took away is missed all the same.
    sqlx::query("delete from dacapo.step where key = 'a#1'")
        .execute(database.store.pool())
        .await
        .unwrap();
    assert_eq!(looked(&database, watched).await.run().steps.len(), 2);

    // Branches come out in another order than that in which they began, and it is looked at all the time.
    let run = database.start("branches.nested", "null").await;
    let mut watched = client.watch(run).await.unwrap();
    while !watched.run().status.is_terminal() {
        watched = client.watch_again(watched).await.unwrap();
    }
    assert!(looked(&database, watched).await.run().steps.len() > 4);

    // Attempts, and a retry, which opens a step again and removes what is behind it.
    let plan = r#"{"bad": 3, "attempts": 2, "backoffMs": 1, "how": "fail"}"#;
    let run = database.start("flaky", plan).await;
    let watched = client.watch(run).await.unwrap();
    database.done(run).await;
    let watched = looked(&database, watched).await;
    client.retry(run, "ann@desk").await.unwrap();
    database.done(run).await;
    client.retry(run, "ann@desk").await.unwrap();
    database.done(run).await;
    let watched = looked(&database, watched).await;
    assert_eq!(watched.run().steps[0].failed_attempts.len(), 3);
    worker.drain().await.unwrap();
    sqlx::query("delete from dacapo.run where id = $1")
        .bind(run.0)
        .execute(database.store.pool())
        .await
        .unwrap();
    let gone = client.watch_again(watched).await;
    assert!(matches!(gone, Err(ClientError::RunNotFound(id)) if id == run));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_at_the_last_look_is_read_again_only_after_somebody_went_back() {
    let database = database().await;
    database.deploy("probe").await;
    let client = &database.client;
    let worker = worker(&database).await;
    let run = database.start("step-wait-step", "null").await;
    let waits = "select exists (select from dacapo.task_suspended where reason = 'event')";
    database.until("it waits", waits).await;
    let watched = client.watch(run).await.unwrap();
    let before = watched.run().steps[0].outcome.clone();
    // Nothing does that; whoever reads the row again would see it.
    sqlx::query("update dacapo.step set payload = '\"other\"' where key = 'a#1'")
        .execute(database.store.pool())
        .await
        .unwrap();
    client.send_event(run, "go", "\"yes\"", None).await.unwrap();
    database.done(run).await;
    let watched = client.watch_again(watched).await.unwrap();
    assert_eq!(watched.run().steps.len(), 3);
    assert_eq!(watched.run().steps[0].outcome, before);
    client.note(run, "look", "ann@desk").await.unwrap();
    let watched = looked(&database, watched).await;
    assert_ne!(watched.run().steps[0].outcome, before);
    worker.drain().await.unwrap();
}
