//! Schedules: one run for each tick, whoever is there to start it.

mod changes;
mod command;
mod missed;
mod overlap;
mod queue;
mod ticks;

use std::time::Duration;

use dacapo_client::{NewSchedule, Timestamp, When};
use dacapo_tests::Database;

/// Every second, under this name.
pub(crate) fn every_second(name: &str, workflow: &str) -> NewSchedule {
    NewSchedule::new(name, workflow, When::Every(Duration::from_secs(1)))
}

fn hourly(name: &str) -> NewSchedule {
    let when = When::Cron {
        expression: "0 * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
    };
    NewSchedule::new(name, "nothing", when)
}

async fn create(database: &Database, new: NewSchedule) {
    database.client.create_schedule(new).await.unwrap();
}

/// A tick, its run, when that was started and when it ended.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Ticked {
    tick: String,
    id: uuid::Uuid,
    delay_ms: f64,
    status: String,
    overlaps_next: bool,
}

/// The runs of a schedule's ticks, in the order of the ticks.
async fn ticked(database: &Database, schedule: &str) -> Vec<Ticked> {
    sqlx::query_as(
        "select labels ->> 'dacapo.tick' as tick, id, status,
            extract(epoch from created_at - (labels ->> 'dacapo.tick')::timestamptz)::float8 * 1000 as delay_ms,
            coalesce(
                coalesce(finished_at, 'infinity') > lead(created_at) over (order by labels ->> 'dacapo.tick'), false
            ) as overlaps_next
        from dacapo.run
        where labels ->> 'dacapo.schedule' = $1 and labels ? 'dacapo.tick'
        order by 1",
    )
    .bind(schedule)
    .fetch_all(database.store.pool())
    .await
    .unwrap()
}

async fn ticks(database: &Database, schedule: &str) -> Vec<Timestamp> {
    let ticked = ticked(database, schedule).await;
    ticked.iter().map(|one| one.tick.parse().unwrap()).collect()
}

/// Each tick is a second after the one before: none is missing, and none has two runs.
#[track_caller]
fn second_by_second(ticks: &[Timestamp]) {
    for pair in ticks.windows(2) {
        assert_eq!(
            pair[1],
            pair[0].add_millis(1_000),
            "a tick is missing, or has two runs: {ticks:#?}"
        );
    }
}

/// Waits until a schedule has started the runs of this many ticks.
pub(crate) async fn until_ticked(database: &Database, schedule: &str, count: usize) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(40);
    loop {
        let ticked = ticked(database, schedule).await;
        if ticked.len() >= count {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "expected {count} ticks of {schedule}, got {ticked:#?}: {:#?}",
            database.client.schedule(schedule).await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Moves what the schedules have to decide about into the past, as if no worker had been there since.
async fn down_for(database: &Database, interval: &str) {
    sqlx::query(
        "update dacapo.schedule set next_tick = next_tick - $1::text::interval, next_at = next_at - $1::text::interval",
    )
    .bind(interval)
    .execute(database.store.pool())
    .await
    .unwrap();
}

/// All that is due is decided about.
const CAUGHT_UP: &str = "select bool_and(next_tick > now()) from dacapo.schedule";
