//! One event for all runs that a filter finds.

use dacapo_model::{RunId, Status};
use dacapo_store::{NotSent, SentEvent};
use serde::Serialize;

use crate::retry::retried;
use crate::{Client, ClientError, ListFilter, RunFilter};

/// Runs that are sent the event in one statement: their tasks are locked until it ends.
const BATCH: u32 = 100;

/// What became of an event for many runs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SentToMany {
    /// The id of the delivery: sent again under it, the event reaches those alone that have not received it yet.
    pub delivery_id: String,
    /// Runs that have received it now.
    pub sent: u64,
    /// Runs that had received it before.
    pub duplicates: u64,
    /// Runs whose workflows declare their events, and not this one.
    pub refused: u64,
    /// What is wrong with it for the first of these.
    #[serde(skip)]
    pub refusal: Option<ClientError>,
    /// What kept the rest from receiving it, if anything did.
    #[serde(skip)]
    pub stopped: Option<ClientError>,
}

impl Client {
    /// Sends an event to all runs that a filter finds and that have not ended, in batches: each batch is there as a whole. Whoever repeats
    /// it under the same delivery id sends nothing twice; without one an id is made. Runs that start meanwhile may be left out.
    ///
    /// # Errors
    /// Those of [`Client::list`] and [`Client::send_event`]; [`ClientError::BadArgument`] for a status that a run ends with. Nothing was sent
    /// then.
    pub async fn send_event_to_many(
        &self,
        filter: RunFilter,
        name: &str,
        payload_json: &str,
        delivery_id: Option<&str>,
    ) -> Result<SentToMany, ClientError> {
        self.send_event_to_many_telling(filter, name, payload_json, delivery_id, |_| ())
            .await
    }

    /// The same, and tells after each batch what has become of the event so far.
    ///
    /// # Errors
    /// Those of [`Client::send_event_to_many`].
    pub async fn send_event_to_many_telling(
        &self,
        filter: RunFilter,
        name: &str,
        payload_json: &str,
        delivery_id: Option<&str>,
        mut tell: impl FnMut(&SentToMany) + Send,
    ) -> Result<SentToMany, ClientError> {
        let payload = self.check_event(name, payload_json, delivery_id)?;
        check(&filter)?;
        if let Some(remote) = self.remote() {
            return remote
                .event_to_many(&filter, name, payload.as_str(), delivery_id)
                .await;
        }
        let mut done = SentToMany {
            delivery_id: delivery_id.map_or_else(|| RunId::new().to_string(), str::to_owned),
            sent: 0,
            duplicates: 0,
            refused: 0,
            refusal: None,
            stopped: None,
        };
        let pool = self.store().pool();
        let mut after = None;
        // Not status by status: a run that changes its status meanwhile would be passed over.
        loop {
            let page = self.list(ListFilter {
                runs: filter.clone(),
                limit: BATCH,
                after,
                before: None,
            });
            let page = match page.await {
                Ok(page) => page,
                Err(error) if after.is_none() => return Err(error),
                Err(error) => {
                    done.stopped = Some(error);
                    return Ok(done);
                }
            };
            let active = page.items.iter().filter(|run| !run.status.is_terminal());
            let runs: Vec<RunId> = active.map(|run| run.id).collect();
            let id = done.delivery_id.as_str();
            let answers = if runs.is_empty() {
                Vec::new()
            } else {
                let send = || dacapo_store::send_event_to_many(pool, &runs, name, &payload, id);
                match retried(send).await {
                    Ok(answers) => answers,
                    Err(error) => {
                        done.stopped = Some(error.into());
                        return Ok(done);
                    }
                }
            };
            for (run, answer) in answers {
                match answer {
                    Ok(SentEvent::Sent) => done.sent += 1,
                    Ok(SentEvent::Duplicate) => done.duplicates += 1,
                    // It has ended since it was found.
                    Err(NotSent::Refused(_)) => {}
                    Err(reason) => {
                        done.refused += 1;
                        let refusal = || ClientError::not_sent(reason, run, name);
                        done.refusal.get_or_insert_with(refusal);
                    }
                }
            }
            tell(&done);
            after = page.next;
            if after.is_none() {
                return Ok(done);
            }
        }
    }

    /// How many runs [`Client::send_event_to_many`] would send an event to, now.
    ///
    /// # Errors
    /// Those of [`Client::count`]; [`ClientError::BadArgument`] for a status that a run ends with.
    pub async fn count_receivers(&self, filter: RunFilter) -> Result<u64, ClientError> {
        check(&filter)?;
        if let Some(remote) = self.remote() {
            return remote.count_receivers(&filter).await;
        }
        let counts = self.count(filter).await?;
        let active = counts.iter().filter(|(status, _)| !status.is_terminal());
        Ok(active.map(|(_, runs)| runs).sum())
    }
}

fn check(filter: &RunFilter) -> Result<(), ClientError> {
    let ended = filter.failure.is_some() || filter.status.is_some_and(Status::is_terminal);
    if ended {
        return Err(ClientError::BadArgument {
            what: "filter",
            message: "it finds runs that have ended, and those take no events".to_owned(),
        });
    }
    Ok(())
}
