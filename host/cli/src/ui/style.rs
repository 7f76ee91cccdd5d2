//! Colours of words that say how something stands. A colour never says what no word says.

use std::io::IsTerminal;

use comfy_table::{Attribute, Cell, Color};

/// What a colour is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// It went well: green.
    Good,
    /// It is under way: cyan.
    Busy,
    /// Its turn comes: blue.
    Next,
    /// It waits for something: yellow.
    Waiting,
    /// It waits for a person: magenta.
    Held,
    /// It went wrong: red.
    Bad,
    /// It is of less interest: dim.
    Faint,
}

impl Tone {
    /// That of a word for a status, whatever it is the status of.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Some(match word {
            "completed" | "active" | "ok" | "go on" | "complete" => Self::Good,
            "running" | "rolling out" => Self::Busy,
            "queued" => Self::Next,
            "suspended" | "waiting" | "retrying" | "cancelling" | "draining" => Self::Waiting,
            "paused" => Self::Held,
            "failed" | "blocked" | "timed-out" | "diverge" | "would fail" => Self::Bad,
            "cancelled" | "retired" | "fail as they did" => Self::Faint,
            _ => return None,
        })
    }

    /// The number of its colour among the eight of every terminal; none: dim.
    fn number(self) -> Option<u8> {
        Some(match self {
            Self::Bad => 1,
            Self::Good => 2,
            Self::Waiting => 3,
            Self::Next => 4,
            Self::Held => 5,
            Self::Busy => 6,
            Self::Faint => return None,
        })
    }

    /// What begins it on a terminal.
    pub(super) fn begin(self) -> String {
        match self.number() {
            Some(number) => format!("\x1b[3{number}m"),
            None => "\x1b[2m".to_owned(),
        }
    }
}

/// Where text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

impl Stream {
    /// Whether people see it: it is a terminal that knows how to be written on.
    pub(crate) fn is_terminal(self) -> bool {
        let is_terminal = match self {
            Self::Out => std::io::stdout().is_terminal(),
            Self::Err => std::io::stderr().is_terminal(),
        };
        is_terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Whether it is to have colours.
    pub(crate) fn has_colour(self) -> bool {
        self.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

/// Text in a colour, where there are colours.
pub(crate) fn tint(text: &str, tone: Tone, stream: Stream) -> String {
    match stream.has_colour() {
        true => format!("{}{text}\x1b[0m", tone.begin()),
        false => text.to_owned(),
    }
}

/// The word for a status in its colour, where there are colours.
pub(crate) fn status(word: &str, stream: Stream) -> String {
    Tone::of(word).map_or_else(|| word.to_owned(), |tone| tint(word, tone, stream))
}

/// The cells of a header.
pub(crate) fn header(columns: &[&str], colour: bool) -> Vec<Cell> {
    let cell = |column: &&str| {
        let cell = Cell::new(column.to_uppercase());
        match colour {
            true => cell.add_attribute(Attribute::Dim),
            false => cell,
        }
    };
    columns.iter().map(cell).collect()
}

/// The cells of a row: a status has its colour, and what went wrong is red.
pub(crate) fn row(columns: &[&str], row: Vec<String>, colour: bool) -> Vec<Cell> {
    let is_status = |column: &str| matches!(column, "status" | "state" | "");
    let mut tones = vec![None; row.len()];
    if colour {
        for ((column, text), tone) in columns.iter().zip(&row).zip(&mut tones) {
            *tone = Tone::of(text).filter(|_| is_status(column));
        }
        if tones.contains(&Some(Tone::Bad)) {
            for (column, tone) in columns.iter().zip(&mut tones) {
                // Why stands beside that it went wrong.
                if matches!(*column, "" | "outcome") {
                    *tone = tone.or(Some(Tone::Bad));
                }
            }
        }
    }
    let cells = row.into_iter().zip(tones);
    cells
        .map(|(text, tone)| tinted(Cell::new(text), tone))
        .collect()
}

fn tinted(cell: Cell, tone: Option<Tone>) -> Cell {
    let Some(tone) = tone else { return cell };
    match tone.number() {
        Some(number) => cell.fg(Color::AnsiValue(number)),
        None => cell.add_attribute(Attribute::Dim),
    }
}

#[cfg(test)]
mod tests {
    use dacapo_client::Status;

    use super::*;

    #[test]
    fn each_status_has_a_colour_and_what_went_wrong_has_its_own() {
        for status in Status::ALL {
            let tone = Tone::of(status.as_str()).unwrap();
            let is_wrong = matches!(status, Status::Failed | Status::Blocked);
            assert_eq!(tone == Tone::Bad, is_wrong, "{status}");
        }
    }

    #[test]
    fn a_word_has_a_colour_where_a_status_stands_and_nowhere_else() {
        let columns = ["workflow", "status", ""];
        let words = |status: &str| {
            vec![
                "failed".to_owned(),
                status.to_owned(),
                "because: of".to_owned(),
            ]
        };
        let plain = |text: &str| Cell::new(text);
        let red = |text: &str| Cell::new(text).fg(Color::AnsiValue(1));
        assert_eq!(
            row(&columns, words("failed"), true),
            [plain("failed"), red("failed"), red("because: of")]
        );
        assert_eq!(
            row(&columns, words("failed"), false),
            [plain("failed"), plain("failed"), plain("because: of")]
        );
        let green = Cell::new("completed").fg(Color::AnsiValue(2));
        assert_eq!(
            row(&columns, words("completed"), true),
            [plain("failed"), green, plain("because: of")]
        );
    }
}
