//! The runs that a filter finds, as a live list.

use std::collections::BTreeMap;

use dacapo_client::{By, Client, ListFilter, RunFilter, RunId, RunSummary, Status, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::list::{progress, waiting};
use super::live;
use super::view::{age, faint};
use super::watch::{LIST_EVERY, Left, RUNS_MAX, pause_after};
use crate::command::going_back::runs_in_words;
use crate::command::signal::{INTERRUPTED, Stop};
use crate::error::Result;
use crate::ui::{Input, Key, Line, Screen, Tone};

/// Columns that ids, statuses, numbers and ages take together.
const WIDTH_OF_NUMBERS: usize = 70;

/// The widest name of a workflow that is shown whole.
const WORKFLOW_MAX: usize = 50;

type Seen = Result<(BTreeMap<Status, u64>, Vec<RunSummary>)>;

/// Shows runs until somebody wants to see no more, or the process is asked to stop.
pub(super) async fn watch(
    screen: &mut Screen,
    stop: &mut Stop,
    client: &Client,
    filter: &RunFilter,
    by: By<'_>,
) -> Result<Left> {
    let mut list = List::default();
    loop {
        let (sees, mut seen) = mpsc::channel(1);
        // It rests while a run is shown in the place of the list.
        let mut looking = std::pin::pin!(look(client, filter, sees));
        let run = loop {
            screen.draw(|columns, rows| list.lines(columns, rows))?;
            tokio::select! {
                biased;
                code = stop.asked_by() => return Ok(Left::Stopped(code)),
                input = screen.input() => match input {
                    None => return Ok(Left::Quit(None)),
                    Some(Input::Other) => {}
                    Some(Input::Key(Key::Interrupt)) => return Ok(Left::Stopped(INTERRUPTED)),
                    Some(Input::Key(Key::Letter('q') | Key::Escape)) => {
                        return Ok(Left::Quit(None));
                    }
                    Some(Input::Key(Key::Enter)) => {
                        if let Some(run) = list.chosen {
                            break run;
                        }
                    }
                    Some(Input::Key(key)) => list.go(key),
                },
                news = seen.recv() => match news {
                    Some(news) => {
                        let (counts, runs) = news?;
                        list.show(counts, runs);
                    }
                    None => return Ok(Left::Quit(None)),
                },
                () = &mut looking => {}
            }
        };
        let left = live::watch(screen, stop, client, run, by, live::AtEnd::Stay).await;
        if let Left::Stopped(code) = left? {
            return Ok(Left::Stopped(code));
        }
    }
}

/// Looks again and again, until nobody wants to know or the database fails.
async fn look(client: &Client, filter: &RunFilter, sees: mpsc::Sender<Seen>) {
    loop {
        let began = Instant::now();
        let seen = async {
            let page = client.list(ListFilter {
                runs: filter.clone(),
                limit: RUNS_MAX,
                ..ListFilter::default()
            });
            let runs = page.await?.items;
            Ok((client.count(filter.clone()).await?, runs))
        };
        let seen = seen.await;
        let is_last = seen.is_err();
        if sees.send(seen).await.is_err() || is_last {
            // The end of the channel tells.
            return std::future::pending().await;
        }
        tokio::time::sleep(pause_after(began.elapsed(), LIST_EVERY)).await;
    }
}

/// A list of runs on a screen.
#[derive(Debug, Default)]
struct List {
    counts: BTreeMap<Status, u64>,
    runs: Vec<RunSummary>,
    /// The run under the cursor, which stays there when others come.
    chosen: Option<RunId>,
    /// The first run that is shown.
    top: usize,
    /// Rows that had room when it was drawn last.
    room: usize,
    is_seen: bool,
}

impl List {
    fn show(&mut self, counts: BTreeMap<Status, u64>, runs: Vec<RunSummary>) {
        (self.counts, self.runs, self.is_seen) = (counts, runs, true);
        let place = self.place().unwrap_or(0);
        self.choose(place);
    }

    fn place(&self) -> Option<usize> {
        self.runs.iter().position(|run| Some(run.id) == self.chosen)
    }

    fn choose(&mut self, place: usize) {
        let place = place.min(self.runs.len().saturating_sub(1));
        self.chosen = self.runs.get(place).map(|run| run.id);
    }

    fn go(&mut self, key: Key) {
        let place = self.place().unwrap_or(0);
        let page = self.room.saturating_sub(1).max(1);
        match key {
            Key::Up | Key::Letter('k') => self.choose(place.saturating_sub(1)),
            Key::Down | Key::Letter('j') => self.choose(place + 1),
            Key::PageUp => self.choose(place.saturating_sub(page)),
            Key::PageDown | Key::Letter(' ') => self.choose(place + page),
            Key::Home | Key::Letter('g') => self.choose(0),
            Key::End | Key::Letter('G') => self.choose(usize::MAX),
            _ => {}
        }
    }

    /// What stands on a screen of this size.
    fn lines(&mut self, columns: usize, rows: usize) -> Vec<Line> {
        let now = Timestamp::from_micros(jiff::Timestamp::now().as_microsecond());
        // Counts, a line between, the header, and the keys.
        self.room = rows.saturating_sub(4);
        let place = self.place().unwrap_or(0);
        self.top = self.top.min(place);
        if place >= self.top + self.room {
            self.top = place + 1 - self.room.min(place + 1);
        }
        // Ids and numbers have the room that they take; the workflow and what it waits for share the rest.
        let workflow =
            (columns.saturating_sub(WIDTH_OF_NUMBERS) * 2 / 5).clamp(10, WORKFLOW_MAX) + 2;
        let mut ends = [38, workflow, 11, 11, 10];
        for place in 1..ends.len() {
            ends[place] += ends[place - 1];
        }
        let mut header = Line::new();
        for (name, end) in ["RUN", "WORKFLOW", "STATUS", "DONE", "AGE"]
            .iter()
            .zip(ends)
        {
            header = header.toned(name, Tone::Faint).column(end);
        }
        let row = |run: &RunSummary| {
            let line = Line::new()
                .text(&run.id.to_string())
                .column(ends[0])
                .text(&run.workflow)
                .column(ends[1])
                .status(run.status.as_str())
                .column(ends[2])
                .text(&progress(&run.progress))
                .column(ends[3])
                .text(&age(run.created_at, now))
                .column(ends[4]);
            let line = match Tone::of(run.status.as_str()) {
                Some(Tone::Bad) => line.toned(&waiting(run), Tone::Bad),
                _ => line.text(&waiting(run)),
            };
            line.chosen(Some(run.id) == self.chosen)
        };
        let mut lines = vec![self.head(), Line::new(), header];
        lines.extend(self.runs.iter().skip(self.top).take(self.room).map(row));
        lines.resize(rows.saturating_sub(1), Line::new());
        let shown = match self.runs.len() {
            shown if shown == RUNS_MAX as usize => format!("  the newest {shown} are shown"),
            _ => String::new(),
        };
        lines.push(faint(&format!(
            "q quit  ↑↓ choose  enter look at it{shown}"
        )));
        lines
    }

    fn head(&self) -> Line {
        if !self.is_seen {
            return faint("looking …");
        }
        let all: u64 = self.counts.values().sum();
        let mut line = Line::new().bold(&runs_in_words(all));
        for (status, runs) in self.counts.iter().filter(|(_, runs)| **runs > 0) {
            line = line.text(&format!("  {runs} ")).status(status.as_str());
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_size_of_a_terminal_is_too_small_or_too_large() {
        let mut list = List::default();
        list.show(BTreeMap::from([(Status::Queued, 3)]), Vec::new());
        for (columns, rows) in [(0, 0), (1, 1), (3, 2), (20, 5), (80, 3), (400, 200)] {
            list.go(Key::PageDown);
            let lines = list.lines(columns, rows);
            assert_eq!(lines.len(), rows.max(1));
        }
        assert_eq!(list.lines(80, 24)[0].plain(), "3 runs  3 queued");
    }
}
