//! From the name of a workflow to its active deployment and its types.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dacapo_store::ActiveWorkflow;
use tokio::time::Instant;

use crate::retry::retried;
use crate::{Client, ClientError};

/// More answers than these are not kept.
const KEPT_MAX: usize = 10_000;

/// How long the answer to a short name is believed: a deployment of another package may make the name ambiguous.
const SHORT_NAME_BELIEVED: Duration = Duration::from_secs(5);

/// Names that are shown to somebody who got one wrong.
const SIMILAR_MAX: usize = 3;

/// What names stand for, kept between starts. An answer that is out of date is noticed by the start that uses it, because the
/// statement that starts a run does so only while the deployment is active.
#[derive(Debug, Default)]
pub(crate) struct Resolved(Mutex<HashMap<(Arc<str>, String), Answer>>);

#[derive(Debug)]
struct Answer {
    workflow: Arc<ActiveWorkflow>,
    believed_until: Option<Instant>,
}

impl Resolved {
    fn answers(&self) -> MutexGuard<'_, HashMap<(Arc<str>, String), Answer>> {
        // The map is whole whenever the lock is free, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// The active workflow that goes by this name: a full name, or an end of one (`function`, `interface.function`) that is unique.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Arc<ActiveWorkflow>, ClientError> {
        let key = (Arc::clone(&self.namespace), name.to_owned());
        if let Some(answer) = self.shared.resolved.answers().get(&key)
            && answer
                .believed_until
                .is_none_or(|until| Instant::now() < until)
        {
            return Ok(Arc::clone(&answer.workflow));
        }
        let workflow = Arc::new(self.look_up(name).await?);
        let is_full = workflow.workflow.name == name;
        let answer = Answer {
            workflow: Arc::clone(&workflow),
            believed_until: (!is_full).then(|| Instant::now() + SHORT_NAME_BELIEVED),
        };
        let mut answers = self.shared.resolved.answers();
        if answers.len() >= KEPT_MAX {
            answers.clear();
        }
        answers.insert(key, answer);
        Ok(workflow)
    }

    /// Forgets what a name stood for.
    pub(crate) fn forget(&self, name: &str) {
        self.shared
            .resolved
            .answers()
            .remove(&(Arc::clone(&self.namespace), name.to_owned()));
    }

    async fn look_up(&self, name: &str) -> Result<ActiveWorkflow, ClientError> {
        if name.contains('\0') {
            // Postgres would refuse the question.
            return Err(ClientError::BadArgument {
                what: "workflow",
                message: format!("{name:?} holds a NUL character"),
            });
        }
        let store = self.store();
        let mut found =
            retried(|| dacapo_store::active_workflow(store, &self.namespace, name)).await?;
        if found.is_empty() {
            let full_name = self.full_name(name).await?;
            found = retried(|| dacapo_store::active_workflow(store, &self.namespace, &full_name))
                .await?;
        }
        if found.len() > 1 {
            return Err(ClientError::AmbiguousWorkflow {
                name: name.to_owned(),
                full_names: found.into_iter().map(|found| found.workflow.name).collect(),
            });
        }
        found.pop().ok_or_else(|| ClientError::UnknownWorkflow {
            name: name.to_owned(),
            similar: Vec::new(),
            any: true,
        })
    }

    /// The one full name that ends in `name`.
    async fn full_name(&self, name: &str) -> Result<String, ClientError> {
        let store = self.store();
        let deployed = retried(|| dacapo_store::list_workflows(store, &self.namespace)).await?;
        let mut full_names: Vec<String> = deployed
            .iter()
            .map(|row| row.workflow.name.clone())
            .filter(|full_name| ends_in(full_name, name))
            .collect();
        match full_names.len() {
            0 => Err(ClientError::UnknownWorkflow {
                name: name.to_owned(),
                similar: similar(name, deployed.iter().map(|row| row.workflow.name.as_str())),
                any: !deployed.is_empty(),
            }),
            1 => Ok(full_names.remove(0)),
            _ => Err(ClientError::AmbiguousWorkflow {
                name: name.to_owned(),
                full_names,
            }),
        }
    }
}

/// Whether the end begins where a part of the name begins.
fn ends_in(full_name: &str, end: &str) -> bool {
    full_name
        .strip_suffix(end)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with([':', '/', '.']))
}

/// The names that may have been meant, the most similar first.
fn similar<'a>(name: &str, full_names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(usize, &str)> = full_names
        .filter_map(|full_name| {
            let ends = full_name
                .match_indices([':', '/', '.'])
                .map(|(at, _)| &full_name[at + 1..]);
            let distance = ends
                .chain([full_name])
                .map(|end| distance(name, end))
                .min()?;
            (distance <= 1 + name.chars().count() / 3).then_some((distance, full_name))
        })
        .collect();
    scored.sort_unstable();
    scored
        .into_iter()
        .take(SIMILAR_MAX)
        .map(|(_, full_name)| full_name.to_owned())
        .collect()
}

/// How many characters must be added, dropped or changed to get from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, from) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, to) in to.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = [
        "payments:processing/payments.process",
        "users:onboarding/accounts.onboard",
        "hr:approvals/approvals.approve",
    ];

    #[test]
    fn a_name_with_a_typo_finds_what_was_meant() {
        assert_eq!(similar("proces", NAMES.into_iter()), [NAMES[0]]);
        assert_eq!(similar("account.onboard", NAMES.into_iter()), [NAMES[1]]);
        assert!(similar("bake-bread", NAMES.into_iter()).is_empty());
    }

    #[test]
    fn only_whole_parts_are_a_short_name() {
        for end in [
            "process",
            "payments.process",
            "processing/payments.process",
            NAMES[0],
        ] {
            assert!(ends_in(NAMES[0], end), "{end}");
        }
        assert!(!ends_in(NAMES[0], "ments.process"));
        assert!(!ends_in(NAMES[0], "rocess"));
    }

    #[test]
    fn distance_counts_changes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
