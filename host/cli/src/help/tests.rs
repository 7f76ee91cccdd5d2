use std::collections::BTreeSet;
use std::path::Path;

use clap::error::ErrorKind;

use super::*;

/// Each command by its words, and what is there of it.
fn all(command: &Command) -> Vec<(String, Command)> {
    fn walk(command: &Command, words: &str, all: &mut Vec<(String, Command)>) {
        all.push((words.to_owned(), command.clone()));
        for inner in command.get_subcommands() {
            walk(inner, &format!("{words} {}", inner.get_name()), all);
        }
    }
    let mut commands = Vec::new();
    walk(command, "", &mut commands);
    commands
}

#[test]
fn the_arguments_are_what_clap_wants_them_to_be() {
    command().debug_assert();
}

#[test]
fn each_command_has_examples_and_no_example_is_of_no_command() {
    let commands = all(&command());
    for (words, command) in &commands {
        let lines = examples(words)
            .lines()
            .filter(|line| line.starts_with("    "));
        let count = lines.count();
        assert!(
            (1..=4).contains(&count),
            "expected 1 to 4 examples of dacapo{words} in help/examples.txt, got {count}"
        );
        // A longer one would be broken into two lines.
        let longest = examples(words).lines().map(|line| line.chars().count());
        assert!(longest.max() <= Some(WIDTH_MAX), "dacapo{words}");
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains(examples(words)), "{help}");
    }
    let known: BTreeSet<String> = commands
        .iter()
        .map(|(words, _)| format!("[dacapo{words}]"))
        .collect();
    let headings = EXAMPLES.lines().filter(|line| line.starts_with('['));
    let headings: Vec<&str> = headings.collect();
    assert_eq!(headings.len(), known.len(), "a command stands there twice");
    for heading in headings {
        assert!(known.contains(heading), "there is no command {heading}");
    }
}

/// The commands of a line of shell, each in words.
fn commands_of(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line).unwrap_or_else(|| panic!("no line of shell: {line}"));
    words
        .split(|word| word == "|")
        .map(|part| {
            let typed = part.iter().take_while(|word| !word.starts_with('>'));
            typed.cloned().collect()
        })
        .collect()
}

#[test]
fn each_example_can_be_typed_as_it_stands_there() {
    for (words, _) in all(&command()) {
        for line in examples(&words)
            .lines()
            .filter(|line| line.starts_with("    "))
        {
            let mut used = Vec::new();
            for typed in commands_of(line) {
                if typed.first().is_none_or(|program| program != "dacapo") {
                    continue;
                }
                let matches = command()
                    .try_get_matches_from(&typed)
                    .unwrap_or_else(|error| panic!("{line}\n{error}"));
                let (mut at, mut path) = (&matches, String::new());
                while let Some((name, inner)) = at.subcommand() {
                    path = format!("{path} {name}");
                    at = inner;
                }
                used.push(path);
            }
            let is_of_it = |path: &String| path.starts_with(words.as_str());
            assert!(used.iter().any(is_of_it), "not of dacapo{words}: {line}");
        }
    }
}

#[test]
fn each_command_is_in_one_group_of_the_overview() {
    let command = command();
    let mut grouped: Vec<&str> = GROUPS
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    grouped.sort_unstable();
    let mut names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    names.sort_unstable();
    assert_eq!(grouped, names);
}

#[test]
fn an_overview_fits_into_its_width() {
    let narrow = overview(&Arguments::command(), 60).to_string();
    for line in narrow.lines().filter(|line| line.starts_with("  ")) {
        assert!(line.chars().count() <= 60, "{line:?}");
    }
    assert!(narrow.contains("doctor"), "{narrow}");
}

#[test]
fn a_command_that_is_mistyped_is_answered_with_the_one_that_was_meant() {
    let error = command().try_get_matches_from(["dacapo", "depoly", "x.wasm"]);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSubcommand);
    assert!(error.to_string().contains("'deploy'"), "{error}");
    let error = command().try_get_matches_from(["dacapo", "runs", "list", "--stauts", "failed"]);
    assert!(error.unwrap_err().to_string().contains("'--status'"));
}

#[test]
fn a_word_that_is_no_command_is_answered_with_the_one_that_was_meant() {
    let mut command = command();
    command.build();
    for (words, meant) in [
        (&["runs", "wach"][..], "runs watch"),
        (&["depoly"], "deploy"),
        (&["enviroment"], "environment"),
    ] {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let said = find(&command, &words).unwrap_err().message;
        let expected = format!(
            "there is no command {}; did you mean {meant}?",
            words.join(" ")
        );
        assert_eq!(said, expected);
    }
    let nothing = find(&command, &["qqqq".to_owned()]).unwrap_err().message;
    assert_eq!(nothing, "there is no command qqqq");
    let words = ["runs".to_owned(), "watch".to_owned()];
    assert_eq!(find(&command, &words).unwrap().get_name(), "watch");
}

#[test]
fn each_variable_that_is_read_is_named_in_the_topic() {
    let topic = TOPICS.iter().find(|topic| topic.name == "environment");
    let text = topic.unwrap().text;
    let named = |name: &str| {
        text.split_whitespace()
            .any(|word| word.trim_end_matches([',', ';', ':']) == name)
    };
    let mut count = 0;
    for (words, command) in all(&command()) {
        for argument in command.get_arguments() {
            if let Some(name) = argument.get_env() {
                let name = name.to_string_lossy();
                assert!(named(&name), "dacapo{words} reads {name}");
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count}");
    // What the code reads by itself.
    let mut files = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..")];
    let mut found = BTreeSet::new();
    while let Some(path) = files.pop() {
        if path.ends_with("tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            for call in ["env::var(\"", "env::var_os(\""] {
                let names = text
                    .split(call)
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }
    assert!(found.contains("DACAPO_TOKEN"), "{found:?}");
    for name in found {
        // What every program reads, and what is for tests and those who work on this program alone.
        let others = ["PATH", "DACAPO_FAILPOINT", "DACAPO_DASHBOARD_FROM"];
        assert!(
            others.contains(&name.as_str()) || named(&name),
            "{name} is read, and is not in help/environment.txt"
        );
    }
}

#[test]
fn no_topic_has_the_name_of_a_command() {
    let command = command();
    for topic in TOPICS {
        assert!(command.find_subcommand(topic.name).is_none(), "{topic:?}");
        assert!(topic.text.lines().all(|line| line.chars().count() <= 120));
    }
}
