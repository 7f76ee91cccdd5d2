//! Workers killed at random while runs use all primitives together. What came of it is read from the database and from what the steps did
//! outside of it, and from nothing else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dacapo_client::{NewSchedule, RunId, When};
use dacapo_tests::{Dacapo, Database, Worker, database};

use crate::check::sound;

/// How long workers are killed for, in seconds: as the variable says, or long enough to see that it works.
const SECONDS: &str = "DACAPO_CHAOS_SECONDS";

/// A worker dies this often.
const KILL_EVERY: Duration = Duration::from_secs(2);

fn worker(database: &Database, effects: &Path) -> Dacapo {
    // A short lease, so that runs are taken over between two kills.
    Dacapo::on(database)
        .effects(effects.to_owned())
        .arg("--lease")
        .arg("1s")
        .arg("--heartbeat")
        .arg("200ms")
}

/// What the workflow `all` returns.
fn expected(n: u32) -> String {
    format!(
        "\"{n} {} [1, 2, 3] [0, 1, 4, 9] 1 {} {n} {n}\"",
        n + 1,
        3 * n
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_at_random_lose_nothing_and_repeat_nothing() {
    let seconds = std::env::var(SECONDS).map_or(12, |text| text.parse().unwrap());
    let database = database().await;
    database.deploy("mix").await;
    let directory = tempfile::tempdir().unwrap();
    let effects: PathBuf = directory.path().join("effects");
    let mut workers: Vec<Worker> = Vec::new();
    for _ in 0..3 {
        workers.push(worker(&database, &effects).worker().await);
    }
    let schedule = NewSchedule::new(
        "each-second",
        "mix.tick",
        When::Every(Duration::from_secs(1)),
    );
    database.client.create_schedule(schedule).await.unwrap();

    let (mut all, mut failing) = (Vec::new(), Vec::new());
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut number, mut victim, mut killed) = (0, 0, 0);
    let mut next_kill = Instant::now() + KILL_EVERY;
    while Instant::now() < end {
        let run = database
            .start("mix.all", &format!(r#"{{"number": {number}}}"#))
            .await;
        for event in 1..=3 {
            let (payload, delivery) = (event.to_string(), format!("{number}-{event}"));
            let client = &database.client;
            // Whoever does not know whether an event was taken in sends it again.
            for _ in 0..2 {
                client
                    .send_event(run, "go", &payload, Some(&delivery))
                    .await
                    .unwrap();
            }
        }
        all.push((number, run));
        if number % 4 == 0 {
            failing.push(database.start("mix.fails", &number.to_string()).await);
        }
        number += 1;
        if Instant::now() >= next_kill {
            next_kill += KILL_EVERY;
            // Not always in the same order.
            victim = (victim * 7 + number as usize) % workers.len();
            let dead = std::mem::replace(
                &mut workers[victim],
                worker(&database, &effects).worker().await,
            );
            dead.kill().await;
            killed += 1;
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    database.client.pause_schedule("each-second").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while database
        .count("select count(*) from dacapo.run where status = 'active'")
        .await
        > 0
    {
        if Instant::now() > deadline {
            let left: Vec<String> = sqlx::query_scalar(
                "select concat_ws(' ', run.id, run.workflow, run_status.status, blocked, waiting_for, waiting_for_events::text,
                    (select string_agg(key || ' ' || coalesce(outcome, 'open'), ', ' order by position) from dacapo.step where step.run_id = run.id))
                from dacapo.run_status join dacapo.run on run.id = run_status.run_id
                where run.status = 'active' limit 10",
            )
            .fetch_all(database.store.pool())
            .await
            .unwrap();
            panic!("runs are left: {left:#?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for worker in workers {
        worker.kill().await;
    }

    assert_ended_as_told(&database, &all, &failing).await;
    assert_each_step_once(&database, &effects).await;
    assert_each_child_event_and_tick_once(&database).await;
    sound(&database).await;
    let runs = database.count("select count(*) from dacapo.run").await;
    let steps = database.count("select count(*) from dacapo.step").await;
    println!("{killed} workers killed in {seconds} s; {runs} runs with {steps} rows of journal");
}

async fn assert_ended_as_told(database: &Database, all: &[(u32, RunId)], failing: &[RunId]) {
    for (number, run) in all {
        let run = database.client.get(*run).await.unwrap();
        let output = run.output.as_ref().map(ToString::to_string);
        assert_eq!(
            output.as_deref(),
            Some(expected(*number).as_str()),
            "{run:#?}"
        );
    }
    for run in failing {
        let run = database.client.get(*run).await.unwrap();
        let failure = run.failure.as_ref().map(|failure| failure.message.as_str());
        assert_eq!(failure, Some("there is no ship"), "{run:#?}");
    }
    let others = database
        .count(
            "select count(*) from dacapo.run
            where status <> 'completed' and workflow <> 'test:mix/mix.fails'",
        )
        .await;
    assert_eq!(others, 0, "leaves and ticks complete");
}

/// The effect that was recorded is the last one that the step has had: once it was recorded its body did not run again.
async fn assert_each_step_once(database: &Database, effects: &Path) {
    let log = std::fs::read_to_string(effects).unwrap();
    let mut last: HashMap<(&str, &str), (&str, u32)> = HashMap::new();
    for line in log.lines() {
        let [run, key, number] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("not an effect: {line}")
        };
        let known = last.entry((run, key)).or_default();
        *known = (number, known.1 + 1);
    }
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "select run_id::text, key, payload from dacapo.step where kind = 'step' and outcome = 'ok'",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    assert!(!rows.is_empty());
    let mut repeated = 0;
    for (run, key, payload) in &rows {
        let (number, times) = last
            .get(&(run.as_str(), key.as_str()))
            .unwrap_or_else(|| panic!("{run} {key} was recorded and never done"));
        repeated += u32::from(*times > 1);
        // Compensations record nothing that tells.
        if payload != "null" {
            assert!(
                payload.ends_with(&format!(",{number}]")),
                "{run} {key} recorded {payload}, and was done again after that: {number}"
            );
        }
    }
    println!(
        "{} effects of {} recorded steps; {repeated} steps were interrupted or tried again",
        log.lines().count(),
        rows.len()
    );
}

async fn assert_each_child_event_and_tick_once(database: &Database) {
    let wrong: Vec<String> = sqlx::query_scalar(
        "select 'child started ' || count(run.id) || ' times: ' || step.run_id || ' ' || step.key
        from dacapo.step left join dacapo.run on run.parent = step.run_id and run.id = (step.payload::json ->> 'run')::uuid
        where step.kind = 'child' and step.outcome = 'ok'
        group by step.run_id, step.key
        having count(run.id) <> 1
        union all
        select 'a child that its parent does not know: ' || run.id from dacapo.run
        where run.parent is not null and not exists (
            select from dacapo.step where step.run_id = run.parent and kind = 'child' and payload::json ->> 'run' = run.id::text
        )
        union all
        select 'event taken by none, or by a wait that knows nothing of it: ' || event.run_id || ' ' || event.name
        from dacapo.event left join dacapo.step on step.run_id = event.run_id and step.key = event.taken_by
        where step.key is null or step.payload is distinct from event.payload
        union all
        select 'two waits with one event: ' || run_id from dacapo.event group by run_id, taken_by having count(*) > 1
        union all
        select 'a tick is missing before ' || (labels ->> 'dacapo.tick')
        from (
            select labels, lag((labels ->> 'dacapo.tick')::timestamptz) over (order by labels ->> 'dacapo.tick') as before
            from dacapo.run where labels ? 'dacapo.tick'
        ) as ticks
        where (labels ->> 'dacapo.tick')::timestamptz - before <> interval '1 second'",
    )
    .fetch_all(database.store.pool())
    .await
    .unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let ticks = database
        .count("select count(*) from dacapo.run where labels ? 'dacapo.tick'")
        .await;
    assert!(ticks > 3, "{ticks} ticks");
}
