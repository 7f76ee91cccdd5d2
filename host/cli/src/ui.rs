//! The only place that prints. Data goes to standard output, talk to standard error.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::arguments::{LogFormat, Output};
use crate::error::{Failed, Kind, Result};

/// Prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    output: Output,
}

impl Ui {
    pub(crate) fn new(output: Output) -> Self {
        Self { output }
    }

    pub(crate) fn is_json(self) -> bool {
        self.output == Output::Json
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
            self.say(&format!("error: {}", failed.message));
            if let Some(hint) = &failed.hint {
                self.say(&format!("hint: {hint}"));
            }
        }
        ExitCode::from(match failed.kind {
            Kind::Request => 1,
            Kind::Usage => 2,
        })
    }
}

/// What takes no longer than this needs no word.
const MOMENT: Duration = Duration::from_secs(2);

/// Waits for something, and says what it is if it takes longer than a moment.
pub(crate) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(MOMENT, &mut work).await {
        return done;
    }
    let _ = writeln!(std::io::stderr(), "{what}");
    work.await
}

/// A table with these columns.
pub(crate) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(columns.iter().map(|column| column.to_uppercase()));
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for row in rows {
        table.add_row(row);
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
        _ => EnvFilter::new(format!("{level},sqlx=warn,wasmtime=warn")),
    };
    let colour = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
