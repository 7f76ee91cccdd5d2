//! What is said about JSON that is not of its type.

use std::fmt::{self, Write as _};

use crate::from_json::is_nullable;
use crate::json::{Json, excerpt};
use crate::payload::PayloadError;
use crate::schema::Type;

/// Why a text is not a value of the expected type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputError {
    /// The text is not JSON, or breaks a limit.
    Malformed {
        /// What the text is: `input`.
        root: String,
        /// What is wrong with it.
        error: PayloadError,
    },
    /// The JSON is not of the type. Holds one to five mismatches, in the order of the text.
    Mismatch(Vec<Mismatch>),
}

/// One place where JSON is not of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where: `input.items[2].price`.
    pub path: String,
    /// What was expected and what is there.
    pub message: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// One line for each mismatch.
impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { root, error } => write!(f, "{root}: {error}"),
            Self::Mismatch(mismatches) => {
                for (index, mismatch) in mismatches.iter().enumerate() {
                    if index > 0 {
                        f.write_char('\n')?;
                    }
                    mismatch.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for InputError {}

/// What to write for a type, in words for people: its JSON form too where that is not obvious.
pub(crate) fn expected(ty: &Type) -> String {
    match ty {
        Type::Char => "char (a string of one character)".to_owned(),
        Type::Bytes => "list<u8> (a string of padded base64)".to_owned(),
        Type::FixedList(_, length) => format!("{ty} (an array of {length})"),
        Type::Tuple(items) => format!("{ty} (an array of {})", items.len()),
        Type::List(_) => format!("{ty} (an array)"),
        Type::Record(_) => format!("{ty} (an object)"),
        Type::Variant(_) => format!("{ty} (an object with `tag`)"),
        Type::Enum(cases) => listed(cases.cases.iter().map(String::as_str)),
        Type::Flags(_) => format!("{ty} (an array of names)"),
        Type::Option(inner) if is_nullable(inner) => {
            format!("{ty} (null or an object with `some`)")
        }
        Type::Result { .. } => format!("{ty} (an object with either `ok` or `err`)"),
        _ => ty.to_string(),
    }
}

pub(crate) fn not_one_of<'n>(
    names: impl ExactSizeIterator<Item = &'n str> + Clone,
    got: &Json,
) -> String {
    format!("expected {}, got {}", listed(names), excerpt(got))
}

/// `one of a, b, c`, shortened when there are many.
pub(crate) fn listed<'n>(names: impl ExactSizeIterator<Item = &'n str> + Clone) -> String {
    const MOST: usize = 20;
    let count = names.len();
    let mut text = String::from(if count == 1 { "" } else { "one of " });
    for (index, name) in names.take(MOST).enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(name);
    }
    if count > MOST {
        text.push_str(&format!(" and {} more", count - MOST));
    }
    text
}
