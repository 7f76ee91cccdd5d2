//! Deployments.

use dacapo_model::{Rollout, RunId};
use dacapo_store::{SteerOutcome, Steered};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Remote, RemoteRequest, part, raw, request, with_query};
use crate::ClientError;
use crate::deployments::{Breaking, Deploy, DeployOutcome};

impl Remote {
    pub(crate) async fn deployments<T: DeserializeOwned>(
        &self,
        package: Option<&str>,
    ) -> Result<T, ClientError> {
        let query: Vec<_> = package
            .map(|package| ("package", package.to_owned()))
            .into_iter()
            .collect();
        self.get(with_query("/deployments", &query)).await
    }

    pub(crate) async fn diff<T: DeserializeOwned>(
        &self,
        package: &str,
        from: i32,
        to: i32,
    ) -> Result<T, ClientError> {
        let package = part(package);
        self.get(format!("/deployments/{package}/diff?from={from}&to={to}"))
            .await
    }

    pub(crate) async fn activate<T: DeserializeOwned>(
        &self,
        package: &str,
        number: i32,
        rollout: Option<&Rollout>,
        breaking: Breaking,
        who: &str,
    ) -> Result<T, ClientError> {
        let mut body = json!({ "allowBreaking": breaking == Breaking::Allow });
        if let Some(rollout) = rollout {
            body["labels"] = json!(rollout.labels);
            if rollout.percent > 0 {
                body["percent"] = json!(rollout.percent);
            }
        }
        let path = format!("/deployments/{}/{number}/activate", part(package));
        self.send("POST", path, Some(who), &body).await
    }

    pub(crate) async fn retire(
        &self,
        package: &str,
        number: i32,
        undo: bool,
        who: &str,
    ) -> Result<SteerOutcome, ClientError> {
        let body = json!({ "undo": undo });
        let path = format!("/deployments/{}/{number}/retire", part(package));
        self.send("POST", path, Some(who), &body).await
    }

    pub(crate) async fn collect<T: DeserializeOwned>(
        &self,
        dry_run: bool,
    ) -> Result<T, ClientError> {
        let body = json!({ "dryRun": dry_run });
        let path = "/collect-deployments".to_owned();
        self.send("POST", path, None, &body).await
    }

    pub(crate) async fn deploy(&self, deploy: &Deploy<'_>) -> Result<DeployOutcome, ClientError> {
        #[derive(Deserialize)]
        struct Deployed {
            number: i32,
            created: bool,
            outcome: Steered,
            before: Option<i32>,
            rollout: Option<Rollout>,
            beside: Option<i32>,
            ended: Option<i32>,
            changes: Vec<dacapo_model::Change>,
        }
        let mut fields = vec![("manifest", raw(deploy.manifest)?.get().to_owned())];
        if let Some(rollout) = &deploy.rollout {
            if rollout.percent > 0 {
                fields.push(("percent", rollout.percent.to_string()));
            }
            let labels = rollout.labels.iter();
            fields.extend(labels.map(|(name, value)| ("label", format!("{name}={value}"))));
        }
        if deploy.breaking == Breaking::Allow {
            fields.push(("allowBreaking", "true".to_owned()));
        }
        // A boundary must not be in what it parts, and nobody can guess this one.
        let boundary = RunId::new().0.simple().to_string();
        let mut body = Vec::with_capacity(deploy.component.len() + (4 << 10));
        for (name, value) in fields {
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            body.extend_from_slice(head.as_bytes());
        }
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"component\"; filename=\"component.wasm\"\r\nContent-Type: application/wasm\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(deploy.component);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let deployed: Deployed = self
            .ask(RemoteRequest {
                content_type: Some(format!("multipart/form-data; boundary={boundary}")),
                body,
                ..request("POST", "/deployments".to_owned(), deploy.who)
            })
            .await?;
        Ok(DeployOutcome {
            number: deployed.number,
            created: deployed.created,
            replaces: deployed.before,
            outcome: deployed.outcome,
            is_partial: deployed.rollout.is_some() && deployed.outcome != Steered::Same,
            beside: deployed.beside,
            ended: deployed.ended,
            changes: deployed.changes,
        })
    }
}
