//! The table `[sql]`.

use std::ops::Range;

use dacapo_model::SqlGrant;
use toml::Spanned;

use super::millis::{Millis, time};

/// The database that steps may use.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Sql {
    database: Spanned<String>,
    search_path: Option<Spanned<Vec<String>>>,
    statement_timeout: Option<Spanned<Millis>>,
    max_rows: Option<Spanned<u32>>,
    max_bytes: Option<Spanned<u32>>,
}

impl Sql {
    pub(super) fn grant(&self) -> SqlGrant {
        let mut grant = SqlGrant::new(self.database.get_ref());
        if let Some(path) = &self.search_path {
            grant.search_path.clone_from(path.get_ref());
        }
        if let Some(timeout) = &self.statement_timeout {
            grant.statement_timeout_ms = timeout.get_ref().0;
        }
        if let Some(rows) = &self.max_rows {
            grant.max_rows = *rows.get_ref();
        }
        if let Some(bytes) = &self.max_bytes {
            grant.max_bytes = *bytes.get_ref();
        }
        grant
    }

    /// Where a part of the grant is.
    pub(super) fn place(&self, part: &str) -> Option<Range<usize>> {
        match part {
            "database" => Some(self.database.span()),
            "search-path" => self.search_path.as_ref().map(Spanned::span),
            "statement-timeout" => self.statement_timeout.as_ref().map(Spanned::span),
            "max-rows" => self.max_rows.as_ref().map(Spanned::span),
            "max-bytes" => self.max_bytes.as_ref().map(Spanned::span),
            _ => None,
        }
    }
}

/// A grant as people say it.
pub(super) fn sql_text(grant: &SqlGrant) -> String {
    format!(
        "SQL steps on database {} (schemas {}; at most {} a statement, {} rows, {} bytes)",
        grant.database,
        grant.search_path.join(", "),
        time(grant.statement_timeout_ms),
        grant.max_rows,
        grant.max_bytes
    )
}
