//! `dacapo.toml`: what a component's author writes beside it, as TOML (docs/manifest.md).
//!
//! A new setting is a field of [`File`] or [`PerWorkflow`], with a type that says what it expects, and one of
//! [`Manifest`]; everything that is wrong with one is said with its place.

mod build;
mod changes;
mod grants;
mod millis;
mod overrides;
mod retry;
mod runs;
mod sql;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use dacapo_model::{Descriptor, Manifest, ManifestError, SecretPath, WorkflowSettings};
use toml::Spanned;

pub(crate) use self::build::build_settings;
use self::changes::Changes;
pub(crate) use self::grants::allow_host;
use self::overrides::Blamed;
use self::retry::Retry;
pub(crate) use self::retry::retry_text;
use self::runs::{Priority, Retention, Runs};
pub(crate) use self::runs::{retention_text, spelled};
use self::sql::{Sql, sql_text};
use crate::error::{Failed, Kind, Result};

/// The manifest's name when it lies beside its component.
pub(crate) const NAME: &str = "dacapo.toml";

/// The manifest of a component: the one that was named, or what lies beside it; none if neither is there.
pub(crate) fn find(component: &Path, named: Option<&Path>) -> Option<PathBuf> {
    match named {
        Some(named) => Some(named.to_owned()),
        None => Some(component.with_file_name(NAME)).filter(|beside| beside.exists()),
    }
}

/// Reads a manifest with what the command line sets in its place, and checks it against its component.
pub(crate) fn read(
    file: Option<&Path>,
    sets: &[String],
    descriptor: &Descriptor,
) -> Result<Manifest> {
    let cannot =
        |file: &Path, error| Failed::usage(format!("cannot read {}: {error}", file.display()));
    let text = file.map_or_else(
        || Ok(String::new()),
        |file| std::fs::read_to_string(file).map_err(|error| cannot(file, error)),
    )?;
    let refused = |message: String, what: &str| Failed {
        kind: Kind::Usage,
        code: "bad-manifest".to_owned(),
        message,
        hint: Some(format!(
            "change {what} and deploy again; docs/manifest.md has all that it may say"
        )),
    };
    overrides::parse_with(&text, sets, descriptor).map_err(|blamed| match blamed {
        Blamed::File((span, message)) => {
            let (line, column) = position(&text, span.start);
            let file = file.map_or_else(String::new, |file| file.display().to_string());
            refused(format!("{file}:{line}:{column}: {message}"), "the file")
        }
        Blamed::Set(set, message) => refused(format!("--set '{set}': {message}"), "it"),
    })
}

/// What a manifest sets, a line for each thing.
pub(crate) fn describe(manifest: &Manifest) -> Vec<String> {
    let of_all = manifest.component_retry();
    let of_all = of_all.map(|retry| format!("steps that say nothing: {}", retry_text(retry)));
    let single = manifest.workflows.keys().filter_map(|name| {
        manifest.workflows[name].retry?;
        let retry = manifest.retry_of(name)?;
        Some(format!(
            "steps that say nothing in {name}: {}",
            retry_text(retry)
        ))
    });
    let changes = manifest.workflows.iter().flat_map(|(name, settings)| {
        let changes = &settings.changes;
        let list = |what: &str, names: Vec<String>| {
            (!names.is_empty()).then(|| format!("{what} in {name}: {}", names.join(", ")))
        };
        let renamed = changes.renamed.iter();
        let renamed = renamed.map(|(old, new)| format!("{old} to {new}"));
        [
            list("inserted", changes.inserted.iter().cloned().collect()),
            list("renamed", renamed.collect()),
            list("dropped", changes.dropped.iter().cloned().collect()),
        ]
        .into_iter()
        .flatten()
    });
    let runs = runs::describe(
        "",
        manifest.queue.as_deref(),
        manifest.priority,
        manifest.retention,
    );
    let runs_of = manifest.workflows.iter().flat_map(|(name, own)| {
        let of = format!(" of {name}");
        // What it does not say of its retention is as for all.
        let kept = own.retention.and_then(|_| manifest.retention_of(name));
        runs::describe(&of, own.queue.as_deref(), own.priority, kept)
    });
    let sql = manifest.sql.as_ref().map(sql_text);
    let secret = manifest.workflows.iter().filter_map(|(name, own)| {
        let paths: Vec<String> = own.secret.iter().map(ToString::to_string).collect();
        (!paths.is_empty()).then(|| format!("secret in {name}: {}", paths.join(", ")))
    });
    of_all
        .into_iter()
        .chain(single)
        .chain(runs)
        .chain(runs_of)
        .chain(changes)
        .chain(secret)
        .chain(sql)
        .chain(grants::describe(manifest))
        .collect()
}

