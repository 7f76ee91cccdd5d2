//! New projects.

use std::path::{Path, PathBuf};

use include_dir::Dir;
use minijinja::{Environment, UndefinedBehavior, context};

use crate::assets;
use crate::error::KitError;
use crate::language::Language;
use crate::languages;
use crate::project::SUPPORT;

/// A project to be: a WIT package with one workflow, its code, a manifest, and a test.
#[derive(Debug, Clone)]
pub struct Scaffold {
    /// What it is called: words in lower case with `-` between them.
    pub name: String,
    /// What it is written in.
    pub language: Language,
}

/// Whether a project may have this name: it becomes that of a WIT package, and of packages of the language's own.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word
                .chars()
                .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit())
    };
    if name.len() <= 64 && name.split('-').all(is_word) {
        return Ok(());
    }
    Err(format!(
        "expected words of lower-case letters and digits with `-` between them, such as `order-flow`, at most 64 bytes, got {name:?}"
    ))
}

impl Scaffold {
    /// Writes the project into a directory that is not there yet, or is empty. Answers what was written, from the directory.
    ///
    /// # Errors
    /// There is something already, or it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<Vec<PathBuf>, KitError> {
        if let Ok(mut entries) = std::fs::read_dir(directory)
            && entries.next().is_some()
        {
            return Err(KitError::Project {
                message: format!("{} is not empty", directory.display()),
                hint: "name a directory that is not there yet".to_owned(),
            });
        }
        let mut written = Vec::new();
        for template in assets::templates(self.language) {
            self.write_all(template, template.path(), directory, &mut written)?;
        }
        written.sort();
        Ok(written)
    }

    fn write_all(
        &self,
        from: &Dir<'_>,
        base: &Path,
        to: &Path,
        written: &mut Vec<PathBuf>,
    ) -> Result<(), KitError> {
        for file in from.files() {
            let relative = file.path().strip_prefix(base).unwrap_or(file.path());
            let name = self.fill(&relative.to_string_lossy())?;
            // Under its own name it would be cargo's, and hide this directory from `include_dir`, or git's.
            let name = name.strip_suffix(".template").unwrap_or(&name);
            let text = file.contents_utf8().unwrap_or_default();
            let path = to.join(name);
            assets::write_file(&path, self.fill(text)?.as_bytes())?;
            written.push(PathBuf::from(name));
        }
        from.dirs()
            .try_for_each(|directory| self.write_all(directory, base, to, written))
    }

    fn fill(&self, text: &str) -> Result<String, KitError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_keep_trailing_newline(true);
        let words: Vec<&str> = self.name.split('-').collect();
        let pascal: String = words.iter().map(|word| capital(word)).collect();
        let own = languages::project(self.language);
        let kit_readme = assets::kit(self.language)
            .get_file("README.md")
            .map(|_| format!("{SUPPORT}/guest-sdk/{}/README.md", self.language));
        let values = context! {
            kit_readme => kit_readme,
            name => self.name,
            snake => words.join("_"),
            pascal => pascal,
            language => self.language.name(),
            language_name => own.name,
            entry => own.entry,
            setup => own.setup,
            ignored => own.ignored,
        };
        environment
            .render_str(text, values)
            .map_err(|error| KitError::Wit(format!("a template of ours is broken: {error}")))
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_wit_packages() {
        for good in ["order", "order-flow", "a1-b2"] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in [
            "",
            "Order",
            "1st",
            "a--b",
            "a_b",
            "-a",
            "a-",
            "ä",
            &"a".repeat(65),
        ] {
            check_name(bad).unwrap_err();
        }
    }
}
