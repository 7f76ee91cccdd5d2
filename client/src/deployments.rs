//! Deployments: putting components into service, and steering what is there.

use std::time::Duration;

use dacapo_model::{
    Change, Descriptor, Manifest, Rollout, Timestamp, Workflow, compatibility, problems_of_caller,
};
use dacapo_store::{
    Caller, Dependents, DeploymentContent, DeploymentRefusal, DeploymentSummary, MovedRuns,
    NewDeployment, SteerOutcome, Steered,
};
use serde::{Deserialize, Serialize};

use crate::going_back::check_who;
use crate::retry::retried;
use crate::workflows::{EventInfo, ValueInfo};
use crate::{Client, ClientError};

/// How often a deploy looks again because another one came between its look and its statement.
const TRIES_MAX: u32 = 8;

/// How often it is looked whether transactions are over that keep a deployment from being taken away.
const OPEN_TRIES: u32 = 20;

/// Runs on a deployment that are looked at, of each of its workflows, to tell which were moved there.
pub const MOVED_ROWS: u32 = 2_000;

/// The rest before each of these looks.
const OPEN_REST: Duration = Duration::from_millis(100);

/// A component to be put into service.
#[derive(Debug, Clone)]
pub struct Deploy<'a> {
    /// What it offers.
    pub descriptor: &'a Descriptor,
    /// The SHA-256 of its bytes, in hex.
    pub digest: &'a str,
    /// Its bytes.
    pub component: &'a [u8],
    /// What it says about its workflows beside their code. It may name workflows by an end of their names.
    pub manifest: &'a Manifest,
    /// Only this part of the new runs goes there; none: all.
    pub rollout: Option<Rollout>,
    /// It may break who deals with its workflows.
    pub breaking: Breaking,
    /// Who does it; none: the user of the database.
    pub who: Option<&'a str>,
}

/// What becomes of a deploy that would break somebody who deals with its workflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Breaking {
    /// It is refused.
    #[default]
    Refuse,
    /// It is done.
    Allow,
}

/// What a deploy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployOutcome {
    /// The deployment's number within its package.
    pub number: i32,
    /// False: this very component and manifest are in service already, and no deployment was made.
    pub created: bool,
    /// Number of the deployment that was active before, if another one was.
    pub replaces: Option<i32>,
    /// What became of it.
    pub outcome: Steered,
    /// Only a part of the new runs goes there.
    pub is_partial: bool,
    /// Number of the deployment that is being rolled out beside these bytes, which were active: it goes on.
    pub beside: Option<i32>,
    /// Number of the deployment whose roll-out has been ended by this.
    pub ended: Option<i32>,
    /// What is different from the deployment that was active, as far as that was asked for.
    pub changes: Vec<Change>,
}

/// What an activation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activated {
    /// What became of it.
    #[serde(flatten)]
    pub outcome: SteerOutcome,
    /// What is different from the deployment that was active.
    pub changes: Vec<Change>,
}

/// How a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentStatus {
    /// New runs go there, but for the part of one that is being rolled out.
    Active,
    /// A part of the new runs goes there.
    RollingOut,
    /// No new runs go there; it may be activated.
    Inactive,
    /// No new run can go there.
    Retired,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentInfo {
    /// Its package.
    pub package: String,
    /// Its number within the package.
    pub number: i32,
    /// How it stands.
    pub status: DeploymentStatus,
    /// The part of the new runs that goes there while it is rolled out.
    pub rollout: Option<Rollout>,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// When it was deployed.
    pub deployed_at: Timestamp,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
    /// What was done to it last; none of deployments that were made before that was kept.
    pub last_change: Option<DeploymentChange>,
    /// Runs on it that have not ended.
    pub runs_in_flight: i64,
}

