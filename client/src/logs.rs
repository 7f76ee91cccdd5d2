//! The lines that a run logs.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use dacapo_model::RunId;
use dacapo_store::{FindLines, LogLine};
use thiserror::Error;
use uuid::Uuid;

use crate::retry::retried;
use crate::{Client, ClientError};

/// Lines that are read together.
const PAGE: u32 = 1_000;

/// How far the clocks of two workers may be apart, in milliseconds: a line's id begins with the time of the worker that wrote it, so a
/// worker that takes a run over may write ids below those that are there.
const CLOCKS_APART_MAX_MS: u64 = 60_000;

/// How urgent a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// For whoever looks for a mistake in detail.
    #[default]
    Trace,
    /// For whoever looks for a mistake.
    Debug,
    /// What goes on.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Error,
}

impl LogLevel {
    /// All levels, the least urgent first.
    pub const ALL: [Self; 5] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
    ];

    /// The level as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The words for this level and all that are more urgent.
    fn and_above(self) -> Vec<&'static str> {
        let levels = Self::ALL.into_iter().filter(|level| *level >= self);
        levels.map(Self::as_str).collect()
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not a level.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a level: {0:?}: expected one of trace, debug, info, warn, error")]
pub struct LogLevelError(String);

impl FromStr for LogLevel {
    type Err = LogLevelError;

    fn from_str(text: &str) -> Result<Self, LogLevelError> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| LogLevelError(text.chars().take(40).collect()))
    }
}

/// Follows the log of a run: each line is given once.
#[derive(Debug)]
pub struct LogTail {
    client: Client,
    run: RunId,
    level: LogLevel,
    /// The highest id that was seen.
    newest: Option<Uuid>,
    /// The last line that was seen before, if somebody goes on.
    from: Option<Uuid>,
    /// Those that were seen and are not far below the highest one.
    seen: HashSet<Uuid>,
}

impl Client {
    /// The lines that a run has logged, the oldest first.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`].
    pub async fn logs(&self, run: RunId) -> Result<Vec<LogLine>, ClientError> {
        let mut tail = self.log_tail(run, LogLevel::Trace).await?;
        tail.next_lines().await
    }

    /// Lines of at least this level that a run has logged, behind the one with an id, each with its id: `limit` at most. A line of a worker
    /// whose clock is slower than that of the line before it may be passed over; [`Client::log_tail`] passes over none.
    ///
    /// # Errors
    /// Those of [`Client::log_tail`].
    pub async fn log_page(
        &self,
        run: RunId,
        level: LogLevel,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<(Uuid, LogLine)>, ClientError> {
        if self.remote().is_none() {
            self.check_log(run).await?;
        }
        self.lines(run, level, after, limit).await
    }

    /// A page of a log that the client may see.
    async fn lines(
        &self,
        run: RunId,
        level: LogLevel,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<(Uuid, LogLine)>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.lines(run, level, after, limit).await;
        }
        let store = self.store();
        let levels = level.and_above();
        let find = FindLines {
            run,
            levels: &levels,
            after,
            limit,
        };
        Ok(retried(|| dacapo_store::log_lines(store, find)).await?)
    }

    /// Follows the lines of at least this level that a run logs, from the first one on: the first answer has all that are there.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::Withheld`] if the client shows no payloads.
    pub async fn log_tail(&self, run: RunId, level: LogLevel) -> Result<LogTail, ClientError> {
        let tail = LogTail {
            client: self.clone(),
            run,
            level,
            newest: None,
            from: None,
            seen: HashSet::new(),
        };
        // A server says it with each page.
        if self.remote().is_none() {
            self.check_log(run).await?;
        }
        Ok(tail)
    }

    /// Whether the client may see the log of a run, and there is one.
    async fn check_log(&self, run: RunId) -> Result<(), ClientError> {
        self.check_shown("logs")?;
        self.check_run(run).await?;
        let store = self.store();
        match retried(|| dacapo_store::deployment_of(store, run)).await? {
            Some(_) => Ok(()),
            None => Err(ClientError::RunNotFound(run)),
        }
    }
}

impl LogTail {
    /// Goes on behind the line with this id, which somebody has seen with all that came before it: called before the first lines are asked for.
    /// A line that a worker with a slower clock wrote behind it, under a smaller id, is passed over.
    #[must_use]
    pub fn behind(mut self, id: Uuid) -> Self {
        self.newest = Some(id);
        self.from = Some(id);
        self
    }

    /// The lines that have come since the last call; none if there are none now.
    ///
    /// # Errors
    /// Those of the database. The next call goes on where the last one was.
    pub async fn next_lines(&mut self) -> Result<Vec<LogLine>, ClientError> {
        let lines = self.next_lines_with_ids().await?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// The same, each with its id.
    ///
    /// # Errors
    /// Those of [`LogTail::next_lines`].
    pub async fn next_lines_with_ids(&mut self) -> Result<Vec<(Uuid, LogLine)>, ClientError> {
        let mut read = Vec::new();
        let mut after = self.newest.map(shortly_before);
        loop {
            let page = self.client.lines(self.run, self.level, after, PAGE).await?;
            after = page.last().map(|(id, _)| *id);
            let is_last = page.len() < PAGE as usize;
            read.extend(page);
            if is_last {
                break;
            }
        }
        // Only now: of what was read before a failure, nobody was told.
        let mut lines = Vec::new();
        for (id, line) in read {
            let is_new = self.seen.insert(id);
            if is_new && self.from.is_none_or(|from| id > from) {
                self.newest = self.newest.max(Some(id));
                lines.push((id, line));
            }
        }
        if let Some(newest) = self.newest {
            let bound = shortly_before(newest);
            self.seen.retain(|id| *id > bound);
        }
        Ok(lines)
    }
}

/// The lowest id of the time that ids of a slower clock may still come from.
fn shortly_before(id: Uuid) -> Uuid {
    let millis = id
        .get_timestamp()
        .map_or(0, |time| {
            let (seconds, nanos) = time.to_unix();
            seconds * 1_000 + u64::from(nanos) / 1_000_000
        })
        .saturating_sub(CLOCKS_APART_MAX_MS);
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use uuid::{NoContext, Timestamp};

    use super::*;

    #[test]
    fn every_level_survives_its_text_form() {
        for level in LogLevel::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!(LogLevel::Warn.and_above(), ["warn", "error"]);
        assert!("loud".parse::<LogLevel>().is_err());
    }

    #[test]
    fn a_line_of_a_clock_that_is_slower_by_less_than_a_minute_is_not_passed_over() {
        let id = |seconds| Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0));
        let newest = id(1_795_420_800);
        assert!(shortly_before(newest) < id(1_795_420_800 - 59));
        assert!(shortly_before(newest) > id(1_795_420_800 - 61));
    }
}
