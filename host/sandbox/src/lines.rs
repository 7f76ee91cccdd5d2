//! Where in the source a guest was, for backtraces: read from the component's own debug sections when something has gone wrong, and not
//! before. So the compiled code carries none of them, and a guest that suspends pays nothing.

mod dwarf;
mod path;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use wasmparser::{Parser, Payload};
use wasmtime::{FrameInfo, WasmBacktrace};

use crate::describe::COMPONENT_MAX_BYTES;
use dwarf::Place;

/// Places in the code that are kept for each component. The same ones come again and again.
const KEPT_MAX: usize = 4_096;

/// Functions that were inlined at one place in the code, beyond which the innermost ones are left out.
const INLINED_MAX: usize = 12;

/// Lines of a backtrace.
const BACKTRACE_MAX: usize = 64;

/// A function's name is cut to this, in characters. Whoever writes a name section may write anything.
const NAME_MAX_CHARS: usize = 200;

/// Where the component's bytes are.
#[derive(Debug)]
pub(crate) enum Source {
    /// It has no debug sections.
    Nowhere,
    /// In memory, since there is no directory for compiled code.
    Bytes(Arc<[u8]>),
    /// Beside its compiled code, if it has debug sections.
    File(PathBuf),
}

/// The lines of one component.
#[derive(Debug)]
pub(crate) struct Lines {
    source: Source,
    /// What was found at an offset in the component; nothing is an answer, too.
    kept: Mutex<HashMap<u64, Arc<[Place]>>>,
    turn: Turn,
}

/// One reads at a time: it takes memory, and when many runs fail at once they do so at the same places.
pub(crate) type Turn = Arc<tokio::sync::Mutex<()>>;

impl Lines {
    pub(crate) fn new(source: Source, turn: Turn) -> Lines {
        Lines {
            source,
            kept: Mutex::default(),
            turn,
        }
    }

    /// The functions that were running, innermost first, as `name (file:line)`, or as the name alone where there is no more.
    pub(crate) async fn backtrace(self: &Arc<Self>, error: &wasmtime::Error) -> Vec<String> {
        let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
            return Vec::new();
        };
        let frames = backtrace.frames();
        let offsets: Vec<u64> = frames.iter().filter_map(offset).collect();
        self.read(&offsets).await;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for (at, frame) in frames.iter().enumerate() {
            // Debug sections that lie must not take the place of functions that were running.
            let room = BACKTRACE_MAX.saturating_sub(lines.len() + frames.len() - at);
            let places = offset(frame).and_then(|offset| kept.get(&offset));
            let places = places.map_or(&[][..], |places| &places[..]);
            describe(frame, places, room, &mut lines);
        }
        lines
    }

    /// Sees to it that these offsets are kept, if there is anything to be found.
    async fn read(self: &Arc<Self>, offsets: &[u64]) {
        if matches!(self.source, Source::Nowhere) || self.unknown(offsets).is_empty() {
            return;
        }
        let _turn = self.turn.lock().await;
        let unknown = self.unknown(offsets);
        if unknown.is_empty() {
            return;
        }
        let lines = Arc::clone(self);
        // Up to a second of a core for debug sections that were made to be slow.
        let reading = tokio::task::spawn_blocking(move || lines.read_now(&unknown));
        if let Err(error) = reading.await {
            tracing::warn!(%error, "the debug sections of a component could not be read");
        }
    }

    fn read_now(&self, offsets: &[u64]) {
        let from_file;
        let component = match &self.source {
            Source::Nowhere => return,
            Source::Bytes(bytes) => &bytes[..],
            Source::File(path) => {
                from_file = read_file(path).unwrap_or_default();
                &from_file[..]
            }
        };
        let mut found = dwarf::places(component, offsets);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() + offsets.len() > KEPT_MAX {
            kept.clear();
        }
        for offset in offsets {
            kept.insert(*offset, found.remove(offset).unwrap_or_default().into());
        }
    }

    fn unknown(&self, offsets: &[u64]) -> Vec<u64> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = offsets.iter().filter(|offset| !kept.contains_key(offset));
        let mut unknown: Vec<u64> = unknown.copied().collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }
}

/// Whether there is a line to be found for anything in this component.
pub(crate) fn has_lines(component: &[u8]) -> bool {
    let mut payloads = Parser::new(0).parse_all(component).map_while(Result::ok);
    payloads.any(|payload| {
        matches!(payload, Payload::CustomSection(section) if section.name() == ".debug_line")
    })
}

fn read_file(path: &Path) -> Option<Vec<u8>> {
    // Most components have no debug sections, and so no file.
    let file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(COMPONENT_MAX_BYTES as u64)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

/// Where in the component's bytes a frame was.
fn offset(frame: &FrameInfo) -> Option<u64> {
    u64::try_from(frame.module_offset()?).ok()
}

/// A frame as lines, those of inlined functions first. Of the function itself the name section knows more than debug sections do.
fn describe(frame: &FrameInfo, places: &[Place], room: usize, lines: &mut Vec<String>) {
    let name = match frame.func_name() {
        Some(name) => plain_name(name),
        None => format!("function {}", frame.func_index()),
    };
    let (inlined, own) = match places.split_last() {
        Some((own, inlined)) => (inlined, own.at.as_deref()),
        None => (&[][..], None),
    };
    let left_out = inlined.len().saturating_sub(room.min(INLINED_MAX));
    for place in &inlined[left_out..] {
        let name = place.function.as_deref().map(plain_name);
        lines.push(with_place(
            name.unwrap_or_else(|| "an inlined function".to_owned()),
            place.at.as_deref(),
        ));
    }
    lines.push(with_place(name, own));
}

fn with_place(name: String, at: Option<&str>) -> String {
    match at {
        Some(at) => format!("{name} ({at})"),
        None => name,
    }
}

fn plain_name(name: &str) -> String {
    // Demangling takes time, and is for names that a compiler has made.
    const MANGLED_MAX_BYTES: usize = 4_096;
    if name.len() > MANGLED_MAX_BYTES {
        return plain(name.chars(), NAME_MAX_CHARS);
    }
    plain(
        format!("{:#}", rustc_demangle::demangle(name)).chars(),
        NAME_MAX_CHARS,
    )
}

/// A text of somebody else's, so that it does no harm in a terminal or by its length.
fn plain(text: impl Iterator<Item = char>, max_chars: usize) -> String {
    let mut plain = String::new();
    for (at, char) in text.enumerate() {
        if at == max_chars {
            plain.push('…');
            break;
        }
        plain.push(if char.is_control() { '\u{fffd}' } else { char });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_no_harm() {
        assert_eq!(
            plain_name("_ZN4core6option13unwrap_failed17h0123456789abcdefE"),
            "core::option::unwrap_failed"
        );
        assert_eq!(plain_name("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(plain_name(&"x".repeat(1_000_000)).chars().count(), 201);
    }
}
