//! How a run looks on a screen: what it is doing above, its steps as they come, its last log lines, and the keys.

use super::list::{reason, waits_for};
use super::logs::log_text;
use super::show::{duration, outcome};
use crate::ui::{Line, Tone};
use dacapo_client::{LogLine, Run, RunId, Status, Step, Timestamp};

/// Lines of the log that are kept, the last ones.
const LOG_KEPT: usize = 200;

/// Lines of the log that are shown.
const LOG_SHOWN: usize = 5;

/// Cells of a bar of progress.
const BAR: usize = 30;

/// Rows that steps have at least, with their header.
const STEPS_MIN: usize = 3;

/// The widest key of a step that is shown whole.
const KEY_MAX: usize = 40;

/// What is asked before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Cancel,
}

/// A run on a screen.
pub(super) struct View {
    id: RunId,
    /// Whether another view comes back when this one is left.
    is_inner: bool,
    run: Option<Run>,
    log: Vec<String>,
    /// The first step that is shown.
    top: usize,
    /// Steps that had room when it was drawn last.
    room: usize,
    /// Whether the newest steps are shown as they come.
    follows: bool,
    question: Option<Question>,
    said: Option<(String, Tone)>,
}

impl View {
    pub(super) fn new(id: RunId, is_inner: bool) -> Self {
        Self {
            id,
            is_inner,
            run: None,
            log: Vec::new(),
            top: 0,
            room: 1,
            follows: true,
            question: None,
            said: None,
        }
    }

    /// The run as it was seen, and what it has logged since.
    pub(super) fn show(&mut self, run: Run, lines: Vec<LogLine>) {
        self.run = Some(run);
        let lines = lines.into_iter().map(|line| log_text(&[line]));
        self.log.extend(lines);
        let more = self.log.len().saturating_sub(LOG_KEPT);
        self.log.drain(..more);
    }

    pub(super) fn status(&self) -> Option<Status> {
        self.run.as_ref().map(|run| run.status)
    }

    pub(super) fn question(&self) -> Option<Question> {
        self.question
    }

    pub(super) fn ask(&mut self, question: Option<Question>) {
        self.question = question;
        self.said = None;
    }

    /// What has become of what was asked for.
    pub(super) fn say(&mut self, text: String, tone: Tone) {
        self.said = Some((text, tone));
    }

    /// Shows the keys again.
    pub(super) fn unsay(&mut self) {
        self.said = None;
    }

    fn last_top(&self) -> usize {
        let steps = self.run.as_ref().map_or(0, |run| run.steps.len());
        steps.saturating_sub(self.room)
    }

    /// Shows steps that come so much later, or earlier. At the end the newest ones are followed.
    pub(super) fn scroll(&mut self, by: isize) {
        let last = self.last_top();
        let from = if self.follows { last } else { self.top };
        self.top = from.saturating_add_signed(by).min(last);
        self.follows = self.top == last;
    }

    pub(super) fn scroll_page(&mut self, by: isize) {
        let page = isize::try_from(self.room.saturating_sub(1).max(1)).unwrap_or(1);
        self.scroll(by * page);
    }

    pub(super) fn follow(&mut self) {
        self.follows = true;
    }

    /// What stands on a screen of this size.
    pub(super) fn lines(&mut self, columns: usize, rows: usize) -> Vec<Line> {
        let now = Timestamp::from_micros(jiff::Timestamp::now().as_microsecond());
        self.lines_at(columns, rows, now)
    }

    fn lines_at(&mut self, columns: usize, rows: usize, now: Timestamp) -> Vec<Line> {
        let keys = self.foot(columns);
        // The keys stand below, whatever else has room.
        let rows = rows.saturating_sub(1);
        let mut lines = self.head(now);
        lines.truncate(rows);
        let rest = rows - lines.len();
        let log = self.log.len().min(LOG_SHOWN) + 1;
        let log = match self.log.is_empty() || rest < log + STEPS_MIN {
            true => 0,
            false => log,
        };
        let steps = rest - log;
        let end = lines.len() + steps;
        lines.extend(self.steps(steps));
        lines.resize(end, Line::new());
        if log > 0 {
            lines.push(faint("LOG"));
            let last = self.log.len().saturating_sub(log - 1);
            lines.extend(
                self.log
                    .iter()
                    .skip(last)
                    .map(|line| Line::new().text(line)),
            );
        }
        lines.push(keys);
        lines
    }

    fn head(&self, now: Timestamp) -> Vec<Line> {
        let Some(run) = &self.run else {
            return vec![faint(&format!("run {}: looking …", self.id))];
        };
        let of = &run.deployment;
        let title = Line::new().bold(&run.workflow).toned(
            &format!("  {} on deployment {} of {}", run.id, of.number, of.package),
            Tone::Faint,
        );
        let state = Line::new().status(run.status.as_str());
        let state = if let Some(failure) = &run.failure {
            let text = format!("  {}: {}", failure.code, failure.message);
            state.toned(&text, Tone::Bad)
        } else if let Some(blocked) = &run.blocked {
            state.toned(&format!("  {}", reason(blocked.as_str())), Tone::Bad)
        } else if let Some(waiting) = &run.waiting_for {
            state.text(&format!("  {}", waits_for(waiting)))
        } else {
            state
        };
        vec![
            title,
            state,
            faint(&ages(run, now)),
            Line::new().text(&progress(run)),
            Line::new(),
        ]
    }

