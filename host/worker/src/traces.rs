//! Runs as distributed traces: a run, its steps, their attempts and its waits are spans.
//!
//! A run may go through many processes in many days, and none of them knows of the others' spans. So ids are derived from what all of
//! them know: a span's from the run's id and its entry's key, a trace's from whoever started the run, by the label [`TRACE_PARENT`], or
//! else from the run's id. A span is given away once it is over, by the worker that records its end.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dacapo_model::{
    Kind, Outcome, RecordedState, RunId, StepKey, TRACE_PARENT, Timestamp, TracePlace,
};
use dacapo_sandbox::RecordWrite;
use dacapo_store::{Claimed, End};
use sha2::{Digest, Sha256};

/// Takes spans and sends them to wherever they are looked at. It must not block, and may drop them.
pub trait Traces: fmt::Debug + Send + Sync {
    /// One more span, which is over.
    fn take(&self, span: Span);
}

/// A stretch of time in the life of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace that it belongs to.
    pub trace: [u8; 16],
    /// Its id.
    pub id: [u8; 8],
    /// The span that it is a part of; none: it is the first of its trace.
    pub parent: Option<[u8; 8]>,
    /// A workflow's name, a step's or a wait's key, or `attempt`.
    pub name: String,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What went wrong: a failure's code and message.
    pub failure: Option<(String, String)>,
    /// Names and values.
    pub attributes: Vec<(&'static str, String)>,
}

/// The trace of a run that is played.
pub(crate) struct RunTrace {
    /// Where spans go; none: this worker only hands the context on.
    sink: Option<Arc<dyn Traces>>,
    run: RunId,
    retries: u16,
    workflow: String,
    began: Timestamp,
    /// Where its starter stands.
    parent: Option<TracePlace>,
    trace: [u8; 16],
    flags: u8,
    labels: Vec<(String, String)>,
    /// Attempts whose bodies run.
    attempts: Mutex<HashMap<StepKey, (u32, Timestamp)>>,
}

impl RunTrace {
    /// The trace of a claimed run; none: nobody wants to see it, and its starter has handed nothing on.
    pub(crate) fn of(claimed: &Claimed, sink: Option<&Arc<dyn Traces>>) -> Option<Self> {
        let parent = claimed
            .labels
            .iter()
            .find(|(name, _)| name == TRACE_PARENT)
            .and_then(|(_, value)| TracePlace::parse(value));
        let is_wanted = parent.is_none_or(TracePlace::is_sampled);
        let sink = sink.filter(|_| is_wanted).map(Arc::clone);
        if sink.is_none() && parent.is_none() {
            return None;
        }
        Some(Self {
            sink,
            run: claimed.run,
            retries: claimed.retries,
            workflow: claimed.workflow.clone(),
            began: began(claimed),
            trace: parent.map_or_else(|| claimed.run.0.into_bytes(), |parent| parent.trace),
            flags: parent.map_or(1, |parent| parent.flags),
            parent,
            labels: match parent {
                Some(_) => claimed.labels.clone(),
                None => Vec::new(),
            },
            attempts: Mutex::default(),
        })
    }

