//! What can go wrong with a project, in words for whoever owns it.

use std::path::PathBuf;

/// Why a project could not be made or built.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// A program is not there.
    #[error("{program} is not installed, or not in PATH: it is needed {purpose}")]
    MissingTool {
        /// What was looked for.
        program: String,
        /// What it is needed for.
        purpose: String,
        /// What to type.
        install: String,
    },
    /// A program said no; what it printed was shown already.
    #[error("{program} ended with {status}")]
    ToolFailed {
        /// The command that was run.
        program: String,
        /// How it ended.
        status: String,
        /// What its messages may mean.
        hint: Option<&'static str>,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The project's WIT is not as it must be.
    #[error("{0}")]
    Wit(String),
    /// What was asked for makes no sense.
    #[error("{message}")]
    Project {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
}

impl KitError {
    /// What to do about it, if there is something to say.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::MissingTool { install, .. } => Some(install),
            Self::Project { hint, .. } => Some(hint),
            Self::ToolFailed { hint, .. } => *hint,
            _ => None,
        }
    }

    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
