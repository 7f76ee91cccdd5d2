//! `wasi:filesystem`: one directory, if the deployment grants it, which is empty when an attempt begins and gone when it ends.
//!
//! It is in memory, so nothing of the machine's files is behind any path. Outside of attempts a guest can see that it is there, which
//! programs do when they start, and no more.

mod streams;
mod tree;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
    Filesize, Host, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp,
    OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsError, FsResult, IoError, StreamError, StreamResult,
};

use self::streams::{Listing, Reader, Writer};
use self::tree::{Id, ROOT, Tree};
use super::clocks::datetime;
use crate::guest::Guest;
use crate::interrupt::Interrupt;

/// Where guests find it.
const PATH: &str = "/tmp";

/// Where the scratch directory of an instance's open attempt is, if there is one now.
#[derive(Clone, Default)]
pub(crate) struct Room(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    /// The attempts that have had one.
    attempts: u64,
    tree: Option<Tree>,
}

/// The scratch directory of an attempt, which is gone with all that is in it when this is dropped.
pub(crate) struct Scratch(Room);

/// A file or directory that a guest, or a stream of it, has in use.
struct Held {
    room: Room,
    /// The attempt that it belongs to; none for the directory itself, which each of them finds anew.
    attempt: Option<u64>,
    id: Id,
}

/// What a guest's descriptor stands for.
struct Descriptor {
    held: Held,
    flags: DescriptorFlags,
}

impl Room {
    fn open(&self, tree: Tree) -> Scratch {
        let mut contents = self.lock();
        contents.attempts += 1;
        contents.tree = Some(tree);
        drop(contents);
        Scratch(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.0.lock().tree = None;
    }
}

impl Held {
    /// Does something with it in the open attempt, if there is one.
    fn with<R>(
        &self,
        act: impl FnOnce(&mut Tree, Id) -> Result<R, ErrorCode>,
    ) -> Option<Result<R, ErrorCode>> {
        let mut contents = self.room.lock();
        let attempts = contents.attempts;
        let tree = contents.tree.as_mut()?;
        if self.attempt.is_some_and(|attempt| attempt != attempts) {
            return Some(Err(ErrorCode::BadDescriptor));
        }
        Some(act(tree, self.id))
    }

