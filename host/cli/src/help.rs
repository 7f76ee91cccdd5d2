//! The help of commands: what clap makes of the arguments, with examples, with commands in groups, and with topics that are no commands.

use std::fmt::Write;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Command, CommandFactory};

use crate::arguments::Arguments;
use crate::error::{Failed, Result};
use crate::ui;

/// Examples by command: its words in brackets, and then what is done and the line that does it.
const EXAMPLES: &str = include_str!("help/examples.txt");

/// What can be asked for beside commands.
pub(crate) const TOPICS: [Topic; 4] = [
    Topic {
        name: "environment",
        about: "Variables that are read",
        text: include_str!("help/environment.txt"),
    },
    Topic {
        name: "exit-codes",
        about: "What they mean",
        text: include_str!("help/exit-codes.txt"),
    },
    Topic {
        name: "output",
        about: "What is printed where, on a terminal and in a pipe",
        text: include_str!("help/output.txt"),
    },
    Topic {
        name: "values",
        about: "How ids, durations, times and JSON are typed",
        text: include_str!("help/values.txt"),
    },
];

/// Something to read that is no command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) text: &'static str,
}

/// The commands as people look for them.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Write and test workflows",
        &["new", "build", "test", "replay", "dev"],
    ),
    (
        "Put them into service",
        &["deploy", "deployments", "workflows", "describe", "refs"],
    ),
    (
        "Start and watch runs",
        &["start", "runs", "event", "schedule"],
    ),
    (
        "Steer runs",
        &["pause", "resume", "cancel", "retry", "rerun", "skip"],
    ),
    (
        "Operate",
        &[
            "worker",
            "serve",
            "mcp",
            "token",
            "audit",
            "queue",
            "retention",
            "migrate",
            "doctor",
            "bench",
        ],
    ),
    ("This command itself", &["completions", "man", "help"]),
];

/// The widest line of an overview.
const WIDTH_MAX: usize = 100;

/// The command with all its help.
pub(crate) fn command() -> Command {
    // Topics are asked of the one `help`.
    let command = with_examples(Arguments::command(), "");
    let overview = overview(&command, ui::width(WIDTH_MAX));
    command.help_template(overview)
}

/// Each command with its examples.
fn with_examples(mut command: Command, words: &str) -> Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|inner| inner.get_name().to_owned())
        .collect();
    for name in names {
        let path = format!("{words} {name}");
        command = command.mut_subcommand(name, |inner| with_examples(inner, &path));
    }
    let heading = command.get_styles().get_header();
    let lines = examples(words);
    let examples = format!("{heading}Examples:{heading:#}\n{lines}");
    command
        .disable_help_subcommand(true)
        .after_help(StyledStr::from(examples))
}

/// The examples of a command, as they stand in its help.
fn examples(words: &str) -> &'static str {
    let heading = format!("[dacapo{words}]\n");
    let rest = EXAMPLES.split_once(&heading).map_or("", |(_, rest)| rest);
    rest.split("\n[").next().unwrap_or_default().trim_end()
}

/// The template of the first page: all commands in groups, and the topics.
fn overview(command: &Command, width: usize) -> StyledStr {
    let styles = command.get_styles();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    let names = GROUPS.iter().flat_map(|(_, names)| names.iter());
    let topics = TOPICS.iter().map(|topic| topic.name);
    let longest = names.copied().chain(topics).map(str::len).max();
    let indent = longest.unwrap_or(0) + 4;
    let line = |text: &mut String, name: &str, about: &str| {
        let gap = " ".repeat(indent - 2 - name.len());
        let about = wrapped(about, width.saturating_sub(indent).max(20), indent);
        let _ = writeln!(text, "  {literal}{name}{literal:#}{gap}{about}");
    };
    for (group, names) in GROUPS {
        let _ = writeln!(text, "\n{header}{group}:{header:#}");
        for name in names {
            let inner = command.find_subcommand(name);
            let about = inner.and_then(Command::get_about).map(ToString::to_string);
            line(&mut text, name, &about.unwrap_or_default());
        }
    }
    let _ = writeln!(text, "\n{header}Topics{header:#} (dacapo help TOPIC):");
    for topic in TOPICS {
        line(&mut text, topic.name, topic.about);
    }
    let _ = write!(
        text,
        "\n{header}Options:{header:#}\n{{options}}{{after-help}}"
    );
    StyledStr::from(text)
}

/// The name of that command which was probably meant by a word, as clap finds it.
fn near(word: &str, commands: impl IntoIterator<Item = Command>) -> Option<String> {
    let command = Command::new("dacapo")
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .subcommands(commands);
    let Err(error) = command.try_get_matches_from(["dacapo", word]) else {
        return None;
    };
    match error.get(ContextKind::SuggestedSubcommand)? {
        ContextValue::String(name) => Some(name.clone()),
        // The most similar one is the last.
        ContextValue::Strings(names) => names.last().cloned(),
        _ => None,
    }
}

/// The command of these words.
pub(crate) fn find<'c>(command: &'c Command, words: &[String]) -> Result<&'c Command> {
    let mut of = command;
    for (place, word) in words.iter().enumerate() {
        of = of.find_subcommand(word).ok_or_else(|| {
            let before = words.get(..place).unwrap_or_default();
            let topics = TOPICS.iter().filter(|_| before.is_empty());
            let topics = topics.map(|topic| Command::new(topic.name));
            let commands = of.get_subcommands().cloned().chain(topics);
            let full = |last: &str| {
                let words = before.iter().map(String::as_str).chain([last]);
                words.collect::<Vec<_>>().join(" ")
            };
            let meant = near(word, commands).map_or_else(String::new, |name| {
                format!("; did you mean {}?", full(&name))
            });
            let topics: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
            Failed::usage(format!("there is no command {}{meant}", full(word))).hint(format!(
                "`dacapo help` shows all commands; the topics are {}",
                topics.join(", ")
            ))
        })?;
    }
    Ok(of)
}

/// Text in lines of this width, all but the first one behind so much space.
fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut();
        match last {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) if last.chars().count() + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

#[cfg(test)]
mod tests;
