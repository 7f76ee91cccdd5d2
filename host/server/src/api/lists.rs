//! The list of runs as its streams see it.

use std::sync::Arc;
use std::time::Duration;

use dacapo_client::{Client, ClientError, ListFilter};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::in_use::{InUse, PATIENCE};
use crate::app::sight;

/// How often a list is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often runs are counted: on a large database that is more work than a page.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Looks take at most this part of the time: lists may be long.
const REST_FACTOR: u32 = 10;

/// Rows of each kind that are counted.
const COUNTED_MAX: u32 = 10_000;

/// A list.
pub(crate) struct List {
    filter: ListFilter,
    seen: Mutex<Option<Seen>>,
}

/// What was seen of it.
#[derive(Clone)]
pub(super) struct Seen {
    /// The page, as JSON.
    pub(super) page: Arc<str>,
    /// How many runs there are in each status, as JSON.
    pub(super) counts: Arc<str>,
    /// Before that the list is not looked at again.
    pub(super) next: Instant,
    next_count: Instant,
}

impl List {
    /// What a client sees of a list.
    pub(super) fn of(lists: &InUse<Self>, client: &Client, filter: ListFilter) -> Arc<Self> {
        let name = format!("{} {filter:?}", sight(client));
        lists.get(name, || Self {
            filter,
            seen: Mutex::default(),
        })
    }

    /// The list as it is now, or was a moment ago. `client` sees what the one does that it is for.
    pub(super) async fn look(&self, client: &Client) -> Result<Seen, ClientError> {
        // Held meanwhile: whoever asks then is given the same answer. Nobody waits for long behind somebody else.
        let Ok(mut seen) = timeout(PATIENCE, self.seen.lock()).await else {
            return self.look_anew(client, None).await;
        };
        let now = Instant::now();
        if let Some(seen) = seen.as_ref().filter(|seen| now < seen.next) {
            return Ok(seen.clone());
        }
        let now = self.look_anew(client, seen.as_ref()).await?;
        *seen = Some(now.clone());
        Ok(now)
    }

    async fn look_anew(&self, client: &Client, before: Option<&Seen>) -> Result<Seen, ClientError> {
        let began = Instant::now();
        let page = client.list(self.filter.clone()).await?;
        let page = serde_json::to_string(&page).unwrap_or_default();
        let (counts, next_count) = match before.filter(|seen| began < seen.next_count) {
            Some(seen) => (Arc::clone(&seen.counts), seen.next_count),
            None => {
                let began = Instant::now();
                let counts = self.count(client).await?;
                let rest = COUNT_EVERY.max(began.elapsed() * REST_FACTOR);
                (counts.into(), Instant::now() + rest)
            }
        };
        Ok(Seen {
            page: page.into(),
            counts,
            next: Instant::now() + LOOK_EVERY.max(began.elapsed() * REST_FACTOR),
            next_count,
        })
    }

    async fn count(&self, client: &Client) -> Result<String, ClientError> {
        let filter = self.filter.runs.clone();
        let counts = client.count_up_to(filter, COUNTED_MAX).await?;
        let counts: serde_json::Map<_, _> = counts
            .into_iter()
            .map(|(status, counted)| {
                let counted = json!({ "runs": counted.runs, "isAll": counted.is_all });
                (status.to_string(), counted)
            })
            .collect();
        Ok(serde_json::Value::Object(counts).to_string())
    }
}
