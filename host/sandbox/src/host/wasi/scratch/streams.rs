//! Files of the scratch directory as streams, and its directories as lists.

use bytes::Bytes;
use wasmtime_wasi::p2::bindings::filesystem::types::DirectoryEntry;
use wasmtime_wasi::p2::{
    FsError, FsResult, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use super::{Held, outside};

/// Bytes that a guest may write before it asks again.
const PERMIT_BYTES: usize = 64 << 10;

/// Reads a file from a place on.
pub(super) struct Reader {
    file: Held,
    offset: u64,
}

/// Writes a file from a place on, or at its end.
pub(super) struct Writer {
    file: Held,
    /// None: wherever the file ends.
    offset: Option<u64>,
    has_failed: bool,
}

/// The entries of a directory in the order of their names. It remembers a name and no more, however many there are.
pub(super) struct Listing {
    directory: Held,
    last: Option<String>,
}

impl Reader {
    pub(super) fn new(file: Held, offset: u64) -> Reader {
        Reader { file, offset }
    }
}

impl Writer {
    pub(super) fn new(file: Held, offset: Option<u64>) -> Writer {
        Writer {
            file,
            offset,
            has_failed: false,
        }
    }
}

impl Listing {
    pub(super) fn new(directory: Held) -> Listing {
        Listing {
            directory,
            last: None,
        }
    }

    pub(super) fn next(&mut self) -> FsResult<Option<DirectoryEntry>> {
        let call = "filesystem/types.directory-entry-stream.read-directory-entry";
        let last = self.last.as_deref();
        let next = self.directory.with(|tree, id| tree.next_entry(id, last));
        let next = next.ok_or_else(|| FsError::trap(outside(call)))??;
        if let Some(entry) = &next {
            self.last = Some(entry.name.clone());
        }
        Ok(next)
    }
}

// What is in memory is always ready.
#[wasmtime_wasi::async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {}
}

impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let offset = self.offset;
        let bytes = self
            .file
            .stream("io/streams.input-stream.read", |tree, id| {
                tree.read(id, offset, size).map(Bytes::copy_from_slice)
            })?;
        if bytes.is_empty() && size > 0 {
            return Err(StreamError::Closed);
        }
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }
}

impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.has_failed {
            return Err(StreamError::Closed);
        }
        let offset = self.offset;
        let written = self
            .file
            .stream("io/streams.output-stream.write", |tree, id| {
                let at = offset.map_or_else(|| tree.size(id), Ok)?;
                tree.write(id, at, &bytes)
            });
        self.has_failed = written.is_err();
        written?;
        self.offset = self.offset.map(|at| at + bytes.len() as u64);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(|_| ())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.has_failed {
            return Err(StreamError::Closed);
        }
        Ok(PERMIT_BYTES)
    }
}
