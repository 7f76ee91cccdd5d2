//! The files of Dacapo's own that projects are given.

use std::path::Path;

use include_dir::{Dir, include_dir};

use crate::error::KitError;
use crate::language::Language;

static CONTRACT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../wit");
static RUST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/rust");
static TYPESCRIPT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/ts");
static PYTHON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/python");
static GO: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/go");
static C: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/c");
static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// The WIT package `dacapo:workflow`.
pub(crate) fn contract() -> &'static Dir<'static> {
    &CONTRACT
}

/// The kit of a language.
pub(crate) fn kit(language: Language) -> &'static Dir<'static> {
    match language {
        Language::Rust => &RUST,
        Language::TypeScript => &TYPESCRIPT,
        Language::Python => &PYTHON,
        Language::Go => &GO,
        Language::C => &C,
    }
}

/// What a new project begins with: what all have, and what is its language's.
pub(crate) fn templates(language: Language) -> impl Iterator<Item = &'static Dir<'static>> {
    let names = ["common", language.name()].into_iter();
    names.filter_map(|name| TEMPLATES.get_dir(name))
}

/// Makes a directory hold these files and no others. What is as it should be is not written, so that no tool takes it for new.
pub(crate) fn write(from: &Dir<'_>, to: &Path) -> Result<(), KitError> {
    let mut wanted = Vec::new();
    collect(from, &mut wanted);
    for (path, contents) in &wanted {
        write_file(&to.join(path), contents)?;
    }
    remove_others(to, to, &wanted)
}

fn collect<'a>(from: &'a Dir<'a>, wanted: &mut Vec<(&'a Path, &'a [u8])>) {
    wanted.extend(from.files().map(|file| (file.path(), file.contents())));
    for directory in from.dirs() {
        // What Python left where this was built is of that machine.
        if !directory.path().ends_with("__pycache__") {
            collect(directory, wanted);
        }
    }
}

/// Writes a file unless it is like that already.
pub(crate) fn write_file(path: &Path, contents: &[u8]) -> Result<(), KitError> {
    if std::fs::read(path).is_ok_and(|there| there == contents) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(KitError::file("create", directory))?;
    }
    std::fs::write(path, contents).map_err(KitError::file("write", path))
}

fn remove_others(root: &Path, directory: &Path, wanted: &[(&Path, &[u8])]) -> Result<(), KitError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(KitError::file("read", directory)(error)),
    };
    for entry in entries {
        let path = entry.map_err(KitError::file("read", directory))?.path();
        let Ok(relative) = path.strip_prefix(root) else {
            continue;
        };
        if path.is_dir() {
            if wanted.iter().any(|(file, _)| file.starts_with(relative)) {
                remove_others(root, &path, wanted)?;
            } else {
                std::fs::remove_dir_all(&path).map_err(KitError::file("remove", &path))?;
            }
        } else if !wanted.iter().any(|(file, _)| *file == relative) {
            std::fs::remove_file(&path).map_err(KitError::file("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_project_is_given_what_a_python_left_behind() {
        static OWN: Dir<'_> = Dir::new(
            "",
            &[include_dir::DirEntry::Dir(Dir::new(
                "dacapo",
                &[
                    include_dir::DirEntry::File(include_dir::File::new("dacapo/_sql.py", b"1")),
                    include_dir::DirEntry::Dir(Dir::new(
                        "dacapo/__pycache__",
                        &[include_dir::DirEntry::File(include_dir::File::new(
                            "dacapo/__pycache__/_sql.cpython-314.pyc",
                            b"2",
                        ))],
                    )),
                ],
            ))],
        );
        let project = tempfile::tempdir().unwrap();
        write(&OWN, project.path()).unwrap();
        assert!(project.path().join("dacapo/_sql.py").is_file());
        assert!(!project.path().join("dacapo/__pycache__").exists());
    }
}
