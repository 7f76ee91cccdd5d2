//! What a deployment says about its workflows beside their code.
//!
//! People write it as `dacapo.toml` (docs/manifest.md); it is stored with the deployment as the JSON of [`Manifest`]. A new setting is an
//! optional field here, in [`Manifest`] when it is about the component, in [`WorkflowSettings`] when it may differ between its workflows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::grants::check_grants;
use crate::{
    Changes, Descriptor, HttpSettings, LimitSettings, PRIORITY_MAX, RetentionSettings, RetryPolicy,
    RetryPolicyError, SecretFields, SecretGrant, SecretName, SecretPath, SqlGrant, SqlGrantError,
    check_name, is_short_for,
};

/// The queue of runs that are in no named one: whoever names it wants none.
pub const DEFAULT_QUEUE: &str = "default";

/// What a deployment says about its workflows. Empty: nothing, so all is as the workers' own configuration says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Manifest {
    /// How steps are tried again that do not say so themselves, in all workflows of the component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySettings>,
    /// The queue of runs whose start names none. `default`: no named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The priority of runs whose start says none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// How long runs are kept once they have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionSettings>,
    /// The database that steps may use; none: they may use none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlGrant>,
    /// What is different for single workflows, by their full names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub workflows: BTreeMap<String, WorkflowSettings>,
    /// Which hosts steps may send requests to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSettings>,
    /// Which secrets the component may use, and where.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<SecretName, SecretGrant>,
    /// The environment variables that guests see.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// How far guests may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitSettings>,
}

/// What a deployment says about one of its workflows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkflowSettings {
    /// How its steps are tried again that do not say so themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySettings>,
    /// The queue of its runs whose start names none. `default`: no named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The priority of its runs whose start says none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// How long its runs are kept once they have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionSettings>,
    /// How its code differs from the code that runs in flight began with.
    #[serde(skip_serializing_if = "Changes::is_empty")]
    pub changes: Changes,
    /// Parts of its payloads that are shown to nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret: Vec<SecretPath>,
}

/// Parts of a [`RetryPolicy`]. What is not said is as the component's settings say, and then as [`RetryPolicy::default`] has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetrySettings {
    /// [`RetryPolicy::max_attempts`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// [`RetryPolicy::initial_ms`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_ms: Option<u64>,
    /// [`RetryPolicy::factor`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f32>,
    /// [`RetryPolicy::max_ms`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<u64>,
}