/// What was done to a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentChange {
    /// `deployed`, `activated`, `rolled-out`, `retired`, `unretired`.
    pub what: String,
    /// Who did it.
    pub who: String,
    /// When.
    pub at: Timestamp,
    /// The part of a roll-out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// A deployment with what is in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentDetails {
    /// How it stands.
    #[serde(flatten)]
    pub info: DeploymentInfo,
    /// The version of its WIT package.
    pub version: Option<String>,
    /// Its workflows.
    pub workflows: Vec<WorkflowTypes>,
    /// The workflows of other packages that it calls, as it knows them.
    pub calls: Vec<WorkflowTypes>,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// What it says beside its code.
    pub manifest: Manifest,
    /// What was done to it, in its order.
    pub changes: Vec<DeploymentChange>,
}

/// A workflow with its types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkflowTypes {
    /// Its full name.
    pub name: String,
    /// What it takes; none if it takes nothing.
    pub input: Option<ValueInfo>,
    /// What it returns; none if it returns nothing.
    pub output: Option<ValueInfo>,
    /// The events that it declares; empty if any will do.
    pub events: Vec<EventInfo>,
    /// The workflow and its types as plain data.
    #[serde(skip)]
    pub workflow: Workflow,
}

/// What is different between two deployments of a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentDiff {
    /// The package.
    pub package: String,
    /// The number of the one.
    pub from: i32,
    /// The number of the other.
    pub to: i32,
    /// Whether they are the very same component.
    pub same_component: bool,
    /// What is different in the types of workflows and events, by name.
    pub changes: Vec<Change>,
    /// Interfaces that only the other one imports.
    pub imports_added: Vec<String>,
    /// Interfaces that only the one imports.
    pub imports_removed: Vec<String>,
    /// Workflows of other packages that only the other one calls.
    pub calls_added: Vec<String>,
    /// Workflows of other packages that only the one calls.
    pub calls_removed: Vec<String>,
    /// Both manifests, where they are different.
    pub manifests: Option<(Manifest, Manifest)>,
}

/// What was taken away because nothing needs it, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// The tenant of the deployment; none: a component that no deployment had.
    pub namespace: Option<String>,
    /// Its package.
    pub package: Option<String>,
    /// Its number.
    pub number: Option<i32>,
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// The size of the component if that goes, too; none: other deployments have it.
    pub bytes: Option<i64>,
}

impl Client {
    /// Stores a component and makes it the active deployment of its package: new runs go to it, runs that were started stay where they
    /// are. `digest` is the SHA-256 of the component in hex, `descriptor` what it offers. The same bytes as before change nothing. It has
    /// no manifest, and nobody is asked whether it breaks something: [`Client::put_into_service`] does all that.
    ///
    /// # Errors
    /// [`ClientError::DeploymentRefused`] if these do not fit together, and those of the database.
    pub async fn deploy(
        &self,
        descriptor: &Descriptor,
        digest: &str,
        component: &[u8],
    ) -> Result<DeployOutcome, ClientError> {
        self.deploy_with(descriptor, digest, component, &Manifest::default())
            .await
    }

    /// Like [`Client::deploy`], with what the deployment says about its workflows beside their code. It may name workflows by an end of
    /// their names. The same bytes with another manifest are another deployment.
    ///
    /// # Errors
    /// [`ClientError::BadManifest`], and those of [`Client::deploy`].
    pub async fn deploy_with(
        &self,
        descriptor: &Descriptor,
        digest: &str,
        component: &[u8],
        manifest: &Manifest,
    ) -> Result<DeployOutcome, ClientError> {
        self.check_package(descriptor)?;
        let deploy = Deploy {
            descriptor,
            digest,
            component,
            manifest,
            rollout: None,
            breaking: Breaking::Allow,
            who: None,
        };
        if let Some(remote) = self.remote() {
            manifest.checked(descriptor)?;
            return remote.deploy(&deploy).await;
        }
        let outcome = self
            .put(&deploy, manifest.checked(descriptor)?, None)
            .await?;
        Ok(DeployOutcome::new(outcome, &deploy, Vec::new()))
    }

