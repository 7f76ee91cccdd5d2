//! The only place that prints. Data goes to standard output, talk to standard error.

mod lines;
mod progress;
mod screen;
mod style;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::arguments::{LogFormat, Output};
use crate::error::{Failed, Kind, Result};

pub(crate) use lines::Line;
pub(crate) use progress::patiently;
pub(crate) use screen::{Input, Key, Screen};
pub(crate) use style::{Stream, Tone, status, tint};

/// Prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    output: Output,
}

impl Ui {
    pub(crate) fn new(output: Output) -> Self {
        Self { output }
    }

    /// One that shows no sign of life: for work that is done for somebody else than who sits at the terminal.
    pub(crate) fn silent() -> Self {
        Self::new(Output::Json)
    }

    pub(crate) fn is_json(self) -> bool {
        self.output == Output::Json
    }

    /// Bytes of data, as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        // A reader that has gone away, as in `| head`, wants no more.
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Data: as JSON, or as people like it.
    pub(crate) fn data<T: Serialize>(self, data: &T, table: impl FnOnce(&T) -> String) {
        let text = match self.output {
            Output::Json => serde_json::to_string_pretty(data)
                .unwrap_or_else(|error| format!("null // {error}")),
            Output::Table => table(data),
        };
        if !text.is_empty() {
            self.line(&text);
        }
    }

    /// A line of data.
    pub(crate) fn line(self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that has gone away, as in `| head`, wants no more.
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Text of clap's, with its styles where there are colours.
    pub(crate) fn styled(self, text: &clap::builder::StyledStr) {
        let text = match Stream::Out.has_colour() {
            true => text.ansi().to_string(),
            false => text.to_string(),
        };
        self.line(text.trim_end());
    }

    /// Talk.
    pub(crate) fn say(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A failure, once, with its hint.
    pub(crate) fn fail(self, failed: &Failed) -> ExitCode {
        if self.is_json() {
            let error = serde_json::json!({ "error": { "code": failed.code, "message": failed.message, "hint": failed.hint } });
            self.say(&error.to_string());
        } else {
            let error = tint("error:", Tone::Bad, Stream::Err);
            self.say(&format!("{error} {}", failed.message));
            if let Some(hint) = &failed.hint {
                let word = tint("hint:", Tone::Busy, Stream::Err);
                self.say(&format!("{word} {hint}"));
            }
        }
        ExitCode::from(match failed.kind {
            Kind::Request => 1,
            Kind::Usage => 2,
        })
    }
}

/// Columns that text may fill: those of the terminal, if there is one, and no more than this.
pub(crate) fn width(at_most: usize) -> usize {
    if !Stream::Out.is_terminal() {
        return at_most;
    }
    let size = crossterm::terminal::size();
    size.map_or(at_most, |(columns, _)| usize::from(columns).min(at_most))
}

/// A table with these columns.
pub(crate) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let colour = Stream::Out.has_colour();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(style::header(columns, colour));
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for row in rows {
        table.add_row(style::row(columns, row, colour));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Text cut to a width, for tables.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars()
        .take(width.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// The program's own log goes to standard error.
pub(crate) fn start_tracing(format: LogFormat, level: &str) -> Result<()> {
    let filter = match std::env::var("DACAPO_LOG") {
        Ok(wanted) if !wanted.is_empty() => EnvFilter::try_new(&wanted).map_err(|error| {
            Failed::usage(format!("DACAPO_LOG: {error}"))
                .hint("expected error, warn, info, debug or trace, or target=level, with commas between them")
        })?,
        // The library of MCP tells of each request, and warns of whatever a client does otherwise than it would.
        _ => EnvFilter::new(format!("{level},sqlx=warn,wasmtime=warn,rmcp=error")),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(Stream::Err.has_colour())
        .with_target(false);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
