//! `dacapo doctor`

use std::process::ExitCode;
use std::time::Duration;

use dacapo_store::{Examination, Finding, SchemaState, Store, StoreError};
use serde_json::json;

use crate::arguments::{Global, duration};
use crate::connect;
use crate::error::{Failed, Result, chain};
use crate::ui::{Ui, cut};

/// Characters of what a component has to say about itself.
const REASON_SHOWN: usize = 500;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// From when on an open transaction is trouble: it keeps vacuum from its work
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    long_transaction: Duration,
}

pub(crate) async fn run(args: Args, global: &Global, ui: Ui) -> Result<ExitCode> {
    let store = connect::answering_store(global).await?;
    let findings = match dacapo_store::schema_state(&store).await? {
        SchemaState::Ready(version) => {
            let mut findings = schema_ahead(version);
            let examination = Examination {
                version: env!("CARGO_PKG_VERSION"),
                long_transaction: args.long_transaction,
            };
            findings.extend(dacapo_store::examine(&store, examination).await?);
            let wrong = serving(&store, &findings).await?;
            findings.extend(wrong);
            findings
        }
        SchemaState::Empty => vec![schema(
            "the database is empty",
            "nothing can be deployed or started",
            "run `dacapo migrate`",
        )],
        SchemaState::Behind(version) => vec![schema(
            &format!("the schema is at version {version}, which is older than this binary"),
            "workers of this version do not start",
            "run `dacapo migrate`",
        )],
    };
    let json: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "code": finding.code,
                "what": finding.what,
                "why": finding.why,
                "advice": finding.advice,
                "count": finding.count,
                "which": finding.which,
            })
        })
        .collect();
    ui.data(&json, |_| match findings.is_empty() {
        true => "nothing is wrong".to_owned(),
        false => findings.iter().map(text).collect::<Vec<_>>().join("\n"),
    });
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A finding for people.
fn text(finding: &Finding) -> String {
    let mut lines = vec![format!("{}: {}", finding.code, finding.what)];
    if !finding.which.is_empty() {
        let shown = i64::try_from(finding.which.len()).unwrap_or(i64::MAX);
        let more = match finding.count - shown {
            ..=0 => String::new(),
            more => format!(" and {more} more"),
        };
        lines.push(format!("  which: {}{more}", finding.which.join(", ")));
    }
    lines.push(format!("  why it matters: {}", finding.why));
    lines.push(format!("  what to do: {}", finding.advice));
    lines.join("\n")
}

fn schema(what: &str, why: &str, advice: &str) -> Finding {
    Finding {
        code: "schema".to_owned(),
        what: what.to_owned(),
        why: why.to_owned(),
        advice: advice.to_owned(),
        count: 1,
        which: Vec::new(),
    }
}

/// A newer binary has migrated the database, in a way that this one gets along with.
fn schema_ahead(version: i64) -> Vec<Finding> {
    let known = dacapo_store::newest_schema();
    if version <= known {
        return Vec::new();
    }
    vec![schema(
        &format!("the schema is at version {version}, and this binary knows {known}"),
        "it may not know of all that can go wrong",
        "use a newer dacapo",
    )]
}

/// What is wrong with the deployments that new runs go to: those that this version cannot read, and, of those that no worker has loaded yet,
/// those that are not what they are said to be. Of components whose bytes are not right no more is said than that.
async fn serving(store: &Store, known: &[Finding]) -> Result<Vec<Finding>> {
    let is_known = |name: &String| {
        known.iter().any(|finding| {
            matches!(
                finding.code.as_str(),
                "missing-component" | "damaged-component"
            ) && finding.which.contains(name)
        })
    };
    let mut findings = Vec::new();
    for serving in dacapo_store::serving_deployments(store).await? {
        let name = format!("{}@{}", serving.package, serving.number);
        let wrong = |code: &str, what: String, why: &str, advice: &str| Finding {
            code: code.to_owned(),
            what,
            why: why.to_owned(),
            advice: advice.to_owned(),
            count: 1,
            which: vec![name.clone()],
        };
        let deployment = match dacapo_store::deployment(store, serving.id).await {
            Ok(deployment) => deployment,
            Err(StoreError::Unreadable(message)) => {
                findings.push(wrong(
                    "unreadable-deployment",
                    format!("{name} cannot be read by this version: {}", cut(&message, REASON_SHOWN)),
                    "workers of this version block its runs",
                    "replace the workers by the version that deployed it, or deploy it again with this one",
                ));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let unproven = deployment.filter(|one| !one.verified && !is_known(&name));
        let Some(deployment) = unproven else { continue };
        if let Some(problem) = deployment.manifest.problem(&deployment.descriptor) {
            findings.push(wrong(
                "bad-manifest",
                format!(
                    "the manifest of {name} cannot be meant: {}",
                    cut(&problem, REASON_SHOWN)
                ),
                "its runs are blocked",
                "deploy the component with a manifest that can",
            ));
            continue;
        }
        let bytes = dacapo_store::component_bytes(store, &deployment.digest).await?;
        // It may have gone since.
        let Some(bytes) = bytes else { continue };
        let described = tokio::task::spawn_blocking(move || dacapo_sandbox::describe(&bytes))
            .await
            .map_err(|error| Failed::request(format!("cannot look at {name}: {error}")))?;
        let problem = match described {
            Ok(described) => deployment.descriptor.contradicts(&described.descriptor),
            Err(error) => Some(chain(&error)),
        };
        if let Some(problem) = problem {
            findings.push(wrong(
                "bad-descriptor",
                format!(
                    "the descriptor of {name} is not that of its component: {}",
                    cut(&problem, REASON_SHOWN)
                ),
                "its runs are blocked",
                "deploy the component with what `dacapo describe` prints of it",
            ));
        }
    }
    Ok(findings)
}