    /// Puts a component into service: for all new runs, or for a part of them.
    ///
    /// # Errors
    /// [`ClientError::Breaking`] if it would break who deals with its workflows, unless that is allowed;
    /// [`ClientError::DeploymentRefused`] if bytes, digest and descriptor do not fit together, or the roll-out cannot be;
    /// [`ClientError::BadManifest`]. Nothing was changed then.
    pub async fn put_into_service(
        &self,
        deploy: &Deploy<'_>,
    ) -> Result<DeployOutcome, ClientError> {
        if let Some(who) = deploy.who {
            check_who(who)?;
        }
        self.check_package(deploy.descriptor)?;
        let manifest = deploy.manifest.checked(deploy.descriptor)?;
        if let Some(remote) = self.remote() {
            return remote.deploy(deploy).await;
        }
        for _ in 0..TRIES_MAX {
            let (active, changes) = self.changes_by(deploy.descriptor).await?;
            if deploy.breaking == Breaking::Refuse && changes.iter().any(|change| change.breaking) {
                return Err(ClientError::Breaking {
                    package: deploy.descriptor.package.clone(),
                    changes,
                });
            }
            let outcome = self
                .put(deploy, manifest.clone(), Some(active.unwrap_or(0)))
                .await?;
            if outcome.outcome != Steered::Moved {
                return Ok(DeployOutcome::new(outcome, deploy, changes));
            }
        }
        Err(too_busy(&deploy.descriptor.package))
    }

    async fn put(
        &self,
        deploy: &Deploy<'_>,
        manifest: Manifest,
        expects: Option<i32>,
    ) -> Result<SteerOutcome, ClientError> {
        let new = NewDeployment {
            digest: deploy.digest,
            component: deploy.component,
            descriptor: deploy.descriptor,
            manifest: &manifest,
            rollout: deploy.rollout.as_ref(),
            expects,
            who: deploy.who,
        };
        let store = self.store();
        retried(|| dacapo_store::deploy(store, &self.namespace, &new))
            .await?
            .map_err(refused)
    }

