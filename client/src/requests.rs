//! What is asked of a run from outside: events, pause, resume, cancel.

use dacapo_model::{Payload, RunId, check_name, killed};
use dacapo_store::{Cancelled, Killed, Paused, Request, Requested, Resumed, SendEvent, SentEvent};
use serde::Serialize;
use sqlx::PgConnection;

use crate::going_back::check_who;
use crate::options::check_text;
use crate::retry::retried;
use crate::start::payload;
use crate::{Action, Client, ClientError};

/// Who asks something of a run, and why: kept with the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By<'a> {
    /// Who, as they call themselves.
    pub who: &'a str,
    /// Why, if they say.
    pub reason: Option<&'a str>,
}

/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// The longest delivery id, in bytes.
const DELIVERY_ID_BYTES_MAX: usize = 200;

impl Client {
    /// Sends an event to a run, which takes it when it waits for an event of this name, whether it does so already or not. Two events
    /// with the same delivery id are one event.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::Conflict`] if the run has ended; [`ClientError::BadArgument`],
    /// [`ClientError::BadPayload`] and [`ClientError::TooLarge`] if it cannot be an event; [`ClientError::BadEvent`] if the workflow declares
    /// its events, and none like this.
    pub async fn send_event(
        &self,
        run: RunId,
        name: &str,
        payload_json: &str,
        delivery_id: Option<&str>,
    ) -> Result<SentEvent, ClientError> {
        let payload = self.check_event(name, payload_json, delivery_id)?;
        if let Some(remote) = self.remote() {
            return Ok(
                match remote
                    .event(run, name, payload.as_str(), delivery_id)
                    .await?
                {
                    true => SentEvent::Duplicate,
                    false => SentEvent::Sent,
                },
            );
        }
        self.check_run(run).await?;
        let event = SendEvent {
            run,
            name,
            payload: &payload,
            delivery_id,
        };
        let sent = if delivery_id.is_some() {
            let pool = self.store().pool();
            retried(|| dacapo_store::send_event(pool, event.clone())).await?
        } else {
            // Nothing would tell a second try from a second event.
            let mut connection = self.live_connection().await?;
            dacapo_store::send_event(&mut *connection, event).await?
        };
        sent.map_err(|reason| ClientError::not_sent(reason, run, name))
    }

    /// Sends an event inside the caller's transaction: it is there if and when that commits. Until then it holds the run up.
    ///
    /// # Errors
    /// Those of [`Client::send_event`]. After an error of the database itself the transaction can only be rolled back.
    pub async fn send_event_in(
        &self,
        transaction: &mut PgConnection,
        run: RunId,
        name: &str,
        payload_json: &str,
        delivery_id: Option<&str>,
    ) -> Result<SentEvent, ClientError> {
        self.needs_no_server("to send an event inside a transaction")?;
        let payload = self.check_event(name, payload_json, delivery_id)?;
        self.check_run(run).await?;
        let event = SendEvent {
            run,
            name,
            payload: &payload,
            delivery_id,
        };
        let sent = dacapo_store::send_event(transaction, event).await?;
        sent.map_err(|reason| ClientError::not_sent(reason, run, name))
    }

    /// Sends an event with a value that has a serde form.
    ///
    /// # Errors
    /// Those of [`Client::send_event`], and [`ClientError::Encode`].
    pub async fn send_event_value<T: Serialize>(
        &self,
        run: RunId,
        name: &str,
        value: &T,
        delivery_id: Option<&str>,
    ) -> Result<SentEvent, ClientError> {
        let json = serde_json::to_string(value).map_err(|error| ClientError::Encode {
            what: format!("the payload of event {name:?}"),
            error,
        })?;
        self.send_event(run, name, &json, delivery_id).await
    }

    /// Asks a run to pause. One that a worker holds pauses at its next boundary.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::Conflict`] if the run is paused, blocked, being cancelled or over.
    pub async fn pause(&self, run: RunId) -> Result<Paused, ClientError> {
        if let Some(remote) = self.remote() {
            return Ok(paused(remote.request(run, Request::Pause, None).await?));
        }
        self.check_run(run).await?;
        let mut connection = self.live_connection().await?;
        let answer = dacapo_store::pause(&mut connection, run).await?;
        answer.map_err(|refusal| ClientError::refused(refusal, run, Action::Pause))
    }

    /// Lets a paused or blocked run go on.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::Conflict`] if the run is neither.
    pub async fn resume(&self, run: RunId) -> Result<Resumed, ClientError> {
        if let Some(remote) = self.remote() {
            remote.request(run, Request::Resume, None).await?;
            return Ok(Resumed);
        }
        self.check_run(run).await?;
        let mut connection = self.live_connection().await?;
        let answer = dacapo_store::resume(&mut connection, run).await?;
        answer.map_err(|refusal| ClientError::refused(refusal, run, Action::Resume))
    }

