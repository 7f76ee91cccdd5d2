//! Who may do what: roles, and the part of all workflows and runs that somebody's access is limited to.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What somebody may do. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// To look.
    Read,
    /// To start and steer runs.
    Operate,
    /// To put code into service.
    Deploy,
    /// Everything.
    Admin,
}

/// The text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no role {0:?}: expected read, operate, deploy or admin")]
pub struct RoleError(String);

impl Role {
    /// All roles, the one that may do least first.
    pub const ALL: [Self; 4] = [Self::Read, Self::Operate, Self::Deploy, Self::Admin];

    /// The role as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| RoleError(text.chars().take(40).collect()))
    }
}

/// The longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 300;

/// Names of workflows: a full name, in which each `*` stands for any text, also an empty one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkflowPattern(String);

/// The text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no pattern of workflows: {problem}; expected a full name such as shop:orders/api.place, or one with `*`, such as shop:*"
)]
pub struct PatternError {
    text: String,
    problem: &'static str,
}

impl WorkflowPattern {
    /// The pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the workflow with this full name is meant.
    #[must_use]
    pub fn matches(&self, full_name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| full_name.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            // There is no `*`.
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }

    /// The same for `like` of SQL.
    #[must_use]
    pub fn to_like(&self) -> String {
        let mut like = String::with_capacity(self.0.len());
        for character in self.0.chars() {
            match character {
                '*' => like.push('%'),
                '%' | '_' | '\\' => like.extend(['\\', character]),
                other => like.push(other),
            }
        }
        like
    }
}

impl fmt::Display for WorkflowPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for WorkflowPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-:/.*".contains(c);
        let problem = if text.is_empty() {
            "it is empty"
        } else if text.len() > PATTERN_BYTES_MAX {
            "it is longer than 300 bytes"
        } else if !text.chars().all(allowed) {
            "it holds a character that no name has"
        } else if !text.contains(['*', '.']) {
            // It would be no workflow's full name, and never match.
            "it is no full name"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(PatternError {
            text: text.chars().take(80).collect(),
            problem,
        })
    }
}

/// The workflows and runs that somebody's access is limited to: those that one of the patterns names, if there are any, with all of the labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Patterns of full names; none: all workflows.
    pub workflows: Vec<WorkflowPattern>,
    /// Labels that runs must have.
    pub labels: BTreeMap<String, String>,
}

impl Scope {
    /// Whether it limits anything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.workflows.is_empty() && self.labels.is_empty()
    }

    /// Whether the workflow with this full name is within it, whatever labels its runs have.
    #[must_use]
    pub fn covers_workflow(&self, full_name: &str) -> bool {
        self.workflows.is_empty()
            || self
                .workflows
                .iter()
                .any(|pattern| pattern.matches(full_name))
    }

    /// Whether a run of this workflow with these labels is within it.
    #[must_use]
    pub fn covers(&self, workflow: &str, labels: &BTreeMap<String, String>) -> bool {
        self.covers_workflow(workflow)
            && self
                .labels
                .iter()
                .all(|(name, value)| labels.get(name) == Some(value))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workflows = self.workflows.iter().map(ToString::to_string);
        let labels = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let parts: Vec<String> = workflows.chain(labels).collect();
        if parts.is_empty() {
            return f.pad("everything");
        }
        f.pad(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> WorkflowPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_role_may_do_what_those_before_it_may() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!(
            "root".parse::<Role>().unwrap_err().to_string(),
            "there is no role \"root\": expected read, operate, deploy or admin"
        );
    }

    #[test]
    fn a_star_stands_for_any_text_and_everything_else_for_itself() {
        let name = "shop:orders/api.place";
        for yes in [
            "shop:orders/api.place",
            "shop:*",
            "*",
            "*.place",
            "shop:*/api.*",
            "shop:orders/api.place*",
            "*shop:orders/api.place",
            "*o*o*",
        ] {
            assert!(pattern(yes).matches(name), "{yes}");
        }
        for no in [
            "shop:orders/api.plac",
            "hop:*",
            "*.plac",
            "shop:*/old.*",
            "shop:orders/api.place*e",
            "*pla*pla*",
            "shop:orders/api.place.*",
        ] {
            assert!(!pattern(no).matches(name), "{no}");
        }
        // What overlaps is no match: each character counts once.
        assert!(!pattern("a.b*b.c").matches("a.b.c"));
        assert_eq!(pattern("shop:*/api.x").to_like(), "shop:%/api.x");
    }

    #[test]
    fn what_can_never_match_is_refused() {
        for text in ["", "place", "shop:orders api.x", "a.b\0", "a_b.c", "%.x"] {
            assert!(text.parse::<WorkflowPattern>().is_err(), "{text}");
        }
        assert!("a.".repeat(200).parse::<WorkflowPattern>().is_err());
    }

    #[test]
    fn a_scope_covers_what_is_named_with_all_of_its_labels() {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let scope = Scope {
            workflows: vec![pattern("shop:*"), pattern("bank:pay/api.pay")],
            labels: labels(&[("team", "a")]),
        };
        let team = labels(&[("team", "a"), ("order", "7")]);
        assert!(scope.covers("shop:x/y.z", &team));
        assert!(scope.covers("bank:pay/api.pay", &team));
        assert!(!scope.covers("bank:pay/api.refund", &team));
        assert!(!scope.covers("shop:x/y.z", &labels(&[("team", "b")])));
        assert!(!scope.covers("shop:x/y.z", &BTreeMap::new()));
        assert!(!scope.is_whole() && Scope::default().is_whole());
        assert!(Scope::default().covers("any:thing/at.all", &BTreeMap::new()));
        assert_eq!(scope.to_string(), "shop:*, bank:pay/api.pay, team=a");
    }
}
