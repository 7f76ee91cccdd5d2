//! Work that takes long: a word about it on a terminal's standard error, and nothing where nobody looks.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Stream, Ui};

/// What takes no longer than this needs no word.
const MOMENT: Duration = Duration::from_secs(2);

/// What takes no longer than this needs no sign of life on a terminal either.
const BLINK: Duration = Duration::from_millis(300);

/// How often a sign of life is given.
const TICK: Duration = Duration::from_millis(120);

impl Ui {
    /// A bar over so many of something. It is seen on a terminal alone.
    pub(crate) fn bar(self, what: &'static str, of: u64) -> ProgressBar {
        if self.is_json() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(of);
        let template = "{msg} [{bar:30}] {pos}/{len} {per_sec}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.with_message(what)
    }

    /// A sign of life for work of which nobody knows how much there is. It is seen on a terminal alone.
    pub(crate) fn spinner(self, what: &str) -> ProgressBar {
        if self.is_json() {
            return ProgressBar::hidden();
        }
        spinner(what)
    }

    /// Waits for something, with a sign of life if it takes longer than a blink.
    pub(crate) async fn working<T>(self, what: &str, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        if let Ok(done) = tokio::time::timeout(BLINK, &mut work).await {
            return done;
        }
        let spinner = self.spinner(what);
        let done = work.await;
        spinner.finish_and_clear();
        done
    }
}

fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// Waits for something, and says what it is if it takes longer than a moment.
pub(crate) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    let is_terminal = Stream::Err.is_terminal();
    let mut work = std::pin::pin!(work);
    let patience = if is_terminal { BLINK } else { MOMENT };
    if let Ok(done) = tokio::time::timeout(patience, &mut work).await {
        return done;
    }
    if !is_terminal {
        let _ = writeln!(std::io::stderr(), "{what}");
        return work.await;
    }
    let spinner = spinner(what);
    let done = work.await;
    spinner.finish_and_clear();
    done
}
