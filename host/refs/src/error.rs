//! Why there are no references.

use std::path::PathBuf;

/// References cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefsError {
    /// The WIT cannot be read.
    #[error("cannot read the WIT at {}: {message}", .path.display())]
    BadWit {
        /// The file or the directory.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// The world that was named is not there.
    #[error("the WIT at {} has no world {world}; it has {known}", .path.display())]
    UnknownWorld {
        /// The file or the directory.
        path: PathBuf,
        /// The world that was named.
        world: String,
        /// Those that there are.
        known: String,
    },
    /// Nothing to refer to.
    #[error(
        "no workflows: {} exports no interface with functions; write `export` and the name of an interface of the package", .of
    )]
    NoWorkflows {
        /// What was looked at.
        of: String,
    },
    /// The Rust cannot be written.
    #[error("{0}")]
    Rust(String),
}