    /// As [`Held::with`], for streams.
    fn stream<R>(
        &self,
        call: &str,
        act: impl FnOnce(&mut Tree, Id) -> Result<R, ErrorCode>,
    ) -> StreamResult<R> {
        self.with(act)
            .ok_or_else(|| StreamError::Trap(outside(call).into()))?
            .map_err(|code| StreamError::LastOperationFailed(code.into()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut contents = self.room.lock();
        if self.attempt == Some(contents.attempts)
            && let Some(tree) = &mut contents.tree
        {
            tree.release(self.id);
        }
    }
}

fn outside(call: &str) -> Interrupt {
    Interrupt::misuse(format!(
        "`wasi:{call}` was called outside of a step: files in {PATH} are there only while a step's body runs; move it into the body of a step(...)"
    ))
}

impl Guest {
    /// The scratch directory of an attempt that begins now.
    pub(crate) fn open_scratch(&self) -> Option<Scratch> {
        let max_bytes = self.go.terms.scratch_max_bytes?;
        let (journal, before) = (Arc::clone(&self.journal), self.replay.now());
        let now = move || datetime(journal.now().max(before));
        Some(self.room.open(Tree::new(max_bytes, now)))
    }

    fn descriptor(&self, fd: &Resource<types::Descriptor>) -> FsResult<&Descriptor> {
        Ok(self.table.get(&Resource::new_borrow(fd.rep()))?)
    }

    fn push_descriptor(
        &mut self,
        held: Held,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<types::Descriptor>> {
        // The library's descriptors can only be made by the library. What the guest has is a place in the table, and what is there is ours.
        let place = self.table.push(Descriptor { held, flags })?;
        Ok(Resource::new_own(place.rep()))
    }

    fn with<R>(
        &self,
        fd: &Resource<types::Descriptor>,
        call: &str,
        act: impl FnOnce(&mut Tree, Id) -> Result<R, ErrorCode>,
    ) -> FsResult<R> {
        let done = self.descriptor(fd)?.held.with(act);
        let outside = || FsError::trap(outside(&format!("filesystem/types.descriptor.{call}")));
        Ok(done.ok_or_else(outside)??)
    }

    /// Holds what is chosen for as long as the answer is there.
    fn hold(
        &self,
        fd: &Resource<types::Descriptor>,
        call: &str,
        choose: impl FnOnce(&mut Tree, Id) -> Result<Id, ErrorCode>,
    ) -> FsResult<Held> {
        let id = self.with(fd, call, |tree, id| {
            let id = choose(tree, id)?;
            tree.hold(id)?;
            Ok(id)
        })?;
        Ok(Held {
            room: self.room.clone(),
            attempt: Some(self.room.lock().attempts),
            id,
        })
    }

    /// A file that was opened for this.
    fn check_flag(
        &self,
        fd: &Resource<types::Descriptor>,
        call: &str,
        flag: DescriptorFlags,
    ) -> FsResult<()> {
        let flags = self.descriptor(fd)?.flags;
        self.with(fd, call, |tree, id| {
            tree.size(id)?;
            if flags.contains(flag) {
                Ok(())
            } else {
                Err(ErrorCode::BadDescriptor)
            }
        })
    }
}

impl preopens::Host for Guest {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<types::Descriptor>, String)>> {
        if self.go.terms.scratch_max_bytes.is_none() {
            return Ok(Vec::new());
        }
        let held = Held {
            room: self.room.clone(),
            attempt: None,
            id: ROOT,
        };
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        let directory = self.push_descriptor(held, flags);
        Ok(vec![(
            directory.map_err(wasmtime::Error::from)?,
            PATH.to_owned(),
        )])
    }
}

impl Host for Guest {
    fn filesystem_error_code(
        &mut self,
        error: Resource<IoError>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().copied())
    }

    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl HostDescriptor for Guest {
    fn read_via_stream(
        &mut self,
        fd: Resource<types::Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        self.check_flag(&fd, "read-via-stream", DescriptorFlags::READ)?;
        let file = self.hold(&fd, "read-via-stream", |_, id| Ok(id))?;
        let reader: DynInputStream = Box::new(Reader::new(file, offset));
        Ok(self.table.push(reader)?)
    }

    fn write_via_stream(
        &mut self,
        fd: Resource<types::Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.check_flag(&fd, "write-via-stream", DescriptorFlags::WRITE)?;
        let file = self.hold(&fd, "write-via-stream", |_, id| Ok(id))?;
        let writer: DynOutputStream = Box::new(Writer::new(file, Some(offset)));
        Ok(self.table.push(writer)?)
    }

    fn append_via_stream(
        &mut self,
        fd: Resource<types::Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.check_flag(&fd, "append-via-stream", DescriptorFlags::WRITE)?;
        let file = self.hold(&fd, "append-via-stream", |_, id| Ok(id))?;
        let writer: DynOutputStream = Box::new(Writer::new(file, None));
        Ok(self.table.push(writer)?)
    }

    async fn advise(
        &mut self,
        fd: Resource<types::Descriptor>,
        _: Filesize,
        _: Filesize,
        _: Advice,
    ) -> FsResult<()> {
        self.with(&fd, "advise", |_, _| Ok(()))
    }

    async fn sync_data(&mut self, fd: Resource<types::Descriptor>) -> FsResult<()> {
        self.with(&fd, "sync-data", |_, _| Ok(()))
    }

    async fn sync(&mut self, fd: Resource<types::Descriptor>) -> FsResult<()> {
        self.with(&fd, "sync", |_, _| Ok(()))
    }

    async fn get_flags(&mut self, fd: Resource<types::Descriptor>) -> FsResult<DescriptorFlags> {
        let Descriptor { held, flags } = self.descriptor(&fd)?;
        let flags = *flags;
        if held.attempt.is_some() {
            self.with(&fd, "get-flags", |_, _| Ok(()))?;
        }
        Ok(flags)
    }

    async fn get_type(&mut self, fd: Resource<types::Descriptor>) -> FsResult<DescriptorType> {
        if self.descriptor(&fd)?.held.attempt.is_none() {
            return Ok(DescriptorType::Directory);
        }
        self.with(&fd, "get-type", |tree, id| tree.kind(id))
    }

    async fn set_size(&mut self, fd: Resource<types::Descriptor>, size: Filesize) -> FsResult<()> {
        self.check_flag(&fd, "set-size", DescriptorFlags::WRITE)?;
        self.with(&fd, "set-size", |tree, id| tree.set_size(id, size))
    }

    async fn set_times(
        &mut self,
        fd: Resource<types::Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.with(&fd, "set-times", |tree, id| {
            tree.set_times(id, accessed, modified)
        })
    }

    async fn read(
        &mut self,
        fd: Resource<types::Descriptor>,
        len: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        self.check_flag(&fd, "read", DescriptorFlags::READ)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.with(&fd, "read", |tree, id| {
            let bytes = tree.read(id, offset, len)?.to_vec();
            let is_at_end = offset.saturating_add(bytes.len() as u64) >= tree.size(id)?;
            Ok((bytes, is_at_end))
        })
    }

    async fn write(
        &mut self,
        fd: Resource<types::Descriptor>,
        bytes: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        self.check_flag(&fd, "write", DescriptorFlags::WRITE)?;
        self.with(&fd, "write", |tree, id| tree.write(id, offset, &bytes))?;
        Ok(bytes.len() as u64)
    }

    async fn read_directory(
        &mut self,
        fd: Resource<types::Descriptor>,
    ) -> FsResult<Resource<types::DirectoryEntryStream>> {
        let directory = self.hold(&fd, "read-directory", |tree, id| {
            tree.next_entry(id, None)?;
            Ok(id)
        })?;
        // As with descriptors.
        let place = self.table.push(Listing::new(directory))?;
        Ok(Resource::new_own(place.rep()))
    }

    async fn create_directory_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        path: String,
    ) -> FsResult<()> {
        self.with(&fd, "create-directory-at", |tree, id| {
            tree.create_directory(id, &path)
        })
    }

    async fn stat(&mut self, fd: Resource<types::Descriptor>) -> FsResult<DescriptorStat> {
        self.with(&fd, "stat", |tree, id| tree.stat(id))
    }

    async fn stat_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        _: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        self.with(&fd, "stat-at", |tree, id| tree.stat(tree.find(id, &path)?))
    }

