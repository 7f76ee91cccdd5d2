//! Events with a type.

use dacapo_model::RunId;
use dacapo_store::SentEvent;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Client, ClientError};

/// The events that a workflow declares. [`refs!`](crate::refs) implements it for the types `events` and `<function>-events` of WIT.
///
/// Its serde form is that of a WIT variant: `{"tag": name, "val": payload}`, without `val` where there is no payload; or of an enum: the
/// name alone.
pub trait Event: Serialize {
    /// The event's name, and its payload as JSON text.
    ///
    /// # Errors
    /// If the value has no JSON form, such as a float that is not finite.
    fn parts(&self) -> Result<(String, String), serde_json::Error> {
        let json = serde_json::to_string(self)?;
        if json.starts_with('"') {
            return Ok((serde_json::from_str(&json)?, "null".to_owned()));
        }
        let tagged: Tagged<'_> = serde_json::from_str(&json)?;
        let payload = tagged.val.map_or("null", RawValue::get);
        Ok((tagged.tag, payload.to_owned()))
    }
}

#[derive(Deserialize)]
struct Tagged<'a> {
    tag: String,
    #[serde(borrow)]
    val: Option<&'a RawValue>,
}

impl Client {
    /// Sends an event that the run's workflow declares. Otherwise like [`Client::send_event`].
    ///
    /// ```ignore
    /// let decision = approvals::Events::ManagerDecision(Vote { by: "Grace".into(), approved: true });
    /// client.send(run, &decision, None).await?;
    /// ```
    ///
    /// # Errors
    /// Those of [`Client::send_event`], and [`ClientError::Encode`].
    pub async fn send<E: Event>(
        &self,
        run: RunId,
        event: &E,
        delivery_id: Option<&str>,
    ) -> Result<SentEvent, ClientError> {
        let (name, payload) = event.parts().map_err(|error| ClientError::Encode {
            what: format!("an event for run {run}"),
            error,
        })?;
        self.send_event(run, &name, &payload, delivery_id).await
    }
}
