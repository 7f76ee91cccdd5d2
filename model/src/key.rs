//! Names of steps and waits, and the keys under which the journal keeps them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::Text;

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 200;

/// Why a text cannot name a step, a wait or an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no text.
    #[error("the name is empty")]
    Empty,
    /// The text is too long.
    #[error("the name is {bytes} bytes long, the limit is {MAX_NAME_BYTES} bytes: \"{start}…\"")]
    TooLong {
        /// The length of the text.
        bytes: usize,
        /// How it begins.
        start: String,
    },
    /// The text holds a character that keys need for themselves, or that no person can see.
    #[error(
        "the name {name:?} contains {character:?}: `/`, `#` and control characters are not allowed"
    )]
    Character {
        /// The name.
        name: String,
        /// The first such character in it.
        character: char,
    },
}

/// Checks that the text can be a name: 1 to 200 bytes, without `/`, `#` and control characters.
///
/// # Errors
/// Says which of these rules the text breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        let start = name.chars().take(40).filter(|c| !c.is_control()).collect();
        return Err(NameError::TooLong {
            bytes: name.len(),
            start,
        });
    }
    match name
        .chars()
        .find(|&c| c == '/' || c == '#' || c.is_control())
    {
        Some(character) => Err(NameError::Character {
            name: name.to_owned(),
            character,
        }),
        None => Ok(()),
    }
}

/// Where in its run an entry of the journal belongs: `scope/name#occurrence`, without `scope/` at the root.
///
/// The scope is itself made of such parts, so what precedes the last `/` is the scope whatever it holds. A branch of a fork has the key
/// `fork/index`, which is also the scope of everything inside of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepKey(Text);

impl StepKey {
    /// The key of the `occurrence`th use, counted from 1, of `name` in `scope`; the root's scope is the empty text.
    ///
    /// The name must have passed [`check_name`].
    #[must_use]
    pub fn new(scope: &str, name: &str, occurrence: u32) -> Self {
        debug_assert!(check_name(name).is_ok(), "unchecked name {name:?}");
        if scope.is_empty() {
            Self(format!("{name}#{occurrence}").into())
        } else {
            Self(format!("{scope}/{name}#{occurrence}").into())
        }
    }

    /// The key of a branch of the fork with this key; indices begin at 0.
    #[must_use]
    pub fn branch(fork: &StepKey, index: u32) -> Self {
        Self(format!("{fork}/{index}").into())
    }

    /// Takes a key that [`StepKey::new`] or [`StepKey::branch`] made and the journal kept.
    #[must_use]
    pub fn from_trusted(key: impl Into<Text>) -> Self {
        Self(key.into())
    }

    /// Whether it is what [`StepKey::new`] would make of these parts.
    #[must_use]
    pub fn is(&self, scope: &str, name: &str, occurrence: u32) -> bool {
        let local = if scope.is_empty() {
            Some(self.as_str())
        } else {
            self.as_str()
                .strip_prefix(scope)
                .and_then(|rest| rest.strip_prefix('/'))
        };
        local
            .and_then(|local| local.strip_prefix(name))
            .and_then(|rest| rest.strip_prefix('#'))
            .is_some_and(|number| number.parse() == Ok(occurrence))
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The scope; the empty text at the root.
    #[must_use]
    pub fn scope(&self) -> &str {
        let key = self.as_str();
        memchr::memrchr(b'/', key.as_bytes()).map_or("", |end| &key[..end])
    }

    /// The name that the guest gave.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts().0
    }

    /// Which use of the name it is, from 1. 0 if the key was not made by [`StepKey::new`].
    #[must_use]
    pub fn occurrence(&self) -> u32 {
        self.parts().1
    }

    fn parts(&self) -> (&str, u32) {
        let key = self.as_str();
        let last = key.rsplit_once('/').map_or(key, |(_, last)| last);
        match last.rsplit_once('#') {
            Some((name, occurrence)) => (name, occurrence.parse().unwrap_or(0)),
            None => (last, 0),
        }
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_apart_as_they_were_put_together() {
        for (scope, text) in [("", "charge#2"), ("resize#1/3", "resize#1/3/charge#2")] {
            let key = StepKey::new(scope, "charge", 2);
            assert_eq!(key.as_str(), text);
            assert_eq!(
                (key.scope(), key.name(), key.occurrence()),
                (scope, "charge", 2)
            );
            assert!(key.is(scope, "charge", 2));
            for (scope, name, occurrence) in [
                (scope, "charge", 1),
                (scope, "charg", 2),
                (scope, "charges", 2),
                ("resize#1", "charge", 2),
                ("resize#1/33", "charge", 2),
            ] {
                assert!(
                    !key.is(scope, name, occurrence),
                    "{key} is not {scope}/{name}#{occurrence}"
                );
            }
        }
    }

    #[test]
    fn strange_keys_come_apart_without_a_panic() {
        for text in ["", "/", "#", "a/#", "a#b", "a#99999999999"] {
            let key = StepKey::from_trusted(text.to_owned());
            let _ = (key.scope(), key.name(), key.occurrence());
        }
    }

    #[test]
    fn bad_names_say_what_is_bad() {
        let message = |name: &str| check_name(name).unwrap_err().to_string();
        assert_eq!(message(""), "the name is empty");
        assert_eq!(
            message("a/b"),
            "the name \"a/b\" contains '/': `/`, `#` and control characters are not allowed"
        );
        assert_eq!(
            message("a\0"),
            "the name \"a\\0\" contains '\\0': `/`, `#` and control characters are not allowed"
        );
        assert_eq!(
            message(&"x".repeat(201)),
            format!(
                "the name is 201 bytes long, the limit is 200 bytes: \"{}…\"",
                "x".repeat(40)
            )
        );
        assert!(check_name(&"x".repeat(200)).is_ok());
        assert!(check_name("Konto eröffnen 🎉").is_ok());
    }
}
