//! Runs as distributed traces: a run, its steps, their attempts and its waits are spans.
//!
//! A run may go through many processes in many days, and none of them knows of the others' spans. So ids are derived from what all of
//! them know: a span's from the run's id and its entry's key, a trace's from whoever started the run, by the label [`TRACE_PARENT`], or
//! else from the run's id. A span is given away once it is over, by the worker that records its end.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dacapo_model::{Kind, Outcome, RecordedState, RunId, StepKey, Timestamp};
use dacapo_sandbox::RecordWrite;
use dacapo_store::{Claimed, End};
use sha2::{Digest, Sha256};

/// The label of a run that says in which trace its span belongs, and below which span, as the header of that name does:
/// `00-<trace, 32 hexadecimal digits>-<span, 16>-<flags, 2>`.
pub const TRACE_PARENT: &str = "traceparent";

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

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

impl Place {
    /// Whether somebody wants to see the spans below it.
    fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let place = Self {
            trace: hexadecimal(trace)?,
            span: hexadecimal(span)?,
            flags: hexadecimal::<1>(flags)?[0],
        };
        // A newer version may say more at the end; none may be all zeros, and `ff` is no version.
        let is_known = hexadecimal::<1>(version)? != [0xff]
            && (version != "00" || parts.next().is_none())
            && place.trace != [0; 16]
            && place.span != [0; 8];
        is_known.then_some(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        for byte in self.trace {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("-")?;
        for byte in self.span {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "-{:02x}", self.flags)
    }
}

fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(is_lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Whether a text is a place in a trace, as [`TRACE_PARENT`] wants it.
pub fn is_trace_parent(text: &str) -> bool {
    Place::parse(text).is_some()
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
    parent: Option<Place>,
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
            .and_then(|(_, value)| Place::parse(value));
        let is_wanted = parent.is_none_or(Place::is_sampled);
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

    fn place(&self, span: [u8; 8]) -> Place {
        Place {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_trace_survives_text_and_what_is_none_is_not_taken() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(Place::parse(text).unwrap().to_string(), text);
        assert!(Place::parse(&format!("{text}-more").replacen("00-", "01-", 1)).is_some());
        for other in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Place::parse(other), None, "{other}");
        }
    }
}
