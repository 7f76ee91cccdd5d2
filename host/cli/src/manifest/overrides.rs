//! `--set`: what the command line says in a manifest's place. It is TOML as in the file, and goes through the same checks.

use dacapo_model::{Descriptor, Manifest};
use toml::{Table, Value};

use super::{Mistake, parse};

/// Whose mistake it is.
#[derive(Debug)]
pub(super) enum Blamed<'a> {
    /// That of the file, without what the command line says.
    File(Mistake),
    /// That of one of the things that the command line says.
    Set(&'a str, String),
}

/// The manifest of this text, with other things set. A table is merged into that of the file, key by key; anything else takes the place of
/// what the file has.
pub(super) fn parse_with<'a>(
    text: &str,
    sets: &'a [String],
    descriptor: &Descriptor,
) -> Result<Manifest, Blamed<'a>> {
    let Ok(mut table) = text.parse::<Table>() else {
        // Said as it is without anything set.
        return parse(text, descriptor).map_err(Blamed::File);
    };
    let mut texts = Vec::with_capacity(sets.len());
    for set in sets {
        let wrong = |problem: &str| {
            let message = format!(
                r#"expected KEY=VALUE in TOML, such as limits.memory="64MiB" (in single quotes for a shell), got {problem}"#
            );
            Blamed::Set(set, message)
        };
        let part = set
            .parse::<Table>()
            .map_err(|error| wrong(&format!("`{set}`: {}", error.message().replace('\n', ", "))))?;
        if part.is_empty() {
            return Err(wrong("nothing"));
        }
        merge(&mut table, part);
        let text = toml::to_string(&table).map_err(|error| wrong(&error.to_string()))?;
        texts.push(text);
    }
    let Some(last) = texts.last() else {
        return parse(text, descriptor).map_err(Blamed::File);
    };
    // Only what comes of all of them has to be right: one may need another.
    let message = match parse(last, descriptor) {
        Ok(manifest) => return Ok(manifest),
        Err((_, message)) => message,
    };
    parse(text, descriptor).map_err(Blamed::File)?;
    // The one after which it was never right again.
    let mut blamed = Blamed::Set("", message);
    let mut was_right = true;
    for (set, text) in sets.iter().zip(&texts) {
        match parse(text, descriptor) {
            Ok(_) => was_right = true,
            Err((_, message)) => {
                if was_right {
                    blamed = Blamed::Set(set, message);
                }
                was_right = false;
            }
        }
    }
    Err(blamed)
}

fn merge(table: &mut Table, other: Table) {
    for (key, value) in other {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(there)), Value::Table(value)) => merge(there, value),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::descriptor;
    use super::*;

    const FILE: &str = "[limits]\nmemory = \"64MiB\"\n[http]\nallow = [\"a.example.com\"]\n";

    fn set(sets: &[&str]) -> Result<Manifest, String> {
        let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
        parse_with(FILE, &sets, &descriptor()).map_err(|blamed| match blamed {
            Blamed::File((_, message)) => format!("file: {message}"),
            Blamed::Set(set, message) => format!("{set}: {message}"),
        })
    }

    #[test]
    fn what_is_set_takes_the_place_of_what_the_file_has() {
        let manifest = set(&[
            "limits.steps = 7",
            "http.allow=[\"b.example.com\"]",
            "workflows.\"api.place\".queue=\"slow\"",
            "retention = \"90d\"",
            "limits.steps = 8",
        ])
        .unwrap();
        assert_eq!(
            super::super::describe(&manifest),
            [
                "runs that have ended are kept: 90d",
                "runs of shop:orders/api.place whose start names no queue: slow",
                "requests to b.example.com",
                "memory of an instance: at most 64.0 MiB",
                "rows of a journal: at most 8",
            ]
        );
    }

    #[test]
    fn what_is_set_may_need_what_else_is_set() {
        let (initial, max) = ("retry.initial=\"2m\"", "retry.max=\"5m\"");
        for sets in [[initial, max], [max, initial]] {
            let retry = set(&sets).unwrap().component_retry().unwrap();
            assert_eq!((retry.initial_ms, retry.max_ms), (120_000, 300_000));
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_set() {
        let cases = [
            (
                "limits.memory=64MiB",
                "limits.memory=64MiB: expected KEY=VALUE in TOML, such as limits.memory=\"64MiB\" (in single quotes for a shell), got `limits.memory=64MiB`: ",
            ),
            ("limits.memory", "limits.memory: expected KEY=VALUE in TOML"),
            (
                "",
                ": expected KEY=VALUE in TOML, such as limits.memory=\"64MiB\" (in single quotes for a shell), got nothing",
            ),
            (
                "limits.memory=\"5KiB\"",
                "limits.memory=\"5KiB\": `memory`: expected at least 1048576 B, got 5120 B",
            ),
            (
                "limits.memroy=\"5MiB\"",
                "limits.memroy=\"5MiB\": expected one of `memory`, ",
            ),
            (
                "priority=101",
                "priority=101: expected a whole number from -100 to 100, or ",
            ),
            (
                "workflows.plaice.queue=\"slow\"",
                "workflows.plaice.queue=\"slow\": expected the full name of a workflow of the component",
            ),
        ];
        for (wrong, expected) in cases {
            for sets in [
                vec![wrong],
                vec!["limits.steps=5", wrong, "limits.cpu=\"1s\""],
            ] {
                let message = set(&sets).unwrap_err();
                assert!(message.starts_with(expected), "{message}\n{expected}");
            }
        }
        let sets = ["limits.steps=5".to_owned()];
        let file = parse_with("[limit]\n", &sets, &descriptor());
        assert!(matches!(file, Err(Blamed::File((place, _))) if place.start == 1));
    }
}
