//! A journal as text, and what differs between two.

use dacapo_model::{Kind, Outcome, Recorded, RecordedState};
use similar::{ChangeTag, TextDiff};

/// Stands for whatever is there, in a line of an expected journal.
const ANYTHING: char = '…';

/// The journal, a line for each row in the order of positions: key, kind, outcome.
pub(crate) fn journal(rows: &[Recorded]) -> String {
    let mut rows: Vec<&Recorded> = rows.iter().collect();
    rows.sort_by_key(|row| row.position);
    rows.iter().map(|row| line(row) + "\n").collect()
}

/// What a run did, without what came of it: key, kind and the word for the outcome of each row. In order within each branch; which branch
/// came first says nothing.
pub(crate) fn path(rows: &[Recorded]) -> Vec<String> {
    let mut rows: Vec<&Recorded> = rows.iter().collect();
    rows.sort_by_key(|row| {
        let place = match row.kind {
            Kind::Branch => 0,
            _ => row.position,
        };
        (row.key.scope(), place, row.key.as_str())
    });
    rows.into_iter().map(place).collect()
}

fn place(row: &Recorded) -> String {
    let how = match &row.state {
        RecordedState::Open { .. } => "open",
        RecordedState::Done { outcome, .. } => outcome.code(),
    };
    format!("{} {} {how}", row.key, row.kind)
}

fn line(row: &Recorded) -> String {
    let start = place(row);
    let RecordedState::Done { outcome, .. } = &row.state else {
        return start;
    };
    match outcome {
        Outcome::Ok(payload) => format!("{start} {}", one_line(payload.as_str())),
        Outcome::Failed(failure) => format!("{start} {}", one_line(&failure.to_string())),
        Outcome::TimedOut | Outcome::Cancelled => start,
    }
}

/// Text in one line, as a journal shows it. Within JSON, line breaks stand only between values.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ")
}

/// Nothing if the journal is as expected, else what differs.
pub(crate) fn unexpected(expected: &str, journal: &str) -> Option<String> {
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let actual: Vec<&str> = journal.lines().collect();
    // A line that stands for another is shown as that one, so that the diff shows only what differs.
    let mut shown = String::new();
    let mut next = 0;
    for line in expected {
        let found = actual[next..].iter().position(|actual| fits(line, actual));
        match found {
            Some(at) => {
                shown = shown + actual[next + at] + "\n";
                next += at + 1;
            }
            None => shown = shown + line + "\n",
        }
    }
    (shown != journal).then(|| diff(&shown, journal))
}

/// Both texts in one, with `-` before lines of the first and `+` before lines of the second.
pub(crate) fn diff(first: &str, second: &str) -> String {
    let diff = TextDiff::from_lines(first, second);
    let lines = diff.iter_all_changes().map(|change| {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        format!("{sign} {}\n", change.value().trim_end_matches('\n'))
    });
    lines.collect()
}

/// Whether a line is the expected one, in which `…` stands for anything.
fn fits(expected: &str, actual: &str) -> bool {
    let mut parts = expected.split(ANYTHING);
    let Some(mut rest) = parts.next().and_then(|start| actual.strip_prefix(start)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ellipsis_stands_for_anything() {
        for (expected, actual, is) in [
            ("a#1 step ok 1", "a#1 step ok 1", true),
            ("a#1 step ok", "a#1 step ok 1", false),
            ("a#1 step ok …", "a#1 step ok 1", true),
            (
                "a#1 … ok {…\"b\":2…}",
                "a#1 step ok {\"a\":1,\"b\":2}",
                true,
            ),
            (
                "a#1 … ok {…\"b\":3…}",
                "a#1 step ok {\"a\":1,\"b\":2}",
                false,
            ),
            ("…", "", true),
            ("a…a", "a", false),
        ] {
            assert_eq!(fits(expected, actual), is, "{expected} {actual}");
        }
    }

    #[test]
    fn what_differs_stands_out() {
        let journal = "a#1 step ok 1\nb#1 step ok 2\nc#1 wait open\n";
        let same = "
            a#1 step ok …
            b#1 step ok 2
            c#1 wait open
        ";
        assert_eq!(unexpected(same, journal), None);
        assert_eq!(
            unexpected("a#1 …\nc#1 wait ok …", journal).unwrap(),
            "  a#1 step ok 1\n- c#1 wait ok …\n+ b#1 step ok 2\n+ c#1 wait open\n"
        );
        assert!(unexpected("", journal).is_some());
    }
}
