//! Files and directories in memory, of limited size. Nothing here knows of guests, attempts or disks.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, NewTimestamp, OpenFlags,
};

/// What an entry takes beside its contents, in bytes; so this limits how many there can be. It covers what we need for one.
pub(crate) const ENTRY_BYTES: u64 = 4 << 10;
/// The longest name, in bytes.
const NAME_MAX_BYTES: usize = 255;
/// The longest path, in bytes.
const PATH_MAX_BYTES: usize = 4 << 10;
/// What is read at once, in bytes, however much is asked for.
const READ_MAX_BYTES: usize = 64 << 10;

/// A file or a directory. No two of a tree have the same, also one after the other.
pub(super) type Id = u64;

/// The directory that is always there.
pub(super) const ROOT: Id = 0;

/// A directory and all that is in it.
pub(super) struct Tree {
    nodes: HashMap<Id, Node>,
    next_id: Id,
    used_bytes: u64,
    max_bytes: u64,
    now: Box<dyn Fn() -> Datetime + Send>,
}

struct Node {
    content: Content,
    /// A directory has an entry for it. Without one it lasts for as long as somebody holds it.
    is_linked: bool,
    holders: u32,
    accessed: Datetime,
    modified: Datetime,
}

enum Content {
    File(Vec<u8>),
    Directory {
        parent: Id,
        entries: BTreeMap<String, Id>,
    },
}

/// Where a path leads.
enum Target<'p> {
    /// To a directory that it does not name by an entry: `.` or `a/..`.
    Itself(Id),
    Entry(Entry<'p>),
}

struct Entry<'p> {
    directory: Id,
    name: &'p str,
    /// What has that name, if anything.
    id: Option<Id>,
    /// Only a directory can be meant, since the path ends with a slash.
    is_for_directory: bool,
}

impl Tree {
    pub(super) fn new(max_bytes: u64, now: impl Fn() -> Datetime + Send + 'static) -> Tree {
        let at = now();
        let root = Node {
            content: directory(ROOT),
            is_linked: true,
            holders: 0,
            accessed: at,
            modified: at,
        };
        Tree {
            nodes: [(ROOT, root)].into(),
            next_id: ROOT + 1,
            used_bytes: 0,
            max_bytes,
            now: Box::new(now),
        }
    }

    /// Somebody uses it, so it stays although its entry may go.
    pub(super) fn hold(&mut self, id: Id) -> Result<(), ErrorCode> {
        self.node_mut(id)?.holders += 1;
        Ok(())
    }