    fn steps(&mut self, rows: usize) -> Vec<Line> {
        // The header takes a line.
        self.room = rows.saturating_sub(1).max(1);
        let last = self.last_top();
        if self.follows {
            self.top = last;
        }
        self.top = self.top.min(last);
        let Some(run) = &self.run else {
            return Vec::new();
        };
        if rows == 0 {
            return Vec::new();
        }
        if run.steps.is_empty() {
            return vec![faint("no steps yet")];
        }
        let shown = run.steps.iter().skip(self.top).take(rows - 1);
        let shown: Vec<&Step> = shown.collect();
        let longest = shown.iter().map(|step| step.key.as_str().chars().count());
        let key = longest.max().unwrap_or(0).clamp(4, KEY_MAX) + 2;
        let ends = [key, key + 8, key + 19, key + 26, key + 37];
        let mut header = Line::new();
        for (name, end) in ["STEP", "KIND", "STATUS", "TRIES", "TOOK"].iter().zip(ends) {
            header = header.toned(name, Tone::Faint).column(end);
        }
        let row = |step: &&Step| {
            let tries = match step.attempts {
                0 => String::new(),
                attempts => attempts.to_string(),
            };
            let line = Line::new()
                .text(step.key.as_str())
                .column(ends[0])
                .text(step.kind.as_str())
                .column(ends[1])
                .status(step.status.as_str())
                .column(ends[2])
                .text(&tries)
                .column(ends[3])
                .text(&duration(step))
                .column(ends[4]);
            match Tone::of(step.status.as_str()) {
                Some(Tone::Bad) => line.toned(&outcome(step), Tone::Bad),
                _ => line.text(&outcome(step)),
            }
        };
        let header = header.toned("OUTCOME", Tone::Faint);
        [header].into_iter().chain(shown.iter().map(row)).collect()
    }

    fn foot(&self, columns: usize) -> Line {
        if let Some(Question::Cancel) = self.question {
            let words = match columns {
                ..70 => "cancel this run? y yes, n no",
                _ => "cancel this run? its code may compensate first: y yes, any other key no",
            };
            return Line::new().bold(words);
        }
        if let Some((said, tone)) = &self.said {
            return Line::new().toned(said, *tone);
        }
        let leave = if self.is_inner { "q back" } else { "q quit" };
        let steps = self.run.as_ref().map_or(0, |run| run.steps.len());
        let place = match (self.follows, steps) {
            (_, 0) => String::new(),
            (true, steps) => format!("  {steps} steps"),
            (false, steps) => format!("  steps {}… of {steps}, f follows", self.top + 1),
        };
        faint(&format!(
            "{leave}  p pause  r resume  c cancel  ↑↓ steps{place}"
        ))
    }
}

/// A line of less interest.
pub(super) fn faint(text: &str) -> Line {
    Line::new().toned(text, Tone::Faint)
}

fn ages(run: &Run, now: Timestamp) -> String {
    let mut text = format!("created {} ago", age(run.created_at, now));
    match (run.started_at, run.finished_at) {
        (Some(_), Some(at)) => text += &format!(", ended {} ago", age(at, now)),
        (Some(at), None) => text += &format!(", began {} ago", age(at, now)),
        (None, _) => text += ", not begun yet",
    }
    if let Some(at) = run.deadline {
        text += &match at.as_micros() > now.as_micros() {
            true => format!(", must end within {}", age(now, at)),
            false => ", its deadline is over".to_owned(),
        };
    }
    text
}

/// The time from one moment to another, such as `3m 20s`.
pub(super) fn age(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.as_micros().saturating_sub(from.as_micros()).max(0) / 1_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {}m", minutes % 60),
        (days, hours, _) => format!("{days}d {}h", hours % 24),
    }
}

/// How far it is: as a bar, if its code has said what there is to do.
fn progress(run: &Run) -> String {
    let progress = &run.progress;
    let Some(total) = progress.total else {
        return format!("{} steps done", progress.done);
    };
    let filled = match total {
        0 => BAR,
        total => {
            let cells = u128::from(progress.done.min(total)) * BAR as u128 / u128::from(total);
            usize::try_from(cells).unwrap_or(BAR)
        }
    };
    let note = progress.note.as_ref();
    let note = note.map_or_else(String::new, |note| format!("  {note}"));
    format!(
        "[{}{}] {}/{total}{note}",
        "=".repeat(filled),
        " ".repeat(BAR - filled),
        progress.done
    )
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
