//! Workers killed at random while runs use all primitives together.

use std::time::{Duration, Instant};

use dacapo_client::{CatchUp, NewSchedule, When};
use dacapo_tests::{Again, Database, Worker, Workload, database};

/// How long workers are killed for, in seconds: as the variable says, or long enough to see that it works.
const SECONDS: &str = "DACAPO_CHAOS_SECONDS";

/// A worker dies this often.
const KILL_EVERY: Duration = Duration::from_secs(2);

/// A short lease, so that runs are taken over between two kills.
const LEASE: &str = "1s";

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_at_random_lose_nothing_and_repeat_nothing() {
    let seconds = std::env::var(SECONDS).map_or(12, |text| text.parse().unwrap());
    let mut workload = Workload::on(database().await).await;
    let mut workers: Vec<Worker> = Vec::new();
    for _ in 0..3 {
        workers.push(workload.worker_with_lease(LEASE).worker().await);
    }
    let schedule = NewSchedule {
        // Nobody may be there to see several of them.
        catch_up: CatchUp::All,
        ..NewSchedule::new(
            "each-second",
            "mix.tick",
            When::Every(Duration::from_secs(1)),
        )
    };
    let client = workload.database.client.clone();
    client.create_schedule(schedule).await.unwrap();

    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut victim, mut killed) = (0, 0);
    let mut next_kill = Instant::now() + KILL_EVERY;
    while Instant::now() < end {
        workload.start_one().await;
        if Instant::now() >= next_kill {
            next_kill += KILL_EVERY;
            // Not always in the same order.
            victim = (victim * 7 + workload.started() as usize) % workers.len();
            let successor = workload.worker_with_lease(LEASE).worker().await;
            let dead = std::mem::replace(&mut workers[victim], successor);
            dead.kill().await;
            killed += 1;
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    client.pause_schedule("each-second").await.unwrap();
    workload.check(Again::Times(killed)).await;
    for worker in workers {
        worker.kill().await;
    }
    assert_each_tick_once(&workload.database).await;
    let database = &workload.database;
    let runs = database.count("select count(*) from dacapo.run").await;
    let steps = database.count("select count(*) from dacapo.step").await;
    println!("{killed} workers killed in {seconds} s; {runs} runs with {steps} rows of journal");
}

async fn assert_each_tick_once(database: &Database) {
    let wrong: Vec<String> = sqlx::query_scalar(
        "select 'a tick is missing before ' || (labels ->> 'dacapo.tick')
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
