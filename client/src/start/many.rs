//! Starting many runs at once: all of them, or none.

use std::collections::HashMap;

use dacapo_store::{StartResult, StartRun};

use super::{bad_input, encode, is_same_input, unknown_queue};
use crate::reference::{WorkflowRef, decode};
use crate::retry::retried;
use crate::run::Deployment;
use crate::{Client, ClientError, Payload, RunId, StartOptions, Started};

/// Runs that one statement starts, at most.
const TOGETHER_MAX: usize = 5_000;

/// What became of the statements that start them.
enum Written {
    /// All are there, in the order of the rows.
    All(Vec<StartResult>),
    /// The deployment is not active any more. Nothing was written.
    NotActive,
    /// The run in this place of the rows is there already, with this input. Nothing was written.
    Conflict(usize, String),
    /// There is no queue of the name that the run in this place of the rows is to be in. Nothing was written.
    UnknownQueue(usize),
}

impl Client {
    /// Starts many runs of one workflow, in one transaction: all of them, or none. The answers are in the order of the starts. Very many
    /// go well together: 100,000 take seconds.
    ///
    /// # Errors
    /// [`ClientError::InMany`] says which start is wrong, and how; else those of [`Client::start_with`]. Nothing was written then.
    pub async fn start_many<I, O>(
        &self,
        workflow: WorkflowRef<I, O>,
        starts: &[(I, StartOptions)],
    ) -> Result<Vec<Started<O>>, ClientError> {
        let mut inputs = Vec::with_capacity(starts.len());
        for (index, (input, options)) in starts.iter().enumerate() {
            let input = encode(&workflow, input).map_err(|error| error.in_many(index))?;
            inputs.push((input, options));
        }
        let borrowed: Vec<(&str, &StartOptions)> = inputs
            .iter()
            .map(|(input, options)| (input.as_str(), *options))
            .collect();
        self.launch_many(workflow.name(), &borrowed, workflow.decoder())
            .await
    }

    /// Like [`Client::start_many`], by name and with inputs in JSON.
    ///
    /// # Errors
    /// Those of [`Client::start_many`] and of [`Client::start_by_name`].
    pub async fn start_many_by_name(
        &self,
        workflow: &str,
        starts: &[(String, StartOptions)],
    ) -> Result<Vec<Started<serde_json::Value>>, ClientError> {
        let borrowed: Vec<(&str, &StartOptions)> = starts
            .iter()
            .map(|(input, options)| (input.as_str(), options))
            .collect();
        self.launch_many(workflow, &borrowed, decode).await
    }

