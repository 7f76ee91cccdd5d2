//! What a client sees: the one place in which payloads are kept from those who are not to see them, and runs from those whose access is
//! limited to others.
//!
//! Everything that reads runs, their journals, their events or their schedules for somebody to look at goes through here. What a program
//! needs for its own work does not: [`Client::wait_output`], and inputs of runs that are started again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use dacapo_model::{
    DeploymentId, Failure, Payload, REDACTED, RunExport, RunId, Scope, SecretFields, WITHHELD,
};
use dacapo_store::{InterventionRow, RunRow, ScheduleRow, StepRow};

use crate::retry::retried;
use crate::run::{Intervention, Run, RunSummary, Step, StepOutcome};
use crate::start::shortened;
use crate::{Client, ClientError, Schedule};

/// Deployments whose secrets are kept in mind, at most.
const KEPT_MAX: usize = 10_000;

/// How payloads are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payloads {
    /// Without the parts that the manifest of their deployment calls secret.
    #[default]
    WithoutSecrets,
    /// As they are.
    Whole,
    /// Not at all, and no logs either.
    Hidden,
}

/// What a client sees.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    payloads: Payloads,
    /// None: all runs of all namespaces.
    scope: Option<Scope>,
}

/// What is secret in the payloads of each deployment's workflows. A deployment never changes, so what is known stays true.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Mutex<HashMap<DeploymentId, Arc<OfDeployment>>>);

#[derive(Debug)]
enum OfDeployment {
    Known(BTreeMap<String, SecretFields>),
    /// Its manifest cannot be read.
    Unknown,
}

impl OfDeployment {
    fn of(&self, workflow: &str) -> SecretFields {
        match self {
            Self::Known(workflows) => workflows.get(workflow).cloned().unwrap_or_default(),
            Self::Unknown => SecretFields::everything(),
        }
    }
}

impl Client {
    /// The same client, which shows payloads in this way. Until this is called it shows them without what is secret.
    #[must_use]
    pub fn showing(mut self, payloads: Payloads) -> Self {
        self.sight = Arc::new(Sight {
            payloads,
            scope: self.sight.scope.clone(),
        });
        match payloads {
            Payloads::Hidden => self.silenced(),
            Payloads::WithoutSecrets | Payloads::Whole => self,
        }
    }

    /// The same client, limited to runs of its namespace that are within a scope. Others are not there for it; whoever wants to change
    /// what concerns others, too, such as a queue, is refused unless the scope is all.
    #[must_use]
    pub fn within(mut self, scope: Scope) -> Self {
        self.sight = Arc::new(Sight {
            payloads: self.sight.payloads,
            scope: Some(scope),
        });
        match self.limits_of_scope() {
            Some(_) => self.silenced(),
            None => self,
        }
    }

    /// How the client shows payloads.
    #[must_use]
    pub fn payloads(&self) -> Payloads {
        self.sight.payloads
    }

