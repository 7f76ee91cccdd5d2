//! Steps of many runs at once, against a loop that does nothing but record them.
//!
//! The loop is what this design comes to with everything else left out: as many tasks as runs, each of which sends a row and waits until it
//! is committed before it sends the next, and two connections that insert all that has gathered by one prepared statement. No claims,
//! no fences, no guests, no ends.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Bench;
use super::report::{Measure, Target};
use super::rows::run_lanes;
use super::samples::middle;

/// Runs at once, and of how many steps each is: so many that the loop takes a second or more.
const IN_FLIGHT: [(u32, u32); 2] = [(64, 2_000), (1_024, 400)];

/// Connections that the loop writes by, and rows of one statement at most: as a worker has them.
const WRITERS: usize = 2;
const ROWS_MAX: usize = 512;

/// What is measured in turn, so often.
const ROUNDS: u32 = 3;

/// One row and who waits for it.
struct Row {
    run: Uuid,
    position: i32,
    done: oneshot::Sender<()>,
}

impl Bench {
    /// Durable steps of many runs at once, against the loop.
    pub(super) async fn in_flight_row(&mut self) -> Result<()> {
        let mut admin = PgConnection::connect(self.server.url()).await?;
        admin
            .execute(
                "create table if not exists public.ideal (run_id uuid, key text, position integer not null, payload text, \
                 started_at timestamptz not null, finished_at timestamptz, primary key (run_id, key))",
            )
            .await?;
        for (in_flight, steps) in IN_FLIGHT {
            let (mut loops, mut runs) = (Vec::new(), Vec::new());
            let before = self.commits().await?;
            // The first round is for caches and plans.
            for round in 0..=ROUNDS {
                let hand_written = record(self.server.url(), in_flight, steps).await?;
                let lanes = usize::try_from(in_flight)?;
                let took =
                    run_lanes(&self.client, lanes, 1, "noop-steps", &steps.to_string()).await?;
                let ours = f64::from(in_flight * steps) / took.as_secs_f64();
                if round > 0 {
                    loops.push(hand_written);
                    runs.push(ours);
                }
            }
            let commits = self.reference.since(before).await?;
            let (hand_written, ours) = (middle(&loops), middle(&runs));
            let what = format!("loop of inserts, {in_flight} at once");
            self.add(
                Measure::new("in-flight", what, hand_written, "steps/s")
                    .ratio(hand_written / commits.per_second),
            );
            let what = format!("{steps}-step runs, {in_flight} at once");
            self.add(
                Measure::new("in-flight", what, ours, "steps/s").ratio(ours / commits.per_second),
            );
            let what = format!("the one over the other, {in_flight} at once");
            self.add(
                Measure::new("in-flight", what, ours / hand_written, "")
                    .target(Target::AtLeast(0.5)),
            );
        }
        admin.execute("drop table public.ideal").await?;
        Ok(())
    }
}

/// So many tasks send so many rows each, one after the other is committed. Answers rows for each second.
async fn record(url: &str, in_flight: u32, steps: u32) -> Result<f64> {
    let (sender, source) = mpsc::unbounded_channel::<Row>();
    let source = Arc::new(Mutex::new(source));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let connection = PgConnection::connect(url).await?;
        writers.spawn(write(connection, Arc::clone(&source)));
    }
    let begin = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..in_flight {
        let sender = sender.clone();
        lanes.spawn(async move {
            let run = Uuid::now_v7();
            for position in 0..steps {
                let (done, is_done) = oneshot::channel();
                let position = i32::try_from(position).unwrap_or(i32::MAX);
                let row = Row {
                    run,
                    position,
                    done,
                };
                if sender.send(row).is_err() || is_done.await.is_err() {
                    // The writer's own error says why.
                    return;
                }
            }
        });
    }
    drop(sender);
    while let Some(lane) = lanes.join_next().await {
        lane.context("a lane panicked")?;
    }
    let elapsed = begin.elapsed().as_secs_f64();
    while let Some(writer) = writers.join_next().await {
        writer.context("a writer panicked")??;
    }
    Ok(f64::from(in_flight * steps) / elapsed)
}

async fn write(
    mut connection: PgConnection,
    source: Arc<Mutex<mpsc::UnboundedReceiver<Row>>>,
) -> Result<()> {
    let mut rows = Vec::with_capacity(ROWS_MAX);
    loop {
        if source.lock().await.recv_many(&mut rows, ROWS_MAX).await == 0 {
            return Ok(());
        }
        let runs: Vec<Uuid> = rows.iter().map(|row| row.run).collect();
        let positions: Vec<i32> = rows.iter().map(|row| row.position).collect();
        let keys: Vec<String> = rows
            .iter()
            .map(|row| format!("s#{}", row.position + 1))
            .collect();
        sqlx::query(
            "insert into public.ideal (run_id, key, position, payload, started_at, finished_at) \
             select run_id, key, position, 'null', clock_timestamp(), clock_timestamp() \
             from unnest($1::uuid[], $2::text[], $3::integer[]) as r (run_id, key, position)",
        )
        .bind(&runs)
        .bind(&keys)
        .bind(&positions)
        .execute(&mut connection)
        .await
        .context("the loop cannot commit")?;
        for row in rows.drain(..) {
            let _ = row.done.send(());
        }
    }
}
