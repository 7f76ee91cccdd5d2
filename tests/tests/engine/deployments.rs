//! Deployments as things to steer: rolled out by and by, activated, retired, deployed from SQL, compared, taken away.

mod broken;
mod command;
mod putting;
mod rolling_out;
mod taking_away;

use dacapo_client::{Breaking, Client, ClientError, Deploy, DeployOutcome, Rollout, RunId};
use dacapo_model::{Descriptor, Manifest};
use dacapo_sandbox::Described;
use dacapo_tests::{Database, guest};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// A guest with a section of its own that means nothing: the same code under another digest.
pub(crate) fn version(name: &str, version: u8) -> Described {
    let mut bytes = guest(name);
    bytes.extend([0, 3, 1, b'v', version]);
    dacapo_sandbox::describe(&bytes).unwrap()
}

/// Puts a version of the probe into service, for a part of the new runs or for all.
async fn put(
    client: &Client,
    described: &Described,
    rollout: Option<Rollout>,
) -> Result<DeployOutcome, ClientError> {
    put_as(
        client,
        described,
        &described.descriptor,
        rollout,
        Breaking::Refuse,
    )
    .await
}

async fn put_as(
    client: &Client,
    described: &Described,
    descriptor: &Descriptor,
    rollout: Option<Rollout>,
    breaking: Breaking,
) -> Result<DeployOutcome, ClientError> {
    client
        .put_into_service(&Deploy {
            descriptor,
            digest: &described.digest,
            component: &described.component,
            manifest: &Manifest::default(),
            rollout,
            breaking,
            who: Some("ada"),
        })
        .await
}

fn share(percent: u8) -> Rollout {
    Rollout {
        percent,
        labels: Default::default(),
    }
}

/// The number of the deployment that a run is on.
async fn number_of(database: &Database, run: RunId) -> i32 {
    sqlx::query_scalar(
        "select number from dacapo.run join dacapo.deployment on deployment.id = deployment_id where run.id = $1",
    )
    .bind(run.0)
    .fetch_one(database.store.pool())
    .await
    .unwrap()
}

/// The number, whether it is active, and its part of the new runs, of all deployments in their order.
async fn standing(database: &Database) -> Vec<(i32, bool, Option<i16>)> {
    sqlx::query_as("select number, active, rollout_percent from dacapo.deployment order by number")
        .fetch_all(database.store.pool())
        .await
        .unwrap()
}

/// The message of a refusal.
#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    let error = result.unwrap_err();
    assert!(
        matches!(error, ClientError::DeploymentRefused { .. }),
        "{error:?}"
    );
    format!("{error}; {}", error.hint().unwrap_or_default())
}

/// What `dacapo describe` prints.
fn descriptor(described: &Described) -> Value {
    let mut descriptor = serde_json::to_value(&described.descriptor).unwrap();
    descriptor["digest"] = json!(described.digest);
    descriptor
}

/// Deploys from SQL.
async fn sql_deploy(
    connection: &mut PgConnection,
    component: &[u8],
    descriptor: &Value,
    options: &Value,
) -> Result<Value, sqlx::Error> {
    let answer: String =
        sqlx::query_scalar("select dacapo.deploy($1, $2::text::jsonb, $3::text::jsonb)::text")
            .bind(component)
            .bind(descriptor.to_string())
            .bind(options.to_string())
            .fetch_one(connection)
            .await?;
    Ok(serde_json::from_str(&answer).unwrap())
}
