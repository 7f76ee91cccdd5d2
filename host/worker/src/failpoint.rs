//! Places where a worker can be made to die, for crash tests. They exist only with the cargo feature `failpoints`, which released
//! binaries do not have.

/// A place where a worker may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// Runs are leased in the database, and this process has not looked at them.
    Claimed,
    /// A step is about to be executed.
    BeforeBody,
    /// A step's body has ended, and nobody else knows.
    AfterBody,
    /// A flush has been sent, and has not been acknowledged.
    FlushSent,
    /// A flush is committed, and its runs have not been told.
    Committed,
    /// A run has been told that its rows are durable, and has not gone on.
    Acknowledged,
    /// A run is about to be suspended.
    BeforeSuspend,
    /// A run has ended, and its end is about to be written.
    BeforeCompletion,
    /// A dead worker's fences are closed, and its runs have not been taken.
    FencedNotTaken,
    /// The transaction of a SQL step is noted, and its first statement not sent.
    SqlBegun,
    /// A statement of a SQL step is carried out, and the guest has not been told.
    SqlStatement,
    /// The outcome of a SQL step is in its transaction, which is not committed.
    SqlFinished,
    /// The commit of a SQL step has been sent, and has not been acknowledged.
    SqlCommitSent,
    /// A SQL step is committed, and its run has not been told.
    SqlCommitted,
}

impl Failpoint {
    /// All of them, in the order of a run's life.
    pub const ALL: [Self; 14] = [
        Self::Claimed,
        Self::BeforeBody,
        Self::AfterBody,
        Self::FlushSent,
        Self::Committed,
        Self::Acknowledged,
        Self::BeforeSuspend,
        Self::BeforeCompletion,
        Self::FencedNotTaken,
        Self::SqlBegun,
        Self::SqlStatement,
        Self::SqlFinished,
        Self::SqlCommitSent,
        Self::SqlCommitted,
    ];

    /// Those that only runs with SQL steps come to.
    pub const OF_SQL_STEPS: [Self; 5] = [
        Self::SqlBegun,
        Self::SqlStatement,
        Self::SqlFinished,
        Self::SqlCommitSent,
        Self::SqlCommitted,
    ];

    /// Its name in `DACAPO_FAILPOINT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::BeforeBody => "before-body",
            Self::AfterBody => "after-body",
            Self::FlushSent => "flush-sent",
            Self::Committed => "committed",
            Self::Acknowledged => "acknowledged",
            Self::BeforeSuspend => "before-suspend",
            Self::BeforeCompletion => "before-completion",
            Self::FencedNotTaken => "fenced-not-taken",
            Self::SqlBegun => "sql-begun",
            Self::SqlStatement => "sql-statement",
            Self::SqlFinished => "sql-finished",
            Self::SqlCommitSent => "sql-commit-sent",
            Self::SqlCommitted => "sql-committed",
        }
    }

    /// Dies here by SIGKILL if `DACAPO_FAILPOINT` names this place, at the time that it asks for: `name` or `name:3` for the third;
    /// `name:3:panic` panics instead. A simulation decides in its place.
    #[cfg(feature = "failpoints")]
    pub(crate) fn reach(self) {
        match crate::sim::dies_at(self) {
            Some(true) => crate::sim::unwind(),
            Some(false) => {}
            None if armed::is_due(self) => armed::die(),
            None => {}
        }
    }

    /// Does nothing: this build has no failpoints.
    #[cfg(not(feature = "failpoints"))]
    #[inline(always)]
    pub(crate) fn reach(self) {}

    /// Whether the process is to die here now; for places that need to do something first.
    #[cfg(feature = "failpoints")]
    pub(crate) fn is_due(self) -> bool {
        // A simulation decides about what is sent where it passes by.
        crate::sim::dies_at(self).is_none() && armed::is_due(self)
    }
}

#[cfg(feature = "failpoints")]
pub(crate) mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Failpoint;

    struct Armed {
        name: String,
        left: AtomicU32,
        panics: bool,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let text = std::env::var("DACAPO_FAILPOINT").ok()?;
        let (text, panics) = match text.strip_suffix(":panic") {
            Some(text) => (text, true),
            None => (text.as_str(), false),
        };
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        assert!(
            Failpoint::ALL
                .iter()
                .any(|failpoint| failpoint.name() == name),
            "DACAPO_FAILPOINT: unknown failpoint {name:?}"
        );
        let left = count
            .parse()
            .expect("DACAPO_FAILPOINT: the count is a number");
        Some(Armed {
            name: name.to_owned(),
            left: AtomicU32::new(left),
            panics,
        })
    });

    pub(crate) fn is_due(failpoint: Failpoint) -> bool {
        match &*ARMED {
            Some(armed) if armed.name == failpoint.name() => {
                armed.left.fetch_sub(1, Ordering::SeqCst) == 1
            }
            _ => false,
        }
    }

    pub(crate) fn die() -> ! {
        if ARMED.as_ref().is_some_and(|armed| armed.panics) {
            panic!("a failpoint asked for it");
        }
        // Nothing may run after this, not even a destructor: the real thing does not ask either.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
        std::process::abort()
    }
}