    /// Asks a run to end. One that has begun learns of it at its next durable call, and may compensate.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::Conflict`] if the run is being cancelled or over.
    pub async fn cancel(&self, run: RunId) -> Result<Cancelled, ClientError> {
        if let Some(remote) = self.remote() {
            let asked = remote.request(run, Request::Cancel, None).await?;
            return Ok(cancelled(asked));
        }
        self.check_run(run).await?;
        let mut connection = self.live_connection().await?;
        let answer = dacapo_store::cancel(&mut connection, run).await?;
        answer.map_err(|refusal| ClientError::refused(refusal, run, Action::Cancel))
    }

    /// Ends a run as cancelled at once, in the middle of whatever it does. Its code is not asked, and cannot compensate: see
    /// [`Client::cancel`] for that.
    ///
    /// # Errors
    /// [`ClientError::RunNotFound`]; [`ClientError::Conflict`] if the run is over.
    pub async fn kill(&self, run: RunId) -> Result<Killed, ClientError> {
        if let Some(remote) = self.remote() {
            let asked = remote.request(run, Request::ForceCancel, None).await?;
            return Ok(ended(asked));
        }
        self.check_run(run).await?;
        let mut connection = self.live_connection().await?;
        let answer = dacapo_store::kill(&mut connection, run, &killed()).await?;
        answer.map_err(|refusal| ClientError::refused(refusal, run, Action::Cancel))
    }

    /// Like [`Client::pause`], and the run keeps who asked and why.
    ///
    /// # Errors
    /// Those of [`Client::pause`]; [`ClientError::BadArgument`] if nobody can be called so, or the reason is longer than 1,000 bytes.
    pub async fn pause_by(&self, run: RunId, by: By<'_>) -> Result<Paused, ClientError> {
        let asked = self.ask_by(run, Request::Pause, Action::Pause, by).await?;
        Ok(paused(asked))
    }

    /// Like [`Client::resume`], and the run keeps who asked and why.
    ///
    /// # Errors
    /// Those of [`Client::resume`], and of [`Client::pause_by`] for who asks.
    pub async fn resume_by(&self, run: RunId, by: By<'_>) -> Result<Resumed, ClientError> {
        self.ask_by(run, Request::Resume, Action::Resume, by)
            .await?;
        Ok(Resumed)
    }

    /// Like [`Client::cancel`], and the run keeps who asked and why.
    ///
    /// # Errors
    /// Those of [`Client::cancel`], and of [`Client::pause_by`] for who asks.
    pub async fn cancel_by(&self, run: RunId, by: By<'_>) -> Result<Cancelled, ClientError> {
        let asked = self
            .ask_by(run, Request::Cancel, Action::Cancel, by)
            .await?;
        Ok(cancelled(asked))
    }

    /// Like [`Client::kill`], and the run keeps who asked and why.
    ///
    /// # Errors
    /// Those of [`Client::kill`], and of [`Client::pause_by`] for who asks.
    pub async fn kill_by(&self, run: RunId, by: By<'_>) -> Result<Killed, ClientError> {
        let asked = self
            .ask_by(run, Request::ForceCancel, Action::Cancel, by)
            .await?;
        Ok(ended(asked))
    }

    async fn ask_by(
        &self,
        run: RunId,
        request: Request,
        action: Action,
        by: By<'_>,
    ) -> Result<Requested, ClientError> {
        check_who(by.who)?;
        if let Some(reason) = by.reason {
            check_text("reason", reason, REASON_BYTES_MAX)?;
        }
        if let Some(remote) = self.remote() {
            return remote.request(run, request, Some(by)).await;
        }
        self.check_run(run).await?;
        let mut connection = self.live_connection().await?;
        let asked =
            dacapo_store::request(&mut connection, run, request, by.who, by.reason, &killed())
                .await?;
        asked.map_err(|refusal| ClientError::refused(refusal, run, action))
    }

    pub(crate) fn check_event(
        &self,
        name: &str,
        payload_json: &str,
        delivery_id: Option<&str>,
    ) -> Result<Payload, ClientError> {
        check_name(name).map_err(|error| ClientError::BadArgument {
            what: "event",
            message: error.to_string(),
        })?;
        if let Some(id) = delivery_id {
            check_text("delivery id", id, DELIVERY_ID_BYTES_MAX)?;
        }
        payload(
            format!("payload of event {name:?}"),
            payload_json,
            &self.limits,
        )
    }
}

fn paused(asked: Requested) -> Paused {
    match asked {
        Requested::Now => Paused::Now,
        Requested::Told => Paused::Requested,
    }
}

fn cancelled(asked: Requested) -> Cancelled {
    match asked {
        Requested::Now => Cancelled::Now,
        Requested::Told => Cancelled::Requested,
    }
}

fn ended(asked: Requested) -> Killed {
    match asked {
        Requested::Now => Killed::Now,
        Requested::Told => Killed::Requested,
    }
}
