//! Finding runs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use dacapo_model::{RunId, Status, Timestamp};
use dacapo_store::{Counted, FindRuns, PageAt, RunRow};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::options::{check_labels, check_text};
use crate::retry::retried;
use crate::run::RunSummary;
use crate::{Client, ClientError};

/// Runs of a page where nobody says how many.
const LIMIT: u32 = 50;

/// Runs of a page at most.
const LIMIT_MAX: u32 = 1_000;

/// The longest text of a failure to look for, in bytes.
const FAILURE_BYTES_MAX: usize = 500;

/// Which runs are asked for: those that have all of this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only with this status.
    pub status: Option<Status>,
    /// Only of this workflow; a short name is taken as in [`Client::start_by_name`].
    pub workflow: Option<String>,
    /// Only of the deployment with this number, of every package that has one.
    pub deployment: Option<i32>,
    /// Only with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only those that failed, or returned an error when they were cancelled, and whose failure has all of these words: in its code or
    /// in the first 4,000 characters of its message, each as the beginning of a word, in upper or lower case.
    pub failure: Option<String>,
    /// Only those created at this time or later.
    pub created_since: Option<Timestamp>,
    /// Only those created before this time.
    pub created_before: Option<Timestamp>,
}

/// Which part of the list of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFilter {
    /// Which runs are in the list.
    pub runs: RunFilter,
    /// How many at most, 1 to 1,000. Default: 50.
    pub limit: u32,
    /// Go on after this place.
    pub after: Option<Cursor>,
    /// Go back to what is in front of this place, and next to it.
    pub before: Option<Cursor>,
}

impl Default for ListFilter {
    fn default() -> Self {
        Self {
            runs: RunFilter::default(),
            limit: LIMIT,
            after: None,
            before: None,
        }
    }
}

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The entries, the newest first.
    pub items: Vec<T>,
    /// Where to go on; none at the end of the list.
    pub next: Option<Cursor>,
    /// Where to go back to; none at the beginning of the list.
    pub previous: Option<Cursor>,
}

/// A place in a list of runs. Its text form means nothing to anybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    created_at: Timestamp,
    id: RunId,
}