type Mistake = (Range<usize>, String);

fn parse(text: &str, descriptor: &Descriptor) -> std::result::Result<Manifest, Mistake> {
    let file: File = toml::from_str(text).map_err(|error| {
        let end = text.len();
        (
            error.span().unwrap_or(end..end),
            in_our_words(error.message()),
        )
    })?;
    let mut all = file.workflows.values();
    if let Some(mistake) = all.find_map(PerWorkflow::mistake) {
        return Err(mistake);
    }
    let manifest = file.manifest();
    manifest
        .checked(descriptor)
        .map_err(|error| file.mistake(&error))
}

/// What a file may say.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    /// How the project is built, which nobody who deploys its component needs to know.
    #[serde(default, rename = "build")]
    _build: Option<build::Build>,
    retry: Option<Spanned<Retry>>,
    queue: Option<Spanned<String>>,
    priority: Option<Spanned<Priority>>,
    retention: Option<Spanned<Retention>>,
    sql: Option<Spanned<Sql>>,
    #[serde(default)]
    workflows: BTreeMap<Spanned<String>, PerWorkflow>,
    http: Option<Spanned<grants::Http>>,
    #[serde(default)]
    secrets: grants::Secrets,
    #[serde(default)]
    environment: grants::Environment,
    limits: Option<Spanned<grants::Limits>>,
}

/// What it may say about one workflow.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PerWorkflow {
    retry: Option<Spanned<Retry>>,
    queue: Option<Spanned<String>>,
    priority: Option<Spanned<Priority>>,
    retention: Option<Spanned<Retention>>,
    #[serde(default)]
    changes: Changes,
    #[serde(default)]
    secret: Vec<Spanned<String>>,
}

impl PerWorkflow {
    /// What is secret in its payloads, once [`PerWorkflow::mistake`] has found nothing wrong with it.
    fn secret(&self) -> Vec<SecretPath> {
        let paths = self.secret.iter();
        paths
            .filter_map(|path| path.get_ref().parse().ok())
            .collect()
    }

    /// The first thing in it that cannot be meant, whatever its component is.
    fn mistake(&self) -> Option<Mistake> {
        let secret = self.secret.iter().find_map(|path| {
            let error = path.get_ref().parse::<SecretPath>().err()?;
            let message = format!("`secret` {:?}: expected {error}", path.get_ref());
            Some((path.span(), message))
        });
        secret.or_else(|| self.changes.mistake())
    }

    fn runs(&self) -> Runs<'_> {
        Runs {
            queue: self.queue.as_ref(),
            priority: self.priority.as_ref(),
            retention: self.retention.as_ref(),
        }
    }
}

impl File {
    fn manifest(&self) -> Manifest {
        let settings =
            |retry: &Option<Spanned<Retry>>| retry.as_ref().map(|retry| retry.get_ref().settings());
        let queue = |queue: &Option<Spanned<String>>| queue.as_ref().map(|it| it.get_ref().clone());
        let priority = |it: &Option<Spanned<Priority>>| it.as_ref().map(|it| it.get_ref().0);
        let retention = |it: &Option<Spanned<Retention>>| it.as_ref().map(|it| it.get_ref().0);
        let workflows = self.workflows.iter().map(|(name, own)| {
            let settings = WorkflowSettings {
                retry: settings(&own.retry),
                queue: queue(&own.queue),
                priority: priority(&own.priority),
                retention: retention(&own.retention),
                changes: own.changes.settings(),
                secret: own.secret(),
            };
            (name.get_ref().clone(), settings)
        });
        let mut manifest = Manifest {
            retry: settings(&self.retry),
            queue: queue(&self.queue),
            priority: priority(&self.priority),
            retention: retention(&self.retention),
            sql: self.sql.as_ref().map(|sql| sql.get_ref().grant()),
            workflows: workflows.collect(),
            ..Manifest::default()
        };
        let (http, limits) = (self.http.as_ref(), self.limits.as_ref());
        let (http, limits) = (http.map(Spanned::get_ref), limits.map(Spanned::get_ref));
        grants::add(
            &mut manifest,
            http,
            &self.secrets,
            &self.environment,
            limits,
        );
        manifest
    }

