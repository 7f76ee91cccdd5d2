//! A journal in memory, which checks what it is given.

use std::collections::VecDeque;
use std::sync::Mutex;

use dacapo_model::{
    FailedAttempt, Kind, Payload, Recorded, RecordedState, RunId, SaidProgress, Timestamp,
};
use dacapo_sandbox::{
    ChildState, ChildWorkflow, Event, Journal, LogLine, Signal, Stop, Suspended, Suspension, Write,
};

/// When every test's time begins, in milliseconds since 1970.
pub const START_MS: i64 = 1_790_000_000_000;

/// A run's journal. Its clock moves by a millisecond each time that it is looked at, and when a test moves it.
pub struct MemoryJournal {
    state: Mutex<State>,
}

/// An event that has come in, and nobody knows until it is looked.
struct Unseen {
    /// So many looks are made in vain.
    fails: u32,
    event: (String, Event),
}

struct State {
    now_ms: i64,
    rows: Vec<Recorded>,
    /// Every row as it was written, in order.
    writes: Vec<Recorded>,
    logs: Vec<LogLine>,
    progress: Vec<SaidProgress>,
    failed_attempts: Vec<FailedAttempt>,
    /// What happened, in short, in order.
    trace: Vec<String>,
    events: Vec<(String, Event)>,
    unseen: Option<Unseen>,
    taken: Vec<u32>,
    /// Names of the events that instances wanted to take.
    asked: Vec<String>,
    next_seq: u32,
    signals: VecDeque<Option<Signal>>,
    /// What every durable call is told that nothing else is.
    signal: Option<Signal>,
    settle_fails: Option<Stop>,
    wake_once: bool,
    arriving: Option<(String, String)>,
    suspended: Option<Suspension>,
    nudges: u32,
}

impl State {
    fn receive(&mut self, name: &str, json: &str) -> (String, Event) {
        let event = Event {
            seq: self.next_seq,
            name: name.to_owned(),
            payload: Payload::from_trusted(json.to_owned()),
            received_at: Timestamp::from_millis(self.now_ms),
        };
        self.next_seq += 1;
        (name.to_owned(), event)
    }
}

impl MemoryJournal {
    pub fn new() -> MemoryJournal {
        MemoryJournal {
            state: Mutex::new(State {
                now_ms: START_MS,
                rows: Vec::new(),
                writes: Vec::new(),
                logs: Vec::new(),
                progress: Vec::new(),
                failed_attempts: Vec::new(),
                trace: Vec::new(),
                events: Vec::new(),
                unseen: None,
                taken: Vec::new(),
                asked: Vec::new(),
                next_seq: 1,
                signals: VecDeque::new(),
                signal: None,
                settle_fails: None,
                wake_once: false,
                arriving: None,
                suspended: None,
                nudges: 0,
            }),
        }
    }

    pub fn rows(&self) -> Vec<Recorded> {
        self.lock().rows.clone()
    }

    /// The rows as `key kind outcome`, in the order of their positions.
    pub fn keys(&self) -> Vec<String> {
        let mut rows = self.rows();
        rows.sort_by_key(|row| row.position);
        let outcome = |row: &Recorded| match &row.state {
            RecordedState::Open { .. } => "open",
            RecordedState::Done { outcome, .. } => outcome.code(),
        };
        rows.iter()
            .map(|row| format!("{} {} {}", row.key, row.kind.as_str(), outcome(row)))
            .collect()
    }

    /// The attempts that failed, in the order in which they did.
    pub fn failed_attempts(&self) -> Vec<FailedAttempt> {
        self.lock().failed_attempts.clone()
    }

    pub fn logs(&self) -> Vec<LogLine> {
        self.lock().logs.clone()
    }

    /// What was said of how far the run is, in order.
    pub fn progress(&self) -> Vec<SaidProgress> {
        self.lock().progress.clone()
    }

    pub fn messages(&self) -> Vec<String> {
        self.logs().into_iter().map(|line| line.message).collect()
    }

    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    pub fn forget_trace(&self) {
        self.lock().trace.clear();
    }

    /// Names of the events that instances wanted to take, in order.
    pub fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    pub fn forget_asked(&self) {
        self.lock().asked.clear();
    }

    pub fn advance(&self, ms: i64) {
        self.lock().now_ms += ms;
    }

    /// An event comes in now.
    pub fn send(&self, name: &str, json: &str) {
        let mut state = self.lock();
        let event = state.receive(name, json);
        state.events.push(event);
    }

    /// An event that nobody knows of until it is looked, and after so many looks that fail.
    pub fn send_unseen(&self, name: &str, json: &str, fails: u32) {
        let mut state = self.lock();
        let event = state.receive(name, json);
        state.unseen = Some(Unseen { fails, event });
    }

    /// What the next durable calls are told, one each; nothing after that.
    pub fn signal(&self, signals: impl IntoIterator<Item = Option<Signal>>) {
        self.lock().signals.extend(signals);
    }

    /// What all durable calls are told from now on.
    pub fn keep_signal(&self, signal: Option<Signal>) {
        self.lock().signal = signal;
    }

    /// Every row as it was written, in order; a row that was open has several.
    pub fn writes(&self) -> Vec<Recorded> {
        self.lock().writes.clone()
    }

    /// The journal holds what was written so far.
    pub fn put(&self, writes: &[Recorded]) {
        let mut state = self.lock();
        for write in writes {
            state.rows.retain(|row| row.key != write.key);
            state.rows.push(write.clone());
        }
    }

    pub fn fail_settle(&self, stop: Stop) {
        self.lock().settle_fails = Some(stop);
    }

