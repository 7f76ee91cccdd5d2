//! `dacapo schedule`.

use dacapo_tests::database;

use super::{create, hourly};
use crate::command::{fails, run, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_made_shown_and_steered_by_the_command() {
    let database = database().await;
    database.deploy("probe").await;
    let create = [
        "schedule",
        "create",
        "nightly",
        "counted-steps",
        "--input",
        "3",
        "--cron",
        "30 2 * * MON-FRI",
        "--time-zone",
        "Europe/Paris",
        "--jitter",
        "5m",
        "--overlap",
        "queue",
        "--catch-up",
        "all",
        "--label",
        "tenant=a",
    ];
    let created = run(&database, &create).await;
    assert!(created.status.success(), "{}", text(&created.stderr));
    assert!(
        text(&created.stdout).contains("test:probe/durable.counted-steps, next at 20"),
        "{}",
        text(&created.stdout)
    );
    let shown = run(&database, &["schedule", "show", "nightly", "-o", "json"]).await;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    for (field, value) in [
        ("name", serde_json::json!("nightly")),
        (
            "workflow",
            serde_json::json!("test:probe/durable.counted-steps"),
        ),
        ("input", serde_json::json!(3)),
        ("cron", serde_json::json!("30 2 * * MON-FRI")),
        ("timeZone", serde_json::json!("Europe/Paris")),
        ("jitterMs", serde_json::json!(300_000)),
        ("overlap", serde_json::json!("queue")),
        ("catchUp", serde_json::json!("all")),
        ("paused", serde_json::json!(false)),
        ("labels", serde_json::json!({ "tenant": "a" })),
        ("lastRun", serde_json::Value::Null),
        ("trouble", serde_json::Value::Null),
    ] {
        assert_eq!(shown[field], value, "{field}: {shown:#}");
    }
    assert_eq!(shown["nextTicks"].as_array().unwrap().len(), 5);
    let triggered = run(&database, &["schedule", "trigger", "nightly"]).await;
    let id = text(&triggered.stdout).trim().to_owned();
    let shown = text(
        &run(&database, &["schedule", "show", "nightly"])
            .await
            .stdout,
    );
    for word in [
        "30 2 * * MON-FRI (Europe/Paris)",
        "jitter      5m",
        &format!("{id} (triggered): queued"),
        "dacapo.schedule=nightly",
    ] {
        assert!(shown.contains(word), "expected {word:?} in:\n{shown}");
    }
    fails(
        &run(&database, &["schedule", "trigger", "nightly"]).await,
        1,
        &[&id, "is active", "--force"],
    );
    let paused = run(&database, &["schedule", "pause", "nightly"]).await;
    assert!(paused.status.success(), "{}", text(&paused.stderr));
    let listed = text(&run(&database, &["schedule", "list"]).await.stdout);
    assert!(listed.contains("paused"), "{listed}");
    assert!(
        run(&database, &["schedule", "resume", "nightly"])
            .await
            .status
            .success()
    );
    let backfill = |more: &'static [&'static str]| {
        let mut arguments = vec![
            "schedule",
            "backfill",
            "nightly",
            "--from",
            "2024-03-29T00:00:00Z",
            "--until",
            "2024-04-02T00:00:00Z",
        ];
        arguments.extend(more);
        arguments
    };
    let dry = text(&run(&database, &backfill(&["--dry-run"])).await.stdout);
    assert!(dry.contains("2 ticks; nothing was started"), "{dry}");
    let done = text(&run(&database, &backfill(&[])).await.stdout);
    assert!(
        done.contains("started 2 of 2 ticks; 0 had a run already"),
        "{done}"
    );
    let done = run(&database, &backfill(&["-o", "json"])).await;
    let done: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (&done["started"], &done["existing"]),
        (&0.into(), &2.into())
    );
    assert!(
        run(&database, &["schedule", "delete", "nightly"])
            .await
            .status
            .success()
    );
    let every = run(
        &database,
        &["schedule", "create", "often", "nothing", "--every", "15m"],
    )
    .await;
    assert!(every.status.success(), "{}", text(&every.stderr));
    let listed = text(&run(&database, &["schedule", "list"]).await.stdout);
    assert!(listed.contains("every 15m"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_that_cannot_be_are_refused_with_what_was_expected() {
    let database = database().await;
    let create = |more: &'static [&'static str]| {
        let mut arguments = vec!["schedule", "create", "bad"];
        arguments.extend(more);
        arguments
    };
    fails(
        &run(&database, &create(&["process", "--every", "1h"])).await,
        1,
        &["no workflow", "hint:"],
    );
    database.deploy("process_payment").await;
    database.deploy("probe").await;
    let cases: &[(&[&str], i32, &[&str])] = &[
        (
            &["proces", "--every", "1h"],
            1,
            &["no workflow", "payments:processing/payments.process"],
        ),
        (
            &["process", "--every", "1h"],
            2,
            &[
                "no input was given",
                "hint: payments:processing/payments.process takes",
            ],
        ),
        (
            &["counted-steps", "--every", "1h", "--input", "\"4\""],
            2,
            &["input: expected u32, got \"4\"", "hint:"],
        ),
        (
            &["nothing", "--cron", "61 * * * *"],
            2,
            &[
                "bad cron expression",
                "minute \"61\": number out of bounds",
                "expected minute, hour",
            ],
        ),
        (
            &["nothing", "--cron", "whenever"],
            2,
            &["bad cron expression: \"whenever\"", "30 2 * * MON-FRI"],
        ),
        (
            &["nothing", "--cron", "0 0 30 2 *"],
            2,
            &["names no time that is still to come"],
        ),
        (
            &["nothing", "--cron", "0 0 0 1 1 * 2020"],
            2,
            &["names no time that is still to come"],
        ),
        (
            &[
                "nothing",
                "--cron",
                "0 0 * * *",
                "--time-zone",
                "Europe/Pari",
            ],
            2,
            &["bad time zone", "Europe/Pari", "IANA"],
        ),
        (
            &["nothing", "--every", "0s"],
            2,
            &["bad interval: 0 s", "from 1 s to 366 days"],
        ),
        (
            &["nothing", "--every", "100ms"],
            2,
            &["from 1 s to 366 days"],
        ),
        (
            &["nothing", "--every", "100000h"],
            2,
            &["from 1 s to 366 days"],
        ),
        (
            &["nothing", "--every", "1h", "--jitter", "25h"],
            2,
            &["bad jitter", "at most 24 h"],
        ),
        (
            &["nothing", "--every", "1h", "--overlap", "maybe"],
            2,
            &["maybe", "skip, queue, cancel-previous, allow"],
        ),
        (
            &["nothing", "--every", "1h", "--catch-up", "some"],
            2,
            &["some", "none, one, all"],
        ),
        (
            &["nothing", "--every", "1h", "--label", "dacapo.tick=1"],
            2,
            &["dacapo.tick", "the schedule itself"],
        ),
    ];
    for (arguments, code, says) in cases {
        let output = run(&database, &create(arguments)).await;
        eprintln!("{}", text(&output.stderr));
        fails(&output, *code, says);
    }
    let slash = ["schedule", "create", "a/b", "nothing", "--every", "1h"];
    fails(&run(&database, &slash).await, 2, &["a/b", "not allowed"]);
    for (arguments, says) in [
        (
            create(&["nothing"]),
            "--cron <EXPRESSION>|--every <DURATION>",
        ),
        (
            create(&["nothing", "--every", "1h", "--cron", "* * * * *"]),
            "cannot be used with",
        ),
        (
            create(&["nothing", "--every=-1h"]),
            "expected a duration of zero or more",
        ),
        (
            create(&["nothing", "--every", "often"]),
            "expected a duration such as",
        ),
        (
            create(&["nothing", "--every", "1h", "--time-zone", "UTC"]),
            "cannot be used with",
        ),
    ] {
        let output = run(&database, &arguments).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(
            text(&output.stderr).contains(says),
            "{}",
            text(&output.stderr)
        );
    }
    assert_eq!(
        database.count("select count(*) from dacapo.schedule").await,
        0
    );

    for command in ["show", "pause", "resume", "trigger", "delete"] {
        let output = run(&database, &["schedule", command, "nobody"]).await;
        fails(
            &output,
            1,
            &["there is no schedule \"nobody\"", "dacapo schedule list"],
        );
    }
    self::create(&database, hourly("there")).await;
    fails(
        &run(
            &database,
            &["schedule", "create", "there", "nothing", "--every", "1h"],
        )
        .await,
        1,
        &["there is a schedule \"there\" already", "--replace"],
    );
    let backfills: &[(&str, &str, &[&str])] = &[
        (
            "yesterday",
            "2024-01-01T00:00:00Z",
            &["not a time", "RFC 3339"],
        ),
        (
            "2024-01-02T00:00:00Z",
            "2024-01-01T00:00:00Z",
            &["expected an end after the beginning"],
        ),
        (
            "2024-01-02T00:00:00Z",
            "9024-01-01T00:00:00Z",
            &["expected an end that is not in the future"],
        ),
        (
            "2004-01-02T00:00:00Z",
            "2024-01-01T00:00:00Z",
            &["more than 10000 ticks", "in parts"],
        ),
    ];
    for (from, until, says) in backfills {
        let arguments = [
            "schedule", "backfill", "there", "--from", from, "--until", until,
        ];
        fails(&run(&database, &arguments).await, 2, says);
    }
    assert_eq!(database.count("select count(*) from dacapo.run").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_of_a_schedule_is_given_and_shown_by_the_command() {
    let database = database().await;
    database.deploy("probe").await;
    let create = [
        "schedule",
        "create",
        "often",
        "nothing",
        "--every",
        "1h",
        "--queue",
        "slow",
        "--concurrency-key",
        "ann",
        "--priority",
        "-5",
    ];
    let refused = run(&database, &create).await;
    fails(&refused, 1, &["there is no queue", "slow"]);
    assert_eq!(
        database.count("select count(*) from dacapo.schedule").await,
        0
    );
    let made = run(&database, &["queue", "set", "slow", "--concurrency", "1"]).await;
    assert!(made.status.success(), "{}", text(&made.stderr));
    let created = run(&database, &create).await;
    assert!(created.status.success(), "{}", text(&created.stderr));
    let shown = run(&database, &["schedule", "show", "often"]).await;
    let shown = text(&shown.stdout);
    assert!(
        shown.contains("slow, key ann") && shown.contains("priority    -5"),
        "{shown}"
    );
}
