//! Which statements a guest may send.

use dacapo_model::{Failure, SQL_STATEMENT};

/// Kinds of statements that a step may use: none of them ends a transaction, or changes the session for those that follow.
const STATEMENTS: [&str; 10] = [
    "select", "insert", "update", "delete", "merge", "with", "values", "table", "call", "lock",
];

/// Whether a step may use such a statement.
pub(super) fn check_statement(statement: &str) -> Result<(), Failure> {
    if let Some(place) = statement.find('\0') {
        let message = format!(
            "expected a statement without NUL characters, which end it for the database; got one behind {place} bytes"
        );
        return Err(Failure::new(SQL_STATEMENT, message));
    }
    let word = first_word(statement).to_ascii_lowercase();
    if STATEMENTS.contains(&word.as_str()) {
        return Ok(());
    }
    let got = if word.is_empty() {
        "none of them".to_owned()
    } else {
        format!("`{}`", word.chars().take(40).collect::<String>())
    };
    let message = format!(
        "expected a statement that begins with one of {}, got {got}: the step's transaction begins and ends with its attempt, and what \
         else is set for it is for the deployment's grant to say",
        STATEMENTS.join(", ")
    );
    Err(Failure::new(SQL_STATEMENT, message))
}

/// The word that a statement begins with, after white space, comments and opening parentheses. Empty: there is none.
fn first_word(statement: &str) -> &str {
    let mut rest = statement;
    loop {
        rest = rest.trim_start_matches(|one: char| one.is_whitespace() || one == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]);
        } else if rest.starts_with("/*") {
            rest = behind_comment(rest);
        } else {
            let end = rest.find(|one: char| !one.is_ascii_alphabetic());
            return &rest[..end.unwrap_or(rest.len())];
        }
    }
}

/// What comes after a comment, in which others may nest.
fn behind_comment(mut rest: &str) -> &str {
    let mut depth = 0_usize;
    loop {
        let (opens, closes) = (rest.find("/*"), rest.find("*/"));
        match (opens, closes) {
            (Some(open), close) if close.is_none_or(|close| open < close) => {
                depth += 1;
                rest = &rest[open + 2..];
            }
            (_, Some(close)) => {
                depth -= 1;
                rest = &rest[close + 2..];
                if depth == 0 {
                    return rest;
                }
            }
            _ => return "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_word_behind_comments() {
        for (statement, word) in [
            ("select 1", "select"),
            (
                "  \n-- commit\n/* /* nested */ begin */ ((UPDATE x",
                "UPDATE",
            ),
            ("commit", "commit"),
            ("/**/commit;", "commit"),
            ("--\rcommit", "commit"),
            ("/* never closed select", ""),
            ("-- only a comment", ""),
            (";commit", ""),
            ("", ""),
        ] {
            assert_eq!(first_word(statement), word, "{statement:?}");
        }
    }

    #[test]
    fn statements_that_end_transactions_or_change_sessions_are_not_sent() {
        for statement in [
            "begin",
            "COMMIT",
            "rollback",
            "end",
            "abort",
            "savepoint a",
            "release a",
            "prepare transaction 'a'",
            "start transaction",
            "set role postgres",
            "reset role",
            "set local search_path = x",
            "copy t to stdout",
            "listen a",
            "notify a",
            "do $$ begin commit; end $$",
            "discard all",
            "deallocate all",
            "explain analyze select 1",
            "create table t ()",
            "vacuum",
            "declare c cursor for select 1",
            "fetch c",
            "execute p",
            "/* select */ commit",
            "select 1\0",
            "select '\0'",
            "",
        ] {
            let failure = check_statement(statement).unwrap_err();
            assert_eq!(failure.code, SQL_STATEMENT, "{statement}");
        }
        for statement in [
            "select 1",
            "WITH a as (select 1) select * from a",
            "(values (1))",
            "lock table t",
        ] {
            assert_eq!(check_statement(statement), Ok(()), "{statement}");
        }
    }
}
