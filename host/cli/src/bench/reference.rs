//! The reference: what one connection can commit on this server, measured beside everything else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

use super::samples::Samples;

/// One held connection that commits single rows by a prepared statement.
pub(super) struct Reference {
    connection: PgConnection,
    /// How long it is measured each time.
    window: Duration,
    next: i64,
}

/// What the reference did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commits {
    pub(super) per_second: f64,
    /// Middle of the time of one commit, in seconds.
    pub(super) p50: f64,
}

impl Commits {
    /// Mean time of one commit, in seconds.
    pub(super) fn mean(self) -> f64 {
        1.0 / self.per_second
    }

    fn between(self, other: Self) -> Self {
        Self {
            per_second: f64::midpoint(self.per_second, other.per_second),
            p50: f64::midpoint(self.p50, other.p50),
        }
    }
}

impl Reference {
    pub(super) async fn connect(url: &str, window: Duration) -> Result<Self> {
        let mut connection = PgConnection::connect(url)
            .await
            .context("cannot connect for the reference")?;
        connection
            .execute(
                "create table public.reference (id bigint primary key, name text not null, payload text not null, \
                 at timestamptz not null default clock_timestamp())",
            )
            .await?;
        let mut reference = Self {
            connection,
            window,
            next: 0,
        };
        reference.measure().await?;
        Ok(reference)
    }

    /// Commits single rows for a while.
    pub(super) async fn measure(&mut self) -> Result<Commits> {
        let begin = Instant::now();
        let mut times = Vec::new();
        while begin.elapsed() < self.window {
            let before = Instant::now();
            sqlx::query("insert into public.reference (id, name, payload) values ($1, $2, $3)")
                .bind(self.next)
                .bind("reference#1")
                .bind("null")
                .execute(&mut self.connection)
                .await
                .context("the reference cannot commit")?;
            times.push(before.elapsed());
            self.next += 1;
        }
        let per_second = times.len() as f64 / begin.elapsed().as_secs_f64();
        let samples: Samples = times.into_iter().collect();
        Ok(Commits {
            per_second,
            p50: samples.p50().as_secs_f64(),
        })
    }

    /// The mean of what the reference did before and what it does now.
    pub(super) async fn since(&mut self, before: Commits) -> Result<Commits> {
        Ok(before.between(self.measure().await?))
    }
}
