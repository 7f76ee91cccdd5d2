//! Text that may be a piece of a larger one.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text of its own, or a piece of a larger text that is kept for as long as any piece of it.
///
/// A journal comes from the database as a few large texts. Its keys and payloads, thousands of them, are pieces of these instead of copies.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    Own(String),
    Piece { whole: Arc<str>, at: Range<u32> },
}

impl Text {
    /// The pieces between the separators, of which there is one more than there are separators. The separator is a character of ASCII, and
    /// the whole is shorter than 4 GiB.
    pub fn split(whole: &str, separator: u8) -> impl Iterator<Item = Text> {
        debug_assert!(separator.is_ascii(), "a byte inside of a character");
        let place = |at: usize| u32::try_from(at).expect("Postgres sends at most 1 GiB at once");
        let whole: Arc<str> = whole.into();
        let mut rest = Some(0);
        std::iter::from_fn(move || {
            let start = rest?;
            let end = memchr::memchr(separator, &whole.as_bytes()[start..]);
            let end = end.map(|length| start + length);
            rest = end.map(|end| end + 1);
            Some(Text(Repr::Piece {
                at: place(start)..place(end.unwrap_or(whole.len())),
                whole: Arc::clone(&whole),
            }))
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Own(text) => text,
            Repr::Piece { whole, at } => &whole[at.start as usize..at.end as usize],
        }
    }

    /// The text; a piece is copied.
    #[must_use]
    pub fn into_string(self) -> String {
        match self.0 {
            Repr::Own(text) => text,
            Repr::Piece { .. } => self.as_str().to_owned(),
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Repr::Own(text))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_stands_between_the_separators() {
        for whole in ["", "a", "|", "äb||c", "a|b|"] {
            let pieces: Vec<Text> = Text::split(whole, b'|').collect();
            let expected: Vec<Text> = whole.split('|').map(|s| Text::from(s.to_owned())).collect();
            assert_eq!(pieces, expected, "{whole:?}");
            assert_eq!(pieces[0].clone().into_string(), expected[0].as_str());
        }
    }
}
