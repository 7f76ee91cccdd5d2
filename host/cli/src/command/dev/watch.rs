//! Watching the files that `dacapo dev` deploys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use crate::manifest;

/// Builds write a file in several goes: it is taken when nothing has happened to it for this long.
const QUIET: Duration = Duration::from_millis(300);

/// Tells which files have changed.
pub(super) struct Watcher {
    _watcher: RecommendedWatcher,
    events: UnboundedReceiver<PathBuf>,
    /// Files that have changed, and when they may be taken.
    pending: BTreeMap<PathBuf, Instant>,
}

/// The directory that a path stands for: itself, or the one that it is in.
fn directory(path: &Path) -> &Path {
    if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    }
}

impl Watcher {
    /// Watches files, the .wasm files in directories, and their manifests: the one that was named, or those beside them.
    pub(super) fn new(paths: &[PathBuf], manifest: Option<&Path>) -> notify::Result<Self> {
        let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut paths: Vec<PathBuf> = paths.iter().map(|path| canonical(path)).collect();
        let manifests: Vec<PathBuf> = match manifest {
            Some(named) => vec![canonical(named)],
            None => paths
                .iter()
                .map(|path| directory(path).join(manifest::NAME))
                .collect(),
        };
        paths.extend(manifest.map(canonical));
        let (sender, events) = unbounded_channel();
        let watched = paths.clone();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let Ok(event) = event else { return };
                let is_written = event.kind.is_create() || event.kind.is_modify();
                for path in event.paths {
                    let ours = watched.iter().any(|one| {
                        one == &path
                            || (path.parent() == Some(one.as_path()) && super::is_wasm(&path))
                    });
                    let is_manifest = manifests.contains(&path);
                    // A manifest that is removed changes what is deployed, a component does not.
                    if is_written && ours || is_manifest && (is_written || event.kind.is_remove()) {
                        let _ = sender.send(path);
                    }
                }
            })?;
        let mut directories: Vec<&Path> = paths
            .iter()
            // A file that is replaced by renaming is a new file: its directory knows.
            .map(|path| directory(path))
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
                        if path.exists() || !super::is_wasm(&path) {
                            return Some(path);
                        }
                    }
                }
            }
        }
    }
}
