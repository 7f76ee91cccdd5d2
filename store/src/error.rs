//! What can go wrong between us and Postgres, by what a caller can do about it.

use thiserror::Error;

/// A statement could not be carried out.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database cannot be reached, or closed the connection. Whether the last statement took effect is unknown. Try again later.
    #[error("cannot reach the database")]
    Unavailable(#[source] sqlx::Error),
    /// The statement lost against another one (deadlock, serialisation) and changed nothing. Try again at once.
    #[error("the statement collided with another one")]
    Collision(#[source] sqlx::Error),
    /// The database refuses the data; trying again cannot help. Nothing was changed.
    #[error("the database refuses the data")]
    Refused(#[source] sqlx::Error),
    /// The database holds something that this binary cannot read: a newer binary's row, or a damaged one.
    #[error("cannot read what the database holds: {0}")]
    Unreadable(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) => match cause.code().as_deref() {
                Some("40001" | "40P01" | "55P03") => Self::Collision(error),
                // Connection exceptions, operator intervention (shutdown, crash), insufficient resources, a session that was ended
                // because it let its transaction wait, and a server that starts up or has been made read-only.
                Some(code)
                    if ["08", "57P", "53"]
                        .iter()
                        .any(|class| code.starts_with(class))
                        || ["25006", "25P03", "25P04"].contains(&code) =>
                {
                    Self::Unavailable(error)
                }
                // A cancelled statement, a lost prepared statement, trouble of the server itself: not the data's fault.
                Some(code)
                    if code == "57014"
                        || ["26", "58", "XX"]
                            .iter()
                            .any(|class| code.starts_with(class)) =>
                {
                    Self::Unavailable(error)
                }
                _ => Self::Refused(error),
            },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::TypeNotFound { .. } => Self::Unreadable(error.to_string()),
            sqlx::Error::Encode(_) | sqlx::Error::RowNotFound => Self::Refused(error),
            _ => Self::Unavailable(error),
        }
    }
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing the data.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Collision(_))
    }

    /// Whether nothing was answered in time: by the database, or by what is between.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Unavailable(sqlx::Error::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut)
    }

    /// What went wrong, with the database's own words where it said something.
    pub fn reason(&self) -> String {
        let (Self::Unavailable(cause) | Self::Collision(cause) | Self::Refused(cause)) = self
        else {
            return self.to_string();
        };
        match cause.as_database_error() {
            Some(said) => format!("{self}: {}", said.message()),
            None => format!("{self}: {cause}"),
        }
    }

    /// SQLSTATE of the cause, where Postgres gave one.
    pub fn code(&self) -> Option<String> {
        let (Self::Unavailable(cause) | Self::Collision(cause) | Self::Refused(cause)) = self
        else {
            return None;
        };
        cause
            .as_database_error()?
            .code()
            .map(|code| code.into_owned())
    }
}
