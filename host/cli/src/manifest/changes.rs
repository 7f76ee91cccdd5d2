//! The table `changes` of a workflow.

use std::collections::BTreeMap;

use toml::Spanned;

use super::Mistake;

/// How a workflow's code differs from what runs in flight began with.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Changes {
    inserted: Vec<Spanned<String>>,
    renamed: BTreeMap<Spanned<String>, Spanned<String>>,
    dropped: Vec<Spanned<String>>,
}

impl Changes {
    pub(super) fn settings(&self) -> dacapo_model::Changes {
        let names = |names: &[Spanned<String>]| {
            let names = names.iter().map(|name| name.get_ref().clone());
            names.collect()
        };
        let renamed = self.renamed.iter();
        let renamed = renamed.map(|(old, new)| (old.get_ref().clone(), new.get_ref().clone()));
        dacapo_model::Changes {
            inserted: names(&self.inserted),
            renamed: renamed.collect(),
            dropped: names(&self.dropped),
        }
    }

    /// The first name that no step or wait can have, or that is said to be two things.
    pub(super) fn mistake(&self) -> Option<Mistake> {
        let old = self.renamed.keys();
        let all = self.inserted.iter().chain(&self.dropped);
        for name in all.chain(old.clone()).chain(self.renamed.values()) {
            if let Err(error) = dacapo_model::check_name(name.get_ref()) {
                return Some((name.span(), error.to_string()));
            }
        }
        let gone = |name: &str| {
            let dropped = self.dropped.iter().any(|dropped| dropped.get_ref() == name);
            dropped.then_some("dropped")
        };
        self.inserted.iter().chain(old).find_map(|name| {
            let what = gone(name.get_ref())?;
            let message = format!(
                "expected one thing to be said of `{}`, got {what}, too",
                name.get_ref()
            );
            Some((name.span(), message))
        })
    }
}
