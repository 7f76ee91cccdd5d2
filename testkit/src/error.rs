//! What can be wrong with a test, said so that its author knows what to do.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use dacapo_model::{EventError, InputError, NameError, PayloadError};
use dacapo_sandbox::{DescribeError, PrepareError, SandboxError};

use crate::clock;
use crate::outcome::{RunOutcome, Waiting, listed};

/// A run could not be played, or not as its test said.
///
/// Its `Debug` form is its message with all causes, since that is what a test that returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not there, or cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a component with workflows.
    #[error("{name}: {source}")]
    Describe {
        /// The file.
        name: String,
        /// What is wrong with it.
        source: DescribeError,
    },
    /// The component cannot be compiled or linked.
    #[error("{name}: {source}")]
    Prepare {
        /// The file.
        name: String,
        /// What is wrong with it.
        source: PrepareError,
    },
    /// The limits make no sense, or the system does not give what is needed.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// The component has no such workflow.
    #[error("there is no workflow {name:?} in {component}; {}", meant(.similar, .all))]
    UnknownWorkflow {
        /// The name as given.
        name: String,
        /// The file.
        component: String,
        /// Full names of workflows that may have been meant, the most similar first.
        similar: Vec<String>,
        /// Full names of all that it has.
        all: Vec<String>,
    },
    /// More than one workflow of the component goes by this short name.
    #[error("the name {name:?} is ambiguous; it stands for {}: use a full name", .full_names.join(" and "))]
    AmbiguousWorkflow {
        /// The name as given.
        name: String,
        /// The full names that it could stand for.
        full_names: Vec<String>,
    },
    /// The input is not of the workflow's type.
    #[error("{error}\n{workflow} takes {expected}")]
    BadInput {
        /// The workflow's full name.
        workflow: String,
        /// What it takes, in WIT syntax; `nothing` if it has no parameter.
        expected: String,
        /// Where the input is wrong, and how.
        error: InputError,
    },
    /// A value of the test has no JSON form.
    #[error("{what} has no JSON form")]
    Encode {
        /// What the value is.
        what: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Something in a script has a name that no event, step or pause can have.
    #[error("{what}: {error}")]
    BadName {
        /// What it was to be.
        what: &'static str,
        /// What is wrong with it.
        error: NameError,
    },
    /// A payload of a script could not be one in production.
    #[error("{what}: {error}")]
    BadPayload {
        /// What the payload belongs to.
        what: String,
        /// What is wrong with it.
        error: PayloadError,
    },
    /// The workflow declares its events, and none like this.
    #[error("event {name:?} for {workflow}: {error}")]
    BadEvent {
        /// The event's name.
        name: String,
        /// The workflow's full name.
        workflow: String,
        /// What is wrong with it.
        error: Box<EventError>,
    },
    /// A step or pause was scripted twice.
    #[error("{0} is scripted twice; to tell uses of a name apart, script keys: `name#1`, `name#2`")]
    ScriptedTwice(String),
    /// The run was played already when something was said that belongs before its start.
    #[error("{0} must be given before the run is played")]
    TooLate(&'static str),
    /// A resume met a run that was not paused.
    #[error("the run was to be resumed {} after its start, but was not paused then", clock::text(*.after))]
    NotPaused {
        /// When, after the run's start.
        after: Duration,
    },
    /// The run waits for something that the script does not have.
    #[error("the run waits for ever: {waiting}; {}", way_on(.waiting, .untaken))]
    WaitsForEver {
        /// What it waits for.
        waiting: Box<Waiting>,
        /// Names of events that no wait has taken.
        untaken: Vec<String>,
    },
    /// Steps or pauses were scripted that the run never came to.
    #[error("the run never asked for {}; what it asked for is {}", .scripts.join(", "), asked(.keys))]
    Unused {
        /// The scripts.
        scripts: Vec<String>,
        /// The keys in the run's journal.
        keys: Vec<String>,
    },
    /// The run did not complete, so it has no output.
    #[error("the run has no output: it {0}")]
    NotCompleted(Box<RunOutcome>),
    /// What the run returned is not of the type that the test expects.
    #[error("the run's {what} is not of the expected type: {json}")]
    Decode {
        /// What it is.
        what: &'static str,
        /// The JSON.
        json: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Without any crash, the same run ends in different ways.
    #[error(
        "played twice without a crash the run has two outcomes: it {first}, and it {second}; give steps that return something else each \
         time a script, with `script_step`"
    )]
    NotRepeatable {
        /// The one.
        first: Box<RunOutcome>,
        /// The other.
        second: String,
    },
    /// A crash changes what the run does.
    #[error(
        "a crash {at} changes the run: {what}; whatever code outside of steps uses must come from the input or from outcomes of steps, \
         not from what a body left in memory\nthe journals (- without, + with the crash):\n{journals}"
    )]
    Crash {
        /// When the worker crashed.
        at: String,
        /// What was expected and what came.
        what: String,
        /// The journals, compared.
        journals: String,
    },
    /// A rule of the engine itself was broken. This is not the test's fault.
    #[error("a rule of the engine was broken: {0}")]
    Broken(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !text.contains(&message) {
                text = format!("{text}: {message}");
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

fn meant(similar: &[String], all: &[String]) -> String {
    match similar {
        [] => format!("it has {}", all.join(", ")),
        similar => format!("did you mean {}?", similar.join(" or ")),
    }
}

fn asked(keys: &[String]) -> String {
    match keys {
        [] => "nothing".to_owned(),
        keys => listed(keys),
    }
}

fn way_on(waiting: &Waiting, untaken: &[String]) -> String {
    use dacapo_sandbox::SuspendReason;
    let way = match waiting.reason {
        SuspendReason::Event => "send one with `send_event`",
        SuspendReason::Child => {
            "script a child that ends, with `script_child`, or wait for it with a time-out"
        }
        SuspendReason::Pause => "script that with `resume_pause`, or `resume_at`",
        _ => "script that with `resume_at`",
    };
    match untaken {
        [] => way.to_owned(),
        untaken => format!("{way}; sent, and not taken: {}", listed(untaken)),
    }
}
