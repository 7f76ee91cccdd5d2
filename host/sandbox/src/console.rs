//! The run's log: what the guest logs and prints, in the order in which it did.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dacapo_model::StepKey;
use dacapo_outbound::Grants;

use crate::journal::{Journal, Level, LogLine, LogSource, Stop, Write};
use crate::text::cut;

/// Bytes of log lines that may be on their way to the journal before the guest has to wait for them.
const IN_FLIGHT_MAX_BYTES: usize = 256 << 10;

/// What a line costs beside its text, and a field beside its name and value, in bytes: empty ones are not for nothing.
const LINE_COSTS_BYTES: usize = 64;
const FIELD_COSTS_BYTES: usize = 8;

/// Bytes of the guest's latest standard error that are kept to explain a trap.
const TAIL_MAX_BYTES: usize = 4 << 10;

/// How much of its log a run has written in one go: one for all instances that play it.
#[derive(Debug, Default)]
pub(crate) struct LogUse {
    written_bytes: AtomicUsize,
    /// Nothing more is written, and the log says so.
    full: AtomicBool,
}

/// Writes a run's log lines to its journal, or swallows them while the guest only repeats what it did before.
///
/// It is shared by the host functions and by the guest's output streams, which have no other way to reach the run.
#[derive(Clone)]
pub(crate) struct Console(Arc<Inner>);

struct Inner {
    journal: Arc<dyn Journal>,
    /// What has been used of their secrets is in no line.
    grants: Arc<Grants>,
    line_max_bytes: usize,
    total_max_bytes: usize,
    used: Arc<LogUse>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    silent: bool,
    step: Option<StepKey>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// The latest lines of standard error, silent or not.
    tail: VecDeque<String>,
    tail_bytes: usize,
    in_flight_bytes: usize,
    /// The journal takes nothing more.
    closed: bool,
}

