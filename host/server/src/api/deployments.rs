//! Deployments: putting components into service, and steering what is there.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::multipart::MultipartError;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dacapo_client::{Breaking, Client, Deploy, Manifest, Rollout};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::extract::{About, Body, BodyMax, By, Form, MaybeBody, Path, Query, Who, too_large};
use super::schema;
use crate::{App, Problem, Prove};

/// How the deployment of a path is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct OfDeployment {
    /// The package: `ns:name`, or its name alone where that is unique
    package: String,
    /// The deployment's number
    #[param(minimum = 1)]
    number: i32,
}

/// How the deployment of a path is described that may be the active one.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct OfAnyDeployment {
    /// The package: `ns:name`, or its name alone where that is unique
    package: String,
    /// The deployment's number, or `active`
    #[param(pattern = "^([1-9][0-9]{0,8}|active)$")]
    number: String,
}

/// A deployment by its number; none: the active one.
#[derive(Debug)]
pub(crate) struct Number(Option<i32>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "active" {
            return Ok(Self(None));
        }
        text.parse().map(|number| Self(Some(number))).map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            serde::de::Error::custom(format!(
                "expected the number of a deployment, or active, got {shown:?}"
            ))
        })
    }
}

/// Which deployments.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ListParams {
    /// Only those of this package: `ns:name`, or its name alone where that is unique
    package: Option<String>,
}

/// Lists deployments by package, the newest first, with the runs in flight on each
#[utoipa::path(
    get,
    path = "/deployments",
    tag = "deployments",
    operation_id = "listDeployments",
    params(ListParams),
    responses((status = 200, description = "The deployments", body = Vec<schema::DeploymentInfo>)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["deployment-not-found"]))),
)]
pub(crate) async fn list(app: App, Query(params): Query<ListParams>) -> Result<Response, Problem> {
    let deployments = app.client().deployments(params.package.as_deref()).await?;
    Ok(Json(deployments).into_response())
}

/// Shows a deployment: its workflows with their types, what it calls and imports, its manifest, and what was done to it
#[utoipa::path(
    get,
    path = "/deployments/{package}/{number}",
    tag = "deployments",
    operation_id = "getDeployment",
    params(OfAnyDeployment),
    responses((status = 200, description = "The deployment", body = schema::DeploymentDetails)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["deployment-not-found"]))),
)]
pub(crate) async fn get(
    app: App,
    Path((package, Number(number))): Path<(String, Number)>,
) -> Result<Response, Problem> {
    Ok(Json(app.client().deployment(&package, number).await?).into_response())
}

/// Lists the workflows of a deployment with their types as WIT and as JSON Schema
#[utoipa::path(
    get,
    path = "/deployments/{package}/{number}/types",
    tag = "deployments",
    operation_id = "getDeploymentTypes",
    params(OfAnyDeployment),
    responses((status = 200, description = "The workflows", body = Vec<schema::WorkflowTypes>)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["deployment-not-found"]))),
)]
pub(crate) async fn types(
    app: App,
    Path((package, Number(number))): Path<(String, Number)>,
) -> Result<Response, Problem> {
    let details = app.client().deployment(&package, number).await?;
    Ok(Json(details.workflows).into_response())
}

/// Which two deployments.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct DiffParams {
    /// The number of the one
    #[param(minimum = 1)]
    from: i32,
    /// The number of the other
    #[param(minimum = 1)]
    to: i32,
}

/// How a package of a path is described.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct OfPackage {
    /// The package: `ns:name`, or its name alone where that is unique
    package: String,
}

/// Shows what is different between two deployments of a package
#[utoipa::path(
    get,
    path = "/deployments/{package}/diff",
    tag = "deployments",
    operation_id = "diffDeployments",
    params(OfPackage, DiffParams),
    responses((status = 200, description = "What is different", body = schema::DeploymentDiff)),
    extensions(("x-role" = json!("read")), ("x-problems" = json!(["deployment-not-found"]))),
)]
pub(crate) async fn diff(
    app: App,
    Path(package): Path<String>,
    Query(params): Query<DiffParams>,
) -> Result<Response, Problem> {
    let client = app.client();
    let diff = client
        .diff_deployments(&package, params.from, params.to)
        .await?;
    Ok(Json(diff).into_response())
}

/// A component to be put into service.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[allow(dead_code, reason = "it describes")]
pub(crate) struct DeployForm {
    /// The component, or a core module that carries component type information
    #[schema(value_type = String, format = Binary, content_media_type = "application/wasm")]
    component: String,
    /// What the deployment says beside its code, as JSON: what `dacapo describe` prints as `manifest`. Without it the deployment has none,
    /// whatever the one before had
    manifest: Option<String>,
    /// Only this share of the new runs goes there
    #[schema(minimum = 1, maximum = 100)]
    percent: Option<u8>,
    /// Those new runs go there that have all these labels, each as NAME=VALUE, whatever the share; may be repeated
    #[schema(required = false)]
    label: Vec<String>,
    /// Deploy it even if it breaks callers, readers of outputs, or senders of events
    #[schema(required = false)]
    allow_breaking: bool,
}

