//! What blocks runs, in words for people: what each kind of reason means, and what lets the runs go on.

/// A kind of reason for which runs are blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obstacle {
    /// Its code, as it is recorded.
    pub code: &'static str,
    /// What is the matter, of several runs.
    pub what: &'static str,
    /// What to do about it, of one run or several.
    pub advice: &'static str,
    /// What a run is blocked with says itself what to do.
    pub says_so: bool,
}

impl Obstacle {
    /// What to do about a code that is not known.
    pub const ADVICE: &str = "see `dacapo runs show RUN`, mend the cause, then `dacapo resume RUN`";

    /// What is known of a code. None: a newer version blocks runs for it.
    #[must_use]
    pub fn of(code: &str) -> Option<&'static Self> {
        OBSTACLES.iter().find(|known| known.code == code)
    }
}

const OBSTACLES: &[Obstacle] = &[
    Obstacle {
        code: "mismatch",
        what: "their code contradicts what they have recorded",
        advice: "let code that fits take the run along: `dacapo deploy FILE.wasm --upgrade proven`, or \
                 `dacapo runs repair PACKAGE@N --apply`",
        says_so: false,
    },
    Obstacle {
        code: "rejected",
        what: "their code cannot read what they have recorded",
        advice: "let code that can take the run along: `dacapo deploy FILE.wasm --upgrade proven`, or `dacapo runs repair PACKAGE@N --apply`; or \
                 record it anew with `dacapo skip RUN`",
        says_so: false,
    },
    Obstacle {
        code: "input",
        what: "their code does not take the input that they were started with",
        advice: "let code that does take the run along: `dacapo deploy FILE.wasm --upgrade proven`, or `dacapo runs repair PACKAGE@N --apply`; or \
                 `dacapo cancel RUN`",
        says_so: false,
    },
    Obstacle {
        code: "journal-limit",
        what: "their journals are as long as they may be",
        advice: "start workers with a higher --steps-max or --journal-max, then `dacapo resume RUN`",
        says_so: false,
    },
    Obstacle {
        code: "unknown-workflow",
        what: "they want to start a child of a workflow that is not deployed",
        advice: "deploy the component that exports it with `dacapo deploy FILE.wasm`; no `dacapo resume` is needed then",
        says_so: false,
    },
    Obstacle {
        code: "unknown-queue",
        what: "they want to start a child in a queue that is not there",
        advice: "make it with `dacapo queue set NAME`; no `dacapo resume` is needed then",
        says_so: true,
    },
    Obstacle {
        code: "not-granted",
        what: "a step of theirs sends a request, or wants a secret, that their deployment is not granted",
        advice: "grant it in dacapo.toml, and let that take the run along: `dacapo deploy FILE.wasm --upgrade proven`",
        says_so: false,
    },
    Obstacle {
        code: "sql-not-granted",
        what: "a step of theirs uses SQL that their deployment is not granted",
        advice: "grant it in dacapo.toml, and let that take the run along: `dacapo deploy FILE.wasm --upgrade proven`",
        says_so: false,
    },
    Obstacle {
        code: "sql-database",
        what: "the database that a step of theirs is granted cannot be used",
        advice: "mend what `dacapo runs show RUN` says, then `dacapo resume RUN`",
        says_so: true,
    },
    Obstacle {
        code: "missing-secret",
        what: "a secret that they are granted is not on the worker that played them",
        advice: "start the workers with it; no `dacapo resume` is needed then",
        says_so: false,
    },
    Obstacle {
        code: "missing-component",
        what: "the component of their deployment is not stored",
        advice: "deploy the very same file again with `dacapo deploy FILE.wasm`; no `dacapo resume` is needed then",
        says_so: false,
    },
    Obstacle {
        code: "bad-component",
        what: "the stored component of their deployment cannot be loaded",
        advice: "if what is stored is damaged, deploy the very same file again with `dacapo deploy FILE.wasm`, and no `dacapo resume` is needed; \
                 otherwise let code that fits take the run along: `dacapo deploy FILE.wasm --upgrade proven`, or `dacapo runs repair PACKAGE@N --apply`",
        says_so: false,
    },
    Obstacle {
        code: "newer-component",
        what: "their component was built for a newer dacapo than the worker that took them",
        advice: "start workers of that version; no `dacapo resume` is needed, but a minute of patience",
        says_so: true,
    },
    Obstacle {
        code: "bad-descriptor",
        what: "the descriptor of their deployment is not that of its component",
        advice: "deploy the component with what `dacapo describe` prints of it, then `dacapo rerun RUN`",
        says_so: true,
    },
    Obstacle {
        code: "bad-manifest",
        what: "the manifest of their deployment cannot be meant",
        advice: "let a deployment with one that can take the run along: `dacapo deploy FILE.wasm --upgrade proven`",
        says_so: false,
    },
    Obstacle {
        code: "missing-deployment",
        what: "their deployment is not there",
        advice: "let another one take the run along: `dacapo deploy FILE.wasm --upgrade proven`, or `dacapo runs repair PACKAGE@N --apply`; or \
                 `dacapo cancel RUN`",
        says_so: false,
    },
    Obstacle {
        code: "missing-workflow",
        what: "their deployment has no such workflow",
        advice: "let one that has it take the run along: `dacapo deploy FILE.wasm --upgrade proven`, or `dacapo runs repair PACKAGE@N --apply`; or \
                 `dacapo cancel RUN`",
        says_so: false,
    },
    Obstacle {
        code: "unreadable-deployment",
        what: "a newer version of dacapo wrote their deployment, or its manifest",
        advice: "replace the workers by that version, then `dacapo resume RUN`",
        says_so: false,
    },
    Obstacle {
        code: "poison",
        what: "their workers died again and again while they played them",
        advice: "find out why (memory, crashes of the host), then `dacapo resume RUN`",
        says_so: true,
    },
    Obstacle {
        code: "internal",
        what: "a bug in the worker stopped them",
        advice: "report it, then `dacapo resume RUN`",
        says_so: true,
    },
];
