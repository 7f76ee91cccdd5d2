//! What a deployment says of how its code differs from the code that runs in flight began with.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Differences in a workflow's durable calls that its author knows of. All names are those of steps, waits and the like, without scope and
/// occurrence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Changes {
    /// Calls that are new, wherever they stand: a run that is past them makes them now, although what follows is recorded.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub inserted: BTreeSet<String>,
    /// Calls that have another name, by their old one: what is recorded under the old name is handed to the new one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<String, String>,
    /// Calls that are gone: what is recorded of them, and in forks of these names, is passed over.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub dropped: BTreeSet<String>,
}

impl Changes {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inserted.is_empty() && self.renamed.is_empty() && self.dropped.is_empty()
    }

    /// The names that a call had before it got this one.
    pub fn old_names<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let renamed = self.renamed.iter();
        renamed
            .filter(move |(_, new)| *new == name)
            .map(|(old, _)| old.as_str())
    }
}
