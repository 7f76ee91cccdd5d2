//! The events that a workflow declares, and what one of them must be.

use std::fmt;

use crate::from_json::from_json;
use crate::json::{Json, excerpt};
use crate::mismatch::{InputError, Mismatch, listed};
use crate::payload::PayloadLimits;
use crate::schema::{Case, Workflow};

/// Why an event is none of those that a workflow declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventError {
    /// The workflow declares its events, and this name is not among them.
    Unknown {
        /// The name of the event.
        name: String,
        /// The names that the workflow declares.
        declared: Vec<String>,
    },
    /// The payload is not of the event's type.
    Payload(InputError),
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, declared } => write!(
                f,
                "there is no event {name}: expected {}",
                listed(declared.iter().map(String::as_str))
            ),
            Self::Payload(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EventError {}

impl Workflow {
    /// The names of the events that it declares; none at all: any event will do.
    #[must_use]
    pub fn event_names(&self) -> Vec<String> {
        self.events.iter().map(|event| event.name.clone()).collect()
    }

    /// What it declares of an event: nothing at all if it declares no events, in which case any name and any payload will do.
    ///
    /// # Errors
    /// It declares events, and none of this name.
    pub fn event(&self, name: &str) -> Result<Option<&Case>, EventError> {
        if self.events.is_empty() {
            return Ok(None);
        }
        let declared = self.events.iter().find(|event| event.name == name);
        declared.map(Some).ok_or_else(|| EventError::Unknown {
            name: name.to_owned(),
            declared: self.event_names(),
        })
    }

    /// Checks an event against what the workflow declares of it.
    ///
    /// # Errors
    /// The name is not declared, or the payload is not of the type; each mistake with its place.
    pub fn check_event(
        &self,
        name: &str,
        payload: &str,
        limits: &PayloadLimits,
    ) -> Result<(), EventError> {
        const ROOT: &str = "payload";
        let Some(event) = self.event(name)? else {
            return Ok(());
        };
        if let Some(ty) = &event.ty {
            return from_json(payload, ty, ROOT, limits)
                .map(drop)
                .map_err(EventError::Payload);
        }
        let error = match Json::read(payload, limits) {
            Ok(Json::Null) => return Ok(()),
            Ok(json) => InputError::Mismatch(vec![Mismatch {
                path: ROOT.to_owned(),
                message: format!("{name} has no payload, got {}", excerpt(&json)),
            }]),
            Err(error) => InputError::Malformed {
                root: ROOT.to_owned(),
                error,
            },
        };
        Err(EventError::Payload(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Type;

    fn workflow(events: &[(&str, Option<Type>)]) -> Workflow {
        let events = events.iter().map(|(name, ty)| Case {
            name: (*name).to_owned(),
            ty: ty.clone(),
            docs: None,
        });
        Workflow {
            name: "shop:orders/api.fulfil".to_owned(),
            interface: "shop:orders/api@1.0.0".to_owned(),
            function: "fulfil".to_owned(),
            param: None,
            result: None,
            events: events.collect(),
            docs: None,
        }
    }

    #[track_caller]
    fn refused(workflow: &Workflow, name: &str, payload: &str, message: &str) {
        let error = workflow
            .check_event(name, payload, &PayloadLimits::default())
            .unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn a_workflow_that_declares_no_events_takes_any() {
        let limits = PayloadLimits::default();
        assert_eq!(
            workflow(&[]).check_event("paid", "[1]", &limits),
            Ok(()),
            "nothing is known of it"
        );
    }

    #[test]
    fn declared_events_are_checked_by_name_and_type() {
        let workflow = workflow(&[("paid", Some(Type::U32)), ("nudge", None)]);
        let limits = PayloadLimits::default();
        assert_eq!(workflow.check_event("paid", " 7", &limits), Ok(()));
        assert_eq!(workflow.check_event("nudge", "null ", &limits), Ok(()));
        refused(
            &workflow,
            "payed",
            "7",
            "there is no event payed: expected one of paid, nudge",
        );
        refused(
            &workflow,
            "paid",
            "\"7\"",
            "payload: expected u32, got \"7\"",
        );
        refused(
            &workflow,
            "nudge",
            "{}",
            "payload: nudge has no payload, got {}",
        );
    }
}