impl Console {
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        grants: Arc<Grants>,
        line_max_bytes: usize,
        total_max_bytes: usize,
        used: Arc<LogUse>,
    ) -> Console {
        Console(Arc::new(Inner {
            journal,
            grants,
            line_max_bytes,
            total_max_bytes,
            used,
            state: Mutex::default(),
        }))
    }

    /// The guest crossed a boundary: what it writes from now on belongs to `step`, and is swallowed when `silent`.
    pub(crate) fn enter(&self, step: Option<StepKey>, silent: bool) {
        let mut state = self.lock();
        self.flush_partial(&mut state);
        state.step = step;
        state.silent = silent;
    }

    /// Writes one line.
    pub(crate) fn log(&self, level: Level, message: &str, fields: Vec<(String, String)>) {
        let mut state = self.lock();
        self.write(&mut state, level, message, fields, LogSource::Log);
    }

    /// Takes what the guest wrote to one of its output streams; each full line becomes a line of the log.
    pub(crate) fn print(&self, source: LogSource, bytes: &[u8]) {
        let mut state = self.lock();
        let mut buffer = std::mem::take(state.buffer(source));
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            buffer.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            self.print_line(&mut state, source, &buffer);
            buffer.clear();
        }
        buffer.extend_from_slice(rest);
        // A line that never ends must not grow for ever.
        if buffer.len() > self.0.line_max_bytes {
            self.print_line(&mut state, source, &buffer);
            buffer.clear();
        }
        *state.buffer(source) = buffer;
    }

    /// Writes out lines that have no end yet.
    pub(crate) fn flush(&self) {
        let mut state = self.lock();
        self.flush_partial(&mut state);
    }

    /// Whether the guest has to wait before it writes more.
    fn is_congested(&self) -> bool {
        self.lock().in_flight_bytes > IN_FLIGHT_MAX_BYTES
    }

    /// Waits until the journal has taken what was written, if that is a lot.
    pub(crate) async fn relieve(&self) -> Result<(), Stop> {
        if !self.is_congested() {
            return Ok(());
        }
        let settled = self.0.journal.settle().await;
        let mut state = self.lock();
        state.in_flight_bytes = 0;
        // Nothing more can be written, and the guest must not hang on its output until it finds out.
        state.closed |= settled.is_err();
        settled
    }

    /// The latest lines that the guest wrote to its standard error.
    pub(crate) fn error_tail(&self) -> Vec<String> {
        self.lock().tail.iter().cloned().collect()
    }

    fn flush_partial(&self, state: &mut State) {
        if state.stdout.is_empty() && state.stderr.is_empty() {
            return;
        }
        for source in [LogSource::Stdout, LogSource::Stderr] {
            let mut buffer = std::mem::take(state.buffer(source));
            if !buffer.is_empty() {
                self.print_line(state, source, &buffer);
                buffer.clear();
            }
            *state.buffer(source) = buffer;
        }
    }

    fn print_line(&self, state: &mut State, source: LogSource, line: &[u8]) {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        let level = match source {
            LogSource::Stderr => {
                state.remember(&line);
                Level::Warn
            }
            LogSource::Stdout | LogSource::Log => Level::Info,
        };
        self.write(state, level, &line, Vec::new(), source);
    }

    fn write(
        &self,
        state: &mut State,
        level: Level,
        message: &str,
        fields: Vec<(String, String)>,
        source: LogSource,
    ) {
        let used = &self.0.used;
        if state.silent || state.closed || used.full.load(Ordering::Relaxed) {
            return;
        }
        let message = clean(&self.0.grants.hide(message), self.0.line_max_bytes);
        let fields = fields.into_iter().map(|(name, value)| {
            let value = self.0.grants.hide(value).into_owned();
            (name, value)
        });
        let fields = fields.collect();
        let fields = clean_fields(fields, self.0.line_max_bytes);
        let bytes = cost(&message, &fields);
        let before = used.written_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.0.total_max_bytes {
            if used.full.swap(true, Ordering::Relaxed) {
                return;
            }
            let message = format!(
                "the log ends here: more than {} bytes were written to it",
                self.0.total_max_bytes
            );
            self.append(state, Level::Warn, message, Vec::new(), LogSource::Log);
            return;
        }
        self.append(state, level, message, fields, source);
    }

    fn append(
        &self,
        state: &mut State,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
        source: LogSource,
    ) {
        state.in_flight_bytes = state
            .in_flight_bytes
            .saturating_add(cost(&message, &fields));
        let at = self.0.journal.now();
        self.0.journal.append(Write::Log(LogLine {
            at,
            level,
            step: state.step.clone(),
            message,
            fields,
            source,
        }));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn buffer(&mut self, source: LogSource) -> &mut Vec<u8> {
        match source {
            LogSource::Stderr => &mut self.stderr,
            LogSource::Stdout | LogSource::Log => &mut self.stdout,
        }
    }

    fn remember(&mut self, line: &str) {
        let line = clean(line, TAIL_MAX_BYTES / 2);
        self.tail_bytes += line.len();
        self.tail.push_back(line);
        while self.tail_bytes > TAIL_MAX_BYTES {
            let Some(oldest) = self.tail.pop_front() else {
                break;
            };
            self.tail_bytes -= oldest.len();
        }
    }
}

/// What a line costs the journal.
fn cost(message: &str, fields: &[(String, String)]) -> usize {
    let fields = fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + FIELD_COSTS_BYTES);
    LINE_COSTS_BYTES + message.len() + fields.sum::<usize>()
}

/// Text as the log can hold it: without NUL, which Postgres refuses, and no longer than allowed.
fn clean(text: &str, max_bytes: usize) -> String {
    let mut kept = cut(text, max_bytes);
    if kept.contains('\0') {
        kept = kept.replace('\0', "\u{FFFD}");
    }
    kept
}

fn clean_fields(fields: Vec<(String, String)>, max_bytes: usize) -> Vec<(String, String)> {
    let count = fields.len();
    let mut left = max_bytes;
    let mut kept = Vec::with_capacity(count.min(64));
    for (name, value) in fields {
        if left == 0 {
            kept.push(("cut".to_owned(), format!("{count} fields in all")));
            break;
        }
        let (name, value) = (clean(&name, 200), clean(&value, left));
        left = left.saturating_sub(name.len() + value.len() + FIELD_COSTS_BYTES);
        kept.push((name, value));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_characters_are_replaced() {
        assert_eq!(clean("a\0b", 10), "a\u{FFFD}b");
    }
}
