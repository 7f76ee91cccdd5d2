//! Looks for what a worker has missed, beside its control loop: while somebody holds an old snapshot they take long, and nobody waits for them.

use std::sync::Arc;
use std::time::Duration;

use dacapo_model::Timestamp;
use dacapo_store::{LookBack, LookedBack, Store, StoreError, in_time};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::coordinator::{Inbox, PATIENCE, PATIENCE_MAX};
use crate::incarnation::Incarnation;

/// Between two looks at everything so many times as long passes as the first of them took, within these bounds.
const REST_FOR_LOOK: u32 = 200;
const REST_MIN: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(10);
/// Before it is tried again after one that has failed.
const REST_FOR_FAILURE: Duration = Duration::from_secs(1);

/// The look that is under way, if there is one, and when the next one at everything is due.
pub(crate) struct Lookout {
    under_way: Option<UnderWay>,
    next_everything: Instant,
    /// How long one at lines may take; twice as long after each that has taken longer.
    patience: Duration,
    /// And one at everything.
    patience_for_everything: Duration,
}

struct UnderWay {
    looks: LookBack,
    answer: oneshot::Receiver<(Result<LookedBack, StoreError>, Duration)>,
}

/// A look that has ended.
pub(crate) struct Ended {
    /// The lines that it looked at.
    pub(crate) lines: Vec<(Option<i32>, Timestamp)>,
    /// Whether it looked at everything.
    pub(crate) everything: bool,
    /// What it found; none: it has failed.
    pub(crate) found: Option<LookedBack>,
    pub(crate) took: Duration,
}

impl Lookout {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            under_way: None,
            next_everything: now,
            patience: PATIENCE,
            patience_for_everything: PATIENCE,
        }
    }

    /// Nobody knows what was missed.
    pub(crate) fn miss(&mut self, now: Instant) {
        self.next_everything = now;
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether the next one is to look at everything.
    pub(crate) fn wants_everything(&self, now: Instant) -> bool {
        self.next_everything <= now
    }

    /// Begins one, whose end rings the control loop.
    pub(crate) fn begin(
        &mut self,
        incarnation: &Incarnation,
        store: &Store,
        inbox: &Arc<Inbox>,
        looks: LookBack,
    ) {
        let everything = looks.everything.is_some();
        if everything {
            // Until it has ended.
            self.next_everything = Instant::now() + PATIENCE_MAX + REST_MAX;
        }
        let (tell, answer) = oneshot::channel();
        let (store, inbox, worker) = (store.clone(), Arc::clone(inbox), incarnation.id);
        let (asks, patience) = (looks.clone(), *self.patience_for(everything));
        incarnation.in_background(async move {
            let asked = Instant::now();
            let found = dacapo_store::look_back(&store, worker, &asks);
            let found = in_time(patience, found).await;
            // The loop may be gone.
            let _ = tell.send((found, asked.elapsed()));
            inbox.bell.notify_one();
        });
        self.under_way = Some(UnderWay { looks, answer });
    }

    fn patience_for(&mut self, everything: bool) -> &mut Duration {
        if everything {
            &mut self.patience_for_everything
        } else {
            &mut self.patience
        }
    }

    /// The one that was under way, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<Ended> {
        let under_way = self.under_way.as_mut()?;
        let (answer, took) = match under_way.answer.try_recv() {
            Ok((answer, took)) => (answer.map_err(Some), took),
            Err(oneshot::error::TryRecvError::Empty) => return None,
            Err(oneshot::error::TryRecvError::Closed) => (Err(None), Duration::ZERO),
        };
        let UnderWay { looks, .. } = self.under_way.take()?;
        let now = Instant::now();
        let everything = looks.everything.is_some();
        let patience = self.patience_for(everything);
        let found = match answer {
            Ok(found) => {
                *patience = PATIENCE;
                if everything {
                    let rest = (REST_FOR_LOOK * took).clamp(REST_MIN, REST_MAX);
                    // Something may have been missed since it began.
                    self.next_everything = self.next_everything.min(now + rest);
                }
                Some(found)
            }
            Err(error) => {
                if error.as_ref().is_some_and(StoreError::is_late) {
                    *patience = (*patience * 2).min(PATIENCE_MAX);
                }
                let error = error.as_ref().map(StoreError::reason);
                tracing::debug!(error, "it was not looked for what was missed");
                if everything {
                    self.next_everything = self.next_everything.min(now + REST_FOR_FAILURE);
                }
                None
            }
        };
        Some(Ended {
            lines: looks.lines,
            everything,
            found,
            took,
        })
    }
}