    async fn set_times_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        _: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.with(&fd, "set-times-at", |tree, id| {
            let id = tree.find(id, &path)?;
            tree.set_times(id, accessed, modified)
        })
    }

    async fn link_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        _: PathFlags,
        _: String,
        _: Resource<types::Descriptor>,
        _: String,
    ) -> FsResult<()> {
        self.with(&fd, "link-at", |_, _| Err(ErrorCode::Unsupported))
    }

    async fn open_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        _: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<types::Descriptor>> {
        let writes = flags.contains(DescriptorFlags::WRITE);
        let held = self.hold(&fd, "open-at", |tree, id| tree.open(id, &path, how, writes))?;
        self.push_descriptor(held, flags)
    }

    async fn readlink_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        path: String,
    ) -> FsResult<String> {
        self.with(&fd, "readlink-at", |tree, id| {
            tree.find(id, &path)?;
            Err(ErrorCode::Invalid)
        })
    }

    async fn remove_directory_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        path: String,
    ) -> FsResult<()> {
        self.with(&fd, "remove-directory-at", |tree, id| {
            tree.remove_directory(id, &path)
        })
    }

    async fn rename_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        path: String,
        new_fd: Resource<types::Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let new_base = self.with(&new_fd, "rename-at", |_, id| Ok(id))?;
        self.with(&fd, "rename-at", |tree, id| {
            tree.rename(id, &path, new_base, &new_path)
        })
    }

    async fn symlink_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        _: String,
        _: String,
    ) -> FsResult<()> {
        self.with(&fd, "symlink-at", |_, _| Err(ErrorCode::Unsupported))
    }

    async fn unlink_file_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        path: String,
    ) -> FsResult<()> {
        self.with(&fd, "unlink-file-at", |tree, id| {
            tree.remove_file(id, &path)
        })
    }

    async fn is_same_object(
        &mut self,
        one: Resource<types::Descriptor>,
        other: Resource<types::Descriptor>,
    ) -> wasmtime::Result<bool> {
        let id_of = |fd: &Resource<types::Descriptor>| {
            let id = self.with(fd, "is-same-object", |_, id| Ok(id));
            id.map_or_else(|error| error.downcast().map(|_| None), |id| Ok(Some(id)))
        };
        let (one, other) = (id_of(&one)?, id_of(&other)?);
        Ok(one.is_some() && one == other)
    }

    async fn metadata_hash(
        &mut self,
        fd: Resource<types::Descriptor>,
    ) -> FsResult<MetadataHashValue> {
        self.with(&fd, "metadata-hash", |_, id| Ok(hash(id)))
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Resource<types::Descriptor>,
        _: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.with(&fd, "metadata-hash-at", |tree, id| {
            Ok(hash(tree.find(id, &path)?))
        })
    }

    fn drop(&mut self, fd: Resource<types::Descriptor>) -> wasmtime::Result<()> {
        self.table
            .delete(Resource::<Descriptor>::new_own(fd.rep()))?;
        Ok(())
    }
}

impl HostDirectoryEntryStream for Guest {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<types::DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let listing = self
            .table
            .get_mut(&Resource::<Listing>::new_borrow(stream.rep()))?;
        listing.next()
    }

    fn drop(&mut self, stream: Resource<types::DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table
            .delete(Resource::<Listing>::new_own(stream.rep()))?;
        Ok(())
    }
}

/// What tells files of an attempt apart.
fn hash(id: Id) -> MetadataHashValue {
    MetadataHashValue {
        lower: id + 1,
        upper: 0,
    }
}