    /// An event comes in while the next suspension is on its way.
    pub fn send_while_suspending(&self, name: &str, json: &str) {
        self.lock().arriving = Some((name.to_owned(), json.to_owned()));
    }

    /// The next suspension is answered with "something came in".
    pub fn wake_once(&self) {
        self.lock().wake_once = true;
    }

    pub fn suspension(&self) -> Option<Suspension> {
        self.lock().suspended.clone()
    }

    pub fn nudges(&self) -> u32 {
        self.lock().nudges
    }

    /// An operator resumes a run that paused itself: every open pause is done.
    pub fn complete_pauses(&self) {
        let mut state = self.lock();
        let finished_at = Timestamp::from_millis(state.now_ms);
        for row in &mut state.rows {
            if row.kind == dacapo_model::Kind::Pause
                && matches!(row.state, RecordedState::Open { .. })
            {
                let outcome = dacapo_model::Outcome::Ok(Payload::null());
                row.state = RecordedState::Done {
                    outcome,
                    finished_at,
                };
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the journal")
    }
}

#[async_trait::async_trait]
impl Journal for MemoryJournal {
    fn now(&self) -> Timestamp {
        let mut state = self.lock();
        state.now_ms += 1;
        Timestamp::from_millis(state.now_ms)
    }

    fn append(&self, write: Write) {
        let mut state = self.lock();
        let write = match write {
            Write::Log(line) => return state.logs.push(line),
            Write::Progress(said) => return state.progress.push(said),
            Write::Record(write) => write,
        };
        let row = write.recorded;
        let outcome = match &row.state {
            RecordedState::Open { .. } => "open",
            RecordedState::Done {
                outcome,
                finished_at,
            } => {
                assert!(
                    *finished_at >= row.started_at,
                    "{} ends before it starts",
                    row.key
                );
                outcome.code()
            }
        };
        state.trace.push(format!("{} {outcome}", row.key));
        state.writes.push(row.clone());
        let known = state.rows.iter().position(|known| known.key == row.key);
        match known {
            Some(at) => {
                let known = &state.rows[at];
                assert!(write.updates_open, "{} is recorded twice", row.key);
                assert!(
                    matches!(known.state, RecordedState::Open { .. }),
                    "{} was done already",
                    row.key
                );
                assert_eq!(
                    (known.position, known.kind, known.started_at),
                    (row.position, row.kind, row.started_at)
                );
                state.rows[at] = row;
            }
            None => {
                assert!(
                    !write.updates_open,
                    "{} updates a row that is not there",
                    row.key
                );
                assert!(
                    state.rows.iter().all(|known| known.position < row.position
                        || (known.key.scope() != row.key.scope() || row.kind == Kind::Branch)
                            && known.position != row.position),
                    "positions grow in each scope, but for branches that end at the same time"
                );
                state.rows.push(row);
            }
        }
        state.failed_attempts.extend(write.failed_attempt);
        if let Some(seq) = write.takes_event {
            assert!(state.taken.contains(&seq), "event {seq} was not looked at");
        }
    }

    fn nudge(&self) {
        self.lock().nudges += 1;
    }

    async fn settle(&self) -> Result<(), Stop> {
        let mut state = self.lock();
        state.trace.push("settle".to_owned());
        state.settle_fails.map_or(Ok(()), Err)
    }

    fn boundary(&self) -> Option<Signal> {
        let mut state = self.lock();
        let signal = state.signal;
        state.signals.pop_front().unwrap_or(signal)
    }

    fn take_event(&self, names: &[String], received_by: Option<Timestamp>) -> Option<Event> {
        let mut state = self.lock();
        state.asked.extend(names.iter().cloned());
        let at = state.events.iter().position(|(known, event)| {
            names.contains(known)
                && received_by.is_none_or(|received_by| event.received_at <= received_by)
        })?;
        let (_, event) = state.events.remove(at);
        state.taken.push(event.seq);
        Some(event)
    }

    fn has_event(&self, names: &[String]) -> bool {
        let state = self.lock();
        state.events.iter().any(|(known, _)| names.contains(known))
    }

    async fn look(&self) {
        let mut state = self.lock();
        let Some(Unseen { fails, event }) = &mut state.unseen else {
            return;
        };
        match fails.checked_sub(1) {
            Some(left) => *fails = left,
            None => {
                let event = event.clone();
                state.unseen = None;
                state.events.push(event);
            }
        }
    }

    fn has_looked_since(&self, at: Timestamp) -> bool {
        let state = self.lock();
        let unseen = state.unseen.as_ref();
        unseen.is_none_or(|Unseen { event, .. }| event.1.received_at > at)
    }

    async fn find_workflow(
        &self,
        name: &str,
        _child: RunId,
        _labels: Option<&[(String, String)]>,
    ) -> Result<Result<ChildWorkflow, String>, Stop> {
        Ok(Err(format!("no workflow `{name}` is deployed")))
    }

    async fn has_queue(&self, _name: &str) -> Result<bool, Stop> {
        Ok(false)
    }

    async fn child_state(&self, _child: RunId) -> Result<ChildState, Stop> {
        Ok(ChildState::Unknown)
    }

    async fn suspend(&self, suspension: Suspension) -> Result<Suspended, Stop> {
        let arriving = {
            let mut state = self.lock();
            state
                .trace
                .push(format!("suspend {}", suspension.reason.as_str()));
            state.suspended = Some(suspension);
            state.wake_once |= state.arriving.is_some();
            state.arriving.take()
        };
        if let Some((name, json)) = arriving {
            self.send(&name, &json);
        }
        let woken = std::mem::take(&mut self.lock().wake_once);
        Ok(if woken {
            Suspended::Woken
        } else {
            Suspended::Gone
        })
    }
}