    /// A mistake of what the file says as a whole, with its place.
    fn mistake(&self, error: &ManifestError) -> Mistake {
        match error {
            ManifestError::Sql(error) => {
                let table = self.sql.as_ref();
                let span = table.and_then(|table| {
                    let place = table.get_ref().place(error.part);
                    place.or_else(|| Some(table.span()))
                });
                let message = format!(
                    "`{}`: expected {}, got {}",
                    error.part, error.expected, error.got
                );
                (span.unwrap_or(0..0), message)
            }
            ManifestError::Setting {
                table,
                key,
                expected,
                got,
            } => {
                let (http, limits) = (self.http.as_ref(), self.limits.as_ref());
                let variable = || self.environment.keys().find(|name| name.get_ref() == key);
                let span = match *table {
                    "http" => http.and_then(|http| http.get_ref().place(key).or(Some(http.span()))),
                    "limits" => limits.and_then(|limits| limits.get_ref().place(key)),
                    "secrets" => grants::place_of_secret(&self.secrets, key),
                    _ => variable().map(Spanned::span),
                };
                let message = format!("`{key}`: expected {expected}, got {got}");
                (span.unwrap_or(0..0), message)
            }
            ManifestError::Run {
                workflow,
                part,
                expected,
                got,
            } => {
                let own = workflow.as_ref().and_then(|name| self.workflow(name).1);
                let runs = own.map_or_else(|| self.runs(), PerWorkflow::runs);
                let message = format!("`{part}`: expected {expected}, got {got}");
                (runs.place(part).unwrap_or(0..0), message)
            }
            ManifestError::Secret {
                workflow,
                path,
                expected,
            } => {
                let own = self.workflow(workflow).1;
                let mut paths = own.into_iter().flat_map(|own| &own.secret);
                let is_it = |known: &&Spanned<String>| {
                    let known = known.get_ref().parse::<SecretPath>();
                    known.is_ok_and(|known| known.to_string() == *path)
                };
                let span = paths.find(is_it);
                let message = format!("`secret` {path:?}: expected {expected}");
                (span.map_or(0..0, Spanned::span), message)
            }
            ManifestError::UnknownWorkflow { name, .. }
            | ManifestError::SameWorkflow { name, .. } => {
                (self.workflow(name).0, error.to_string())
            }
            ManifestError::Retry { workflow, error } => {
                let part = error.part();
                let own = workflow.as_ref().and_then(|name| self.workflow(name).1);
                let tables = [own.and_then(|own| own.retry.as_ref()), self.retry.as_ref()];
                let tables = || tables.into_iter().flatten();
                let span = tables()
                    .find_map(|table| table.get_ref().place(part))
                    .or_else(|| tables().next().map(Spanned::span))
                    .unwrap_or(0..0);
                let message = match part.strip_suffix("-ms") {
                    Some(key) => format!(
                        "`{key}` in milliseconds: expected {}, got {}",
                        error
                            .expected()
                            .replace("max-ms", "what `max` says, or is without being said"),
                        error.got()
                    ),
                    None => format!(
                        "`{part}`: expected {}, got {}",
                        error.expected(),
                        error.got()
                    ),
                };
                (span, message)
            }
        }
    }

    fn runs(&self) -> Runs<'_> {
        Runs {
            queue: self.queue.as_ref(),
            priority: self.priority.as_ref(),
            retention: self.retention.as_ref(),
        }
    }

    /// The place of a workflow's name, and what is said about it.
    fn workflow(&self, name: &str) -> (Range<usize>, Option<&PerWorkflow>) {
        self.workflows
            .iter()
            .find(|(known, _)| known.get_ref() == name)
            .map_or((0..0, None), |(known, own)| (known.span(), Some(own)))
    }
}

