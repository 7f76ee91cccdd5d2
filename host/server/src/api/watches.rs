//! A run as its streams see it.

use std::sync::Arc;

use dacapo_client::{Client, ClientError, RunId, Watched};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::in_use::{InUse, PATIENCE};
use crate::app::sight;

/// A run with more in it is not kept, but read anew for each look: many may be looked at.
const KEPT_MAX: usize = 2 << 20;

/// A run that somebody looks at again and again.
pub(crate) struct Watch {
    run: RunId,
    /// What was seen of it, and when somebody began to look.
    seen: Mutex<Option<(Instant, Arc<Watched>)>>,
}

impl Watch {
    /// What a client sees of a run.
    pub(super) fn of(watches: &InUse<Self>, client: &Client, run: RunId) -> Arc<Self> {
        let name = format!("{} {run}", sight(client));
        watches.get(name, || Self {
            run,
            seen: Mutex::default(),
        })
    }

    /// The run as it was at `since`, or later. Of its journal only what may have changed since the last look is read. `client` sees what the one
    /// does that it is for.
    pub(super) async fn look(
        &self,
        client: &Client,
        since: Instant,
    ) -> Result<Arc<Watched>, ClientError> {
        // Held meanwhile: whoever asks then may be given the same answer. Nobody waits for long behind somebody else.
        let Ok(mut seen) = timeout(PATIENCE, self.seen.lock()).await else {
            return Ok(Arc::new(client.watch(self.run).await?));
        };
        if let Some((_, watched)) = seen.as_ref().filter(|(at, _)| *at >= since) {
            return Ok(Arc::clone(watched));
        }
        let began = Instant::now();
        let watched = match seen.take() {
            Some((_, before)) => client.watch_again(Arc::unwrap_or_clone(before)).await?,
            None => client.watch(self.run).await?,
        };
        let is_large = watched.bytes() > KEPT_MAX;
        let watched = Arc::new(watched);
        *seen = (!is_large).then(|| (began, Arc::clone(&watched)));
        Ok(watched)
    }
}