    /// An attempt's body begins.
    pub(crate) fn begins(&self, key: &StepKey, number: u32, at: Timestamp) {
        if self.sink.is_some() {
            self.attempts().insert(key.clone(), (number, at));
        }
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, HashMap<StepKey, (u32, Timestamp)>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a request that an attempt sends says of where it comes from.
    pub(crate) fn header(&self, key: &StepKey, number: u32) -> String {
        self.place(self.span_of_attempt(key, number)).to_string()
    }

    /// The labels of a child that a run of a trace starts: those that it is given, or its parent's, with its place in the trace.
    pub(crate) fn labels_of_child(
        &self,
        key: &StepKey,
        given: Option<Vec<(String, String)>>,
    ) -> Option<Vec<(String, String)>> {
        if self.parent.is_none() {
            return given;
        }
        let mut labels = given.unwrap_or_else(|| self.labels.clone());
        let place = self.place(self.span_of(key.as_str())).to_string();
        match labels.iter_mut().find(|(name, _)| name == TRACE_PARENT) {
            Some((_, value)) => *value = place,
            None => {
                labels.push((TRACE_PARENT.to_owned(), place));
                labels.sort();
            }
        }
        Some(labels)
    }

    fn place(&self, span: [u8; 8]) -> TracePlace {
        TracePlace {
            trace: self.trace,
            span,
            flags: self.flags,
        }
    }

    fn span_of(&self, what: &str) -> [u8; 8] {
        let mut hash = Sha256::new()
            .chain_update(self.run.0.as_bytes())
            .chain_update(what);
        // A run that is retried ends once more, and tries steps again.
        if self.retries > 0 {
            hash = hash
                .chain_update([0])
                .chain_update(self.retries.to_be_bytes());
        }
        let hash = hash.finalize();
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        // No span may be nothing.
        id[0] |= 1;
        id
    }

    fn span_of_attempt(&self, key: &StepKey, number: u32) -> [u8; 8] {
        // No key holds a space and then a number: names of steps hold no spaces at their ends.
        self.span_of(&format!("{key} {number}"))
    }

    /// The run records this.
    pub(crate) fn recorded(&self, write: &RecordWrite) {
        let Some(sink) = &self.sink else { return };
        let recorded = &write.recorded;
        let key = &recorded.key;
        if let Some(failed) = &write.failed_attempt {
            self.attempts().remove(key);
            let failure = &failed.failure;
            sink.take(Span {
                failure: Some((failure.code.clone(), failure.message.clone())),
                ..self.attempt(key, failed.number, failed.started_at, failed.finished_at)
            });
        }
        let RecordedState::Done {
            outcome,
            finished_at,
        } = &recorded.state
        else {
            return;
        };
        if recorded.kind == Kind::Step
            && let Some((number, at)) = self.attempts().remove(key)
        {
            sink.take(self.attempt(key, number, at, *finished_at));
        }
        let failure = match outcome {
            Outcome::Failed(failure) => Some((failure.code.clone(), failure.message.clone())),
            _ => None,
        };
        let parent = match key.as_str().rsplit_once('/') {
            Some((above, _)) => self.span_of(above),
            None => self.span_of(""),
        };
        sink.take(Span {
            trace: self.trace,
            id: self.span_of(key.as_str()),
            parent: Some(parent),
            name: key.as_str().to_owned(),
            began: recorded.started_at,
            ended: *finished_at,
            failure,
            attributes: vec![
                ("dacapo.run.id", self.run.to_string()),
                ("dacapo.workflow", self.workflow.clone()),
                ("dacapo.step.key", key.as_str().to_owned()),
                ("dacapo.step.kind", recorded.kind.as_str().to_owned()),
                ("dacapo.step.outcome", outcome.code().to_owned()),
            ],
        });
    }

    fn attempt(&self, key: &StepKey, number: u32, began: Timestamp, ended: Timestamp) -> Span {
        Span {
            trace: self.trace,
            id: self.span_of_attempt(key, number),
            parent: Some(self.span_of(key.as_str())),
            name: "attempt".to_owned(),
            began,
            ended,
            failure: None,
            attributes: vec![
                ("dacapo.run.id", self.run.to_string()),
                ("dacapo.workflow", self.workflow.clone()),
                ("dacapo.step.key", key.as_str().to_owned()),
                ("dacapo.attempt", number.to_string()),
            ],
        }
    }

    /// The span of a run that is about to end so; none: it does not end, or nobody wants to see it.
    pub(crate) fn end(&self, end: &End) -> Option<Span> {
        self.sink.as_ref()?;
        let (status, failure) = match end {
            End::Completed(_) => ("completed", None),
            End::Failed(failure) => ("failed", Some(failure)),
            End::Cancelled(failure) => ("cancelled", failure.as_ref()),
            End::Suspended { .. } | End::Blocked(_) => return None,
        };
        Some(Span {
            trace: self.trace,
            id: self.span_of(""),
            parent: self.parent.map(|parent| parent.span),
            name: self.workflow.clone(),
            began: self.began,
            ended: self.began,
            failure: failure.map(|failure| (failure.code.clone(), failure.message.clone())),
            attributes: vec![
                ("dacapo.run.id", self.run.to_string()),
                ("dacapo.workflow", self.workflow.clone()),
                ("dacapo.run.status", status.to_owned()),
            ],
        })
    }

    /// The run has ended as its span says, at this time.
    pub(crate) fn ended(&self, span: Span, at: Timestamp) {
        if let Some(sink) = &self.sink {
            sink.take(Span { ended: at, ..span });
        }
    }
}

/// When a run was started: one that goes on from the journal of another one has its time.
fn began(claimed: &Claimed) -> Timestamp {
    let own = || {
        let (seconds, nanos) = claimed.run.0.get_timestamp()?.to_unix();
        let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
        Some(Timestamp::from_micros(micros + i64::from(nanos / 1_000)))
    };
    if claimed.seed == claimed.run {
        return claimed.created_at;
    }
    own().unwrap_or(claimed.created_at)
}
