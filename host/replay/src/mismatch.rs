//! A contradiction between the code and the journal, as data with both sides.

use std::fmt;

use dacapo_model::{Kind, StepKey};
use serde::{Deserialize, Serialize};

/// The code asked for something that contradicts the journal.
///
/// It is a value to be stored and shown, not an error of ours: the run waits until a deployment comes whose code agrees with the
/// journal. `Display` says it in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mismatch {
    /// Where they part: the key that the code asked for or, when it returned, the first recorded key that it has not asked for.
    pub key: StepKey,
    /// What the journal has.
    pub recorded: Side,
    /// What the code wants.
    pub asked: Side,
}

/// One side of a [`Mismatch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "side",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Side {
    /// A row of the journal under the mismatch's key.
    Recorded {
        /// The row's kind.
        kind: Kind,
        /// The row's place in the journal.
        position: u32,
    },
    /// Rows of the same scope that the code has not asked for.
    Unconsumed {
        /// The first of their keys, in the journal's order; at most [`Side::KEYS_MAX`].
        keys: Vec<StepKey>,
        /// How many there are in all.
        count: u32,
    },
    /// A durable call with the mismatch's key.
    Asked {
        /// The kind of the call.
        kind: Kind,
    },
    /// The end of the workflow's function.
    Returned,
}

impl Side {
    /// Keys that [`Side::Unconsumed`] names at most, so that a mismatch stays small however long the journal is.
    pub const KEYS_MAX: usize = 20;
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asked {
            Side::Asked { kind } => write!(
                f,
                "the code asks for {} `{}`",
                with_article(*kind),
                self.key
            )?,
            _ => f.write_str("the code has returned")?,
        }
        match &self.recorded {
            Side::Recorded { kind, position } => {
                write!(
                    f,
                    ", but the journal has {} under that key, at position {position}",
                    with_article(*kind)
                )
            }
            Side::Unconsumed { keys, count } => {
                f.write_str(", but the journal still has ")?;
                for (at, key) in keys.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "`{key}`")?;
                }
                let unnamed = u64::from(*count).saturating_sub(keys.len() as u64);
                if unnamed > 0 {
                    write!(f, " and {unnamed} more")?;
                }
                f.write_str(", which the code has not asked for (inserted, renamed or removed?)")
            }
            Side::Asked { .. } | Side::Returned => Ok(()),
        }
    }
}

fn with_article(kind: Kind) -> String {
    format!("a {}", kind.as_str())
}