/// What the parts of a form said.
#[derive(Default)]
struct Parts {
    component: Option<Vec<u8>>,
    manifest: Manifest,
    percent: Option<u8>,
    labels: BTreeMap<String, String>,
    allow_breaking: bool,
}

impl Parts {
    async fn read(Form(mut form, max): Form) -> Result<Self, Problem> {
        let mut parts = Self::default();
        let broken = |error| broken(&error, max);
        while let Some(field) = form.next_field().await.map_err(broken)? {
            let name = field.name().unwrap_or_default().to_owned();
            let bad = |problem: String| Problem::bad_request(format!("body: {name}: {problem}"));
            match name.as_str() {
                "component" => {
                    let bytes = field.bytes().await.map_err(broken)?;
                    parts.component = Some(bytes.into());
                }
                "manifest" => {
                    let text = field.text().await.map_err(broken)?;
                    parts.manifest = serde_json::from_str(&text).map_err(|error| {
                        Problem::new("bad-manifest", format!("manifest: {error}"))
                    })?;
                }
                "percent" => {
                    let text = field.text().await.map_err(broken)?;
                    let percent: u8 = text
                        .parse()
                        .map_err(|_| bad(format!("expected 1 to 100, got {text:?}")))?;
                    if !(1..=100).contains(&percent) {
                        return Err(bad(format!("expected 1 to 100, got {percent}")));
                    }
                    parts.percent = Some(percent);
                }
                "label" => {
                    let text = field.text().await.map_err(broken)?;
                    let (name, value) = text
                        .split_once('=')
                        .ok_or_else(|| bad(format!("expected NAME=VALUE, got {text:?}")))?;
                    parts.labels.insert(name.to_owned(), value.to_owned());
                }
                "allowBreaking" => {
                    let text = field.text().await.map_err(broken)?;
                    parts.allow_breaking = text
                        .parse()
                        .map_err(|_| bad(format!("expected true or false, got {text:?}")))?;
                }
                _ => {
                    return Err(Problem::bad_request(format!(
                        "body: expected the parts component, manifest, percent, label and allowBreaking, got {name:?}"
                    )));
                }
            }
        }
        Ok(parts)
    }
}

fn broken(error: &MultipartError, max: Option<BodyMax>) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(max),
        _ => Problem::bad_request(format!("body: {}", error.body_text())),
    }
}

/// The part of the new runs; none: all.
fn rollout(percent: Option<u8>, labels: BTreeMap<String, String>) -> Option<Rollout> {
    let is_part = percent.map_or(!labels.is_empty(), |percent| percent < 100);
    is_part.then(|| Rollout {
        percent: percent.unwrap_or(0),
        labels,
    })
}

fn breaking(is_allowed: bool) -> Breaking {
    match is_allowed {
        true => Breaking::Allow,
        false => Breaking::Refuse,
    }
}

/// This process has nobody who reads components.
pub(crate) fn nobody_reads() -> Problem {
    Problem::new("not-here", "this process cannot read components")
}

/// Puts a component into service
#[utoipa::path(
    post,
    path = "/deployments",
    tag = "deployments",
    operation_id = "deploy",
    params(By),
    request_body(content = DeployForm, content_type = "multipart/form-data"),
    responses(
        (status = 201, description = "It is deployed", body = schema::Deployed),
        (status = 200, description = "It was there already", body = schema::Deployed),
    ),
    extensions(
        ("x-role" = json!("deploy")),
        ("x-problems" = json!([
            "bad-component", "bad-manifest", "bad-argument", "bad-deployment", "breaking", "deployment-conflict", "deployment-retired",
            "deployment-not-found", "queue-not-found", "not-here",
        ])),
    ),
)]
pub(crate) async fn deploy(
    app: App,
    about: About,
    Who(who): Who,
    form: Form,
) -> Result<Response, Problem> {
    let code = app.code().ok_or_else(nobody_reads)?.clone();
    let parts = Parts::read(form).await?;
    let bytes = parts
        .component
        .ok_or_else(|| Problem::bad_request("body: expected a part component with the bytes"))?;
    let component = code.describe(bytes).await?;
    let package = &component.descriptor.package;
    about.is(package);
    let rollout = rollout(parts.percent, parts.labels);
    let deploy = Deploy {
        descriptor: &component.descriptor,
        digest: &component.digest,
        component: &component.bytes,
        manifest: &parts.manifest,
        rollout: rollout.clone(),
        breaking: breaking(parts.allow_breaking),
        who: Some(&who),
    };
    let outcome = app.client().put_into_service(&deploy).await?;
    about.is(format!("{package}/{}", outcome.number));
    let settings = match outcome.replaces {
        Some(before) => other_settings(app.client(), package, before, outcome.number).await,
        None => Vec::new(),
    };
    let names = |workflows: &[dacapo_model::Workflow]| -> Vec<Value> {
        workflows
            .iter()
            .map(|workflow| json!(workflow.name))
            .collect()
    };
    let body = json!({
        "package": component.descriptor.package,
        "number": outcome.number,
        "created": outcome.created,
        "outcome": outcome.outcome,
        "before": outcome.replaces,
        "rollout": rollout,
        "beside": outcome.beside,
        "ended": outcome.ended,
        "changes": outcome.changes,
        "settings": settings,
        "digest": component.digest,
        "workflows": names(&component.descriptor.workflows),
        "calls": names(&component.descriptor.children),
    });
    let status = match outcome.created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Json(body)).into_response())
}

