//! What the server counts: statements and WAL.

use std::collections::HashMap;

use anyhow::Result;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

/// Reads the server's counters over a connection of its own, whose statements are not counted.
pub(super) struct Counters {
    connection: PgConnection,
    statements: bool,
    walinspect: bool,
    page_images: bool,
}

/// How often each statement was called, by the beginning of its text.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(HashMap<String, i64>);

/// A place in the WAL.
#[derive(Debug, Clone)]
pub(super) struct WalPlace(String);

impl Counters {
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let mut extension = async |statement: &'static str, probe: &'static str| {
            connection.execute(statement).await.is_ok() && connection.execute(probe).await.is_ok()
        };
        let statements = extension(
            "create extension if not exists pg_stat_statements",
            "select count(*) from pg_stat_statements",
        )
        .await;
        let walinspect = extension(
            "create extension if not exists pg_walinspect",
            "select 1 from pg_extension where extname = 'pg_walinspect'",
        )
        .await;
        Ok(Self {
            connection,
            statements,
            walinspect,
            page_images: true,
        })
    }

    /// How often each statement was called in this database so far; none if the server does not count.
    pub(super) async fn calls(&mut self) -> Result<Option<Calls>> {
        if !self.statements {
            return Ok(None);
        }
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select query, sum(calls)::bigint from pg_stat_statements \
             where dbid = (select oid from pg_database where datname = current_database()) \
             and query not like '%pg_stat_statements%' and query not like '%pg_current_wal_lsn%' \
             and query not like '%pg_get_wal_stats%' and query not like '%public.reference%' \
             group by query",
        )
        .fetch_all(&mut self.connection)
        .await?;
        let mut calls = HashMap::new();
        for (query, count) in rows {
            *calls.entry(title(&query)).or_default() += count;
        }
        Ok(Some(Calls(calls)))
    }

    /// Whether images of whole pages are left out of the WAL anyway.
    pub(super) fn without_page_images(&mut self, without: bool) {
        self.page_images = !without;
    }

    /// The end of the WAL.
    pub(super) async fn wal_end(&mut self) -> Result<WalPlace> {
        // What the last transactions wrote without waiting for the disk is to be counted, too.
        let place = sqlx::query_scalar("select pg_current_wal_lsn()::text")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(WalPlace(place))
    }

    /// WAL between two places, in bytes, without images of whole pages where the server can tell them apart.
    pub(super) async fn wal_between(&mut self, from: &WalPlace, to: &WalPlace) -> Result<f64> {
        let all: f64 = sqlx::query_scalar(
            "select pg_wal_lsn_diff($1::text::pg_lsn, $2::text::pg_lsn)::float8",
        )
        .bind(&to.0)
        .bind(&from.0)
        .fetch_one(&mut self.connection)
        .await?;
        if !self.page_images || !self.walinspect {
            return Ok(all);
        }
        let images: f64 = sqlx::query_scalar(
            "select coalesce(sum(fpi_size), 0)::float8 from pg_get_wal_stats($1::text::pg_lsn, $2::text::pg_lsn)",
        )
        .bind(&from.0)
        .bind(&to.0)
        .fetch_one(&mut self.connection)
        .await?;
        Ok(all - images)
    }

    /// How WAL is measured, in words.
    pub(super) fn wal_method(&self) -> &'static str {
        match (self.page_images, self.walinspect) {
            (false, _) => "full_page_writes off meanwhile",
            (true, true) => "page images subtracted (pg_walinspect)",
            (true, false) => "WITH page images: pg_walinspect is not there",
        }
    }
}

impl Calls {
    /// What was called since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let calls = self
            .0
            .iter()
            .map(|(title, count)| {
                (
                    title.clone(),
                    count - before.0.get(title).copied().unwrap_or(0),
                )
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        Self(calls)
    }

    /// The same without those that are made by the clock, whatever the runs do: the worker's heartbeats, and the looks of a client
    /// that waits.
    pub(super) fn without_those_by_the_clock(mut self) -> Self {
        self.0.retain(|title, _| {
            !["Renews a worker", "One run"]
                .iter()
                .any(|clocked| title.starts_with(clocked))
        });
        self
    }

    /// All of them together.
    pub(super) fn total(&self) -> f64 {
        self.0.values().sum::<i64>() as f64
    }

    /// The most frequent ones as `3.00 One flush`, counted per unit of which there were `units`.
    pub(super) fn per(&self, units: f64) -> String {
        let mut calls: Vec<_> = self.0.iter().collect();
        calls.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let shown: Vec<String> = calls
            .iter()
            .map(|(title, count)| (**count as f64 / units, title))
            .filter(|(share, _)| *share >= 0.01)
            .map(|(share, title)| format!("{share:.2} {title}"))
            .collect();
        shown.join(", ")
    }
}

/// The first words of a statement, or of the comment that it begins with.
fn title(query: &str) -> String {
    let line = query.lines().next().unwrap_or_default();
    let line = line.trim_start_matches("--").trim();
    let end = [":", ",", ". "]
        .iter()
        .filter_map(|mark| line.find(mark))
        .min()
        .unwrap_or(line.len());
    line[..end].chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(counts: &[(&str, i64)]) -> Calls {
        Calls(
            counts
                .iter()
                .map(|(title, count)| ((*title).to_owned(), *count))
                .collect(),
        )
    }

    #[test]
    fn a_statement_is_known_by_the_comment_it_begins_with() {
        assert_eq!(
            title("-- One flush: everything that\nwith fence as"),
            "One flush"
        );
        assert_eq!(
            title("select dacapo.send_event($1)"),
            "select dacapo.send_event($1)"
        );
    }

    #[test]
    fn calls_are_counted_between_two_looks() {
        let before = calls(&[("flush", 10), ("claim", 5)]);
        let after = calls(&[("flush", 16), ("claim", 5), ("start", 2)]);
        let between = after.since(&before);
        assert!((between.total() - 8.0).abs() < f64::EPSILON);
        assert_eq!(between.per(2.0), "3.00 flush, 1.00 start");
    }
}
