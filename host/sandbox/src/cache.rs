//! Compiled code on disk, so that a component is compiled once on each machine.
//!
//! Processes that share a directory take turns: whoever wants to compile a component locks a file that is named after it, and finds the
//! code there when another one was first. The system lets go of the lock of a process that dies. No lock is waited for longer than
//! [`PATIENCE`], since compiling twice costs time and nothing else.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::lines::Source;

const CHECKSUM_BYTES: usize = 32;

/// How long a process waits for another one that compiles the same component: longer than interpreters take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How often it looks whether it is its turn.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A directory of compiled components, one file for each digest, apart for each kind of engine. Beside it is the component itself if it has
/// debug sections, for backtraces.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens or makes the directory for this engine's code. It belongs to this user alone, for whoever can write there can run code here.
    pub(crate) fn open(root: &Path, engine: &Engine) -> io::Result<Cache> {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let dir = root.join(format!("{:016x}", hasher.finish()));
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Cache { dir })
    }

    /// The compiled component with this digest, if there is one that is whole and fits this engine.
    pub(crate) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest)?;
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code could not be read; compiling anew");
                return None;
            }
        };
        let Some((checksum, code)) = file.split_first_chunk::<CHECKSUM_BYTES>() else {
            tracing::warn!(path = %path.display(), "compiled code is damaged; compiling anew");
            return None;
        };
        if Sha256::digest(code).as_slice() != checksum {
            tracing::warn!(path = %path.display(), "compiled code is damaged; compiling anew");
            return None;
        }
        match deserialize(engine, code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code does not fit this engine; compiling anew");
                None
            }
        }
    }

    /// Keeps a compiled component, and its own bytes if they are given. A cache that cannot be written costs time at the next start, or lines
    /// of backtraces, and nothing else.
    pub(crate) fn store(&self, digest: &str, component: &Component, bytes: Option<&[u8]>) {
        let Some(path) = self.path(digest) else {
            return;
        };
        // First, so that whoever finds the code finds these.
        if let Some(bytes) = bytes {
            let path = path.with_extension("wasm");
            if let Err(error) = self.write(&path, &[bytes]) {
                tracing::warn!(path = %path.display(), %error, "a component with debug sections could not be kept");
            }
        }
        let written = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| self.write(&path, &[&Sha256::digest(&code), &code]));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "compiled code could not be kept");
        }
    }

    /// Waits for its turn to compile this component. None: compile it without, because the directory has no locks or somebody keeps
    /// one for too long.
    pub(crate) fn turn(&self, digest: &str, patience: Duration) -> Option<Turn> {
        let path = self.path(digest)?.with_extension("lock");
        let opened = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "no lock; others may compile the same");
                return None;
            }
        };
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Some(Turn { path, _file: file }),
                Err(TryLockError::WouldBlock) if waited < patience => {
                    if waited.is_zero() {
                        tracing::info!(
                            digest,
                            "another process compiles this component; waiting for its code"
                        );
                    }
                    std::thread::sleep(LOOK_EVERY);
                    waited += LOOK_EVERY;
                }
                Err(TryLockError::WouldBlock) => {
                    tracing::warn!(
                        digest,
                        "another process compiles this component for too long; compiling it here, too"
                    );
                    return None;
                }
                Err(TryLockError::Error(error)) => {
                    tracing::debug!(path = %path.display(), %error, "no lock; others may compile the same");
                    return None;
                }
            }
        }
    }

    /// Where the bytes of a component are that is kept here, if it has debug sections.
    pub(crate) fn source(&self, digest: &str) -> Source {
        match self.path(digest) {
            Some(path) => Source::File(path.with_extension("wasm")),
            None => Source::Nowhere,
        }
    }

    fn write(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        // Unique within the process and between processes: several workers on one machine share the directory.
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let unique = WRITES.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{unique}.tmp", std::process::id()));
        let result = (|| {
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)?;
            for part in parts {
                file.write_all(part)?;
            }
            drop(file);
            fs::rename(&temporary, path)
        })();
        if result.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    /// None if the digest is none, and could lead out of the directory.
    fn path(&self, digest: &str) -> Option<PathBuf> {
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| self.dir.join(format!("{digest}.cwasm")))
    }
}

/// The turn of one process to compile a component. It ends when this is dropped, or with the process.
#[derive(Debug)]
pub(crate) struct Turn {
    path: PathBuf,
    /// Locked until it is closed.
    _file: File,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Whoever waits has the file open and gets the lock all the same; who comes later makes a new one. Both find the code.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes machine code that an engine of this kind wrote into a component again.
#[allow(unsafe_code)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: deserialising trusts the code to come from `Component::serialize`. The file is in a directory that only this user may write
    // to, was written by `Cache::write`, and its checksum rules out damage; wasmtime itself refuses other versions and settings.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn cache(dir: &tempfile::TempDir) -> Cache {
        Cache::open(dir.path(), &Engine::default()).unwrap()
    }

    #[test]
    fn a_turn_that_never_ends_is_waited_for_no_longer_than_patience_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (cache(&dir), cache(&dir));
        let turn = one.turn(DIGEST, PATIENCE).unwrap();
        assert!(other.turn(DIGEST, LOOK_EVERY).is_none());
        drop(turn);
        assert!(other.turn(DIGEST, Duration::ZERO).is_some());
    }

    #[test]
    fn a_lock_that_a_dead_process_left_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        let left = cache.dir.join(format!("{DIGEST}.lock"));
        fs::write(&left, "").unwrap();
        let turn = cache.turn(DIGEST, Duration::ZERO);
        assert!(turn.is_some());
        drop(turn);
        assert!(!left.exists(), "and it is cleared away");
    }
}
