//! Transactional SQL steps: what a deployment is granted, and the values that go to and fro.

use serde::{Deserialize, Serialize};

/// The database refused a statement.
pub const SQL: &str = "sql";
/// A statement of a kind that a step must not use; it was not sent.
pub const SQL_STATEMENT: &str = "sql-statement";
/// A statement answered too much, or took too long.
pub const SQL_LIMIT: &str = "sql-limit";
/// The connection is gone, and the transaction with it.
pub const SQL_LOST: &str = "sql-lost";

/// The database that the steps of a deployment may use, and how far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqlGrant {
    /// The name under which the workers know how to connect, and in which role.
    pub database: String,
    /// The schemas in which names are looked for, in this order. Default: `public`.
    #[serde(default = "public")]
    pub search_path: Vec<String>,
    /// How long one statement may take, in milliseconds. Default: 10,000.
    #[serde(default = "statement_timeout_ms")]
    pub statement_timeout_ms: u64,
    /// Rows that one statement may answer. Default: 1,000.
    #[serde(default = "max_rows")]
    pub max_rows: u32,
    /// What the values that one statement answers may hold together, in bytes. Default: 1 MiB.
    #[serde(default = "max_bytes")]
    pub max_bytes: u32,
}

fn public() -> Vec<String> {
    vec!["public".to_owned()]
}

fn statement_timeout_ms() -> u64 {
    10_000
}

fn max_rows() -> u32 {
    1_000
}

fn max_bytes() -> u32 {
    1 << 20
}

/// A part of a [`SqlGrant`] that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sql: {part}: expected {expected}, got {got}")]
pub struct SqlGrantError {
    /// Its name in a manifest.
    pub part: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it is.
    pub got: String,
}

/// What names of databases look like.
pub const SQL_DATABASE_NAME: &str =
    "1 to 40 lower-case letters, digits and hyphens, beginning with a letter";

/// Whether this may be the name of a database.
pub fn is_sql_database_name(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-')
}

impl SqlGrant {
    /// The longest time that a statement may take: a transaction keeps rows locked.
    pub const STATEMENT_TIMEOUT_MAX_MS: u64 = 600_000;
    /// The most rows that a statement may answer.
    pub const ROWS_MAX: u32 = 1_000_000;
    /// The most bytes that a statement may answer.
    pub const BYTES_MAX: u32 = 64 << 20;

    /// This database, and the defaults.
    pub fn new(database: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            search_path: public(),
            statement_timeout_ms: statement_timeout_ms(),
            max_rows: max_rows(),
            max_bytes: max_bytes(),
        }
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// The first part that cannot.
    pub fn check(&self) -> Result<(), SqlGrantError> {
        let refuse = |part, expected, got: String| {
            Err(SqlGrantError {
                part,
                expected,
                got,
            })
        };
        if !is_sql_database_name(&self.database) {
            return refuse(
                "database",
                SQL_DATABASE_NAME,
                format!("{:?}", self.database),
            );
        }
        let odd = |schema: &&String| {
            schema.is_empty()
                || schema.len() > 63
                || schema.contains('\0')
                || schema.starts_with("pg_temp")
        };
        if let Some(schema) = self.search_path.iter().find(odd) {
            return refuse(
                "search-path",
                "names of schemas, such as [\"shop\"]",
                format!("{schema:?}"),
            );
        }
        if !(1..=Self::STATEMENT_TIMEOUT_MAX_MS).contains(&self.statement_timeout_ms) {
            let got = format!("{} ms", self.statement_timeout_ms);
            return refuse("statement-timeout", "1 ms to 10 minutes", got);
        }
        if !(1..=Self::ROWS_MAX).contains(&self.max_rows) {
            return refuse("max-rows", "1 to 1000000", self.max_rows.to_string());
        }
        if !(1..=Self::BYTES_MAX).contains(&self.max_bytes) {
            return refuse("max-bytes", "1 to 67108864", self.max_bytes.to_string());
        }
        Ok(())
    }
}

/// A parameter of a statement, or a value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlValue {
    /// Nothing, of any type.
    Null,
    /// `boolean`
    Boolean(bool),
    /// `bigint`
    Integer(i64),
    /// `double precision`
    Float(f64),
    /// `text`
    Text(String),
    /// `bytea`
    Bytes(Vec<u8>),
    /// `jsonb`, as JSON text.
    Json(String),
    /// `timestamptz`, in microseconds since 1970-01-01 UTC.
    Timestamp(i64),
}

/// What a statement has answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SqlRows {
    /// The names of the columns; none if there are no rows.
    pub columns: Vec<String>,
    /// A value for each column.
    pub rows: Vec<Vec<SqlValue>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_that_cannot_be_meant_are_refused_with_their_part() {
        assert_eq!(SqlGrant::new("shop").check(), Ok(()));
        let refused = |change: fn(&mut SqlGrant)| {
            let mut grant = SqlGrant::new("shop");
            change(&mut grant);
            grant.check().unwrap_err().to_string()
        };
        assert_eq!(
            refused(|grant| grant.database = "Shop".to_owned()),
            "sql: database: expected 1 to 40 lower-case letters, digits and hyphens, beginning with a letter, got \"Shop\""
        );
        assert_eq!(
            refused(|grant| grant.search_path = vec![String::new()]),
            "sql: search-path: expected names of schemas, such as [\"shop\"], got \"\""
        );
        assert_eq!(
            refused(|grant| grant.statement_timeout_ms = 0),
            "sql: statement-timeout: expected 1 ms to 10 minutes, got 0 ms"
        );
        assert_eq!(
            refused(|grant| grant.max_rows = 0),
            "sql: max-rows: expected 1 to 1000000, got 0"
        );
        assert_eq!(
            refused(|grant| grant.max_bytes = u32::MAX),
            "sql: max-bytes: expected 1 to 67108864, got 4294967295"
        );
    }
}
