//! This very program in a process of its own.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

/// Lines of its talk that are kept, for when it ends by itself.
const LINES_MAX: usize = 40;

/// A process of `dacapo`. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Program {
    /// What it is, for messages.
    what: &'static str,
    child: Child,
    pid: u32,
    said: Arc<Said>,
}

#[derive(Debug, Default)]
struct Said {
    lines: Mutex<VecDeque<String>>,
    more: Notify,
}

impl Program {
    /// Starts a command of this program on the database.
    pub(super) fn spawn(
        what: &'static str,
        arguments: &[&str],
        url: &str,
        environment: &[(&str, &std::ffi::OsStr)],
    ) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut child = Command::new(&program)
            .args(arguments)
            .env("DATABASE_URL", url)
            .env("DACAPO_LOG", "warn")
            .env_remove("DACAPO_FAILPOINT")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let pid = child
            .id()
            .with_context(|| format!("the {what} ended at once"))?;
        let said = Arc::new(Said::default());
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            // It ends with the process, whose end closes the pipe.
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let mut kept = said.lines.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() == LINES_MAX {
                        kept.pop_front();
                    }
                    kept.push_back(line);
                    drop(kept);
                    said.more.notify_one();
                }
            });
        }
        Ok(Self {
            what,
            child,
            pid,
            said,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Fails, with what it said last, if it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        let what = self.what;
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => bail!("the {what} ended ({status}): {}", self.last_words()),
            Err(error) => Err(error).with_context(|| format!("cannot look after the {what}")),
        }
    }

    /// Waits until a line of what it says has this in it, and answers with what stands behind that.
    ///
    /// # Errors
    ///
    /// If it ends before.
    pub(super) async fn says(&mut self, text: &str) -> Result<String> {
        loop {
            if let Some(found) = self.said(text) {
                return Ok(found);
            }
            tokio::select! {
                () = self.said.more.notified() => {}
                _ = self.child.wait() => {
                    self.check()?;
                    bail!("the {} ended", self.what);
                }
            }
        }
    }

    fn said(&self, text: &str) -> Option<String> {
        let lines = self.said.lines.lock();
        let lines = lines.unwrap_or_else(PoisonError::into_inner);
        let mut behind = lines.iter().filter_map(|line| line.split_once(text));
        behind.next().map(|(_, behind)| behind.to_owned())
    }

    fn last_words(&self) -> String {
        let lines = self.said.lines.lock();
        let lines = lines.unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Kills it and waits until it is gone.
    pub(super) async fn kill(mut self) -> Result<()> {
        let killed = self.child.kill().await;
        killed.with_context(|| format!("cannot stop the {}", self.what))
    }
}
