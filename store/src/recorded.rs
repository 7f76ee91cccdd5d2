//! From columns to the rows of a journal.

use dacapo_model::{
    Failure, Kind, Outcome, Payload, Recorded, RecordedState, StepKey, Text, Timestamp,
};

use crate::{StoreError, Time};

/// What stands between the values of a column that comes as one text. Neither keys nor JSON can hold it.
const SEPARATOR: u8 = 0x1f;

/// A journal as the claim sends it: a text for each column, its values between separators, and numbers and times in arrays. The last three
/// hold rows without an outcome only.
pub(crate) struct JournalColumns {
    pub(crate) keys: String,
    pub(crate) kinds: String,
    pub(crate) outcomes: String,
    pub(crate) payloads: String,
    pub(crate) positions: Vec<i32>,
    pub(crate) finished_ats: Vec<Option<Time>>,
    pub(crate) open_started_ats: Vec<Option<Time>>,
    pub(crate) open_dues: Vec<Option<Time>>,
    pub(crate) open_failed_attempts: Vec<i32>,
}

pub(crate) fn journal_of(columns: &JournalColumns) -> Result<Vec<Recorded>, StoreError> {
    let mut keys = Text::split(&columns.keys, SEPARATOR);
    let mut kinds = columns.kinds.split(char::from(SEPARATOR));
    let mut outcomes = columns.outcomes.split(char::from(SEPARATOR));
    let mut payloads = Text::split(&columns.payloads, SEPARATOR);
    let mut open = 0;
    let mut journal = Vec::with_capacity(columns.positions.len());
    for (&position, &finished_at) in columns.positions.iter().zip(&columns.finished_ats) {
        let (Some(key), Some(kind), Some(outcome), Some(payload)) =
            (keys.next(), kinds.next(), outcomes.next(), payloads.next())
        else {
            return Err(StoreError::Unreadable(format!(
                "a journal of {} rows holds fewer values",
                columns.positions.len()
            )));
        };
        let (mut started_at, mut due, mut failed_attempts) = (finished_at, None, None);
        if outcome.is_empty() {
            started_at = columns.open_started_ats.get(open).copied().flatten();
            due = columns.open_dues.get(open).copied().flatten();
            failed_attempts = columns.open_failed_attempts.get(open).copied();
            open += 1;
        }
        let (outcome, payload) = match outcome {
            "" => (None, (!payload.as_str().is_empty()).then_some(payload)),
            outcome => (Some(outcome), Some(payload)),
        };
        journal.push(recorded_of(
            key,
            position,
            kind,
            outcome,
            payload,
            due,
            failed_attempts.unwrap_or(0),
            started_at,
            finished_at,
        )?);
    }
    Ok(journal)
}

/// A row of the journal, from its columns.
#[expect(clippy::too_many_arguments, reason = "one argument for each column")]
pub(crate) fn recorded_of(
    key: Text,
    position: i32,
    kind: &str,
    outcome: Option<&str>,
    payload: Option<Text>,
    due: Option<Time>,
    failed_attempts: i32,
    started_at: Option<Time>,
    finished_at: Option<Time>,
) -> Result<Recorded, StoreError> {
    let unreadable = |what: &str, got: &str| {
        let key = key.as_str();
        StoreError::Unreadable(format!("step {key}: unknown {what} {got:?}"))
    };
    // Nearly all rows are steps.
    let kind = match kind {
        "step" => Kind::Step,
        kind => kind.parse().map_err(|_| unreadable("kind", kind))?,
    };
    let state = match (outcome, finished_at) {
        (Some(outcome), Some(finished_at)) => {
            let payload = payload.map_or_else(Payload::null, Payload::from_trusted);
            let outcome = match outcome {
                "ok" => Outcome::Ok(payload),
                "failed" => Outcome::Failed(
                    Failure::from_json(payload.as_str())
                        .map_err(|_| unreadable("failure", payload.as_str()))?,
                ),
                "timed-out" => Outcome::TimedOut,
                "cancelled" => Outcome::Cancelled,
                other => return Err(unreadable("outcome", other)),
            };
            RecordedState::Done {
                outcome,
                finished_at: finished_at.0,
            }
        }
        _ => RecordedState::Open {
            due: due.map(|due| due.0),
            failed_attempts: u32::try_from(failed_attempts).unwrap_or(0),
            plan: payload.map(Payload::from_trusted),
        },
    };
    let position =
        u32::try_from(position).map_err(|_| unreadable("position", &position.to_string()))?;
    let started_at = started_at.map_or(Timestamp::from_micros(0), |time| time.0);
    Ok(Recorded {
        key: StepKey::from_trusted(key),
        kind,
        position,
        started_at,
        state,
    })
}