/// The text is not a place in a list.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a cursor: {0:?}: expected the `next` or the `previous` of another page")]
pub struct CursorError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:x}.{}",
            self.created_at.as_micros(),
            self.id.0.simple()
        )
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parse = || {
            let (micros, id) = text.split_once('.')?;
            let micros = i64::from_str_radix(micros, 16).ok()?;
            let id = uuid::Uuid::try_parse(id).ok()?;
            Some(Self {
                created_at: Timestamp::from_micros(micros),
                id: RunId(id),
            })
        };
        parse().ok_or_else(|| CursorError(text.chars().take(80).collect()))
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Client {
    /// Runs of the client's namespace, the newest first.
    ///
    /// # Errors
    /// [`ClientError::BadArgument`], and those of a short name of a workflow.
    pub async fn list(&self, filter: ListFilter) -> Result<Page<RunSummary>, ClientError> {
        if filter.limit == 0 || filter.limit > LIMIT_MAX {
            return Err(ClientError::BadArgument {
                what: "limit",
                message: format!("{} is not within 1 to {LIMIT_MAX}", filter.limit),
            });
        }
        let at = match (filter.after, filter.before) {
            (None, None) => PageAt::Newest,
            (Some(after), None) => PageAt::After(after.created_at, after.id),
            (None, Some(before)) => PageAt::Before(before.created_at, before.id),
            (Some(_), Some(_)) => {
                return Err(ClientError::BadArgument {
                    what: "cursor",
                    message: "expected a place to go on after or one to go back from, got both"
                        .to_owned(),
                });
            }
        };
        if let Some(remote) = self.remote() {
            return remote.list(&filter).await;
        }
        let Some(runs) = self.reached(filter.runs).await? else {
            return Ok(Page {
                items: Vec::new(),
                next: None,
                previous: None,
            });
        };
        let store = self.store();
        let patterns = self.patterns();
        let find = self.find(&runs, patterns.as_deref());
        // One more than is asked for tells whether there are more in that direction.
        let limit = filter.limit + 1;
        let mut rows = retried(|| dacapo_store::list_runs(store, &find, at, limit)).await?;
        let more = rows.len() > filter.limit as usize;
        let back = matches!(at, PageAt::Before(..));
        if more && back {
            rows.remove(0);
        }
        rows.truncate(filter.limit as usize);
        let place = |row: Option<&RunRow>| {
            row.map(|row| Cursor {
                created_at: row.created_at,
                id: row.id,
            })
        };
        // Whoever went in one direction came from the other.
        let next = place(rows.last()).filter(|_| more || back);
        let came_on = matches!(at, PageAt::After(..));
        let previous = place(rows.first()).filter(|_| came_on || (more && back));
        let items = self.summaries(rows).await?;
        Ok(Page {
            items,
            next,
            previous,
        })
    }

    /// The run of a workflow that was started last, whatever became of it; none if none is kept. A short name is taken as in
    /// [`Client::start_by_name`].
    ///
    /// # Errors
    /// Those of a short name of a workflow.
    pub async fn last_run(&self, workflow: &str) -> Result<Option<RunSummary>, ClientError> {
        let filter = ListFilter {
            runs: RunFilter {
                workflow: Some(workflow.to_owned()),
                ..RunFilter::default()
            },
            limit: 1,
            ..ListFilter::default()
        };
        Ok(self.list(filter).await?.items.pop())
    }

    /// How many runs of the client's namespace there are in each status: in that of the filter alone if it names one.
    ///
    /// # Errors
    /// [`ClientError::BadArgument`], and those of a short name of a workflow.
    pub async fn count(&self, filter: RunFilter) -> Result<BTreeMap<Status, u64>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.count(&filter).await;
        }
        let only = filter.status;
        let mut counts = BTreeMap::new();
        if let Some(runs) = self.reached(filter).await? {
            let store = self.store();
            let patterns = self.patterns();
            let find = self.find(&runs, patterns.as_deref());
            counts = retried(|| dacapo_store::count_runs(store, &find)).await?;
        }
        for status in Status::ALL {
            if only.is_none_or(|only| only == status) {
                counts.entry(status).or_default();
            }
        }
        Ok(counts)
    }

    /// How many runs of the client's namespace there are in each status, whatever the filter says of statuses, as far as `rows` rows of each
    /// kind tell: however many there are, it takes no longer than these rows do.
    ///
    /// # Errors
    /// Those of [`Client::count`].
    pub async fn count_up_to(
        &self,
        filter: RunFilter,
        rows: u32,
    ) -> Result<BTreeMap<Status, Counted>, ClientError> {
        self.needs_no_server("to count runs no further than some rows")?;
        let Some(runs) = self.reached(filter).await? else {
            let nothing = Counted {
                runs: 0,
                is_all: true,
            };
            return Ok(Status::ALL
                .into_iter()
                .map(|status| (status, nothing))
                .collect());
        };
        let store = self.store();
        let patterns = self.patterns();
        let find = self.find(&runs, patterns.as_deref());
        Ok(retried(|| dacapo_store::count_runs_up_to(store, &find, rows)).await?)
    }

    /// The filter with what the client is limited to. None: no run can be both.
    async fn reached(&self, filter: RunFilter) -> Result<Option<RunFilter>, ClientError> {
        let mut runs = self.checked(filter).await?;
        let Some(scope) = self.limits_of_scope() else {
            return Ok(Some(runs));
        };
        if let Some(workflow) = &runs.workflow
            && !scope.covers_workflow(workflow)
        {
            return Ok(None);
        }
        for (name, value) in &scope.labels {
            let asked = runs.labels.entry(name.clone()).or_insert(value.clone());
            if asked != value {
                return Ok(None);
            }
        }
        Ok(Some(runs))
    }

    /// The workflows that the client is limited to, as the store takes them.
    fn patterns(&self) -> Option<Vec<String>> {
        let workflows = &self.scope()?.workflows;
        let patterns = || workflows.iter().map(|pattern| pattern.to_like()).collect();
        (!workflows.is_empty()).then(patterns)
    }

    /// The filter with the workflow's full name, once nothing is wrong with it.
    async fn checked(&self, mut filter: RunFilter) -> Result<RunFilter, ClientError> {
        check_labels(&filter.labels)?;
        if let Some(number) = filter.deployment
            && number < 1
        {
            return Err(ClientError::BadArgument {
                what: "deployment",
                message: format!("{number} is no number of a deployment: they begin with 1"),
            });
        }
        if let Some(text) = &filter.failure {
            check_text("failure", text, FAILURE_BYTES_MAX)?;
            if !text.chars().any(char::is_alphanumeric) {
                return Err(ClientError::BadArgument {
                    what: "failure",
                    message: format!("{text:?} holds no word to look for"),
                });
            }
        }
        if let (Some(since), Some(before)) = (filter.created_since, filter.created_before)
            && since >= before
        {
            return Err(ClientError::BadArgument {
                what: "time",
                message: format!("nothing is created since {since} and before {before}"),
            });
        }
        filter.workflow = self.full_workflow(filter.workflow).await?;
        Ok(filter)
    }

    fn find<'a>(&'a self, filter: &'a RunFilter, patterns: Option<&'a [String]>) -> FindRuns<'a> {
        FindRuns {
            namespace: &self.namespace,
            status: filter.status,
            workflow: filter.workflow.as_deref(),
            workflows_like: patterns,
            deployment: filter.deployment,
            labels: (!filter.labels.is_empty()).then_some(&filter.labels),
            failure: filter.failure.as_deref(),
            created_since: filter.created_since,
            created_before: filter.created_before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_their_text_form() {
        let cursor = Cursor {
            created_at: Timestamp::from_micros(1_795_420_800_123_456),
            id: RunId::new(),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        let json = serde_json::to_string(&cursor).unwrap();
        assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), cursor);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            "x.01938e60-5a1c-7cc0-9d2f-3b8f0a6c41d7",
            "1.2",
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