impl RetrySettings {
    /// The policy where these settings say something, and the other one where they do not.
    fn over(self, other: RetryPolicy) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.max_attempts.unwrap_or(other.max_attempts),
            initial_ms: self.initial_ms.unwrap_or(other.initial_ms),
            factor: self.factor.unwrap_or(other.factor),
            max_ms: self.max_ms.unwrap_or(other.max_ms),
        }
    }
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It speaks of a workflow that the component does not export, or by a name that several have.
    #[error(
        "expected the full name of a workflow of the component, or an end of it that is unique, got `{name}`; the component exports {}",
        .exported.join(", ")
    )]
    UnknownWorkflow {
        /// The name that it has in the manifest.
        name: String,
        /// The full names of what the component exports.
        exported: Vec<String>,
    },
    /// It speaks of one workflow by two names.
    #[error(
        "workflow {workflow}: expected one name for it, got `{name}` beside another one; put both in one place"
    )]
    SameWorkflow {
        /// The second of the names.
        name: String,
        /// The full name.
        workflow: String,
    },
    /// A policy that could never end, or means nothing.
    #[error("{}{error}", .workflow.as_ref().map_or_else(String::new, |workflow| format!("workflow {workflow}: ")))]
    Retry {
        /// The workflow that it is for, by the name that it has in the manifest; none: all of the component.
        workflow: Option<String>,
        /// What is wrong with it.
        error: RetryPolicyError,
    },
    /// A queue, a priority or a time of keeping that cannot be meant.
    #[error("{}{part}: expected {expected}, got {got}", .workflow.as_ref().map_or_else(String::new, |workflow| format!("workflow {workflow}: ")))]
    Run {
        /// The workflow that it is for, by the name that it has in the manifest; none: all of the component.
        workflow: Option<String>,
        /// `queue`, `priority` or `retention`.
        part: &'static str,
        /// What would do.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A path to something secret that is not there.
    #[error("workflow {workflow}: secret {path:?}: expected {expected}")]
    Secret {
        /// The workflow that it is for, by the name that it has in the manifest.
        workflow: String,
        /// The path.
        path: String,
        /// What would do.
        expected: String,
    },
    /// A grant that cannot be meant.
    #[error(transparent)]
    Sql(#[from] SqlGrantError),
    /// A grant or a limit that cannot be meant.
    #[error("[{table}] {key}: expected {expected}, got {got}")]
    Setting {
        /// The table of the manifest that has it.
        table: &'static str,
        /// Its key there.
        key: String,
        /// What would do.
        expected: String,
        /// What it is.
        got: String,
    },
}

impl Manifest {
    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How steps of this workflow, named in full, are tried again that do not say so themselves. None: as the worker's configuration says.
    pub fn retry_of(&self, workflow: &str) -> Option<RetryPolicy> {
        let own = self.workflows.get(workflow).and_then(|own| own.retry);
        match (own, self.component_retry()) {
            (None, all) => all,
            (Some(own), all) => Some(own.over(all.unwrap_or_default())),
        }
    }

    /// The named queue of runs of this workflow, named in full, whose start names none.
    pub fn queue_of(&self, workflow: &str) -> Option<&str> {
        let own = self.workflows.get(workflow);
        let queue = own.and_then(|own| own.queue.as_ref());
        let queue = queue.or(self.queue.as_ref()).map(String::as_str);
        queue.filter(|queue| *queue != DEFAULT_QUEUE)
    }

    /// The priority of runs of this workflow, named in full, whose start says none.
    pub fn priority_of(&self, workflow: &str) -> Option<i16> {
        let own = self.workflows.get(workflow);
        own.and_then(|own| own.priority).or(self.priority)
    }

    /// How long runs of this workflow, named in full, are kept once they have ended, where it is said.
    pub fn retention_of(&self, workflow: &str) -> Option<RetentionSettings> {
        let own = self.workflows.get(workflow).and_then(|own| own.retention);
        match (own, self.retention) {
            (Some(own), Some(all)) => Some(own.over(all)),
            (own, all) => own.or(all),
        }
    }

    /// How the code of this workflow, named in full, differs from what runs in flight began with, if it says so.
    pub fn changes_of(&self, workflow: &str) -> Option<&Changes> {
        let changes = &self.workflows.get(workflow)?.changes;
        (!changes.is_empty()).then_some(changes)
    }

    /// What is secret in the payloads of this workflow, named in full.
    pub fn secrets_of(&self, workflow: &str) -> SecretFields {
        let own = self.workflows.get(workflow);
        SecretFields::new(own.map_or_else(Vec::new, |own| own.secret.clone()))
    }

    /// How steps are tried again in the workflows for which the manifest says nothing of their own.
    pub fn component_retry(&self) -> Option<RetryPolicy> {
        self.retry.map(|all| all.over(RetryPolicy::default()))
    }

    /// Why a manifest that was stored cannot be meant for this component, if it cannot: whoever stored it may not have checked it. Its names
    /// are in full, since what is said by another one would be passed over.
    pub fn problem(&self, descriptor: &Descriptor) -> Option<String> {
        match self.checked(descriptor) {
            Ok(checked) if checked == *self => None,
            Ok(_) => Some("it does not name its workflows in full".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Checks it against what a component exports. Answers it with the full names of all workflows.
    ///
    /// # Errors
    /// The first thing that cannot be meant, in the order of the names.
    pub fn checked(&self, descriptor: &Descriptor) -> Result<Manifest, ManifestError> {
        let refuse = |workflow: Option<&String>, error| ManifestError::Retry {
            workflow: workflow.cloned(),
            error,
        };
        if let Some(retry) = self.component_retry() {
            retry.check().map_err(|error| refuse(None, error))?;
        }
        check_runs(None, self.queue.as_deref(), self.priority, self.retention)?;
        if let Some(sql) = &self.sql {
            sql.check()?;
        }
        let (http, limits) = (self.http.as_ref(), self.limits.as_ref());
        check_grants(http, &self.secrets, &self.environment, limits).map_err(|mistake| {
            ManifestError::Setting {
                table: mistake.table,
                key: mistake.key,
                expected: mistake.expected,
                got: mistake.got,
            }
        })?;
        let mut checked = Manifest {
            workflows: BTreeMap::new(),
            ..self.clone()
        };
        for (name, settings) in &self.workflows {
            let unknown = || ManifestError::UnknownWorkflow {
                name: name.clone(),
                exported: descriptor
                    .workflows
                    .iter()
                    .map(|workflow| workflow.name.clone())
                    .collect(),
            };
            let full = full_name(name, descriptor).ok_or_else(unknown)?;
            if checked.workflows.contains_key(full) {
                return Err(ManifestError::SameWorkflow {
                    name: name.clone(),
                    workflow: full.to_owned(),
                });
            }
            check_runs(
                Some(name),
                settings.queue.as_deref(),
                settings.priority,
                settings.retention,
            )?;
            if let Some(workflow) = descriptor.workflows.iter().find(|one| one.name == full) {
                for path in &settings.secret {
                    path.check(workflow)
                        .map_err(|error| ManifestError::Secret {
                            workflow: name.clone(),
                            path: path.to_string(),
                            expected: error.to_string(),
                        })?;
                }
            }
            checked.workflows.insert(full.to_owned(), settings.clone());
            if let Some(retry) = checked.retry_of(full) {
                retry.check().map_err(|error| refuse(Some(name), error))?;
            }
        }
        Ok(checked)
    }
}

/// Checks what is said of runs, for one workflow or for all.
fn check_runs(
    workflow: Option<&String>,
    queue: Option<&str>,
    priority: Option<i16>,
    retention: Option<RetentionSettings>,
) -> Result<(), ManifestError> {
    let refuse = |part, expected: String, got: String| ManifestError::Run {
        workflow: workflow.cloned(),
        part,
        expected,
        got,
    };
    if let Some(queue) = queue
        && let Err(error) = check_name(queue)
    {
        return Err(refuse("queue", error.to_string(), format!("{queue:?}")));
    }
    if let Some(priority) = priority
        && !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&priority)
    {
        let expected = format!("-{PRIORITY_MAX} to {PRIORITY_MAX}");
        return Err(refuse("priority", expected, priority.to_string()));
    }
    let times = retention.into_iter().flat_map(RetentionSettings::times);
    for (_, keep) in times {
        if let Err(got) = keep.check() {
            let expected = "a minute to a hundred years, or \"forever\"".to_owned();
            return Err(refuse("retention", expected, got));
        }
    }
    Ok(())
}

/// The workflow of the component that goes by this name; none when there is none, or more than one.
fn full_name<'a>(name: &str, descriptor: &'a Descriptor) -> Option<&'a str> {
    let names = || {
        descriptor
            .workflows
            .iter()
            .map(|workflow| workflow.name.as_str())
    };
    let exact = names().find(|full| *full == name);
    let mut ends = names().filter(|full| is_short_for(name, full));
    exact.or_else(|| match (ends.next(), ends.next()) {
        (Some(full), None) => Some(full),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Workflow;

    fn descriptor() -> Descriptor {
        let workflow = |name: &str| Workflow {
            name: name.to_owned(),
            interface: name.rsplit_once('.').unwrap().0.to_owned(),
            function: name.rsplit_once('.').unwrap().1.to_owned(),
            param: None,
            result: None,
            events: Vec::new(),
            docs: None,
        };
        Descriptor {
            package: "shop:orders".to_owned(),
            workflows: [
                "shop:orders/api.place",
                "shop:orders/api.ship",
                "shop:orders/old.ship",
            ]
            .map(workflow)
            .into(),
            children: Vec::new(),
            imports: Vec::new(),
            version: None,
        }
    }

    fn attempts(max_attempts: u32) -> RetrySettings {
        RetrySettings {
            max_attempts: Some(max_attempts),
            ..RetrySettings::default()
        }
    }

    fn manifest(retry: Option<RetrySettings>, workflows: &[(&str, RetrySettings)]) -> Manifest {
        let settings = |(name, retry): &(&str, RetrySettings)| {
            (
                name.to_string(),
                WorkflowSettings {
                    retry: Some(*retry),
                    ..WorkflowSettings::default()
                },
            )
        };
        Manifest {
            retry,
            workflows: workflows.iter().map(settings).collect(),
            ..Manifest::default()
        }
    }

    #[test]
    fn what_is_said_for_a_workflow_comes_before_what_is_said_for_all() {
        let all = RetrySettings {
            initial_ms: Some(5),
            ..attempts(7)
        };
        let manifest = manifest(Some(all), &[("place", attempts(2))])
            .checked(&descriptor())
            .unwrap();
        let default = RetryPolicy::default();
        let of_all = RetryPolicy {
            max_attempts: 7,
            initial_ms: 5,
            ..default
        };
        assert_eq!(manifest.retry_of("shop:orders/api.ship"), Some(of_all));
        let of_place = RetryPolicy {
            max_attempts: 2,
            ..of_all
        };
        assert_eq!(manifest.retry_of("shop:orders/api.place"), Some(of_place));
        assert_eq!(Manifest::default().retry_of("shop:orders/api.place"), None);
    }

    #[test]
    fn a_manifest_survives_its_json_form_and_says_nothing_that_it_does_not_say() {
        assert_eq!(serde_json::to_string(&Manifest::default()).unwrap(), "{}");
        let all = RetrySettings {
            factor: Some(1.1),
            max_ms: Some(90_000),
            ..attempts(7)
        };
        let manifest = manifest(Some(all), &[("shop:orders/api.place", attempts(2))]);
        let text = serde_json::to_string(&manifest).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
        // A worker that is too old to know a setting must not pretend to keep to it.
        assert!(serde_json::from_str::<Manifest>(r#"{"hosts": []}"#).is_err());
    }

    #[test]
    fn workflows_that_are_not_there_and_policies_that_mean_nothing_are_refused() {
        let refused = |manifest: Manifest| manifest.checked(&descriptor()).unwrap_err().to_string();
        for name in ["plaice", "ship"] {
            assert_eq!(
                refused(manifest(None, &[(name, attempts(2))])),
                format!(
                    "expected the full name of a workflow of the component, or an end of it that is unique, got `{name}`; the component \
                     exports shop:orders/api.place, shop:orders/api.ship, shop:orders/old.ship"
                )
            );
        }
        let twice = [("place", attempts(2)), ("api.place", attempts(3))];
        assert!(matches!(
            manifest(None, &twice).checked(&descriptor()),
            Err(ManifestError::SameWorkflow { .. })
        ));
        assert_eq!(
            refused(manifest(Some(attempts(0)), &[])),
            "retry policy: max-attempts: expected 1 to 1000, got 0"
        );
        let slow = RetrySettings {
            initial_ms: Some(61_000),
            ..RetrySettings::default()
        };
        assert_eq!(
            refused(manifest(None, &[("place", slow)])),
            "workflow place: retry policy: initial-ms: expected at most max-ms (60000), got 61000"
        );
    }
}
