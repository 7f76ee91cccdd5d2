//! The languages that have a kit.

use std::fmt;
use std::str::FromStr;

/// A language that guests are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// Rust, by cargo.
    Rust,
    /// TypeScript or JavaScript, by componentize-qjs or componentize-js.
    TypeScript,
    /// Python, by componentize-py.
    Python,
    /// Go, by the go command.
    Go,
    /// C, by zig cc.
    C,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Rust,
        Self::TypeScript,
        Self::Python,
        Self::Go,
        Self::C,
    ];

    /// As it is typed: `rust`, `ts`, `python`, `go`, `c`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::TypeScript => "ts",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "typescript" | "javascript" | "js" => return Ok(Self::TypeScript),
            "py" => return Ok(Self::Python),
            "golang" => return Ok(Self::Go),
            _ => {}
        }
        let mut all = Self::ALL.into_iter();
        all.find(|language| language.name() == text).ok_or_else(|| {
            format!("expected a language that has a kit (rust, ts, python, go, c), got {text:?}; for others see docs/guests.md")
        })
    }
}
