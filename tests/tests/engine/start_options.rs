//! Starts that wait, and starts that look at other starts: delays, singletons, debounces.

use std::time::Duration;

use dacapo_client::{
    Cancelled, ClientError, LimitChange, OnConflict, QueueChange, RunId, StartOptions, Timestamp,
};
use dacapo_model::Status;
use dacapo_tests::{Database, database};
use sqlx::Row;

use crate::check::{sound, worker};
use crate::command::{fails, run, text};

async fn start(database: &Database, workflow: &str, input: &str, options: StartOptions) -> RunId {
    let started = database
        .client
        .start_by_name(workflow, input, options)
        .await
        .unwrap();
    started.id
}

async fn database_time(database: &Database) -> Timestamp {
    let micros: i64 =
        sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
            .fetch_one(database.store.pool())
            .await
            .unwrap();
    Timestamp::from_micros(micros)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_run_begins_when_its_time_has_come_and_shows_when_that_is() {
    let database = database().await;
    database.deploy("probe").await;
    // Heartbeats are too rare to tell of it.
    let config = dacapo_worker::WorkerConfig {
        lease: Duration::from_secs(600),
        heartbeat: Duration::from_secs(200),
        ..Default::default()
    };
    let worker = dacapo_worker::Worker::start(database.store.clone(), config)
        .await
        .unwrap();
    let delayed = start(
        &database,
        "nothing",
        "null",
        StartOptions::default().delay(Duration::from_millis(600)),
    )
    .await;
    let seen = database.client.get(delayed).await.unwrap();
    let waiting = seen.waiting_for.unwrap();
    assert_eq!(
        (seen.status, waiting.reason.as_str(), seen.started_at),
        (Status::Suspended, "delay", None)
    );
    let done = database.done(delayed).await;
    assert_eq!(done.status, Status::Completed);
    let began = done.started_at.unwrap();
    assert!(began >= waiting.wake_at.unwrap(), "{began} is too early");
    assert!(began.as_micros() - seen.created_at.as_micros() >= 600_000);

    let at = Timestamp::from_micros(database_time(&database).await.as_micros() + 400_000);
    let timed = start(
        &database,
        "nothing",
        "null",
        StartOptions::default().begin_at(at),
    )
    .await;
    assert_eq!(
        database
            .client
            .get(timed)
            .await
            .unwrap()
            .waiting_for
            .unwrap()
            .wake_at,
        Some(at)
    );
    assert!(database.done(timed).await.started_at.unwrap() >= at);
    let past = start(
        &database,
        "nothing",
        "null",
        StartOptions::default().begin_at(Timestamp::from_micros(1)),
    )
    .await;
    assert_eq!(database.done(past).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_run_can_be_cancelled_and_paused_and_keeps_its_time_when_it_is_resumed() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let hour = StartOptions::default().delay(Duration::from_secs(3_600));
    let cancelled = start(&database, "nothing", "null", hour.clone()).await;
    assert_eq!(
        database.client.cancel(cancelled).await.unwrap(),
        Cancelled::Now
    );
    let paused = start(&database, "nothing", "null", hour).await;
    database.client.pause(paused).await.unwrap();
    assert_eq!(
        database.client.get(paused).await.unwrap().status,
        Status::Paused
    );
    database.client.resume(paused).await.unwrap();
    let seen = database.client.get(paused).await.unwrap();
    assert_eq!(
        (seen.status, seen.waiting_for.unwrap().reason.as_str()),
        (Status::Suspended, "delay")
    );
    database.client.kill(paused).await.unwrap();
    // What is sent to it meanwhile is there when it begins, and does not begin it.
    let waits = start(
        &database,
        "step-wait-step",
        "null",
        StartOptions::default().delay(Duration::from_millis(500)),
    )
    .await;
    database
        .client
        .send_event(waits, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(
        database.client.get(waits).await.unwrap().status,
        Status::Suspended
    );
    assert_eq!(database.done(waits).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_run_of_a_queue_waits_for_its_turn_once_its_time_has_come() {
    let database = database().await;
    database.deploy("probe").await;
    let change = QueueChange {
        concurrency: LimitChange::Set(1),
        ..QueueChange::default()
    };
    database.client.set_queue("q", change).await.unwrap();
    let worker = worker(&database).await;
    let slow = start(
        &database,
        "slow-step",
        "2500",
        StartOptions::default().queue("q"),
    )
    .await;
    let delayed = StartOptions::default()
        .queue("q")
        .delay(Duration::from_millis(200));
    let delayed = start(&database, "nothing", "null", delayed).await;
    database
        .until(
            "its time has come",
            "select count(*) = 1 from dacapo.task_suspended join dacapo.task_leased on true where reason = 'queue'",
        )
        .await;
    assert_eq!(
        database.client.get(delayed).await.unwrap().status,
        Status::Queued
    );
    let done = database.done(delayed).await;
    assert!(database.done(slow).await.finished_at.unwrap() <= done.started_at.unwrap());
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_singleton_is_refused_while_a_run_has_its_key_and_started_once_that_has_ended() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let options = || StartOptions::default().singleton("order-7", OnConflict::Reject);
    let first = start(&database, "step-wait-step", "null", options()).await;
    let refused = database
        .client
        .start_by_name("step-wait-step", "null", options())
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, ClientError::SingletonTaken { run, .. } if *run == first),
        "{refused}"
    );
    // Another key and another workflow are others' business.
    let other = StartOptions::default().singleton("order-8", OnConflict::Reject);
    start(&database, "step-wait-step", "null", other).await;
    let nothing = start(&database, "nothing", "null", options()).await;
    assert_eq!(database.done(nothing).await.status, Status::Completed);
    database
        .client
        .send_event(first, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(database.done(first).await.status, Status::Completed);
    let second = start(&database, "step-wait-step", "null", options()).await;
    database.client.cancel(second).await.unwrap();
    assert_eq!(database.done(second).await.status, Status::Cancelled);
    start(&database, "step-wait-step", "null", options()).await;
    assert_eq!(database.count("select count(*) from dacapo.run").await, 5);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn singletons_that_queue_run_one_after_the_other_in_the_order_of_their_starts() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let options = || StartOptions::default().singleton("k", OnConflict::Queue);
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(start(&database, "slow-step", "100", options()).await);
    }
    let waits = database.client.get(runs[3]).await.unwrap();
    assert_eq!(
        (waits.status, waits.waiting_for.unwrap().reason.as_str()),
        (Status::Queued, "singleton")
    );
    // One that is paused keeps its place; one that is cancelled leaves the line.
    database.client.pause(runs[2]).await.unwrap();
    database.client.cancel(runs[3]).await.unwrap();
    database.client.resume(runs[2]).await.unwrap();
    assert_eq!(
        database.client.get(runs[2]).await.unwrap().status,
        Status::Queued
    );
    let mut before = None;
    for run in &runs[..3] {
        let done = database.done(*run).await;
        assert_eq!(done.status, Status::Completed);
        assert!(before <= done.started_at);
        before = done.finished_at;
    }
    assert_eq!(
        database
            .count("select count(*) from dacapo.singleton")
            .await,
        0
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_singleton_whose_start_is_committed_after_the_run_before_it_has_ended_is_not_forgotten() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let options = StartOptions::default().singleton("k", OnConflict::Queue);
    let first = start(&database, "step-wait-step", "null", options.clone()).await;
    let mut transaction = database.store.pool().begin().await.unwrap();
    let second = database
        .client
        .start_by_name_in(&mut transaction, "nothing", "null", options.clone())
        .await
        .unwrap();
    let third = database
        .client
        .start_by_name_in(&mut transaction, "step-wait-step", "null", options)
        .await
        .unwrap();
    database
        .client
        .send_event(first, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(
        database.done(first).await.status,
        Status::Completed,
        "nobody waits for the open transaction"
    );
    transaction.commit().await.unwrap();
    assert_eq!(database.done(second.id).await.status, Status::Completed);
    database
        .client
        .send_event(third.id, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(database.done(third.id).await.status, Status::Completed);
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_singleton_that_replaces_cancels_the_others_and_begins_when_they_have_ended() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let with = |on_conflict| StartOptions::default().singleton("k", on_conflict);
    let first = start(
        &database,
        "cancel-compensates",
        "null",
        with(OnConflict::Replace),
    )
    .await;
    database
        .until(
            "the first one waits",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    let second = start(
        &database,
        "cancel-compensates",
        "null",
        with(OnConflict::Queue),
    )
    .await;
    let third = start(
        &database,
        "cancel-compensates",
        "null",
        with(OnConflict::Replace),
    )
    .await;
    let first = database.done(first).await;
    assert_eq!(first.status, Status::Cancelled);
    assert_eq!(first.steps.len(), 3, "it has compensated");
    assert_eq!(database.done(second).await.status, Status::Cancelled);
    database
        .until(
            "the third one waits for its event",
            "select count(*) = 1 from dacapo.task_suspended where reason = 'event'",
        )
        .await;
    let third = database.client.get(third).await.unwrap();
    assert!(third.started_at.unwrap() >= first.finished_at.unwrap());
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rivals_for_a_singleton_never_run_at_the_same_time() {
    let database = database().await;
    database.deploy("probe").await;
    let workers = [worker(&database).await, worker(&database).await];
    let mut rivals = tokio::task::JoinSet::new();
    for index in 0..24 {
        let client = database.client.clone();
        let on_conflict = if index % 2 == 0 {
            OnConflict::Queue
        } else {
            OnConflict::Reject
        };
        rivals.spawn(async move {
            let options = StartOptions::default().singleton("k", on_conflict);
            match client.start_by_name("slow-step", "20", options).await {
                Ok(started) => Some(started.id),
                Err(ClientError::SingletonTaken { .. }) => None,
                Err(error) => panic!("{error}"),
            }
        });
    }
    let mut started = 0;
    while let Some(rival) = rivals.join_next().await {
        if let Some(run) = rival.unwrap() {
            started += 1;
            assert_eq!(database.done(run).await.status, Status::Completed);
        }
    }
    assert!(started >= 12, "those that queue are all started: {started}");
    let together = "select count(*) from dacapo.run as one join dacapo.run as other
        on one.id < other.id and one.started_at < other.finished_at and other.started_at < one.finished_at";
    assert_eq!(database.count(together).await, 0);
    for worker in workers {
        worker.drain().await.unwrap();
    }
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_that_come_soon_after_each_other_are_one_run_with_the_newest_input() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let quiet = Duration::from_millis(700);
    let (mut ids, mut begins) = (Vec::new(), Vec::new());
    for input in ["1", "2", "3"] {
        let options = StartOptions::default()
            .debounce("k", quiet)
            .label("n", input);
        let started = database
            .client
            .start_by_name("counted-steps", input, options)
            .await
            .unwrap();
        assert_eq!(started.created, ids.is_empty());
        ids.push(started.id);
        let seen = database.client.get(started.id).await.unwrap();
        begins.push(seen.waiting_for.unwrap().wake_at.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert!(
        begins.is_sorted_by(|one, next| one < next),
        "each start puts it off: {begins:?}"
    );
    let newest = database_time(&database).await;
    let other = StartOptions::default().debounce("other", quiet);
    let other = start(&database, "counted-steps", "9", other).await;
    let done = database.done(ids[0]).await;
    assert_eq!((done.status, done.input.as_str()), (Status::Completed, "3"));
    assert_eq!((done.steps.len(), done.labels["n"].as_str()), (3, "3"));
    let waited = done.started_at.unwrap().as_micros() - newest.as_micros();
    assert!(waited >= 600_000, "it has been quiet for {waited} us only");
    assert_eq!(database.done(other).await.input.as_str(), "9");
    // It has begun: what comes now is another run's.
    let next = start(
        &database,
        "counted-steps",
        "4",
        StartOptions::default().debounce("k", quiet),
    )
    .await;
    assert_ne!(next, ids[0]);
    assert_eq!(database.done(next).await.input.as_str(), "4");
    assert_eq!(
        database.count("select count(*) from dacapo.debounce").await,
        0
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debounced_run_begins_at_the_latest_when_its_cap_says_however_many_starts_come() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    let mut options = StartOptions::default().debounce("k", Duration::from_millis(500));
    options.debounce.as_mut().unwrap().at_most = Some(Duration::from_millis(900));
    let first = start(&database, "nothing", "null", options.clone()).await;
    let mut same = 1;
    while start(&database, "nothing", "null", options.clone()).await == first {
        same += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(same > 3, "{same}");
    let done = database.done(first).await;
    let waited = done.started_at.unwrap().as_micros() - done.created_at.as_micros();
    assert!((899_000..5_000_000).contains(&waited), "{waited}");

    let options = StartOptions::default().debounce("hour", Duration::from_secs(3_600));
    start(&database, "nothing", "null", options).await;
    assert_eq!(
        database
            .count(
                "select count(*) from dacapo.debounce
                where key = 'hour' and latest between now() + interval '9 hours 55 minutes' and now() + interval '10 hours'"
            )
            .await,
        1,
        "ten times the quiet time"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_starts_in_queues_later_and_with_regard_to_other_starts() {
    let database = database().await;
    database.deploy("probe").await;
    let change = QueueChange {
        concurrency: LimitChange::Set(1),
        ..QueueChange::default()
    };
    database.client.set_queue("q", change).await.unwrap();
    let sql = async |workflow: &str, options: &str| -> Result<RunId, String> {
        let row = sqlx::query("select dacapo.start($1, 'null', $2::text::jsonb) as id")
            .bind(workflow)
            .bind(options)
            .fetch_one(database.store.pool())
            .await
            .map_err(|error| error.as_database_error().unwrap().message().to_owned())?;
        Ok(RunId(row.get("id")))
    };
    let queued = sql(
        "nothing",
        r#"{"queue": "q", "priority": 3, "concurrencyKey": "c"}"#,
    )
    .await
    .unwrap();
    let seen = database.client.get(queued).await.unwrap();
    assert_eq!(
        (seen.status, seen.priority, seen.concurrency_key.as_deref()),
        (Status::Queued, 3, Some("c"))
    );
    let delayed = sql("nothing", r#"{"delay": "300 milliseconds"}"#)
        .await
        .unwrap();
    assert_eq!(
        database.client.get(delayed).await.unwrap().status,
        Status::Suspended
    );
    let holder = sql("step-wait-step", r#"{"singleton": "s"}"#)
        .await
        .unwrap();
    let taken = sql("step-wait-step", r#"{"singleton": "s"}"#)
        .await
        .unwrap_err();
    assert!(taken.contains(&holder.to_string()), "{taken}");
    let after = sql(
        "step-wait-step",
        r#"{"singleton": "s", "onConflict": "replace"}"#,
    )
    .await
    .unwrap();
    assert_eq!(
        database.client.get(holder).await.unwrap().status,
        Status::Cancelled
    );
    let debounced = sql("nothing", r#"{"debounce": "d", "debounceFor": "200 ms"}"#)
        .await
        .unwrap();
    assert_eq!(
        sql("nothing", r#"{"debounce": "d", "debounceFor": "200 ms"}"#).await,
        Ok(debounced)
    );
    let worker = worker(&database).await;
    for run in [queued, delayed, debounced] {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    database
        .client
        .send_event(after, "go", "1", None)
        .await
        .unwrap();
    assert_eq!(database.done(after).await.status, Status::Completed);

    let before = database.count("select count(*) from dacapo.run").await;
    for (options, says) in [
        (
            r#"{"queue": "nowhere"}"#,
            "options.queue: there is no queue \"nowhere\"",
        ),
        (
            r#"{"priority": 1.5}"#,
            "options.priority: expected a whole number from -100 to 100, or lowest, low, normal, high or highest, got 1.5",
        ),
        (
            r#"{"priority": "urgent"}"#,
            "options.priority: expected a whole number from -100 to 100, or lowest, low, normal, high or highest, got \"urgent\"",
        ),
        (
            r#"{"priority": "Infinity"}"#,
            "options.priority: expected a whole number",
        ),
        (
            r#"{"priority": true}"#,
            "options.priority: expected a whole number",
        ),
        (
            r#"{"concurrencyKey": "c"}"#,
            "options.concurrencyKey: limits per key are those of a named queue",
        ),
        (
            r#"{"delay": "soon"}"#,
            "options.delay: expected an interval",
        ),
        (
            r#"{"delay": "-1 hour"}"#,
            "options.delay: expected 0 to 10 years",
        ),
        (r#"{"at": "never"}"#, "options.at: expected a time"),
        (
            r#"{"at": "2026-01-01", "delay": "1 hour"}"#,
            "options.at: expected either at or delay",
        ),
        (
            r#"{"onConflict": "queue"}"#,
            "options.onConflict: it is about the option singleton",
        ),
        (
            r#"{"singleton": "s", "onConflict": "wait"}"#,
            "expected one of reject, queue, replace",
        ),
        (
            r#"{"singleton": "s", "onConflict": "queue", "delay": "1 hour"}"#,
            "expected neither delay nor at",
        ),
        (
            r#"{"debounce": "d"}"#,
            "options.debounceFor: expected an interval of 1 ms to 30 days",
        ),
        (
            r#"{"debounce": "d", "debounceFor": "1 s", "key": "k"}"#,
            "does not go together with the option key",
        ),
        (
            r#"{"debounce": "d", "debounceFor": "2 s", "debounceMax": "1 s"}"#,
            "expected at least debounceFor",
        ),
        (
            r#"{"debounceFor": "1 s"}"#,
            "it is about the option debounce",
        ),
    ] {
        let refused = sql("nothing", options).await.unwrap_err();
        assert!(refused.contains(says), "{options}: {refused}");
    }
    assert_eq!(
        database.count("select count(*) from dacapo.run").await,
        before
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_make_no_sense_start_nothing() {
    let database = database().await;
    database.deploy("probe").await;
    let second = Duration::from_secs(1);
    let options = StartOptions::default;
    let mut capped = options().debounce("k", second);
    capped.debounce.as_mut().unwrap().at_most = Some(Duration::from_millis(999));
    let mut keyed = options().debounce("k", second);
    keyed.key = Some("k".to_owned());
    for (options, says) in [
        (options().delay(Duration::MAX), "at most 10 years"),
        (
            options().delay(second).deadline(second),
            "would fail by its deadline before it begins",
        ),
        (
            options().begin_at(Timestamp::from_micros(i64::MAX)),
            "before 2100",
        ),
        (options().singleton("", OnConflict::Queue), "it is empty"),
        (
            options().singleton("k", OnConflict::Queue).delay(second),
            "expected no delay and no time",
        ),
        (options().debounce("k", Duration::ZERO), "1 ms to 30 days"),
        (
            options().debounce("k", second).delay(second),
            "goes together with no key",
        ),
        (keyed, "goes together with no key"),
        (capped, "at least the quiet one"),
    ] {
        let refused = database
            .client
            .start_by_name("nothing", "null", options)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
    let many = [(
        "null".to_owned(),
        options().singleton("k", OnConflict::Queue),
    )];
    let refused = database
        .client
        .start_many_by_name("nothing", &many)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("one by one"), "{refused}");
    assert_eq!(database.count("select count(*) from dacapo.run").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_starts_later_and_with_regard_to_other_starts() {
    let database = database().await;
    database.deploy("probe").await;
    let id = async |arguments: &[&str]| -> RunId {
        let output = run(&database, arguments).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().parse().unwrap()
    };
    let delayed = id(&["start", "nothing", "--delay", "10m"]).await;
    let shown = text(
        &run(&database, &["runs", "show", &delayed.to_string()])
            .await
            .stdout,
    );
    assert!(
        shown.contains("suspended") && shown.contains("begins at 20"),
        "{shown}"
    );
    id(&["start", "nothing", "--at", "2099-01-01T00:00:00Z"]).await;
    let first = id(&["start", "nothing", "--singleton", "k"]).await;
    let taken = run(&database, &["start", "nothing", "--singleton", "k"]).await;
    fails(&taken, 1, &[&first.to_string(), "--on-conflict"]);
    let second = id(&[
        "start",
        "nothing",
        "--singleton",
        "k",
        "--on-conflict",
        "queue",
    ])
    .await;
    let shown = text(
        &run(&database, &["runs", "show", &second.to_string()])
            .await
            .stdout,
    );
    assert!(
        shown.contains("waits for the end of the run before it"),
        "{shown}"
    );
    id(&[
        "start",
        "nothing",
        "--singleton",
        "k",
        "--on-conflict",
        "replace",
    ])
    .await;
    let debounced = id(&["start", "nothing", "--debounce", "d", "--for", "5m"]).await;
    assert_eq!(
        id(&[
            "start",
            "nothing",
            "--debounce",
            "d",
            "--for",
            "5m",
            "--at-most",
            "1h"
        ])
        .await,
        debounced
    );
    assert_eq!(database.count("select count(*) from dacapo.run").await, 6);
    for (arguments, says) in [
        (vec!["--delay", "-10m"], "zero or more"),
        (vec!["--delay", "soon"], "expected a duration"),
        (vec!["--at", "tomorrow"], "expected a time such as"),
        (
            vec!["--at", "2099-01-01T00:00:00Z", "--delay", "1m"],
            "cannot be used with",
        ),
        (vec!["--on-conflict", "queue"], "--singleton"),
        (
            vec!["--singleton", "k", "--on-conflict", "wait"],
            "expected reject, queue or replace",
        ),
        (vec!["--debounce", "d"], "--for"),
        (
            vec!["--debounce", "d", "--for", "5s", "--key", "k"],
            "cannot be used with",
        ),
        (vec!["--singleton", ""], "it is empty"),
        (
            vec![
                "--singleton",
                "k",
                "--on-conflict",
                "queue",
                "--delay",
                "1m",
            ],
            "expected no delay and no time",
        ),
        (
            vec!["--debounce", "d", "--for", "2678400s"],
            "expected 1 ms to 30 days",
        ),
        (vec!["--priority", "urgent"], "low, normal, high"),
        (vec!["--priority", "101"], "from -100 to 100"),
    ] {
        let output = run(
            &database,
            &[&["start", "nothing"], arguments.as_slice()].concat(),
        )
        .await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(says),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    assert_eq!(database.count("select count(*) from dacapo.run").await, 6);
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_of_priority_is_the_same_for_sql_and_the_command_line() {
    let database = database().await;
    database.deploy("probe").await;
    for (level, priority) in dacapo_client::PRIORITY_LEVELS {
        let options = format!(r#"{{"priority": "{level}"}}"#);
        let by_sql: uuid::Uuid =
            sqlx::query_scalar("select dacapo.start('nothing', 'null', $1::text::jsonb)")
                .bind(options)
                .fetch_one(database.store.pool())
                .await
                .unwrap();
        let by_command = run(&database, &["start", "nothing", "--priority", level]).await;
        let by_command: RunId = text(&by_command.stdout).trim().parse().unwrap();
        for run in [RunId(by_sql), by_command] {
            let seen = database.client.get(run).await.unwrap();
            assert_eq!(seen.priority, priority, "{level}");
        }
    }
    let started = database.count("select count(*) from dacapo.run").await;
    for priority in ["101", "-101", "1.5", "High", "urgent", ""] {
        let refused = run(
            &database,
            &["start", "nothing", &format!("--priority={priority}")],
        )
        .await;
        fails(&refused, 2, &["lowest, low, normal, high or highest"]);
        let json = match priority.parse::<f64>() {
            Ok(_) => priority.to_owned(),
            Err(_) => format!("{priority:?}"),
        };
        let refused = sqlx::query("select dacapo.start('nothing', 'null', $1::text::jsonb)")
            .bind(format!(r#"{{"priority": {json}}}"#))
            .execute(database.store.pool())
            .await
            .unwrap_err();
        let refused = refused.as_database_error().unwrap().message().to_owned();
        assert_eq!(
            refused,
            format!(
                "options.priority: expected a whole number from -100 to 100, or lowest, low, normal, high or highest, got {json}"
            )
        );
    }
    assert_eq!(
        database.count("select count(*) from dacapo.run").await,
        started
    );
    let refused = run(&database, &["start", "nothing", "--priority", "NaN"]).await;
    fails(&refused, 2, &["lowest, low, normal, high or highest"]);
    let durations = run(
        &database,
        &[
            "start",
            "nothing",
            "--delay",
            "2 days 12 hours",
            "-o",
            "json",
        ],
    )
    .await;
    let delayed: serde_json::Value = serde_json::from_slice(&durations.stdout).unwrap();
    assert_eq!(delayed["status"], "suspended");
}