/// `expected …, got …`, as everywhere else.
pub(crate) fn in_our_words(message: &str) -> String {
    let unknown = message.strip_prefix("unknown field ");
    let rest = unknown
        .or_else(|| message.strip_prefix("invalid type: "))
        .or_else(|| message.strip_prefix("invalid value: "));
    match rest.and_then(|rest| rest.split_once(", expected ")) {
        Some((got, expected)) => {
            let expected = expected.trim_end();
            let got = unknown.map_or_else(|| got.to_owned(), |_| format!("the key {got}"));
            format!("expected {expected}, got {got}")
        }
        None => message.trim_end().replace('\n', ", "),
    }
}

/// Line and column, both from 1, of a place in a text; columns are characters.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use dacapo_model::Workflow;

    use super::*;

    pub(super) fn descriptor() -> Descriptor {
        let workflow = |function: &str| Workflow {
            name: format!("shop:orders/api.{function}"),
            interface: "shop:orders/api".to_owned(),
            function: function.to_owned(),
            param: None,
            result: None,
            events: Vec::new(),
            docs: None,
        };
        Descriptor {
            package: "shop:orders".to_owned(),
            workflows: vec![workflow("place"), workflow("ship")],
            children: Vec::new(),
            imports: Vec::new(),
            version: None,
        }
    }

    #[test]
    fn a_manifest_says_what_it_says() {
        let text = r#"
            [retry]
            max-attempts = 5
            initial = "1m 30s"
            factor = 3
            max = "1d"

            [workflows.place.retry]
            max-attempts = 1

            [workflows."shop:orders/api.ship".retry]
            factor = 1.5
        "#;
        let manifest = parse(text, &descriptor()).unwrap();
        assert_eq!(
            describe(&manifest),
            [
                "steps that say nothing: 5 attempts, 1m 30s between the first two, then 3 times as long, at most 24h",
                "steps that say nothing in shop:orders/api.place: 1 attempt",
                "steps that say nothing in shop:orders/api.ship: 5 attempts, 1m 30s between the first two, then 1.5 times as long, at most 24h",
            ]
        );
        assert!(parse("", &descriptor()).unwrap().is_empty());
    }

    #[test]
    fn what_is_said_of_runs_is_said_for_all_and_for_one() {
        let text = r#"
            queue = "slow"
            priority = "high"
            retention = "30d"

            [workflows.place]
            queue = "default"
            priority = -3
            retention = { failed = "forever" }

            [workflows.ship]
            retention.completed = "36h"
        "#;
        let manifest = parse(text, &descriptor()).unwrap();
        assert_eq!(
            describe(&manifest),
            [
                "runs whose start names no queue: slow",
                "runs whose start says no priority: 10",
                "runs that have ended are kept: 30d",
                "runs of shop:orders/api.place whose start names no queue: default",
                "runs of shop:orders/api.place whose start says no priority: -3",
                "runs of shop:orders/api.place that have ended are kept: completed 30d, failed forever, cancelled 30d",
                "runs of shop:orders/api.ship that have ended are kept: completed 1d 12h, failed 30d, cancelled 30d",
            ]
        );
        let (place, ship) = ("shop:orders/api.place", "shop:orders/api.ship");
        assert_eq!(manifest.queue_of(ship), Some("slow"));
        assert_eq!(manifest.queue_of(place), None);
        assert_eq!(manifest.priority_of(ship), Some(10));
        assert_eq!(manifest.priority_of(place), Some(-3));
    }

    #[test]
    fn grants_are_said_as_they_are_written() {
        let text = r#"
            [http]
            allow = [
                "api.example.com",
                { host = "*.internal.example", port = 8080, methods = ["GET", "PUT"], private = true },
            ]
            timeout = "10s"
            response-max = "2MiB"
            idempotency-header = "Idempotency-Key"

            [secrets]
            bank-key = ["api.example.com"]
            signing = { reveal = true }

            [environment]
            STAGE = "test"

            [limits]
            memory = "64MiB"
            cpu = "2s"
            step-cpu = "5s"
            payload = "256KiB"
            steps = 1000
            scratch = "16MiB"
        "#;
        assert_eq!(
            describe(&parse(text, &descriptor()).unwrap()),
            [
                "requests to api.example.com",
                "requests to *.internal.example:8080 (GET, PUT, private addresses too)",
                "requests that take at most 10s",
                "responses of at most 2.0 MiB",
                "idempotency keys of wasi:http in the header Idempotency-Key",
                "secret bank-key: sent to api.example.com",
                "secret signing: revealed to the guest",
                "environment STAGE=test",
                "memory of an instance: at most 64.0 MiB",
                "computing between two durable calls: at most 2s",
                "computing in a step: at most 5s",
                "a payload: at most 256.0 KiB",
                "rows of a journal: at most 1000",
                "scratch directory of a step: at most 16.0 MiB",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_column_and_what_was_expected() {
        let cases = [
            (
                "[retry]\nmax-attempts = \"5\"",
                "2:16: expected a whole number from 1 to 1000, such as 5, got string \"5\"",
            ),
            (
                "[retry]\nmax-attempts = -5",
                "2:16: expected a whole number from 1 to 1000, such as 5, got integer `-5`",
            ),
            (
                "[retry]\nmax-attempts = 0",
                "2:16: `max-attempts`: expected 1 to 1000, got 0",
            ),
            (
                "[retry]\n\n  initial = 5",
                "3:13: expected a duration in quotes, such as \"700ms\", \"5s\" or \"1m 30s\", got integer `5`",
            ),
            (
                "[retry]\ninitial = \"soon\"",
                "2:11: expected a duration in quotes, such as \"700ms\", \"5s\" or \"1m 30s\", got string \"soon\"",
            ),
            (
                "[retry]\nfactor = 0.5",
                "2:10: `factor`: expected 1 to 1000, got 0.5",
            ),
            (
                "[retry]\nfactor = nan",
                "2:10: `factor`: expected 1 to 1000, got NaN",
            ),
            (
                "[retry]\nmax = \"31d\"",
                "2:7: `max` in milliseconds: expected at most 30 days (2592000000 ms), got 2678400000",
            ),
            (
                "[retry]\nretries = 5",
                "2:1: expected one of `max-attempts`, `initial`, `factor`, `max`, got the key `retries`",
            ),
            (
                "[limit]\nmemory = 5",
                "1:2: expected one of `build`, `retry`, `queue`, `priority`, `retention`, `sql`, `workflows`, `http`, `secrets`, `environment`, `limits`, got the key `limit`",
            ),
            ("queue = 5", "1:9: expected a string, got integer `5`"),
            ("queue = \"a/b\"", "1:9: `queue`: expected"),
            (
                "[workflows.place]\n queue = \"\"",
                "2:10: `queue`: expected",
            ),
            (
                "priority = 101",
                "1:12: expected a whole number from -100 to 100, or \"lowest\", \"low\", \"normal\", \"high\" or \"highest\", got integer `101`",
            ),
            (
                "priority = \"5\"",
                "1:12: expected a whole number from -100 to 100, or",
            ),
            (
                "[workflows.place]\npriority = \"urgent\"",
                "2:12: expected a whole number from -100 to 100, or",
            ),
            (
                "retention = 30",
                "1:13: expected a duration such as \"30d\", \"forever\", or a table such as { completed = \"7d\", failed = \"90d\" }, got integer `30`",
            ),
            (
                "retention = \"always\"",
                "1:13: expected a duration such as \"30d\", \"forever\", or a table such as",
            ),
            (
                "retention = { done = \"7d\" }",
                "1:15: expected one of `completed`, `failed`, `cancelled`, got the key `done`",
            ),
            (
                "[retention]\nfailed = \"soon\"",
                "2:10: expected a duration such as \"30d\", or \"forever\", got string \"soon\"",
            ),
            (
                "[workflows.place]\nretention = \"59s\"",
                "2:13: `retention`: expected a minute to a hundred years, or \"forever\", got 59 seconds",
            ),
            (
                "[http]\nallow = [\"a.example.com\",\n \"https://b.example.com/x\"]",
                "3:2: expected a host and not a URL: write \"b.example.com\", got `https://b.example.com/x`",
            ),
            (
                "[http]\nallow = [{ host = \"https://b.example.com\" }]",
                "2:19: expected a host and not a URL: write \"b.example.com\"",
            ),
            (
                "[http]\nallow = [{ host = \"b.example.com\", method = [\"GET\"] }]",
                "2:36: expected one of `host`, `port`, `methods`, `private`, got the key `method`",
            ),
            (
                "[http]\nallow = [{ host = \"b.example.com\", methods = [\"get\"] }]",
                "2:46: expected a method in capitals, such as \"GET\", got `get`",
            ),
            (
                "[http]\nallow = [{ host = \"b.example.com\", port = 0 }]",
                "2:43: expected a port from 1 to 65535, got integer `0`",
            ),
            (
                "[http]\nallow = [5]",
                "2:10: expected a host such as \"api.example.com\", or a table such as",
            ),
            (
                "[http]\nidempotency-header = \"a b\"",
                "2:22: `idempotency-header`: expected the name of a header",
            ),
            (
                "[http]\nidempotency-header = \"Host\"",
                "2:22: `idempotency-header`: expected a header of your own",
            ),
            (
                "[secrets]\nbank-file = { reveal = true }",
                "2:1: `bank-file`: expected the name of a secret that does not end in `-file`: DACAPO_SECRET_BANK_FILE names the file of another one, got `bank-file`",
            ),
            (
                "[secrets]\nbank--key = { reveal = true }",
                "2:1: `bank--key`: expected the name of a secret with single `-` in it, got `bank--key`",
            ),
            (
                "[secrets]\nBank = [\"a.example.com\"]",
                "2:1: expected the name of a secret: lower-case letters, digits and `-`, such as \"stripe-key\", got `Bank`",
            ),
            (
                "[http]\nallow = [\"a.example.com\"]\n[secrets]\nbank = [\"b.example.com\"]",
                "4:1: `bank`: expected hosts that `allow` under [http] grants, got `b.example.com`",
            ),
            (
                "[secrets]\nbank = []",
                "2:1: `bank`: expected hosts that it may be sent to, or `reveal = true`, got neither",
            ),
            (
                "[secrets]\nbank = { show = true }",
                "2:10: expected `hosts` or `reveal`, got the key `show`",
            ),
            (
                "[environment]\nA = 5",
                "2:5: expected a string, got integer `5`",
            ),
            (
                "[environment]\n\"A=B\" = \"x\"",
                "2:1: `A=B`: expected a name without `=`",
            ),
            (
                "[limits]\nmemory = 5",
                "2:10: expected an amount in quotes, such as \"64MiB\" or \"256KiB\", got integer `5`",
            ),
            (
                "[limits]\nmemory = \"5\"",
                "2:10: expected an amount in quotes",
            ),
            (
                "[limits]\nmemory = \"5KiB\"",
                "2:10: `memory`: expected at least 1048576 B, got 5120 B",
            ),
            (
                "[limits]\nsteps = 0",
                "2:9: expected a whole number from 1 on, such as 1000, got integer `0`",
            ),
            (
                "[limits]\nsteps = 5\nscratch = 16",
                "3:11: expected an amount in quotes, such as \"64MiB\" or \"256KiB\", got integer `16`",
            ),
            (
                "[limits]\nsteps = 5\nscratch = \"1KiB\"",
                "3:11: `scratch`: expected at least 65536 B, got 1024 B",
            ),
            ("[retry]\nmax-attempts = 2\n[retry]\n", "3:2: duplicate key"),
            ("[retry\n", "1:7: "),
            (
                "[workflows.plaice.retry]\nfactor = 1",
                "1:12: expected the full name of a workflow of the component, or an end of it that is unique, got `plaice`; the component exports shop:orders/api.place, shop:orders/api.ship",
            ),
            (
                "[retry]\nmax = \"2s\"\n[workflows.place.retry]\ninitial = \"3s\"",
                "4:11: `initial` in milliseconds: expected at most what `max` says, or is without being said (2000), got 3000",
            ),
            // What is wrong stands in the other table.
            (
                "[retry]\ninitial = \"30s\"\n[workflows.place.retry]\nmax = \"3s\"",
                "2:11: `initial` in milliseconds: expected at most",
            ),
            (
                "[workflows.place.retry]\nfactor = 1\n[workflows.\"api.place\".retry]\nfactor = 2",
                "1:12: workflow shop:orders/api.place: expected one name for it",
            ),
        ];
        for (text, expected) in cases {
            let (span, message) = parse(text, &descriptor()).unwrap_err();
            let (line, column) = position(text, span.start);
            let message = format!("{line}:{column}: {message}");
            assert!(
                message.starts_with(expected),
                "{text}\n{message}\n{expected}"
            );
        }
    }
}
