//! How each language's own tools make a component.

pub(crate) mod c;
pub(crate) mod go;
pub(crate) mod python;
pub(crate) mod rust;
mod shapes;
pub(crate) mod typescript;

use crate::language::Language;

/// What a language's kit imports beside what Dacapo offers.
pub(crate) fn extra_imports(language: Language) -> &'static [&'static str] {
    match language {
        Language::TypeScript => typescript::IMPORTS,
        Language::Python => python::IMPORTS,
        Language::Rust | Language::Go | Language::C => &[],
    }
}

/// What a new project says of its language.
pub(crate) struct ProjectWords {
    /// As people write it.
    pub(crate) name: &'static str,
    /// The file that the build begins with.
    pub(crate) entry: &'static str,
    /// What is to be typed once, for README.md: lines that begin with four blanks, or nothing.
    pub(crate) setup: &'static str,
    /// For .gitignore.
    pub(crate) ignored: &'static [&'static str],
}

/// What a new project of a language says of it.
pub(crate) fn project(language: Language) -> ProjectWords {
    match language {
        Language::Rust => rust::PROJECT,
        Language::TypeScript => typescript::PROJECT,
        Language::Python => python::PROJECT,
        Language::Go => go::PROJECT,
        Language::C => c::PROJECT,
    }
}

/// The packages of WASI that kits import something of, by the directory that they are written to.
pub(crate) fn wasi() -> [(&'static str, &'static str); 2] {
    [
        ("wasi-random", include_str!("languages/wasi-random.wit")),
        ("wasi-clocks", include_str!("languages/wasi-clocks.wit")),
    ]
}
