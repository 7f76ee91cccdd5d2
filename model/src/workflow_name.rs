//! What people type for a workflow's name: the full name, or an end of it.

/// Names that are shown to somebody who got one wrong.
const SIMILAR_MAX: usize = 3;

/// Whether the name is the full name, or an end of it that begins where a part of it begins: `function`, `interface.function`.
#[must_use]
pub fn is_short_for(name: &str, full_name: &str) -> bool {
    full_name
        .strip_suffix(name)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with([':', '/', '.']))
}

/// The full names that may have been meant, the most similar first.
#[must_use]
pub fn similar_workflows<'a>(name: &str, full_names: impl Iterator<Item = &'a str>) -> Vec<String> {
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
        let similar = |name| similar_workflows(name, NAMES.into_iter());
        assert_eq!(similar("proces"), [NAMES[0]]);
        assert_eq!(similar("account.onboard"), [NAMES[1]]);
        assert!(similar("bake-bread").is_empty());
    }

    #[test]
    fn only_whole_parts_are_a_short_name() {
        for name in [
            "process",
            "payments.process",
            "processing/payments.process",
            NAMES[0],
        ] {
            assert!(is_short_for(name, NAMES[0]), "{name}");
        }
        assert!(!is_short_for("ments.process", NAMES[0]));
        assert!(!is_short_for("rocess", NAMES[0]));
    }

    #[test]
    fn distance_counts_changes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