    /// Takes a [`Tree::hold`] back.
    pub(super) fn release(&mut self, id: Id) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.holders = node.holders.saturating_sub(1);
        }
        self.remove_if_unused(id);
    }

    /// What a path leads to.
    pub(super) fn find(&self, base: Id, path: &str) -> Result<Id, ErrorCode> {
        match self.walk(base, path)? {
            Target::Itself(id) => Ok(id),
            Target::Entry(entry) => {
                let id = entry.id.ok_or(ErrorCode::NoEntry)?;
                if entry.is_for_directory {
                    self.entries(id)?;
                }
                Ok(id)
            }
        }
    }

    /// What a path leads to, made or emptied if the flags say so.
    pub(super) fn open(
        &mut self,
        base: Id,
        path: &str,
        how: OpenFlags,
        writes: bool,
    ) -> Result<Id, ErrorCode> {
        let creates = how.contains(OpenFlags::CREATE);
        let entry = match self.walk(base, path)? {
            Target::Entry(entry) => entry,
            Target::Itself(_) if creates || writes => return Err(ErrorCode::IsDirectory),
            Target::Itself(id) => return Ok(id),
        };
        let Some(id) = entry.id else {
            if !creates {
                return Err(ErrorCode::NoEntry);
            }
            if how.contains(OpenFlags::DIRECTORY) {
                return Err(ErrorCode::Invalid);
            }
            if entry.is_for_directory {
                return Err(ErrorCode::IsDirectory);
            }
            return self.create(&entry, Content::File(Vec::new()));
        };
        if creates && how.contains(OpenFlags::EXCLUSIVE) {
            return Err(ErrorCode::Exist);
        }
        if self.is_directory(id)? {
            if creates || writes || how.contains(OpenFlags::TRUNCATE) {
                return Err(ErrorCode::IsDirectory);
            }
            return Ok(id);
        }
        if entry.is_for_directory || how.contains(OpenFlags::DIRECTORY) {
            return Err(ErrorCode::NotDirectory);
        }
        if how.contains(OpenFlags::TRUNCATE) {
            self.set_size(id, 0)?;
        }
        Ok(id)
    }

    pub(super) fn create_directory(&mut self, base: Id, path: &str) -> Result<(), ErrorCode> {
        match self.walk(base, path)? {
            Target::Entry(entry) if entry.id.is_none() => {
                let content = directory(entry.directory);
                self.create(&entry, content)?;
                Ok(())
            }
            Target::Itself(_) | Target::Entry(_) => Err(ErrorCode::Exist),
        }
    }

    pub(super) fn remove_directory(&mut self, base: Id, path: &str) -> Result<(), ErrorCode> {
        let Target::Entry(entry) = self.walk(base, path)? else {
            return Err(ErrorCode::Busy);
        };
        let id = entry.id.ok_or(ErrorCode::NoEntry)?;
        if !self.entries(id)?.is_empty() {
            return Err(ErrorCode::NotEmpty);
        }
        self.unlink(entry.directory, entry.name)
    }

    pub(super) fn remove_file(&mut self, base: Id, path: &str) -> Result<(), ErrorCode> {
        let Target::Entry(entry) = self.walk(base, path)? else {
            return Err(ErrorCode::IsDirectory);
        };
        let id = entry.id.ok_or(ErrorCode::NoEntry)?;
        if self.is_directory(id)? {
            return Err(ErrorCode::IsDirectory);
        }
        if entry.is_for_directory {
            return Err(ErrorCode::NotDirectory);
        }
        self.unlink(entry.directory, entry.name)
    }

    /// Gives an entry another name or place; what has that name already goes, as far as it may be removed.
    pub(super) fn rename(
        &mut self,
        base: Id,
        path: &str,
        new_base: Id,
        new_path: &str,
    ) -> Result<(), ErrorCode> {
        let (old, new) = match (self.walk(base, path)?, self.walk(new_base, new_path)?) {
            (Target::Entry(old), Target::Entry(new)) => (old, new),
            _ => return Err(ErrorCode::Busy),
        };
        let id = old.id.ok_or(ErrorCode::NoEntry)?;
        let is_directory = self.is_directory(id)?;
        if !is_directory && (old.is_for_directory || new.is_for_directory) {
            return Err(ErrorCode::NotDirectory);
        }
        if is_directory && self.is_within(new.directory, id)? {
            return Err(ErrorCode::Invalid);
        }
        match new.id {
            Some(same) if same == id => return Ok(()),
            Some(replaced) if is_directory && !self.entries(replaced)?.is_empty() => {
                return Err(ErrorCode::NotEmpty);
            }
            Some(replaced) if !is_directory && self.is_directory(replaced)? => {
                return Err(ErrorCode::IsDirectory);
            }
            Some(_) => self.unlink(new.directory, new.name)?,
            None if !self.node(new.directory)?.is_linked => return Err(ErrorCode::NoEntry),
            None => {}
        }
        self.entries_mut(old.directory)?.remove(old.name);
        self.entries_mut(new.directory)?
            .insert(new.name.to_owned(), id);
        if let Content::Directory { parent, .. } = &mut self.node_mut(id)?.content {
            *parent = new.directory;
        }
        Ok(())
    }

    /// The entry that comes after the one of this name in the order of names, or the first.
    pub(super) fn next_entry(
        &self,
        directory: Id,
        after: Option<&str>,
    ) -> Result<Option<DirectoryEntry>, ErrorCode> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries = self
            .entries(directory)?
            .range::<str, _>((from, Bound::Unbounded));
        let Some((name, id)) = entries.next() else {
            return Ok(None);
        };
        Ok(Some(DirectoryEntry {
            type_: self.kind(*id)?,
            name: name.clone(),
        }))
    }

    pub(super) fn kind(&self, id: Id) -> Result<DescriptorType, ErrorCode> {
        Ok(if self.is_directory(id)? {
            DescriptorType::Directory
        } else {
            DescriptorType::RegularFile
        })
    }

    pub(super) fn stat(&self, id: Id) -> Result<DescriptorStat, ErrorCode> {
        let node = self.node(id)?;
        Ok(DescriptorStat {
            type_: self.kind(id)?,
            link_count: u64::from(node.is_linked),
            size: node.content.len(),
            data_access_timestamp: Some(node.accessed),
            data_modification_timestamp: Some(node.modified),
            status_change_timestamp: Some(node.modified),
        })
    }

    pub(super) fn set_times(
        &mut self,
        id: Id,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Result<(), ErrorCode> {
        let now = (self.now)();
        let node = self.node_mut(id)?;
        for (time, new) in [
            (&mut node.accessed, accessed),
            (&mut node.modified, modified),
        ] {
            match new {
                NewTimestamp::NoChange => {}
                NewTimestamp::Now => *time = now,
                NewTimestamp::Timestamp(at) => *time = at,
            }
        }
        Ok(())
    }

    /// A part of a file, which is empty at the end only (or if nothing is asked for).
    pub(super) fn read(&self, id: Id, offset: u64, len: usize) -> Result<&[u8], ErrorCode> {
        let contents = self.contents(id)?;
        let start = usize::try_from(offset).map_or(contents.len(), |it| it.min(contents.len()));
        let len = len.min(READ_MAX_BYTES).min(contents.len() - start);
        Ok(&contents[start..start + len])
    }

    /// All of it, or nothing. What lies between the file's end and the offset is zero.
    pub(super) fn write(&mut self, id: Id, offset: u64, bytes: &[u8]) -> Result<(), ErrorCode> {
        let size = self.contents(id)?.len() as u64;
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset
            .checked_add(bytes.len() as u64)
            .ok_or(ErrorCode::FileTooLarge)?;
        if end > size {
            self.set_size(id, end)?;
        }
        let now = (self.now)();
        let node = self.node_mut(id)?;
        node.modified = now;
        let Content::File(contents) = &mut node.content else {
            return Err(ErrorCode::IsDirectory);
        };
        let start = usize::try_from(offset).map_err(|_| ErrorCode::FileTooLarge)?;
        contents[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// Where a file ends.
    pub(super) fn size(&self, id: Id) -> Result<u64, ErrorCode> {
        Ok(self.contents(id)?.len() as u64)
    }

    pub(super) fn set_size(&mut self, id: Id, size: u64) -> Result<(), ErrorCode> {
        let before = self.size(id)?;
        self.check_space(size.saturating_sub(before))?;
        let now = (self.now)();
        let node = self.node_mut(id)?;
        let Content::File(contents) = &mut node.content else {
            return Err(ErrorCode::IsDirectory);
        };
        let len = usize::try_from(size).map_err(|_| ErrorCode::FileTooLarge)?;
        if len > contents.capacity() {
            // Little more than what is counted, and still not a copy for each write.
            let more = len - contents.len();
            contents
                .try_reserve_exact(more.saturating_add(len / 8))
                .map_err(|_| ErrorCode::InsufficientMemory)?;
        }
        contents.resize(len, 0);
        contents.shrink_to(len.saturating_add(len / 8));
        node.modified = now;
        self.used_bytes = self.used_bytes - before + size;
        Ok(())
    }

    /// Makes what the entry names, if there is space for it.
    fn create(&mut self, entry: &Entry<'_>, content: Content) -> Result<Id, ErrorCode> {
        if !self.node(entry.directory)?.is_linked {
            return Err(ErrorCode::NoEntry);
        }
        self.check_space(ENTRY_BYTES)?;
        let id = self.next_id;
        let now = (self.now)();
        self.entries_mut(entry.directory)?
            .insert(entry.name.to_owned(), id);
        let node = Node {
            content,
            is_linked: true,
            holders: 0,
            accessed: now,
            modified: now,
        };
        self.nodes.insert(id, node);
        self.next_id += 1;
        self.used_bytes += ENTRY_BYTES;
        Ok(id)
    }

    fn unlink(&mut self, directory: Id, name: &str) -> Result<(), ErrorCode> {
        let id = self.entries_mut(directory)?.remove(name);
        let id = id.ok_or(ErrorCode::NoEntry)?;
        self.node_mut(id)?.is_linked = false;
        self.remove_if_unused(id);
        Ok(())
    }

    fn remove_if_unused(&mut self, id: Id) {
        let is_used = |node: &Node| node.is_linked || node.holders > 0;
        if self.nodes.get(&id).is_none_or(is_used) {
            return;
        }
        if let Some(node) = self.nodes.remove(&id) {
            self.used_bytes -= ENTRY_BYTES + node.content.len();
        }
    }

    fn check_space(&self, more_bytes: u64) -> Result<(), ErrorCode> {
        match self.used_bytes.checked_add(more_bytes) {
            Some(bytes) if bytes <= self.max_bytes || more_bytes == 0 => Ok(()),
            _ => Err(ErrorCode::InsufficientSpace),
        }
    }

    /// Goes where a path says. There is no way up from where it begins.
    fn walk<'p>(&self, base: Id, path: &'p str) -> Result<Target<'p>, ErrorCode> {
        if path.starts_with('/') {
            return Err(ErrorCode::NotPermitted);
        }
        if path.is_empty() {
            return Err(ErrorCode::NoEntry);
        }
        if path.contains('\0') {
            return Err(ErrorCode::Invalid);
        }
        if path.len() > PATH_MAX_BYTES {
            return Err(ErrorCode::NameTooLong);
        }
        let mut names: Vec<&str> = path
            .split('/')
            .filter(|name| !name.is_empty() && *name != ".")
            .collect();
        let last = names.pop_if(|last| *last != "..");
        let mut way = vec![base];
        let mut at = base;
        for name in names {
            if name == ".." {
                self.entries(at)?;
                way.pop();
                at = *way.last().ok_or(ErrorCode::NotPermitted)?;
            } else {
                at = self.look_up(at, name)?.ok_or(ErrorCode::NoEntry)?;
                way.push(at);
            }
        }
        let Some(name) = last else {
            self.entries(at)?;
            return Ok(Target::Itself(at));
        };
        Ok(Target::Entry(Entry {
            directory: at,
            name,
            id: self.look_up(at, name)?,
            is_for_directory: path.ends_with('/') || path.ends_with("/."),
        }))
    }

    fn look_up(&self, directory: Id, name: &str) -> Result<Option<Id>, ErrorCode> {
        if name.len() > NAME_MAX_BYTES {
            return Err(ErrorCode::NameTooLong);
        }
        Ok(self.entries(directory)?.get(name).copied())
    }

    /// Whether a directory is another one or in it.
    fn is_within(&self, mut id: Id, outer: Id) -> Result<bool, ErrorCode> {
        loop {
            match &self.node(id)?.content {
                _ if id == outer => return Ok(true),
                Content::Directory { parent, .. } if id != ROOT && self.node(id)?.is_linked => {
                    id = *parent;
                }
                _ => return Ok(false),
            }
        }
    }

    fn is_directory(&self, id: Id) -> Result<bool, ErrorCode> {
        Ok(matches!(self.node(id)?.content, Content::Directory { .. }))
    }

    fn node(&self, id: Id) -> Result<&Node, ErrorCode> {
        self.nodes.get(&id).ok_or(ErrorCode::BadDescriptor)
    }

    fn node_mut(&mut self, id: Id) -> Result<&mut Node, ErrorCode> {
        self.nodes.get_mut(&id).ok_or(ErrorCode::BadDescriptor)
    }

    fn contents(&self, id: Id) -> Result<&Vec<u8>, ErrorCode> {
        match &self.node(id)?.content {
            Content::File(contents) => Ok(contents),
            Content::Directory { .. } => Err(ErrorCode::IsDirectory),
        }
    }

    fn entries(&self, id: Id) -> Result<&BTreeMap<String, Id>, ErrorCode> {
        match &self.node(id)?.content {
            Content::Directory { entries, .. } => Ok(entries),
            Content::File(_) => Err(ErrorCode::NotDirectory),
        }
    }

    /// The entries of a directory that is about to change.
    fn entries_mut(&mut self, id: Id) -> Result<&mut BTreeMap<String, Id>, ErrorCode> {
        let now = (self.now)();
        let node = self.node_mut(id)?;
        node.modified = now;
        match &mut node.content {
            Content::Directory { entries, .. } => Ok(entries),
            Content::File(_) => Err(ErrorCode::NotDirectory),
        }
    }
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Content::File(contents) => contents.len() as u64,
            Content::Directory { .. } => 0,
        }
    }
}