/// What the manifests of two deployments of a package say differently. It is there for whoever has deployed, and no reason to fail.
async fn other_settings(client: &Client, package: &str, from: i32, to: i32) -> Vec<Value> {
    let manifests = match client.diff_deployments(package, from, to).await {
        Ok(diff) => diff.manifests,
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                package,
                "cannot compare manifests"
            );
            None
        }
    };
    let Some((before, now)) = manifests else {
        return Vec::new();
    };
    let mut changed = Vec::new();
    let as_json = |manifest| serde_json::to_value(manifest).unwrap_or_default();
    compare("", &as_json(before), &as_json(now), &mut changed);
    changed
}

/// Notes each setting that is another one, by the names that lead to it; `null` stands for one that is not there.
fn compare(place: &str, before: &Value, now: &Value, changed: &mut Vec<Value>) {
    if before == now {
        return;
    }
    let none = serde_json::Map::new();
    let (one, other) = match (before, now) {
        (Value::Object(one), Value::Object(other)) => (one, other),
        (Value::Object(one), Value::Null) => (one, &none),
        (Value::Null, Value::Object(other)) => (&none, other),
        _ => {
            changed.push(json!({ "setting": place, "before": before, "now": now }));
            return;
        }
    };
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    // A table without entries says something by being there.
    if names.is_empty() {
        changed.push(json!({ "setting": place, "before": before, "now": now }));
    }
    for name in names {
        let is_plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let name_in_place = match is_plain {
            true => name.clone(),
            false => format!("{name:?}"),
        };
        let inner = match place {
            "" => name_in_place,
            place => format!("{place}.{name_in_place}"),
        };
        let of =
            |table: &serde_json::Map<String, Value>| table.get(name).cloned().unwrap_or_default();
        compare(&inner, &of(one), &of(other), changed);
    }
}

/// How a deployment is activated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Activate {
    /// Only this share of the new runs goes there
    #[schema(minimum = 1, maximum = 100)]
    percent: Option<u8>,
    /// Those new runs go there that have all these labels, whatever the share
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
    /// Activate it even if it breaks callers, readers of outputs, or senders of events
    #[schema(required = false)]
    allow_breaking: bool,
}

/// Lets new runs go to a deployment, all of them or a part; to an older one, that is going back
///
/// Runs in flight stay where they are.
#[utoipa::path(
    post,
    path = "/deployments/{package}/{number}/activate",
    tag = "deployments",
    operation_id = "activateDeployment",
    params(OfDeployment, By),
    request_body(content = Option<Activate>),
    responses((status = 200, description = "What became of it", body = schema::Activated)),
    extensions(
        ("x-role" = json!("deploy")),
        ("x-problems" = json!([
            "deployment-not-found", "deployment-conflict", "deployment-retired", "bad-deployment", "queue-not-found", "breaking", "bad-argument",
        ])),
    ),
)]
pub(crate) async fn activate(
    app: App,
    Path((package, number)): Path<(String, i32)>,
    Who(who): Who,
    MaybeBody(how): MaybeBody<Activate>,
) -> Result<Response, Problem> {
    if let Some(percent) = how.percent
        && !(1..=100).contains(&percent)
    {
        return Err(Problem::bad_request(format!(
            "body: percent: expected 1 to 100, got {percent}"
        )));
    }
    let rollout = rollout(how.percent, how.labels);
    let activated = app
        .client()
        .activate_deployment(
            &package,
            number,
            rollout.as_ref(),
            breaking(how.allow_breaking),
            &who,
        )
        .await?;
    Ok(Json(activated).into_response())
}

