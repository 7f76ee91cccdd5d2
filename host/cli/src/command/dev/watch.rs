//! Watching the files that `dacapo dev` deploys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

/// Builds write a file in several goes: it is taken when nothing has happened to it for this long.
const QUIET: Duration = Duration::from_millis(300);

/// Tells which files have changed.
pub(super) struct Watcher {
    _watcher: RecommendedWatcher,
    events: UnboundedReceiver<PathBuf>,
    /// Files that have changed, and when they may be taken.
    pending: BTreeMap<PathBuf, Instant>,
}

impl Watcher {
    /// Watches files, and the .wasm files in directories.
    pub(super) fn new(paths: &[PathBuf]) -> notify::Result<Self> {
        let paths: Vec<PathBuf> = paths
            .iter()
            .map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()))
            .collect();
        let (sender, events) = unbounded_channel();
        let watched = paths.clone();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let Ok(event) = event else { return };
                if !(event.kind.is_create() || event.kind.is_modify()) {
                    return;
                }
                for path in event.paths {
                    let ours = watched.iter().any(|one| {
                        one == &path
                            || (path.parent() == Some(one.as_path()) && super::is_wasm(&path))
                    });
                    if ours {
                        let _ = sender.send(path);
                    }
                }
            })?;
        let mut directories: Vec<&Path> = paths
            .iter()
            // A file that is replaced by renaming is a new file: its directory knows.
            .map(|path| {
                if path.is_dir() {
                    path.as_path()
                } else {
                    path.parent().unwrap_or(path)
                }
            })
            .collect();
        directories.sort_unstable();
        directories.dedup();
        for directory in directories {
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
        }
        Ok(Self {
            _watcher: watcher,
            events,
            pending: BTreeMap::new(),
        })
    }

    /// The next file that has changed, once it is quiet. None: nothing is watched any more.
    pub(super) async fn changed(&mut self) -> Option<PathBuf> {
        loop {
            let next = self
                .pending
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(path, at)| (path.clone(), *at));
            tokio::select! {
                event = self.events.recv() => {
                    self.pending.insert(event?, Instant::now() + QUIET);
                }
                () = async {
                    match &next {
                        Some((_, at)) => tokio::time::sleep_until(*at).await,
                        None => std::future::pending().await,
                    }
                } => {
                    if let Some((path, _)) = next {
                        self.pending.remove(&path);
                        if path.exists() {
                            return Some(path);
                        }
                    }
                }
            }
        }
    }
}