fn directory(parent: Id) -> Content {
    Content::Directory {
        parent,
        entries: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A tree whose clock goes by a second each time that it is looked at.
    fn tree(max_bytes: u64) -> Tree {
        let seconds = Arc::new(AtomicU64::new(0));
        Tree::new(max_bytes, move || Datetime {
            seconds: seconds.fetch_add(1, Ordering::Relaxed),
            nanoseconds: 0,
        })
    }

    fn file(tree: &mut Tree, path: &str, bytes: &[u8]) -> Id {
        let id = tree.open(ROOT, path, OpenFlags::CREATE, true).unwrap();
        tree.write(id, 0, bytes).unwrap();
        id
    }

    fn names(tree: &Tree, directory: Id) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        while let Some(entry) = tree
            .next_entry(directory, names.last().map(String::as_str))
            .unwrap()
        {
            names.push(entry.name);
        }
        names
    }

    #[test]
    fn paths_lead_where_they_say_and_never_above_where_they_begin() {
        let mut tree = tree(1 << 20);
        tree.create_directory(ROOT, "a").unwrap();
        tree.create_directory(ROOT, "a/b/").unwrap();
        let (a, b) = (
            tree.find(ROOT, "a").unwrap(),
            tree.find(ROOT, "a/b").unwrap(),
        );
        let x = file(&mut tree, "a/x", b"x");
        let long = "n".repeat(NAME_MAX_BYTES + 1);
        let cases: [(Id, &str, Result<Id, ErrorCode>); 18] = [
            (ROOT, ".", Ok(ROOT)),
            (ROOT, "./a//b/.", Ok(b)),
            (ROOT, "a/b/..", Ok(a)),
            (ROOT, "a/b/../x", Ok(x)),
            (ROOT, "a/b/../..", Ok(ROOT)),
            (a, "b", Ok(b)),
            (ROOT, "..", Err(ErrorCode::NotPermitted)),
            (ROOT, "a/../..", Err(ErrorCode::NotPermitted)),
            (ROOT, "a/../../a", Err(ErrorCode::NotPermitted)),
            (a, "..", Err(ErrorCode::NotPermitted)),
            (a, "../a", Err(ErrorCode::NotPermitted)),
            (ROOT, "/a", Err(ErrorCode::NotPermitted)),
            (ROOT, "", Err(ErrorCode::NoEntry)),
            (ROOT, "c/../a", Err(ErrorCode::NoEntry)),
            (ROOT, "a/x/", Err(ErrorCode::NotDirectory)),
            (ROOT, "a/x/..", Err(ErrorCode::NotDirectory)),
            (ROOT, "a\0", Err(ErrorCode::Invalid)),
            (ROOT, &long, Err(ErrorCode::NameTooLong)),
        ];
        for (base, path, expected) in cases {
            assert_eq!(tree.find(base, path), expected, "{base} {path}");
        }
        let deep = "a/../".repeat(PATH_MAX_BYTES);
        assert_eq!(tree.find(ROOT, &deep), Err(ErrorCode::NameTooLong));
    }

    #[test]
    fn contents_and_entries_count_and_what_is_gone_does_not() {
        let mut tree = tree(2 * ENTRY_BYTES + 100);
        let one = file(&mut tree, "one", &[1; 100]);
        tree.create_directory(ROOT, "two").unwrap();
        assert_eq!(
            tree.write(one, 100, &[1]),
            Err(ErrorCode::InsufficientSpace)
        );
        assert_eq!(tree.write(one, 99, &[2]), Ok(()));
        let third = tree.open(ROOT, "three", OpenFlags::CREATE, true);
        assert_eq!(third, Err(ErrorCode::InsufficientSpace));
        assert_eq!(names(&tree, ROOT), ["one", "two"]);
        tree.remove_directory(ROOT, "two").unwrap();
        tree.set_size(one, 0).unwrap();
        file(&mut tree, "three", &[3; 100]);
        assert_eq!(tree.used_bytes, tree.max_bytes);
        for size in [1, u64::MAX] {
            let grown = tree.set_size(one, size);
            assert_eq!(grown, Err(ErrorCode::InsufficientSpace));
        }
        let written = tree.write(one, u64::MAX, &[1]);
        assert_eq!(written, Err(ErrorCode::FileTooLarge));
        for path in ["one", "three"] {
            tree.remove_file(ROOT, path).unwrap();
        }
        assert_eq!((tree.used_bytes, tree.nodes.len()), (0, 1));
    }

    #[test]
    fn memory_is_little_more_than_what_is_counted() {
        let mut tree = tree(1 << 20);
        let id = file(&mut tree, "a", b"");
        for piece in 0..1_000 {
            tree.write(id, piece * 1_000, &[1; 1_000]).unwrap();
        }
        let capacity = |tree: &Tree| match &tree.nodes[&id].content {
            Content::File(contents) => contents.capacity(),
            Content::Directory { .. } => unreachable!(),
        };
        assert!(capacity(&tree) <= 1_125_000, "{}", capacity(&tree));
        tree.set_size(id, 8).unwrap();
        assert!(capacity(&tree) <= 9, "{}", capacity(&tree));
    }

    #[test]
    fn what_is_held_stays_without_its_entry_and_counts_until_it_is_released() {
        let mut tree = tree(1 << 20);
        let id = file(&mut tree, "a", b"still here");
        tree.hold(id).unwrap();
        tree.hold(id).unwrap();
        tree.remove_file(ROOT, "a").unwrap();
        assert_eq!(tree.find(ROOT, "a"), Err(ErrorCode::NoEntry));
        tree.release(id);
        assert_eq!(tree.read(id, 0, 100), Ok(&b"still here"[..]));
        assert_eq!(tree.used_bytes, ENTRY_BYTES + 10);
        tree.release(id);
        assert_eq!(tree.read(id, 0, 100), Err(ErrorCode::BadDescriptor));
        assert_eq!(tree.used_bytes, 0);

        // Nothing can be put where nobody finds it.
        tree.create_directory(ROOT, "gone").unwrap();
        let gone = tree.find(ROOT, "gone").unwrap();
        tree.hold(gone).unwrap();
        tree.remove_directory(ROOT, "gone").unwrap();
        file(&mut tree, "b", b"");
        assert_eq!(tree.create_directory(gone, "x"), Err(ErrorCode::NoEntry));
        let opened = tree.open(gone, "x", OpenFlags::CREATE, true);
        assert_eq!(opened, Err(ErrorCode::NoEntry));
        assert_eq!(tree.rename(ROOT, "b", gone, "x"), Err(ErrorCode::NoEntry));
        assert_eq!(names(&tree, gone), [""; 0]);
    }

    #[test]
    fn a_rename_replaces_what_may_go_and_leaves_all_else_as_it_was() {
        let mut tree = tree(1 << 20);
        for path in ["a", "a/b", "a/b/c", "empty", "full", "full/x"] {
            tree.create_directory(ROOT, path).unwrap();
        }
        let (one, _) = (file(&mut tree, "1", b"one"), file(&mut tree, "2", b"two"));
        let b = tree.find(ROOT, "a/b").unwrap();
        for (path, base, new_path, expected) in [
            ("a", ROOT, "a/b/c/d", ErrorCode::Invalid),
            ("a", b, "d", ErrorCode::Invalid),
            ("a", ROOT, "full", ErrorCode::NotEmpty),
            ("a", ROOT, "1", ErrorCode::NotDirectory),
            ("1", ROOT, "empty", ErrorCode::IsDirectory),
            ("1", ROOT, "new/", ErrorCode::NotDirectory),
            ("1/", ROOT, "3", ErrorCode::NotDirectory),
            ("none", ROOT, "3", ErrorCode::NoEntry),
            ("1", ROOT, "none/3", ErrorCode::NoEntry),
            (".", ROOT, "3", ErrorCode::Busy),
            ("1", ROOT, ".", ErrorCode::Busy),
            ("1", ROOT, "../3", ErrorCode::NotPermitted),
        ] {
            let renamed = tree.rename(ROOT, path, base, new_path);
            assert_eq!(renamed, Err(expected), "{path} to {new_path}");
        }
        assert_eq!(names(&tree, ROOT), ["1", "2", "a", "empty", "full"]);
        let used_bytes = tree.used_bytes;
        tree.rename(ROOT, "1", ROOT, "1").unwrap();
        tree.rename(ROOT, "1", ROOT, "2").unwrap();
        tree.rename(ROOT, "a", ROOT, "empty").unwrap();
        tree.rename(ROOT, "empty", ROOT, "full/x/").unwrap();
        assert_eq!(names(&tree, ROOT), ["2", "full"]);
        assert_eq!(tree.find(ROOT, "2"), Ok(one));
        assert_eq!(tree.find(ROOT, "full/x/b"), Ok(b));
        assert_eq!(tree.used_bytes, used_bytes - 3 * ENTRY_BYTES - 3);
        // Where it is now is known from below as well.
        let looped = tree.rename(ROOT, "full", b, "c/d");
        assert_eq!(looped, Err(ErrorCode::Invalid));
    }

    #[test]
    fn times_move_with_what_changes() {
        let mut tree = tree(1 << 20);
        let id = file(&mut tree, "a", b"x");
        let modified = |tree: &Tree, id| {
            let stat = tree.stat(id).unwrap();
            stat.data_modification_timestamp.unwrap().seconds
        };
        let (before, above) = (modified(&tree, id), modified(&tree, ROOT));
        tree.write(id, 0, b"y").unwrap();
        assert!(modified(&tree, id) > before);
        assert_eq!(modified(&tree, ROOT), above);
        tree.create_directory(ROOT, "b").unwrap();
        assert!(modified(&tree, ROOT) > above);
        let at = Datetime {
            seconds: 7,
            nanoseconds: 5,
        };
        tree.set_times(id, NewTimestamp::NoChange, NewTimestamp::Timestamp(at))
            .unwrap();
        assert_eq!(modified(&tree, id), 7);
        assert!(
            tree.stat(id)
                .unwrap()
                .data_access_timestamp
                .unwrap()
                .seconds
                < 7
        );
    }
}
