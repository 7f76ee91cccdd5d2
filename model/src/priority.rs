//! Which of several runs goes first.

use thiserror::Error;

/// The highest priority; the lowest one is as far below zero.
pub const PRIORITY_MAX: i16 = 100;

/// Levels by their names, the lowest first. A step is worth a minute of waiting, so one with a high priority goes before one with a
/// normal priority that has waited for less than ten minutes.
pub const PRIORITY_LEVELS: [(&str, i16); 5] = [
    ("lowest", -PRIORITY_MAX),
    ("low", -10),
    ("normal", 0),
    ("high", 10),
    ("highest", PRIORITY_MAX),
];

/// The text is no priority.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "expected a whole number from -100 to 100, or lowest, low, normal, high or highest, got {0:?}"
)]
pub struct PriorityError(String);

/// Reads a priority: a number, or the name of a level.
///
/// # Errors
/// Whatever else it is.
pub fn parse_priority(text: &str) -> Result<i16, PriorityError> {
    let level = PRIORITY_LEVELS.iter().find(|(name, _)| *name == text);
    level
        .map(|(_, priority)| *priority)
        .or_else(|| text.parse().ok())
        .filter(|priority| (-PRIORITY_MAX..=PRIORITY_MAX).contains(priority))
        .ok_or_else(|| PriorityError(text.chars().take(40).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_a_number_or_a_level() {
        for (text, expected) in [
            ("0", 0),
            ("-100", -100),
            ("100", 100),
            ("+7", 7),
            ("lowest", -100),
            ("low", -10),
            ("normal", 0),
            ("high", 10),
            ("highest", 100),
        ] {
            assert_eq!(parse_priority(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_priority_is_refused_with_what_was_expected() {
        for text in [
            "",
            "urgent",
            "High",
            "NaN",
            "inf",
            "-Infinity",
            "101",
            "-101",
            "1.5",
            "99999",
        ] {
            let error = parse_priority(text).unwrap_err().to_string();
            assert!(
                error.contains("lowest, low, normal, high or highest"),
                "{error}"
            );
            assert!(error.ends_with(&format!("{text:?}")), "{error}");
        }
    }
}