    /// What is different from the active deployment, whose number comes first, and who of this namespace minds.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn changes_by(
        &self,
        descriptor: &Descriptor,
    ) -> Result<(Option<i32>, Vec<Change>), ClientError> {
        self.changes_beside(descriptor, &[]).await
    }

    /// The same, once these components of other packages are in service.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn changes_beside(
        &self,
        descriptor: &Descriptor,
        coming: &[&Descriptor],
    ) -> Result<(Option<i32>, Vec<Change>), ClientError> {
        self.needs_no_server("to compare a component with what is deployed")?;
        let store = self.store();
        let package = &descriptor.package;
        let mut there =
            retried(|| dacapo_store::dependents(store, &self.namespace, package)).await?;
        let comes = |package: &str| coming.iter().any(|coming| coming.package == package);
        // What is replaced minds only where its runs go on.
        there
            .callers
            .retain(|caller| caller.in_flight > 0 || !comes(&caller.package));
        let Some((number, old)) = &there.active else {
            return Ok((None, Vec::new()));
        };
        let mut changes =
            changes_between(old, &descriptor.workflows, |name| users_of(name, &there));
        let said = changes.clone();
        let callers = there
            .callers
            .iter()
            .map(|caller| (words_of(caller, "which calls it"), &caller.calls));
        let coming = coming.iter().map(|coming| {
            let who = format!("{}, which comes with it and calls it", coming.package);
            (who, &coming.children)
        });
        for (who, calls) in callers.chain(coming) {
            for known in calls {
                let named = |workflows: &[Workflow]| {
                    workflows.iter().find(|one| one.name == known.name).cloned()
                };
                let Some(new) = named(&descriptor.workflows) else {
                    continue;
                };
                let before =
                    named(old).map_or_else(Vec::new, |old| problems_of_caller(known, &old));
                for mut problem in problems_of_caller(known, &new) {
                    let is_said = said.iter().any(|change| {
                        change.breaking
                            && change.workflow == problem.workflow
                            && change.place == problem.place
                    });
                    // What was so before is not this deployment's doing.
                    if !is_said && !before.contains(&problem) {
                        problem.what = format!("{} (for {who})", problem.what);
                        changes.push(problem);
                    }
                }
            }
        }
        Ok((Some(*number), changes))
    }

    /// The deployments of the client's namespace, by package and the newest first; of one package if it is named, in full (`ns:name`) or
    /// by its name alone.
    ///
    /// # Errors
    /// [`ClientError::DeploymentRefused`] if there is no such package.
    pub async fn deployments(
        &self,
        package: Option<&str>,
    ) -> Result<Vec<DeploymentInfo>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.deployments(package).await;
        }
        let package = match package {
            Some(package) => Some(self.package(package).await?),
            None => None,
        };
        let store = self.store();
        let rows = retried(|| {
            dacapo_store::list_deployments(store, &self.namespace, package.as_deref(), None)
        })
        .await?;
        let seen = rows
            .into_iter()
            .filter(|row| self.may_see_package(&row.package));
        Ok(seen.map(DeploymentInfo::from_row).collect())
    }

    /// Who moved runs to a deployment, and how many, the last first: of each of its workflows the [`MOVED_ROWS`] oldest runs on it are looked
    /// at. Who is limited to some of these is told of none.
    ///
    /// # Errors
    /// [`ClientError::DeploymentRefused`] if there is no such deployment.
    pub async fn moved_to(
        &self,
        package: &str,
        number: i32,
    ) -> Result<Vec<MovedRuns>, ClientError> {
        self.needs_no_server("to see which runs were moved")?;
        let content = self.content(package, number).await?;
        let workflows = content.descriptor.workflows.into_iter();
        let workflows: Vec<String> = workflows.map(|workflow| workflow.name).collect();
        let names = workflows.iter().map(String::as_str);
        if self.check_workflows(names).is_err() {
            return Ok(Vec::new());
        }
        let store = self.store();
        Ok(retried(|| dacapo_store::moved_to(store, content.id, &workflows, MOVED_ROWS)).await?)
    }

    /// A deployment with what is in it; without a number the active one.
    ///
    /// # Errors
    /// [`ClientError::DeploymentRefused`] if there is none.
    pub async fn deployment(
        &self,
        package: &str,
        number: Option<i32>,
    ) -> Result<DeploymentDetails, ClientError> {
        self.needs_no_server("to show a deployment")?;
        let package = self.package(package).await?;
        let store = self.store();
        let rows = retried(|| {
            dacapo_store::list_deployments(store, &self.namespace, Some(&package), number)
        })
        .await?;
        let row = rows.into_iter().find(|row| number.is_some() || row.active);
        let row = row.ok_or_else(|| not_found(&package, number))?;
        let content = self.content(&package, row.number).await?;
        let changes = retried(|| dacapo_store::deployment_changes(store, row.id)).await?;
        let mut descriptor = content.descriptor;
        descriptor
            .workflows
            .retain(|workflow| self.check_workflow(&workflow.name).is_ok());
        if descriptor.workflows.is_empty() && self.limits_of_scope().is_some() {
            return Err(not_found(&package, number));
        }
        Ok(DeploymentDetails {
            info: DeploymentInfo::from_row(row),
            version: descriptor.version,
            workflows: descriptor
                .workflows
                .into_iter()
                .map(WorkflowTypes::new)
                .collect(),
            calls: descriptor
                .children
                .into_iter()
                .map(WorkflowTypes::new)
                .collect(),
            imports: descriptor.imports,
            manifest: content.manifest,
            changes: changes
                .into_iter()
                .map(DeploymentChange::from_row)
                .collect(),
        })
    }

    /// Lets new runs go to a deployment that is there, all of them or a part. To an older one: that is going back. It is compared with the
    /// active one as a new one is.
    ///
    /// # Errors
    /// [`ClientError::Breaking`] if it would break who deals with its workflows, unless that is allowed;
    /// [`ClientError::DeploymentRefused`] if there is none, it is retired, or the roll-out cannot be. Nothing was changed then.
    pub async fn activate_deployment(
        &self,
        package: &str,
        number: i32,
        rollout: Option<&Rollout>,
        breaking: Breaking,
        who: &str,
    ) -> Result<Activated, ClientError> {
        if let Some(remote) = self.remote() {
            return remote
                .activate(package, number, rollout, breaking, who)
                .await;
        }
        check_who(who)?;
        let package = self.package(package).await?;
        let store = self.store();
        for _ in 0..TRIES_MAX {
            let content = retried(|| {
                dacapo_store::deployment_content(store, &self.namespace, &package, number)
            })
            .await?;
            if let Some(content) = &content {
                self.check_package(&content.descriptor)?;
            }
            let (expects, changes) = match content {
                Some(content) if !content.is_retired => {
                    let (active, changes) = self.changes_by(&content.descriptor).await?;
                    (Some(active.unwrap_or(0)), changes)
                }
                // The database says what is wrong.
                _ => (None, Vec::new()),
            };
            if breaking == Breaking::Refuse && changes.iter().any(|change| change.breaking) {
                return Err(ClientError::Breaking { package, changes });
            }
            let activate = || {
                dacapo_store::activate(
                    store,
                    &self.namespace,
                    &package,
                    number,
                    rollout,
                    expects,
                    who,
                )
            };
            let outcome = retried(activate).await?.map_err(refused)?;
            if outcome.outcome != Steered::Moved {
                return Ok(Activated { outcome, changes });
            }
        }
        Err(too_busy(&package))
    }

    /// Lets no new run go to a deployment any more; runs in flight end there. With `undo` it may be activated again.
    ///
    /// # Errors
    /// [`ClientError::DeploymentRefused`] if there is none, or new runs go there.
    pub async fn retire_deployment(
        &self,
        package: &str,
        number: i32,
        undo: bool,
        who: &str,
    ) -> Result<SteerOutcome, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.retire(package, number, undo, who).await;
        }
        check_who(who)?;
        let package = self.package(package).await?;
        let store = self.store();
        if self.limits_of_scope().is_some() {
            let content = self.content(&package, number).await?;
            self.check_package(&content.descriptor)?;
        }
        let retire =
            || dacapo_store::retire_deployment(store, &self.namespace, &package, number, undo, who);
        retried(retire).await?.map_err(refused)
    }

    /// What is different between two deployments of a package.
    ///
    /// # Errors
    /// [`ClientError::DeploymentRefused`] if one of them is not there.
    pub async fn diff_deployments(
        &self,
        package: &str,
        from: i32,
        to: i32,
    ) -> Result<DeploymentDiff, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.diff(package, from, to).await;
        }
        let package = self.package(package).await?;
        let store = self.store();
        let rows = retried(|| {
            dacapo_store::list_deployments(store, &self.namespace, Some(&package), None)
        })
        .await?;
        let digest = |number: i32| {
            rows.iter()
                .find(|row| row.number == number)
                .map(|row| &row.digest)
        };
        let (one, other) = (
            self.content(&package, from).await?,
            self.content(&package, to).await?,
        );
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            these
                .iter()
                .filter(|name| !those.contains(name))
                .cloned()
                .collect()
        };
        let calls = |descriptor: &Descriptor| -> Vec<String> {
            descriptor
                .children
                .iter()
                .map(|call| call.name.clone())
                .collect()
        };
        let (old, new) = (&one.descriptor, &other.descriptor);
        self.check_package(old)?;
        self.check_package(new)?;
        Ok(DeploymentDiff {
            from,
            to,
            same_component: digest(from) == digest(to),
            changes: changes_between(&old.workflows, &new.workflows, |_| Vec::new()),
            imports_added: only(&new.imports, &old.imports),
            imports_removed: only(&old.imports, &new.imports),
            calls_added: only(&calls(new), &calls(old)),
            calls_removed: only(&calls(old), &calls(new)),
            manifests: (one.manifest != other.manifest).then_some((one.manifest, other.manifest)),
            package,
        })
    }

    /// Takes away retired deployments without runs, of all namespaces, and components that no deployment has; or only says which they
    /// are. The newest deployment of a package stays, so that no number is given twice. One stays, too, while transactions are open that
    /// may have started a run there before it was retired: they are waited for no longer than two seconds, and a later call takes it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn collect_deployments(&self, dry_run: bool) -> Result<Vec<Collected>, ClientError> {
        if let Some(remote) = self.remote() {
            return remote.collect(dry_run).await;
        }
        self.check_whole("code of all packages")?;
        let store = self.store();
        let collect = |dry_run| {
            retried(move || dacapo_store::collect_deployments(store, dry_run, Duration::ZERO))
        };
        let mut rows = collect(dry_run).await?;
        if !dry_run {
            for _ in 0..OPEN_TRIES {
                if collect(true).await?.is_empty() {
                    break;
                }
                tokio::time::sleep(OPEN_REST).await;
                rows.extend(collect(false).await?);
            }
        }
        let collected = rows.into_iter().map(|row| {
            let (namespace, package, number) = match row.deployment {
                Some((namespace, package, number)) => {
                    (Some(namespace), Some(package), Some(number))
                }
                None => (None, None, None),
            };
            Collected {
                namespace,
                package,
                number,
                digest: row.digest,
                bytes: row.bytes,
            }
        });
        Ok(collected.collect())
    }

    /// Refuses a component whose workflows are not all within the client's scope.
    fn check_package(&self, descriptor: &Descriptor) -> Result<(), ClientError> {
        let workflows = descriptor.workflows.iter();
        self.check_workflows(workflows.map(|workflow| workflow.name.as_str()))
    }

    /// Whether a package may have a workflow that is within the client's scope.
    fn may_see_package(&self, package: &str) -> bool {
        let Some(scope) = self.limits_of_scope() else {
            return true;
        };
        let start = format!("{package}/");
        scope.workflows.is_empty()
            || scope.workflows.iter().any(|pattern| {
                let pattern = pattern.as_str();
                match pattern.split_once('*') {
                    Some((fixed, _)) => fixed.starts_with(&start) || start.starts_with(fixed),
                    None => pattern.starts_with(&start),
                }
            })
    }

    /// The full name of a package that was deployed here.
    async fn package(&self, name: &str) -> Result<String, ClientError> {
        let store = self.store();
        let rows =
            retried(|| dacapo_store::list_deployments(store, &self.namespace, None, None)).await?;
        let mut packages: Vec<&str> = rows
            .iter()
            .map(|row| row.package.as_str())
            .filter(|package| {
                *package == name
                    || package
                        .strip_suffix(name)
                        .is_some_and(|rest| rest.ends_with(':'))
            })
            .collect();
        packages.dedup();
        match packages.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => Err(ClientError::DeploymentRefused {
                code: "deployment-not-found",
                message: format!("no package {name:?} was deployed"),
                hint: Some("`dacapo deployments list` shows what there is".to_owned()),
            }),
            several => Err(ClientError::DeploymentRefused {
                code: "deployment-not-found",
                message: format!(
                    "the name {name:?} is ambiguous; it stands for {}",
                    several.join(" and ")
                ),
                hint: Some("use a full name".to_owned()),
            }),
        }
    }

    async fn content(&self, package: &str, number: i32) -> Result<DeploymentContent, ClientError> {
        let store = self.store();
        retried(|| dacapo_store::deployment_content(store, &self.namespace, package, number))
            .await?
            .ok_or_else(|| not_found(package, Some(number)))
    }
}

