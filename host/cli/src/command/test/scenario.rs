//! Tests of a project: files that say what happens to a run and what is expected of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dacapo_model::{PayloadLimits, Workflow, is_short_for};
use dacapo_testkit::{Child, Component, Failure, Run, RunOutcome, Value};
use serde::de::{Deserialize, Deserializer, Error as _};

use super::{failure_text, only_workflow};
use crate::arguments;
use crate::error::{Failed, Kind, Result, chain};
use crate::manifest::position;

/// One test.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Scenario {
    /// By its full name, or an end of it; may be left out if the component has one only.
    workflow: Option<String>,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    events: Vec<Event>,
    /// Outcomes of steps whose bodies are not to run.
    #[serde(default)]
    steps: Vec<Outcome>,
    /// How child runs end, by their workflow.
    #[serde(default)]
    children: Vec<Outcome>,
    /// Pauses of the workflow's own that are resumed as soon as they are reached.
    #[serde(default)]
    resume: Vec<String>,
    #[serde(default, deserialize_with = "duration")]
    cancel_after: Option<Duration>,
    #[serde(default)]
    expect: Expect,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Event {
    name: String,
    #[serde(default)]
    payload: Value,
    /// From the run's start; without it before that.
    #[serde(default, deserialize_with = "duration")]
    after: Option<Duration>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Outcome {
    /// A step's name or key, or a child's workflow.
    name: String,
    returns: Option<Value>,
    /// `CODE` or `CODE: MESSAGE`.
    fails: Option<String>,
    /// How long a child takes.
    #[serde(default, deserialize_with = "duration")]
    after: Option<Duration>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Expect {
    output: Option<Value>,
    /// What the workflow returns as its error.
    error: Option<Value>,
    /// The code of the run's failure.
    fails: Option<String>,
    journal: Option<String>,
    /// Play it again with a crash before and after each row.
    crash_everywhere: bool,
}

/// How a test came out.
pub(super) struct Report {
    pub(super) file: PathBuf,
    pub(super) crashes: Option<u32>,
    /// What was not as expected.
    pub(super) problem: Option<String>,
}

/// The tests in a directory, in the order of their names.
pub(super) fn find(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Failed::usage(format!(
                "cannot read {}: {error}",
                directory.display()
            )));
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    Ok(files)
}

/// The input of a test of this workflow that comes out well, from the tests of a project.
pub(crate) fn example_input(project: &Path, workflow: &Workflow) -> Option<String> {
    let files = find(&project.join("tests")).ok()?;
    let tests = files.iter().filter_map(|file| read(file).ok());
    let mut inputs = tests.filter_map(|test| {
        let named = test.workflow.as_ref();
        let is_of_it =
            named.is_none_or(|name| *name == workflow.name || is_short_for(name, &workflow.name));
        let ends_well = test.expect.error.is_none() && test.expect.fails.is_none();
        (is_of_it && ends_well).then(|| test.input.to_string())
    });
    // A test need not have kept up with the code, nor be of this component.
    let limits = PayloadLimits::default();
    inputs.find(|input| workflow.param.is_some() && workflow.check_input(input, &limits).is_ok())
}

/// Plays one test.
pub(super) async fn play(component: &Component, file: &Path) -> Result<Report> {
    let scenario = read(file)?;
    let workflow = match &scenario.workflow {
        Some(workflow) => workflow.clone(),
        None => only_workflow(component)?,
    };
    let mut run = component.run_json(&workflow, &scenario.input.to_string())?;
    script(&mut run, &scenario, file)?;
    let mut report = Report {
        file: file.to_owned(),
        crashes: None,
        problem: None,
    };
    let ended = run.run_to_completion().await;
    let mut problems = Vec::new();
    match &ended {
        Ok(outcome) => problems.extend(unexpected(outcome, &scenario.expect)),
        Err(error) => problems.push(chain(error)),
    }
    if let Some(expected) = &scenario.expect.journal
        && let Some(diff) = run.compare_journal(expected)
    {
        problems.push(format!(
            "the journal is another (- expected, + there):\n{diff}"
        ));
    }
    if problems.is_empty() && scenario.expect.crash_everywhere {
        match run.crash_everywhere().await {
            Ok(crashes) => report.crashes = Some(crashes.count),
            Err(error) => problems.push(chain(&error)),
        }
    }
    report.problem = (!problems.is_empty()).then(|| problems.join("\n"));
    Ok(report)
}

fn read(file: &Path) -> Result<Scenario> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failed::usage(format!("cannot read {}: {error}", file.display())))?;
    toml::from_str(&text).map_err(|error| {
        let (line, column) = position(&text, error.span().map_or(text.len(), |span| span.start));
        Failed {
            kind: Kind::Usage,
            code: "bad-test".to_owned(),
            message: format!("{}:{line}:{column}: {}", file.display(), error.message()),
            hint: Some("docs/testing.md has all that a test may say".to_owned()),
        }
    })
}

fn script(run: &mut Run, scenario: &Scenario, file: &Path) -> Result<()> {
    for (name, value) in &scenario.labels {
        run.label(name, value);
    }
    for event in &scenario.events {
        match event.after {
            Some(after) => run.send_event_at(after, &event.name, &event.payload),
            None => run.send_event(&event.name, &event.payload),
        };
    }
    for step in &scenario.steps {
        run.script_step(&step.name, outcome(step, file)?);
    }
    for child in &scenario.children {
        let ends = Child::ends(outcome(child, file)?);
        run.script_child(
            &child.name,
            match child.after {
                Some(after) => ends.after(after),
                None => ends,
            },
        );
    }
    for pause in &scenario.resume {
        run.resume_pause(pause);
    }
    if let Some(after) = scenario.cancel_after {
        run.cancel_at(after);
    }
    Ok(())
}

fn outcome(said: &Outcome, file: &Path) -> Result<std::result::Result<Value, Failure>> {
    match (&said.returns, &said.fails) {
        (Some(value), None) => Ok(Ok(value.clone())),
        (None, Some(failure)) => Ok(Err(failure_text(failure))),
        _ => Err(Failed::usage(format!(
            "{}: `{}`: expected either `returns` or `fails`",
            file.display(),
            said.name
        ))),
    }
}

/// What is not as expected of a run's end.
fn unexpected(outcome: &RunOutcome, expect: &Expect) -> Option<String> {
    let (expected, is_so) = if let Some(output) = &expect.output {
        let got: Option<Value> = outcome.output().ok();
        (format!("it returns {output}"), got.as_ref() == Some(output))
    } else if let Some(error) = &expect.error {
        let got: Option<Value> = outcome.workflow_error().ok().flatten();
        (
            format!("it returns the error {error}"),
            got.as_ref() == Some(error),
        )
    } else if let Some(code) = &expect.fails {
        let got = outcome.failure().map(|failure| &failure.code);
        (format!("it fails with {code}"), got == Some(code))
    } else {
        let completed = matches!(outcome, RunOutcome::Completed(_));
        ("it completes".to_owned(), completed)
    };
    (!is_so).then(|| format!("expected that {expected}; it {outcome}"))
}

fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    arguments::duration(&text)
        .map(Some)
        .map_err(|error| D::Error::custom(format!("{error}, got {text:?}")))
}
