//! How a command fails: a message with its causes, a hint, and an exit code.

use std::error::Error;
use std::fmt::Write;

use clap::error::ErrorKind;
use dacapo_client::ClientError;
use dacapo_postgres::ClusterError;
use dacapo_store::{MigrateError, StoreError};

/// Exit codes: 0 done, 1 the run or the request failed, 2 usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The run or the request failed.
    Request,
    /// What was typed, or a file that was named, is not what it should be.
    Usage,
}

/// A command failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) kind: Kind,
    /// For programs; stays the same across versions.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

pub(crate) type Result<T> = std::result::Result<T, Failed>;

impl Failed {
    /// The request failed, with all causes of an error.
    pub(crate) fn new(error: impl Error) -> Self {
        Self {
            kind: Kind::Request,
            code: "failed".to_owned(),
            message: chain(&error),
            hint: None,
        }
    }

    /// The request failed.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Request,
            code: "failed".to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    /// What was typed is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Usage,
            code: "usage".to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    /// What clap says of arguments that it cannot read; none: it is help that was asked for.
    pub(crate) fn of_arguments(error: &clap::Error) -> Option<Self> {
        let text = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return None,
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let failed = Self::usage("expected a command");
                return Some(failed.hint("`dacapo help` shows all commands"));
            }
            _ => error.render().to_string(),
        };
        // What is wrong, tips and the usage are paragraphs.
        let mut paragraphs = text
            .split("\n\n")
            .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        let first = paragraphs.next().unwrap_or_default();
        let failed = Self::usage(first.strip_prefix("error: ").unwrap_or(&first));
        let hints: Vec<String> = paragraphs.filter(|text| !text.is_empty()).collect();
        let tips: Vec<&str> = hints
            .iter()
            .filter_map(|hint| hint.strip_prefix("tip: "))
            .collect();
        let usage = hints.iter().find(|hint| hint.starts_with("Usage: "));
        Some(match (tips.is_empty(), usage) {
            (false, _) => failed.hint(tips.join("; ")),
            (true, Some(usage)) => failed.hint(usage.clone()),
            (true, None) => failed,
        })
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The message of an error with those of its causes. A cause that its error repeats is left out.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        let cause = match &error {
            ClientError::InMany { error, .. } => error.as_ref(),
            error => error,
        };
        let kind = match cause {
            ClientError::BadInput { .. }
            | ClientError::BadPayload { .. }
            | ClientError::TooLarge { .. }
            | ClientError::BadArgument { .. }
            | ClientError::BadManifest(_)
            | ClientError::NeedsDatabase(_)
            | ClientError::NotImportable(_) => Kind::Usage,
            ClientError::Remote(problem) if matches!(problem.status, 400 | 413 | 422) => {
                Kind::Usage
            }
            _ => Kind::Request,
        };
        let hint = match cause {
            // A server speaks to all its clients, which send headers.
            ClientError::Remote(problem) if problem.status == 401 => Some(
                "set DACAPO_TOKEN to a token for this server; `dacapo token create` makes one where its database can be reached".to_owned(),
            ),
            _ => error.hint(),
        };
        Self {
            kind,
            code: error.code().to_owned(),
            message: chain(&error),
            hint,
        }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        let hint = matches!(error, StoreError::Unavailable(_))
            .then(|| "check the database's address, and that it runs".to_owned());
        Self {
            kind: Kind::Request,
            code: "database".to_owned(),
            message: chain(&error),
            hint,
        }
    }
}

impl From<MigrateError> for Failed {
    fn from(error: MigrateError) -> Self {
        if let MigrateError::Store(error) = error {
            return error.into();
        }
        Self {
            kind: Kind::Request,
            code: "schema".to_owned(),
            message: chain(&error),
            hint: None,
        }
    }
}

impl From<ClusterError> for Failed {
    fn from(error: ClusterError) -> Self {
        Self::new(error)
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::request(format!("{error:#}"))
    }
}