impl DeployOutcome {
    fn new(outcome: SteerOutcome, deploy: &Deploy<'_>, changes: Vec<Change>) -> Self {
        Self {
            number: outcome.number,
            created: outcome.outcome == Steered::Created,
            replaces: outcome.before.filter(|before| *before != outcome.number),
            outcome: outcome.outcome,
            is_partial: deploy.rollout.is_some() && outcome.outcome != Steered::Same,
            beside: outcome.beside,
            ended: outcome.ended,
            changes,
        }
    }
}

impl DeploymentInfo {
    fn from_row(row: DeploymentSummary) -> Self {
        Self {
            status: match (row.active, &row.rollout, row.retired_at) {
                (true, _, _) => DeploymentStatus::Active,
                (_, Some(_), _) => DeploymentStatus::RollingOut,
                (_, _, Some(_)) => DeploymentStatus::Retired,
                _ => DeploymentStatus::Inactive,
            },
            package: row.package,
            number: row.number,
            rollout: row.rollout,
            digest: row.digest,
            deployed_at: row.created_at,
            retired_at: row.retired_at,
            last_change: row.last_change.map(DeploymentChange::from_row),
            runs_in_flight: row.in_flight,
        }
    }
}

impl DeploymentChange {
    fn from_row(row: dacapo_store::DeploymentChange) -> Self {
        Self {
            what: row.what,
            who: row.who,
            at: row.at,
            rollout: row.rollout,
        }
    }
}

