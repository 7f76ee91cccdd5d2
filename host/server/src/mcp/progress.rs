//! Telling a client how far a run is, while it waits for it.

use std::time::Duration;

use dacapo_client::{Client, Run, RunId};
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::RequestContext;
use rmcp::{Peer, RoleServer};

/// How often a run is looked at: first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// What a client was told of a run, if it wants to be told.
pub(super) struct Telling {
    to: Option<(Peer<RoleServer>, ProgressToken)>,
    told: u64,
}

impl Telling {
    /// To whoever sent this request.
    pub(super) fn to(context: &RequestContext<RoleServer>) -> Self {
        let token = context.meta.get_progress_token();
        Self {
            to: token.map(|token| (context.peer.clone(), token)),
            told: 0,
        }
    }

    /// Tells how far a run is, whenever it is further. Never ready: whoever calls this waits for something else.
    pub(super) async fn follow(&mut self, client: &Client, run: RunId) {
        let mut pause = FIRST_LOOK;
        while self.to.is_some() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
            match client.check_progress(run).await {
                Ok(now) => {
                    let note = now.note.unwrap_or_else(|| now.status.to_string());
                    if self.tell(now.done, now.total, note).await {
                        pause = FIRST_LOOK;
                    }
                }
                Err(error) => tracing::debug!(%error, %run, "cannot look how far a run is"),
            }
        }
        std::future::pending().await
    }

    /// Tells how far it came at last.
    pub(super) async fn last(&mut self, run: &Run) {
        let now = &run.progress;
        let note = now.note.clone();
        let note = note.unwrap_or_else(|| run.status.to_string());
        self.tell(now.done, now.total, note).await;
    }

    /// Whether there was something to tell: progress that does not grow is none for the protocol.
    async fn tell(&mut self, done: u64, total: Option<u64>, note: String) -> bool {
        let Some((peer, token)) = &self.to else {
            return false;
        };
        if done <= self.told {
            return false;
        }
        self.told = done;
        let mut param = ProgressNotificationParam::new(token.clone(), number(done));
        param = param.with_message(note);
        if let Some(total) = total {
            param = param.with_total(number(total));
        }
        if peer.notify_progress(param).await.is_err() {
            self.to = None;
        }
        true
    }
}

/// The protocol counts in doubles.
fn number(count: u64) -> f64 {
    count as f64
}
