//! What is in service, what was, and what is different between them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use dacapo_client::{
    ClientError, DeploymentDetails, DeploymentInfo, DeploymentStatus, MOVED_ROWS, WorkflowTypes,
};
use minijinja::{Value, context};

use super::Dashboard;
use super::error::Oops;
use super::guard::{Posted, Visitor};
use super::json_view;
use super::page::{now, page};
use super::query::{Query, in_path};
use crate::{Proof, Prove};

/// Runs that a proof tries at most: whoever asks for it waits for it.
const PROVEN_MAX: u32 = 1_000;

/// How long a visitor waits for it before the page says that it is under way.
const PROOF_PATIENCE: Duration = Duration::from_secs(5);

/// Deployments whose last proof is kept.
const PROOFS_MAX: usize = 200;

/// What was found out last about deployments, by package and number, while this process runs. When there are too many, all are forgotten.
#[derive(Default)]
pub(crate) struct Proofs(Mutex<HashMap<(String, i32), Arc<Tried>>>);

/// What becomes of a proof.
struct Tried {
    at: String,
    who: String,
    /// None: it is under way.
    result: Option<Result<Proof, String>>,
}

impl Proofs {
    fn keep(&self, package: &str, number: i32, tried: Tried) {
        // The map is whole whenever the lock is free, whoever panicked.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= PROOFS_MAX {
            all.clear();
        }
        all.insert((package.to_owned(), number), Arc::new(tried));
    }

    fn of(&self, package: &str, number: i32) -> Option<Arc<Tried>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(package.to_owned(), number)).cloned()
    }
}

fn word(status: DeploymentStatus) -> &'static str {
    match status {
        DeploymentStatus::Active => "active",
        DeploymentStatus::RollingOut => "rolling-out",
        DeploymentStatus::Inactive => "inactive",
        DeploymentStatus::Retired => "retired",
    }
}

fn of(info: &DeploymentInfo) -> Value {
    let change = info.last_change.as_ref().map(|change| {
        context! { what => change.what, who => change.who, at => change.at.to_string() }
    });
    context! {
        package => info.package,
        number => info.number,
        status => word(info.status),
        percent => info.rollout.as_ref().map(|rollout| rollout.percent),
        rollout_labels => info.rollout.as_ref().map(|rollout| rollout.labels.iter().collect::<Vec<_>>()).unwrap_or_default(),
        digest => info.digest,
        deployed_at => info.deployed_at.to_string(),
        retired_at => info.retired_at.map(|at| at.to_string()),
        change,
        in_flight => info.runs_in_flight,
    }
}

fn types_of(workflow: &WorkflowTypes) -> Value {
    let events: Vec<_> = workflow
        .events
        .iter()
        .map(|event| {
            context! { name => event.name, ty => event.payload.as_ref().map(|payload| payload.ty.clone()) }
        })
        .collect();
    context! {
        name => workflow.name,
        input => workflow.input.as_ref().map(|input| input.ty.clone()),
        output => workflow.output.as_ref().map(|output| output.ty.clone()),
        events,
        types => super::workflows::types_of(&workflow.workflow),
        docs => workflow.workflow.docs,
    }
}

/// All of them, by package.
pub(crate) async fn list(dashboard: Dashboard, visitor: Visitor) -> Result<Response, Oops> {
    let deployments = dashboard.client().deployments(None).await?;
    let mut packages: Vec<(String, Vec<Value>)> = Vec::new();
    for info in &deployments {
        match packages.last_mut() {
            Some((package, of_it)) if *package == info.package => of_it.push(of(info)),
            _ => packages.push((info.package.clone(), vec![of(info)])),
        }
    }
    let html = page(&visitor, "deployments.html", context! { packages })?;
    Ok(html.into_response())
}