    /// What the client is limited to, if it is.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.sight.scope.as_ref()
    }

    /// The scope, if it leaves anything out.
    pub(crate) fn limits_of_scope(&self) -> Option<&Scope> {
        self.scope().filter(|scope| !scope.is_whole())
    }

    /// Refuses who is limited to a scope: for whoever shows what concerns everything.
    ///
    /// # Errors
    /// [`ClientError::OutOfScope`].
    pub fn check_sees_all(&self) -> Result<(), ClientError> {
        self.check_whole("what concerns all runs")
    }

    /// Refuses what concerns more than the scope.
    pub(crate) fn check_whole(&self, what: &'static str) -> Result<(), ClientError> {
        match self.limits_of_scope() {
            None => Ok(()),
            Some(scope) => Err(ClientError::OutOfScope {
                what: what.to_owned(),
                scope: scope.to_string(),
            }),
        }
    }

    /// Refuses a workflow that is not within the scope.
    pub(crate) fn check_workflow(&self, full_name: &str) -> Result<(), ClientError> {
        match self.scope() {
            Some(scope) if !scope.covers_workflow(full_name) => {
                Err(out_of_scope(&format!("workflow {full_name}"), scope))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what concerns all runs of these workflows, if they are not all within the scope.
    pub(crate) fn check_workflows<'a>(
        &self,
        full_names: impl Iterator<Item = &'a str>,
    ) -> Result<(), ClientError> {
        for full_name in full_names {
            self.check_workflow(full_name)?;
        }
        match self.scope() {
            Some(scope) if !scope.labels.is_empty() => {
                Err(out_of_scope("all runs of a workflow", scope))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a new run that would not be within the scope.
    pub(crate) fn check_start(
        &self,
        full_name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ClientError> {
        self.check_workflow(full_name)?;
        match self.scope() {
            Some(scope) if !scope.covers(full_name, labels) => Err(out_of_scope(
                &format!("a run of {full_name} without the labels"),
                scope,
            )),
            _ => Ok(()),
        }
    }

    /// Whether this run is there for the client.
    pub(crate) fn sees(
        &self,
        namespace: &str,
        workflow: &str,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        self.scope()
            .is_none_or(|scope| namespace == &*self.namespace && scope.covers(workflow, labels))
    }

    pub(crate) fn check_row(&self, row: &RunRow) -> Result<(), ClientError> {
        if self.scope().is_none() {
            return Ok(());
        }
        let labels = row.labels.iter().cloned().collect();
        match self.sees(&row.namespace, &row.workflow, &labels) {
            true => Ok(()),
            false => Err(ClientError::RunNotFound(row.id)),
        }
    }

    /// Whether this run is there for the client, for whoever does not read it before.
    pub(crate) async fn check_run(&self, run: RunId) -> Result<(), ClientError> {
        if self.scope().is_none() {
            return Ok(());
        }
        let store = self.store();
        let found = retried(|| dacapo_store::run_for_access(store, run)).await?;
        match found {
            Some((namespace, workflow, labels)) if self.sees(&namespace, &workflow, &labels) => {
                Ok(())
            }
            _ => Err(ClientError::RunNotFound(run)),
        }
    }

    /// Refuses to show what cannot be shown in part, if payloads are hidden.
    pub(crate) fn check_shown(&self, what: &'static str) -> Result<(), ClientError> {
        match self.payloads() {
            Payloads::Hidden => Err(ClientError::Withheld(what)),
            Payloads::WithoutSecrets | Payloads::Whole => Ok(()),
        }
    }

    /// What is secret in the payloads of a workflow on a deployment.
    pub(crate) async fn secrets_of(
        &self,
        deployment: DeploymentId,
        workflow: &str,
    ) -> Result<SecretFields, ClientError> {
        let all = self.secrets_on(&[deployment]).await?;
        Ok(secrets_in(&all, deployment, workflow))
    }

    /// The error of a start whose key belongs to another run. What that was started with is shown to whoever may see all that the workflow's runs
    /// are started with: its labels are not known here.
    pub(crate) async fn key_conflict(
        &self,
        (deployment, workflow): (DeploymentId, &str),
        key: &str,
        run: RunId,
        existing: &str,
        given: &str,
    ) -> Result<ClientError, ClientError> {
        let secrets = self.secrets_of(deployment, workflow).await?;
        let by_label = self.scope().is_some_and(|scope| !scope.labels.is_empty());
        let existing = match by_label || self.payloads() == Payloads::Hidden {
            true => WITHHELD.to_owned(),
            false => shortened(
                secrets
                    .input(Payload::from_trusted(existing.to_owned()))
                    .as_str(),
            ),
        };
        Ok(ClientError::KeyConflict {
            key: key.to_owned(),
            run,
            existing,
            given: shortened(
                secrets
                    .input(Payload::from_trusted(given.to_owned()))
                    .as_str(),
            ),
        })
    }

    async fn secrets_on(
        &self,
        deployments: &[DeploymentId],
    ) -> Result<HashMap<DeploymentId, Arc<OfDeployment>>, ClientError> {
        let known = || {
            self.shared
                .secrets
                .0
                .lock()
                // The map is whole whenever the lock is free, whoever panicked.
                .unwrap_or_else(PoisonError::into_inner)
        };
        let mut found = HashMap::new();
        let mut missing: Vec<DeploymentId> = Vec::new();
        {
            let known = known();
            for deployment in deployments {
                match known.get(deployment) {
                    Some(secrets) => {
                        found.insert(*deployment, Arc::clone(secrets));
                    }
                    None if missing.contains(deployment) => {}
                    None => missing.push(*deployment),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let store = self.store();
        let manifests = retried(|| dacapo_store::manifests(store, &missing)).await?;
        let mut known = known();
        if known.len() + manifests.len() > KEPT_MAX {
            known.clear();
        }
        for (deployment, manifest) in manifests {
            let secrets = match SecretFields::of_manifest(&manifest) {
                Ok(workflows) => OfDeployment::Known(workflows),
                Err(error) => {
                    tracing::warn!(%error, deployment = deployment.0, "the manifest of a deployment cannot be read: all payloads are taken as secret");
                    OfDeployment::Unknown
                }
            };
            let secrets = Arc::new(secrets);
            known.insert(deployment, Arc::clone(&secrets));
            found.insert(deployment, secrets);
        }
        // One that is not there any more may have called anything secret.
        for deployment in missing {
            found
                .entry(deployment)
                .or_insert_with(|| Arc::new(OfDeployment::Unknown));
        }
        Ok(found)
    }

    /// Runs as the client shows them.
    pub(crate) async fn summaries(
        &self,
        rows: Vec<RunRow>,
    ) -> Result<Vec<RunSummary>, ClientError> {
        let deployments: Vec<DeploymentId> = rows.iter().map(|row| row.deployment).collect();
        let secrets = self.shown_without(&deployments).await?;
        rows.into_iter()
            .map(|row| {
                let secrets = secrets_in(&secrets, row.deployment, &row.workflow);
                let mut run = RunSummary::from_row(row)?;
                self.show_summary(&mut run, &secrets);
                Ok(run)
            })
            .collect()
    }

    /// A run as the client shows it.
    pub(crate) async fn run(
        &self,
        row: RunRow,
        steps: Vec<StepRow>,
        interventions: Vec<InterventionRow>,
    ) -> Result<Run, ClientError> {
        let secrets = self.secrets_shown(row.deployment, &row.workflow).await?;
        let interventions: Vec<Intervention> = interventions
            .into_iter()
            .map(Intervention::from_row)
            .collect();
        let mut steps = Step::from_rows(steps, &interventions);
        self.show_steps(&mut steps, &secrets);
        self.run_with(row, steps, interventions, &secrets)
    }

    /// The same with steps that are as the client shows them already.
    pub(crate) fn run_with(
        &self,
        row: RunRow,
        steps: Vec<Step>,
        mut interventions: Vec<Intervention>,
        secrets: &SecretFields,
    ) -> Result<Run, ClientError> {
        let mut run = RunSummary::from_row(row)?;
        self.show_summary(&mut run, secrets);
        let hidden = self.payloads() == Payloads::Hidden;
        for intervention in &mut interventions {
            if hidden || secrets.concern_the_journal() {
                intervention.details = without_values(&intervention.details, hidden);
            }
        }
        Ok(Run::of(run, steps, interventions))
    }

    /// Schedules as the client shows them. What is secret in their inputs is what the workflows' active deployments say.
    pub(crate) async fn show_schedules(
        &self,
        rows: Vec<ScheduleRow>,
    ) -> Result<Vec<Schedule>, ClientError> {
        let deployments: Vec<DeploymentId> = rows.iter().filter_map(|row| row.deployment).collect();
        let secrets = self.shown_without(&deployments).await?;
        rows.into_iter()
            .map(|row| {
                let secrets = match row.deployment {
                    Some(deployment) => secrets_in(&secrets, deployment, &row.workflow),
                    // Nobody can say any more what is secret.
                    None => SecretFields::everything(),
                };
                let mut schedule = Schedule::from_row(row)?;
                self.show_payload(&mut schedule.input, |payload| secrets.input(payload));
                Ok(schedule)
            })
            .collect()
    }

    /// A run on its way to a file, as the client shows it. Without its secrets it says so, and nobody can import it.
    pub(crate) async fn show_export(
        &self,
        export: RunExport,
        deployment: DeploymentId,
    ) -> Result<RunExport, ClientError> {
        let secrets = self.secrets_shown(deployment, &export.run.workflow).await?;
        Ok(export.without(&secrets))
    }

    /// What is secret in the payloads of these deployments, if the client cares.
    async fn shown_without(
        &self,
        deployments: &[DeploymentId],
    ) -> Result<HashMap<DeploymentId, Arc<OfDeployment>>, ClientError> {
        match self.payloads() {
            Payloads::WithoutSecrets => self.secrets_on(deployments).await,
            Payloads::Whole | Payloads::Hidden => Ok(HashMap::new()),
        }
    }

    /// The same of a workflow on one of them.
    pub(crate) async fn secrets_shown(
        &self,
        deployment: DeploymentId,
        workflow: &str,
    ) -> Result<SecretFields, ClientError> {
        let all = self.shown_without(&[deployment]).await?;
        Ok(secrets_in(&all, deployment, workflow))
    }

    fn show_summary(&self, run: &mut RunSummary, secrets: &SecretFields) {
        self.show_payload(&mut run.input, |payload| secrets.input(payload));
        if let Some(output) = &mut run.output {
            self.show_payload(output, |payload| secrets.output(payload));
        }
        if let Some(failure) = &mut run.failure {
            self.show_failure(failure, |failure| secrets.failure(failure));
        }
        if self.payloads() == Payloads::Hidden {
            run.progress.note = None;
            run.blocked = run.blocked.take().map(|blocked| code_alone(&blocked));
        }
    }

    /// Steps as the client shows them.
    pub(crate) fn show_steps(&self, steps: &mut [Step], secrets: &SecretFields) {
        for step in steps {
            match &mut step.outcome {
                Some(StepOutcome::Ok(payload)) => {
                    let (key, kind) = (&step.key, step.kind);
                    self.show_payload(payload, |payload| secrets.recorded(key, kind, payload));
                }
                Some(StepOutcome::Failed(failure)) => self.show_failure(failure, |failure| failure),
                Some(StepOutcome::TimedOut | StepOutcome::Cancelled) | None => {}
            }
            for attempt in &mut step.failed_attempts {
                self.show_failure(&mut attempt.failure, |failure| failure);
            }
        }
    }

    fn show_payload(&self, payload: &mut Payload, without: impl FnOnce(Payload) -> Payload) {
        match self.payloads() {
            Payloads::Whole => {}
            Payloads::Hidden => *payload = Payload::from_trusted(WITHHELD.to_owned()),
            Payloads::WithoutSecrets => {
                let whole = std::mem::replace(payload, Payload::null());
                *payload = without(whole);
            }
        }
    }

    /// Of a failure that is hidden the code alone is left: its message may say anything.
    fn show_failure(&self, failure: &mut Failure, without: impl FnOnce(Failure) -> Failure) {
        match self.payloads() {
            Payloads::Whole => {}
            Payloads::Hidden => {
                failure.message = text_of(WITHHELD);
                failure.details = None;
            }
            Payloads::WithoutSecrets => {
                let whole = std::mem::replace(failure, Failure::new("", ""));
                *failure = without(whole);
            }
        }
    }
}

fn secrets_in(
    all: &HashMap<DeploymentId, Arc<OfDeployment>>,
    deployment: DeploymentId,
    workflow: &str,
) -> SecretFields {
    all.get(&deployment)
        .map_or_else(SecretFields::default, |secrets| secrets.of(workflow))
}

fn out_of_scope(what: &str, scope: &Scope) -> ClientError {
    ClientError::OutOfScope {
        what: what.to_owned(),
        scope: scope.to_string(),
    }
}

/// What JSON text of a string stands for.
fn text_of(json: &str) -> String {
    json.trim_matches('"').to_owned()
}

/// Why a run is blocked, without what its code did to come there.
fn code_alone(blocked: &Payload) -> Payload {
    let reason: serde_json::Value = serde_json::from_str(blocked.as_str()).unwrap_or_default();
    let shown = serde_json::json!({ "code": reason["code"], "message": text_of(WITHHELD) });
    Payload::from_trusted(shown.to_string())
}

/// What somebody did to a run, without values that were recorded.
fn without_values(details: &Payload, hidden: bool) -> Payload {
    let mut shown: serde_json::Value = serde_json::from_str(details.as_str()).unwrap_or_default();
    let Some(parts) = shown.as_object_mut() else {
        return Payload::from_trusted(REDACTED.to_owned());
    };
    if let Some(was) = parts.get_mut("was") {
        *was = text_of(if hidden { WITHHELD } else { REDACTED }).into();
    }
    if hidden {
        parts.remove("failure");
    }
    Payload::from_trusted(shown.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_skip_has_no_value() {
        let details =
            Payload::from_trusted(r#"{"step":"charge#1","was":{"ok":1},"failure":2}"#.to_owned());
        assert_eq!(
            without_values(&details, false).as_str(),
            r#"{"failure":2,"step":"charge#1","was":"•••"}"#
        );
        assert_eq!(
            without_values(&details, true).as_str(),
            r#"{"step":"charge#1","was":"••• hidden"}"#
        );
    }

    #[test]
    fn why_a_run_is_blocked_is_a_code_where_payloads_are_hidden() {
        let blocked =
            Payload::from_trusted(r#"{"code":"changed","message":"x","details":7}"#.to_owned());
        assert_eq!(
            code_alone(&blocked).as_str(),
            r#"{"code":"changed","message":"••• hidden"}"#
        );
    }
}