impl WorkflowTypes {
    fn new(workflow: Workflow) -> Self {
        Self {
            name: workflow.name.clone(),
            input: workflow
                .param
                .as_ref()
                .map(|param| ValueInfo::new(Some(param.name.clone()), &param.ty)),
            output: workflow.result.as_ref().map(|ty| ValueInfo::new(None, ty)),
            events: workflow.events.iter().map(EventInfo::new).collect(),
            workflow,
        }
    }
}

/// What is different between the workflows of two deployments. One that is gone breaks somebody if somebody uses it.
fn changes_between(
    old: &[Workflow],
    new: &[Workflow],
    users: impl Fn(&str) -> Vec<String>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for workflow in new {
        match old.iter().find(|one| one.name == workflow.name) {
            Some(one) => changes.extend(compatibility(one, workflow)),
            None => changes.push(Change::of(&workflow.name, false, "it is new")),
        }
    }
    for workflow in old {
        if new.iter().all(|one| one.name != workflow.name) {
            let users = users(&workflow.name);
            let what = match users.as_slice() {
                [] => "it is gone".to_owned(),
                users => format!("it is gone: {}", users.join(", ")),
            };
            changes.push(Change::of(&workflow.name, !users.is_empty(), what));
        }
    }
    changes
}

/// Who of the namespace uses a workflow.
fn users_of(name: &str, there: &Dependents) -> Vec<String> {
    let runs = there
        .in_flight
        .iter()
        .filter(|(workflow, _)| workflow == name)
        .map(|(_, runs)| {
            format!("{runs} of its runs are in flight (and stay on their deployment)")
        });
    let schedules = there
        .schedules
        .iter()
        .filter(|(_, workflow)| workflow == name)
        .map(|(schedule, _)| format!("schedule {schedule} starts it"));
    let callers = there
        .callers
        .iter()
        .filter(|caller| caller.calls.iter().any(|call| call.name == name))
        .map(|caller| words_of(caller, "calls it"));
    runs.chain(schedules).chain(callers).collect()
}