/// One of them, with what is in it.
pub(crate) async fn show(
    dashboard: Dashboard,
    Path((package, number)): Path<(String, String)>,
    visitor: Visitor,
) -> Result<Response, Oops> {
    let client = dashboard.client();
    let number = number_of(&number)?;
    let details: DeploymentDetails = client.deployment(&package, Some(number)).await?;
    let others = client.deployments(Some(&package)).await?;
    let numbers: Vec<i32> = others
        .iter()
        .map(|info| info.number)
        .filter(|other| *other != number)
        .collect();
    let in_flight: Vec<_> = others
        .iter()
        .filter(|info| info.runs_in_flight > 0)
        .map(|info| {
            context! {
                number => info.number,
                runs => info.runs_in_flight,
                is_this => info.number == number,
            }
        })
        .collect();
    let moved = client.moved_to(&details.info.package, number).await?;
    let moved: Vec<_> = moved
        .iter()
        .map(|moved| {
            context! {
                who => moved.who,
                from => moved.from,
                runs => moved.runs,
                last_at => moved.last_at.to_string(),
            }
        })
        .collect();
    let manifest = serde_json::to_string(&details.manifest).unwrap_or_default();
    let changes: Vec<_> = details
        .changes
        .iter()
        .map(|change| context! { what => change.what, who => change.who, at => change.at.to_string() })
        .collect();
    let tried = match visitor.sees_all() {
        true => dashboard.proofs.of(&details.info.package, number),
        // It tells of runs whoever they belong to.
        false => None,
    };
    let proof = tried.map(|tried| {
        let proof = tried
            .result
            .as_ref()
            .and_then(|result| result.as_ref().ok());
        context! {
            at => tried.at,
            who => tried.who,
            is_under_way => tried.result.is_none(),
            problem => tried.result.as_ref().and_then(|result| result.as_ref().err()),
            goes_on => proof.map(|proof| proof.proven),
            tried => proof.map(|proof| proof.proven + proof.not_proven),
            sampled_of => proof.and_then(|proof| proof.sampled_of),
            findings => proof.map(|proof| &proof.findings),
        }
    });
    let html = page(
        &visitor,
        "deployment.html",
        context! {
            proof,
            may_prove => visitor.may_deploy() && visitor.sees_all() && dashboard.app.code().is_some(),
            proven_max => PROVEN_MAX,
            version => details.version,
            workflows => details.workflows.iter().map(types_of).collect::<Vec<_>>(),
            calls => details.calls.iter().map(types_of).collect::<Vec<_>>(),
            imports => details.imports,
            manifest => json_view::html(&manifest),
            has_manifest => manifest != "{}",
            changes,
            numbers,
            all_in_flight => in_flight,
            moved,
            moved_rows => MOVED_ROWS,
            ..of(&details.info)
        },
    )?;
    Ok(html.into_response())
}

/// Tries runs in flight with it.
pub(crate) async fn prove(
    dashboard: Dashboard,
    Path((package, number)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Oops> {
    let number = number_of(&number)?;
    let details = dashboard
        .client()
        .deployment(&package, Some(number))
        .await?;
    let package = details.info.package;
    let prove = Prove {
        package: package.clone(),
        number,
        sample: Some(PROVEN_MAX),
        accept_inserted: false,
    };
    let address = format!("/deployments/{}/{number}#h-proof", in_path(&package, false));
    let proofs = Arc::clone(&dashboard.proofs);
    let is_under_way = proofs
        .of(&package, number)
        .is_some_and(|tried| tried.result.is_none());
    if is_under_way {
        return Ok(Redirect::to(&address).into_response());
    }
    let (app, who) = (dashboard.app, posted.visitor.who().to_owned());
    let tried = move |result| Tried {
        at: now().to_string(),
        who: who.clone(),
        result,
    };
    proofs.keep(&package, number, tried(None));
    // It goes on when the visitor has gone.
    let proving = tokio::spawn(async move {
        let result = app
            .prove(prove)
            .await
            .map_err(|problem| problem.words().0.to_owned());
        proofs.keep(&package, number, tried(Some(result)));
    });
    let _ = tokio::time::timeout(PROOF_PATIENCE, proving).await;
    Ok(Redirect::to(&address).into_response())
}

fn number_of(text: &str) -> Result<i32, Oops> {
    text.parse()
        .map_err(|_| Oops::missing(format!("{text:?} is no number of a deployment")))
}

/// What is different between two.
pub(crate) async fn diff(
    dashboard: Dashboard,
    Path(package): Path<String>,
    visitor: Visitor,
    query: Query,
) -> Result<Response, Oops> {
    let number = |name: &'static str| {
        let text = query.filled(name).unwrap_or("");
        text.parse::<i32>().map_err(|_| ClientError::BadArgument {
            what: "deployment",
            message: format!("{name}={text}: expected the number of a deployment"),
        })
    };
    let (from, to) = (number("from")?, number("to")?);
    let diff = dashboard
        .client()
        .diff_deployments(&package, from, to)
        .await?;
    let manifests = diff.manifests.as_ref().map(|(one, other)| {
        let html = |manifest| json_view::html(&serde_json::to_string(manifest).unwrap_or_default());
        context! { from => html(one), to => html(other) }
    });
    let html = page(
        &visitor,
        "diff.html",
        context! {
            package => diff.package,
            from,
            to,
            same_component => diff.same_component,
            changes => diff.changes,
            imports_added => diff.imports_added,
            imports_removed => diff.imports_removed,
            calls_added => diff.calls_added,
            calls_removed => diff.calls_removed,
            manifests,
        },
    )?;
    Ok(html.into_response())
}