/// Whether a retirement is taken back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Retire {
    /// Take it back: the deployment may be activated again
    #[schema(required = false)]
    undo: bool,
}

/// Lets no new run go to a deployment any more; runs in flight end there
#[utoipa::path(
    post,
    path = "/deployments/{package}/{number}/retire",
    tag = "deployments",
    operation_id = "retireDeployment",
    params(OfDeployment, By),
    request_body(content = Option<Retire>),
    responses((status = 200, description = "What became of it", body = schema::SteerOutcome)),
    extensions(
        ("x-role" = json!("deploy")),
        ("x-problems" = json!(["deployment-not-found", "deployment-conflict", "deployment-retired", "bad-argument"])),
    ),
)]
pub(crate) async fn retire(
    app: App,
    Path((package, number)): Path<(String, i32)>,
    Who(who): Who,
    MaybeBody(how): MaybeBody<Retire>,
) -> Result<Response, Problem> {
    let outcome = app
        .client()
        .retire_deployment(&package, number, how.undo, &who)
        .await?;
    Ok(Json(outcome).into_response())
}

/// How runs in flight are tried.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ProveDeployment {
    /// Try no more than so many runs, chosen at random; all if it is left out
    #[schema(required = false, minimum = 1)]
    sample: Option<u32>,
    /// Count runs as going on, too, that would come to a step which the manifest says was inserted
    #[schema(required = false)]
    accept_inserted: bool,
}

/// Plays the runs in flight on the other deployments of a package over the code of this one, without any effect, and says which of them would go
/// on with it
///
/// Nothing is kept. Not for a token with a scope.
#[utoipa::path(
    post,
    path = "/deployments/{package}/{number}/proof",
    tag = "deployments",
    operation_id = "proveDeployment",
    params(OfDeployment),
    request_body(content = Option<ProveDeployment>),
    responses((status = 200, description = "What would become of them", body = schema::Proof)),
    extensions(
        ("x-role" = json!("deploy")),
        ("x-problems" = json!(["deployment-not-found", "conflict", "bad-argument", "not-here"])),
    ),
)]
pub(crate) async fn prove(
    app: App,
    Path((package, number)): Path<(String, i32)>,
    MaybeBody(how): MaybeBody<ProveDeployment>,
) -> Result<Response, Problem> {
    if how.sample == Some(0) {
        return Err(Problem::bad_request(
            "body: sample: expected 1 or more, got 0",
        ));
    }
    let prove = Prove {
        package,
        number,
        sample: how.sample,
        accept_inserted: how.accept_inserted,
    };
    Ok(Json(app.prove(prove).await?).into_response())
}

/// Whether something is taken away, or only said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Collect {
    /// Only say what would go
    dry_run: bool,
}

/// Takes away retired deployments without runs, of all namespaces, and components that no deployment has
#[utoipa::path(
    post,
    path = "/collect-deployments",
    tag = "deployments",
    operation_id = "collectDeployments",
    request_body = Collect,
    responses((status = 200, description = "What is gone, or would go", body = Vec<schema::Collected>)),
    extensions(("x-role" = json!("admin"))),
)]
pub(crate) async fn collect(app: App, Body(body): Body<Collect>) -> Result<Response, Problem> {
    let collected = app.client().collect_deployments(body.dry_run).await?;
    Ok(Json(collected).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_other_ones_are_named_by_what_leads_to_them() {
        let before = json!({
            "queue": "mail",
            "retry": { "attempts": 5, "factor": 2 },
            "http": { "hosts": ["a.example"] },
            "workflows": { "shop:a/b.c": { "priority": 1 } },
        });
        let now = json!({
            "retry": { "attempts": 3, "factor": 2 },
            "http": { "hosts": ["a.example", "b.example"] },
            "environment": { "REGION": "eu" },
        });
        let mut changed = Vec::new();
        compare("", &before, &now, &mut changed);
        let changed: Vec<(&str, &Value, &Value)> = changed
            .iter()
            .map(|one| {
                (
                    one["setting"].as_str().unwrap(),
                    &one["before"],
                    &one["now"],
                )
            })
            .collect();
        assert_eq!(
            changed,
            [
                ("environment.REGION", &Value::Null, &json!("eu")),
                (
                    "http.hosts",
                    &json!(["a.example"]),
                    &json!(["a.example", "b.example"])
                ),
                ("queue", &json!("mail"), &Value::Null),
                ("retry.attempts", &json!(5), &json!(3)),
                ("workflows.\"shop:a/b.c\".priority", &json!(1), &Value::Null),
            ]
        );
        changed_nothing(&now);
    }

    fn changed_nothing(manifest: &Value) {
        let mut changed = Vec::new();
        compare("", manifest, manifest, &mut changed);
        assert!(changed.is_empty());
    }
}
