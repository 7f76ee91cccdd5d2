//! What a test says beforehand about everything that is not the workflow.

use std::time::Duration;

use dacapo_model::{Failure, NameError, Payload, RunId, StepKey, check_name, is_short_for};

use crate::child::Child;

/// One thing that a test has said.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// The outcome of a step, by its name or its key.
    Step(String, Result<Payload, Failure>),
    /// A pause by the workflow itself, by its name or its key, is resumed as soon as it is reached.
    Pause(String),
    /// What becomes of children of a workflow, by its name or an end of that.
    Child(String, Child),
    /// What somebody does, this long after the run's start.
    At(Duration, Action),
}

/// What somebody outside does.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Send {
        name: String,
        payload: Payload,
    },
    Pause,
    Resume,
    Cancel,
    /// A child ends.
    EndChild {
        id: RunId,
        outcome: Payload,
    },
}

/// Checks the name of a step or a pause, or its key.
pub(crate) fn check_target(target: &str) -> Result<(), NameError> {
    let key = StepKey::from_trusted(target.to_owned());
    match key.occurrence() {
        // Not a key: a name holds no `#`.
        0 => check_name(target),
        _ => check_name(key.name()),
    }
}

/// What was said about this step or pause: by its key, else by its name.
pub(crate) fn find<'a, T>(said: impl Iterator<Item = (&'a str, T)>, key: &StepKey) -> Option<T> {
    let mut by_name = None;
    for (target, what) in said {
        if target == key.as_str() {
            return Some(what);
        }
        if target == key.name() {
            by_name = Some(what);
        }
    }
    by_name
}

/// Whether what was said of this workflow is about a child that was asked for by this name: both may be ends of full names.
pub(crate) fn is_about(target: &str, asked: &str) -> bool {
    target == asked || is_short_for(target, asked) || is_short_for(asked, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_more_than_a_name() {
        let said = [("charge", 1), ("charge#2", 2), ("pay#1/0/charge#1", 3)];
        let found = |key: &str| find(said.into_iter(), &StepKey::from_trusted(key.to_owned()));
        assert_eq!(found("charge#1"), Some(1));
        assert_eq!(found("charge#2"), Some(2));
        assert_eq!(found("pay#1/0/charge#1"), Some(3));
        assert_eq!(found("pay#1/1/charge#1"), Some(1));
        assert_eq!(found("release#1"), None);
    }

    #[test]
    fn names_and_keys_are_told_from_nonsense() {
        for good in ["charge", "charge#1", "pay#1/0/charge#2"] {
            assert_eq!(check_target(good), Ok(()), "{good}");
        }
        for bad in ["", "charge#", "charge#x", "charge#0", "a/b", "#1"] {
            assert!(check_target(bad).is_err(), "{bad}");
        }
    }
}
