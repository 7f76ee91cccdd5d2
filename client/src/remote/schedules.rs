//! Schedules.

use std::collections::BTreeMap;

use dacapo_model::{RunId, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Ignored, Members, Remote, millis, part, raw, read, request};
use crate::ClientError;
use crate::schedules::{Existing, NewSchedule, Trigger, When};

impl Remote {
    pub(crate) async fn schedules<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        self.get("/schedules".to_owned()).await
    }

    pub(crate) async fn schedule<T: DeserializeOwned>(&self, name: &str) -> Result<T, ClientError> {
        self.get(format!("/schedules/{}", part(name))).await
    }

    /// `pause` or `resume`.
    pub(crate) async fn steer_schedule<T: DeserializeOwned>(
        &self,
        name: &str,
        what: &str,
    ) -> Result<T, ClientError> {
        let path = format!("/schedules/{}/{what}", part(name));
        self.ask(request("POST", path, None)).await
    }

    pub(crate) async fn trigger(&self, name: &str, trigger: Trigger) -> Result<RunId, ClientError> {
        #[derive(Deserialize)]
        struct Triggered {
            run: RunId,
        }
        let body = json!({ "force": trigger == Trigger::Anyway });
        let path = format!("/schedules/{}/trigger", part(name));
        let triggered: Triggered = self.send("POST", path, None, &body).await?;
        Ok(triggered.run)
    }

    pub(crate) async fn backfill<T: DeserializeOwned>(
        &self,
        name: &str,
        from: Timestamp,
        until: Timestamp,
        dry_run: bool,
    ) -> Result<T, ClientError> {
        let body = json!({ "from": from, "until": until, "dryRun": dry_run });
        let path = format!("/schedules/{}/backfill", part(name));
        self.send("POST", path, None, &body).await
    }

    pub(crate) async fn delete_schedule(&self, name: &str) -> Result<(), ClientError> {
        let path = format!("/schedules/{}", part(name));
        let _: Ignored = self.ask(request("DELETE", path, None)).await?;
        Ok(())
    }

    pub(crate) async fn create_schedule<T: DeserializeOwned>(
        &self,
        new: &NewSchedule,
    ) -> Result<T, ClientError> {
        let mut body: Members = BTreeMap::from([
            ("name", raw(&new.name)?),
            ("workflow", raw(&new.workflow)?),
            ("input", read(&new.input, "the input")?),
            ("labels", raw(&new.labels)?),
            ("queue", raw(&new.queue)?),
            ("priority", raw(&new.priority)?),
            ("concurrencyKey", raw(&new.concurrency_key)?),
            ("jitterMs", raw(&millis(new.jitter))?),
            ("overlap", raw(&new.overlap)?),
            ("catchUp", raw(&new.catch_up)?),
            ("paused", raw(&new.paused)?),
        ]);
        match &new.when {
            When::Cron {
                expression,
                time_zone,
            } => {
                body.insert("cron", raw(expression)?);
                body.insert("timeZone", raw(time_zone)?);
            }
            When::Every(every) => {
                body.insert("everySeconds", raw(&every.as_secs())?);
            }
        }
        let (method, path) = match new.existing {
            Existing::Refuse => ("POST", "/schedules".to_owned()),
            Existing::Replace => ("PUT", format!("/schedules/{}", part(&new.name))),
        };
        self.send(method, path, None, &body).await
    }
}
