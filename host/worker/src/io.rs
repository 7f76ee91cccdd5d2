//! Threads for input and output.

use std::io;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread with a runtime of its own, for a few tasks that each step waits for. Whoever rings them wakes this thread and no other; the
/// threads of a larger runtime wake each other, too, which takes longer than what is to be done. Dropped, it ends with all its tasks.
#[derive(Debug)]
pub(crate) struct IoThread {
    handle: Handle,
    /// Never sent: the thread ends when it is dropped. None: it is the caller's.
    _end: Option<oneshot::Sender<()>>,
}

impl IoThread {
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _ = runtime.block_on(ended);
            })?;
        Ok(Self {
            handle,
            _end: Some(end),
        })
    }

    /// No thread but the caller's own, for those that have only one.
    #[cfg(feature = "failpoints")]
    pub(crate) fn callers() -> Self {
        Self {
            handle: Handle::current(),
            _end: None,
        }
    }

    /// Where to spawn its tasks.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