/// A caller, what it does, and how many of its runs may do so still.
fn words_of(caller: &Caller, calls: &str) -> String {
    let Caller {
        package,
        number,
        in_flight,
        ..
    } = caller;
    let comma = if calls.starts_with("which") { "," } else { "" };
    let in_flight = match in_flight {
        0 => String::new(),
        runs => format!("; its runs in flight: {runs}"),
    };
    format!("deployment {number} of {package}{comma} {calls}{in_flight}")
}

fn refused(refusal: DeploymentRefusal) -> ClientError {
    ClientError::DeploymentRefused {
        code: refusal.code,
        message: refusal.message,
        hint: refusal.hint,
    }
}

fn too_busy(package: &str) -> ClientError {
    ClientError::DeploymentRefused {
        code: "deployment-conflict",
        message: format!(
            "other deployments of {package} came again and again while this one was compared with them"
        ),
        hint: Some("try again".to_owned()),
    }
}

fn not_found(package: &str, number: Option<i32>) -> ClientError {
    ClientError::DeploymentRefused {
        code: "deployment-not-found",
        message: match number {
            Some(number) => format!("there is no deployment {number} of {package}"),
            None => format!("no deployment of {package} is active"),
        },
        hint: Some(format!(
            "`dacapo deployments list {package}` shows what there is"
        )),
    }
}
