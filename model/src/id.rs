//! Identities: of a run, a worker and a deployment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{StepKey, Timestamp};

/// The identity of a run.
///
/// A run that nobody named has a UUIDv7, so that ids sort by the time of their start. A run started with a key has a UUIDv8
/// that is a pure function of namespace, workflow and key, a run of a schedule's tick one of schedule and tick, a child one of its parent and its place in the parent's journal, and a run that repairs a failed one a function of that and the deployment: the primary key
/// of the run then also makes it unique, and no unique index across runs is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub Uuid);

impl RunId {
    /// A new random id, a UUIDv7 of the present time.
    #[expect(
        clippy::new_without_default,
        reason = "a default that differs at each call would surprise"
    )]
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the one run that `key` names among the runs of `workflow` in `namespace`.
    #[must_use]
    pub fn keyed(namespace: &str, workflow: &str, key: &str) -> Self {
        Self::hashed(&[namespace, workflow, key])
    }

    /// The id of the one run of a schedule's tick.
    #[must_use]
    pub fn of_tick(namespace: &str, workflow: &str, schedule: &str, tick: Timestamp) -> Self {
        let tick = tick.as_micros().to_string();
        // More parts than a key has, the first of them a word: no key can name the same run.
        Self::hashed(&["schedule", namespace, workflow, schedule, &tick])
    }

    /// The id of the one child that `parent` starts at this place. After a retry of the parent it is another one: what the code did behind
    /// its failed step does not count any more.
    #[must_use]
    pub fn of_child(parent: RunId, key: &StepKey, retries: u16) -> Self {
        let parent = parent.to_string();
        // Neither three parts, like a key's, nor five, like a tick's.
        match retries {
            0 => Self::hashed(&["child", "of", &parent, key.as_str()]),
            retries => {
                let retries = retries.to_string();
                Self::hashed(&["child", "of", &parent, key.as_str(), "retry", &retries])
            }
        }
    }

    /// The id of the one run that goes on in place of a failed one, by the mended code of this deployment.
    #[must_use]
    pub fn of_repair(failed: RunId, deployment: DeploymentId) -> Self {
        let (failed, deployment) = (failed.to_string(), deployment.0.to_string());
        // Four parts like a child's, whose second is another word.
        Self::hashed(&["child", "repaired", &failed, &deployment])
    }

    fn hashed(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // The length goes first, so that ("ab", "c") and ("a", "bc") differ.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut prefix = [0_u8; 16];
        prefix.copy_from_slice(&hash.finalize()[..16]);
        Self(uuid::Builder::from_custom_bytes(prefix).into_uuid())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The text is not the id that it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {what} id: {text:?}: expected a UUID such as 01938e60-5a1c-7cc0-9d2f-3b8f0a6c41d7")]
pub struct IdError {
    what: &'static str,
    text: String,
}

/// Only the hyphenated form is taken, since the id that a person typed is also the one that is shown again.
fn parse(what: &'static str, text: &str) -> Result<Uuid, IdError> {
    let parsed = if text.len() == 36 {
        Uuid::try_parse(text).ok()
    } else {
        None
    };
    parsed.ok_or_else(|| IdError {
        what,
        text: shorten(text),
    })
}

/// An error message must not grow with what somebody pasted.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse("run", text).map(Self)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The identity of one worker process. A restarted worker is another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub Uuid);

impl WorkerId {
    /// A new random id, a UUIDv7 of the present time.
    #[expect(
        clippy::new_without_default,
        reason = "a default that differs at each call would surprise"
    )]
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for WorkerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse("worker", text).map(Self)
    }
}

impl Serialize for WorkerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WorkerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The identity of a deployment: its row in the database, not its number within the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(pub i64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_run_id_says_what_was_expected() {
        let error = "42".parse::<RunId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "not a run id: \"42\": expected a UUID such as 01938e60-5a1c-7cc0-9d2f-3b8f0a6c41d7"
        );
    }

    #[test]
    fn a_pasted_novel_does_not_become_the_error_message() {
        let error = "x".repeat(100_000).parse::<RunId>().unwrap_err();
        assert!(error.to_string().len() < 200);
    }

    #[test]
    fn keyed_ids_are_the_same_for_the_same_key_only() {
        let id = RunId::keyed("default", "shop:orders/api.fulfil", "order-7");
        assert_eq!(
            id,
            RunId::keyed("default", "shop:orders/api.fulfil", "order-7")
        );
        assert_ne!(
            id,
            RunId::keyed("default", "shop:orders/api.fulfil", "order-8")
        );
        assert_ne!(RunId::keyed("ab", "c", "d"), RunId::keyed("a", "bc", "d"));
        assert_eq!(id.0.get_version_num(), 8);
    }

    /// The function is stored in primary keys, so its results must never change.
    #[test]
    fn keyed_ids_are_stable_across_releases() {
        let id = RunId::keyed("default", "shop:orders/api.fulfil", "order-7");
        assert_eq!(id.to_string(), "546bcc9d-007e-8596-8906-a576f5e6a791");
    }

    /// The function is stored in primary keys, so its results must never change: a child would be started again.
    #[test]
    fn ids_of_children_are_stable_across_releases_and_the_same_for_the_same_place_only() {
        let parent = RunId::keyed("default", "shop:orders/api.fulfil", "order-7");
        let (first, second) = (StepKey::new("", "ship", 1), StepKey::new("", "ship", 2));
        let id = RunId::of_child(parent, &first, 0);
        assert_eq!(id.to_string(), "307b100c-b965-82cf-b8aa-774880ed474f");
        assert_ne!(id, RunId::of_child(parent, &second, 0));
        assert_ne!(id, RunId::of_child(id, &first, 0));
        assert_ne!(id, RunId::of_child(parent, &first, 1));
    }

    /// The function is stored in primary keys, so its results must never change: a tick would be started again.
    #[test]
    fn ids_of_ticks_are_stable_across_releases_and_the_same_for_the_same_tick_only() {
        let tick = Timestamp::from_millis(1_795_420_800_000);
        let id = RunId::of_tick("default", "shop:orders/api.report", "nightly", tick);
        assert_eq!(id.to_string(), "37872874-0d80-86c2-a0a1-43926753fc04");
        for other in [
            RunId::of_tick("other", "shop:orders/api.report", "nightly", tick),
            RunId::of_tick("default", "shop:orders/api.other", "nightly", tick),
            RunId::of_tick("default", "shop:orders/api.report", "daily", tick),
            RunId::of_tick(
                "default",
                "shop:orders/api.report",
                "nightly",
                tick.add_millis(1),
            ),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn run_ids_survive_text_and_json() {
        let id = RunId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<RunId>(&json).unwrap(), id);
    }
}
