//! A guest can hurt only its own run.

use dacapo_model::Status;
use dacapo_tests::database;
use dacapo_worker::{Worker, WorkerConfig};

use crate::check::{journal, sound, worker};
use crate::command::{run, text};

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_go_wrong_end_their_own_runs_with_a_cause_and_a_backtrace() {
    let database = database().await;
    database.deploy("probe").await;
    let mut config = WorkerConfig {
        guest_threads: 2,
        ..WorkerConfig::default()
    };
    // The others must come to their own limits before, also on a machine that has more to do.
    config.sandbox.cpu_between_calls_max_ms = 2_000;
    config.sandbox.memory_max_bytes = 32 << 20;
    let worker = Worker::start(database.store.clone(), config).await.unwrap();
    let cases = [
        ("spin", "timeout", "spin"),
        ("hog", "memory-limit", "33554432"),
        ("overflow", "stack-overflow", "overflow"),
        ("trap", "trap", "the probe panics on purpose"),
        ("abort", "trap", "abort"),
    ];
    let mut runs = Vec::new();
    for (workflow, code, says) in cases {
        // Two of each at once, among runs that behave.
        for _ in 0..2 {
            runs.push((database.start(workflow, "null").await, code, says));
        }
    }
    let mut good = Vec::new();
    for _ in 0..30 {
        good.push(database.start("counted-steps", "10").await);
    }
    for run in good {
        assert_eq!(database.done(run).await.status, Status::Completed);
    }
    for (run, code, says) in runs {
        let done = database.done(run).await;
        assert_eq!(done.status, Status::Failed);
        let failure = done.failure.unwrap();
        assert_eq!(failure.code, code, "{failure:?}");
        let details = failure
            .details
            .as_ref()
            .map(|details| details.as_str())
            .unwrap_or_default();
        assert!(details.contains("backtrace"), "{failure:?}");
        assert!(
            failure.message.contains(says) || details.contains(says),
            "expected {says:?} in {failure:?}"
        );
    }
    worker.drain().await.unwrap();
    let shown = run(&database, &["runs", "show", "--last", "limits.trap"]).await;
    let shown = text(&shown.stdout);
    assert!(
        shown.contains("  at ") && shown.contains("(tests/guests/probe/src/limits.rs:"),
        "{shown}"
    );
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn misuse_of_the_interface_ends_the_run_with_an_explanation() {
    let database = database().await;
    database.deploy("probe").await;
    let worker = worker(&database).await;
    for (workflow, says) in [
        ("nested-steps", "steps do not nest"),
        ("wait-in-step", "a wait cannot be inside a step"),
        ("sleep-in-step", "a wait cannot be inside a step"),
        ("dropped-attempt", "was dropped without an outcome"),
        ("return-in-step", "the workflow returned while step"),
    ] {
        let run = database.start(workflow, "null").await;
        let done = database.done(run).await;
        assert_eq!(done.status, Status::Failed, "{workflow}");
        let failure = done.failure.unwrap();
        assert_eq!(failure.code, "misuse", "{workflow}: {failure:?}");
        assert!(failure.message.contains(says), "{workflow}: {failure:?}");
    }
    for name in ["", "a/b", "a#b", "a\nb"] {
        let run = database
            .start("step-named", &serde_json::to_string(name).unwrap())
            .await;
        assert_eq!(
            database.done(run).await.failure.unwrap().code,
            "misuse",
            "{name:?}"
        );
    }
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_the_database_refuses_end_their_own_run_and_none_that_shares_its_flush() {
    let database = database().await;
    database.deploy("probe").await;
    // A sequence is not rolled back with the statement that is refused, so it counts the flushes that are.
    let refuse = "
        create sequence refusals;
        create function refuse() returns trigger language plpgsql as $$
        begin
            perform nextval('refusals');
            raise exception 'no % today', new.payload using errcode = 'data_exception';
        end $$;
        create trigger refuse before insert on dacapo.step
            for each row when (new.payload in ('1', '\"a\"')) execute function refuse()";
    sqlx::raw_sql(refuse)
        .execute(database.store.pool())
        .await
        .unwrap();
    // All of them wait for a worker, which claims them at once; and nothing can be flushed before all of them are claimed.
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for text in 100..150 {
        let text = text.to_string();
        let input = serde_json::to_string(&text).unwrap();
        good.push((database.start("record-text", &input).await, text));
        // What they record is refused together with the run's completion, before the body of its next step, and together
        // with its suspension.
        match good.len() {
            20 => bad.push((database.start("record-text", r#""1""#).await, "1")),
            30 => bad.push((database.start("counted-steps", "2").await, "1")),
            40 => bad.push((database.start("step-wait-step", "null").await, r#""a""#)),
            _ => {}
        }
    }
    let mut gate = database.store.pool().begin().await.unwrap();
    sqlx::query("lock table dacapo.step in share mode")
        .execute(&mut *gate)
        .await
        .unwrap();
    let worker = worker(&database).await;
    database
        .until(
            "all runs are claimed and both writers are held up",
            "select (select count(*) = 53 from dacapo.task_leased) and (
                select count(*) = 2
                from pg_locks
                join pg_stat_activity using (pid)
                where relation = 'dacapo.step'::regclass and not granted and query like '-- One flush%'
            )",
        )
        .await;
    gate.commit().await.unwrap();

    for (run, text) in good {
        let done = database.done(run).await;
        assert_eq!(done.status, Status::Completed, "{:?}", done.failure);
        assert_eq!(
            journal(&database, run).await,
            [format!("s#1 step ok {text}")]
        );
    }
    for (run, payload) in &bad {
        let done = database.done(*run).await;
        assert_eq!(done.status, Status::Failed);
        let failure = done.failure.unwrap();
        assert_eq!(failure.code, "refused", "{failure:?}");
        let said = format!("no {payload} today");
        assert!(failure.message.contains(&said), "{failure:?}");
        assert!(journal(&database, *run).await.is_empty());
    }
    // Each of them is refused once when it is alone; any other refusal is that of a flush of several runs.
    let refusals = database.count("select last_value from refusals").await;
    assert!(
        refusals > 3,
        "no flush was refused but for those of one run"
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}