    async fn launch_many<O>(
        &self,
        name: &str,
        starts: &[(&str, &StartOptions)],
        decode: fn(&str) -> Result<O, serde_json::Error>,
    ) -> Result<Vec<Started<O>>, ClientError> {
        for (index, (_, options)) in starts.iter().enumerate() {
            options.check().map_err(|error| error.in_many(index))?;
            if options.special().is_some() {
                let error = ClientError::BadArgument {
                    what: "start",
                    message: "singletons and debounces are started one by one".to_owned(),
                };
                return Err(error.in_many(index));
            }
        }
        if starts.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(remote) = self.remote() {
            let started = remote.start_many(name, starts).await?;
            let started = started.into_iter().map(|started| Started {
                id: started.run,
                created: started.created,
                workflow: started.workflow,
                deployment: started.deployment,
                decode,
            });
            return Ok(started.collect());
        }
        // The same ids for all tries: a try whose answer was lost is found by the next one.
        let fresh: Vec<RunId> = starts.iter().map(|_| RunId::new()).collect();
        'tries: for _ in 0..super::TRIES_MAX {
            let resolution = self.resolve_all(name).await?;
            let full_name = resolution.name();
            for (index, (_, options)) in starts.iter().enumerate() {
                let checked = self.check_start(full_name, &options.labels);
                checked.map_err(|error| error.in_many(index))?;
            }
            let ids: Vec<RunId> = starts
                .iter()
                .zip(&fresh)
                .map(|((_, options), fresh)| match &options.key {
                    Some(key) => RunId::keyed(&self.namespace, full_name, key),
                    None => *fresh,
                })
                .collect();
            let target = |index: usize| resolution.target(ids[index], &starts[index].1.labels);
            let mut payloads: Vec<Payload> = Vec::with_capacity(starts.len());
            for (index, (input, _)) in starts.iter().enumerate() {
                let workflow = &target(index).workflow;
                let options = starts[index].1;
                let checked = options.check_on(&target(index).defaults);
                checked.map_err(|error| error.in_many(index))?;
                match workflow.check_input(input, &self.limits) {
                    Ok(payload) => payloads.push(payload),
                    Err(error) => match self.resolve_all_anew(name, &resolution).await? {
                        Some(_) => continue 'tries,
                        None => return Err(bad_input(workflow, error).in_many(index)),
                    },
                }
            }

            let conflict = async |index: usize, existing: &str| {
                let of = (target(index).deployment, full_name);
                let key = starts[index].1.key.as_deref().unwrap_or_default();
                let given = payloads[index].as_str();
                let conflict = self.key_conflict(of, key, ids[index], existing, given);
                conflict
                    .await
                    .map_or_else(|error| error, |conflict| conflict.in_many(index))
            };
            // Two starts with one key are one run, as they would be one after the other.
            let mut first_of: HashMap<RunId, usize> = HashMap::with_capacity(ids.len());
            let mut order: Vec<usize> = Vec::with_capacity(ids.len());
            for (index, id) in ids.iter().enumerate() {
                let first = *first_of.entry(*id).or_insert(index);
                if first == index {
                    order.push(index);
                } else if !is_same_input(
                    &target(index).workflow,
                    payloads[first].as_str(),
                    payloads[index].as_str(),
                ) {
                    return Err(conflict(index, payloads[first].as_str()).await);
                }
            }
            // Always in the same order, so that two calls with the same keys wait for each other instead of deadlocking.
            order.sort_unstable_by_key(|index| ids[*index]);
            let rows: Vec<StartRun<'_>> = order
                .iter()
                .map(|&index| StartRun {
                    id: ids[index],
                    workflow: full_name,
                    deployment: target(index).deployment,
                    input: &payloads[index],
                    labels: &starts[index].1.labels,
                    deadline: starts[index].1.deadline,
                    placing: starts[index].1.placing(&target(index).defaults),
                })
                .collect();
            // A run without a key that is there already is one of an earlier try.
            let is_ours = |place: usize, existing: &str| {
                let index = order[place];
                starts[index].1.key.is_none()
                    || is_same_input(&target(index).workflow, existing, payloads[index].as_str())
            };
            let results = match retried(|| self.write_many(&rows, is_ours)).await? {
                Written::All(results) => results,
                Written::NotActive => {
                    self.forget(name);
                    continue;
                }
                Written::UnknownQueue(place) => {
                    let index = order[place];
                    return Err(unknown_queue(starts[index].1, target(index)).in_many(index));
                }
                Written::Conflict(place, existing) => {
                    let index = order[place];
                    return Err(conflict(index, &existing).await);
                }
            };

            let mut created = vec![false; starts.len()];
            for (result, index) in results.iter().zip(order) {
                created[index] = *result == StartResult::Started || starts[index].1.key.is_none();
            }
            return Ok(ids
                .iter()
                .zip(created)
                .enumerate()
                .map(|(index, (id, created))| Started {
                    id: *id,
                    created,
                    workflow: full_name.to_owned(),
                    deployment: Deployment {
                        package: target(index).package.clone(),
                        number: target(index).number,
                    },
                    decode,
                })
                .collect());
        }
        Err(ClientError::Redeployed(name.to_owned()))
    }

    /// Writes all rows in one transaction, unless one of them must not be.
    async fn write_many(
        &self,
        rows: &[StartRun<'_>],
        is_ours: impl Fn(usize, &str) -> bool,
    ) -> Result<Written, dacapo_store::StoreError> {
        let mut transaction = self.store().pool().begin().await?;
        let mut results = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(TOGETHER_MAX) {
            let mut written = dacapo_store::start_runs(&mut *transaction, chunk).await?;
            for (place, result) in written.iter_mut().enumerate() {
                let rival_came = |result: &StartResult| matches!(result, StartResult::Exists { workflow, .. } if workflow.is_empty());
                for _ in 0..super::TRIES_MAX {
                    if !rival_came(result) {
                        break;
                    }
                    // A rival with the same key committed while the statement ran; the next one sees its run.
                    let again =
                        dacapo_store::start_runs(&mut *transaction, &chunk[place..=place]).await?;
                    *result = again.into_iter().next().unwrap_or(StartResult::NotActive);
                }
                match result {
                    StartResult::Started => {}
                    StartResult::NotActive => return Ok(Written::NotActive),
                    StartResult::UnknownQueue => {
                        return Ok(Written::UnknownQueue(results.len() + place));
                    }
                    StartResult::Exists { input, .. } => {
                        let place = results.len() + place;
                        if !is_ours(place, input) {
                            return Ok(Written::Conflict(place, std::mem::take(input)));
                        }
                    }
                }
            }
            results.append(&mut written);
        }
        // Whatever returned above has rolled the transaction back.
        transaction.commit().await?;
        Ok(Written::All(results))
    }
}
