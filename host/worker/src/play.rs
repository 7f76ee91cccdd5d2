//! One go at a run: from its claim to its end, its suspension, or until it is handed back.

use std::sync::Arc;
use std::time::Duration;

use dacapo_model::{Failure, RunId, killed};
use dacapo_sandbox::{BlockReason, CONTRACT_VERSION, Ending, RunSpec, Sandbox, Stop};
use dacapo_store::{Claimed, End, NEWER_COMPONENT};
use tokio::sync::RwLock;

use crate::deployments::{Deployments, LoadError};
use crate::failpoint::Failpoint;
use crate::incarnation::Incarnation;
use crate::session::{EndNow, Session};
use crate::sql::{SqlAccess, SqlDatabases};

/// How long a run that must run alone waits for its neighbours to be done; then another worker may try.
const ALONE_WAIT: Duration = Duration::from_secs(30);

/// What all runs of a worker share.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) deployments: Deployments,
    /// Held for writing by a run that seems to kill its workers, and for reading by all others.
    pub(crate) alone: Arc<RwLock<()>>,
    /// What steps may be granted.
    pub(crate) sql: Arc<SqlDatabases>,
}

/// What is left to do for a run after a go at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing: it is finished, suspended, blocked, or somebody else's.
    Nothing,
    /// It is still leased and must be put back into the queue.
    HandBack,
}

/// Plays a run that the worker has leased.
pub(crate) async fn play(
    stage: &Stage,
    incarnation: &Incarnation,
    session: &Arc<Session>,
    claimed: Claimed,
) -> Left {
    // Both guards are held until the run is given up.
    let (_shared, _exclusive);
    if claimed.takeovers >= 2 {
        // Not by queueing for the lock: that would keep all new runs of this worker waiting.
        let lock = async {
            loop {
                match Arc::clone(&stage.alone).try_write_owned() {
                    Ok(guard) => return guard,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::select! {
            biased;
            why = session.end_now() => return finish(claimed.run, session, ended_now(why)).await,
            guard = tokio::time::timeout(ALONE_WAIT, lock) => match guard {
                Ok(guard) => _exclusive = guard,
                Err(_) => return Left::HandBack,
            },
        }
        // If this worker dies now, too, it counts.
        match incarnation.note_alone(claimed.run).await {
            Ok(true) => {}
            Ok(false) => return Left::Nothing,
            Err(error) => {
                tracing::warn!(run = %claimed.run, %error, "cannot note that a run is played alone");
                return Left::HandBack;
            }
        }
        tracing::warn!(run = %claimed.run, takeovers = claimed.takeovers, "its workers died again and again: it runs alone");
    } else {
        tokio::select! {
            biased;
            why = session.end_now() => return finish(claimed.run, session, ended_now(why)).await,
            guard = Arc::clone(&stage.alone).read_owned() => _shared = guard,
        }
    }
    if incarnation.is_over() {
        return Left::Nothing;
    }
    let run = claimed.run;
    let went = tokio::select! {
        biased;
        why = session.end_now() => Ok(Some(ended_now(why))),
        went = go(stage, session, claimed) => went,
    };
    session.close();
    let end = match went {
        Ok(end) => end,
        Err(Stop::LeaseLost) => return Left::Nothing,
        Err(Stop::Drained | Stop::Again | Stop::Unavailable) => {
            if let Some(refusal) = session.take_refused() {
                Some(End::Failed(Failure::new("refused", refusal)))
            } else {
                // What is recorded already is worth keeping.
                session.keep().await;
                return Left::HandBack;
            }
        }
    };
    let Some(end) = end else { return Left::Nothing };
    finish(run, session, end).await
}

/// How a run ends that was dropped in the middle.
fn ended_now(why: EndNow) -> End {
    match why {
        EndNow::Kill => End::Cancelled(Some(killed())),
        EndNow::Deadline => End::Failed(deadline_passed()),
    }
}

/// The failure of a run whose deadline has passed.
pub(crate) fn deadline_passed() -> Failure {
    Failure::new(
        dacapo_model::DEADLINE,
        "the run's deadline has passed; its code was not asked and did not compensate",
    )
}

/// Writes how a run ends its stay here.
pub(crate) async fn finish(run: RunId, session: &Session, end: End) -> Left {
    if matches!(end, End::Completed(_) | End::Failed(_) | End::Cancelled(_)) {
        Failpoint::BeforeCompletion.reach();
    }
    match session.end(end).await {
        Ok(true) => Left::Nothing,
        Ok(false) => match session.take_refused() {
            // The output itself, or a line of the log, is what the database refuses.
            Some(refusal) => match session
                .end(End::Failed(Failure::new("refused", refusal)))
                .await
            {
                Ok(true) | Err(Stop::LeaseLost) => Left::Nothing,
                _ => Left::HandBack,
            },
            None => {
                tracing::warn!(%run, "a run that this worker played was not its own");
                Left::Nothing
            }
        },
        Err(Stop::LeaseLost) => Left::Nothing,
        Err(_) => Left::HandBack,
    }
}

/// How the run ends its stay here; none when it has been given up already.
async fn go(stage: &Stage, session: &Arc<Session>, claimed: Claimed) -> Result<Option<End>, Stop> {
    let deployed = match stage.deployments.get(claimed.deployment).await {
        Ok(deployed) => deployed,
        Err(LoadError::Unavailable(error)) => {
            tracing::warn!(run = %claimed.run, error, "cannot load a deployment");
            return Err(Stop::Unavailable);
        }
        Err(LoadError::Unusable(code, message)) => return Ok(Some(blocked(code, &message, None))),
        Err(LoadError::Newer(digest, lack)) => {
            let message = format!(
                "component {digest}: {}; it goes on by itself when a newer worker comes",
                lack.found()
            );
            // By these `dacapo_store::unblock_newer` knows who can play it.
            let details = serde_json::json!({ "wants": lack.wanted, "offered": CONTRACT_VERSION })
                .to_string();
            return Ok(Some(blocked(NEWER_COMPONENT, &message, Some(&details))));
        }
    };
    let Some(workflow) = deployed.workflow(&claimed.workflow) else {
        let message = format!(
            "deployment {} has no workflow {}",
            claimed.deployment.0, claimed.workflow
        );
        return Ok(Some(blocked("missing-workflow", &message, None)));
    };
    let retry = deployed.manifest.retry_of(&claimed.workflow);
    let changes = deployed.changes(&claimed.workflow);
    let spec = RunSpec {
        run_id: claimed.run,
        workflow: claimed.workflow,
        input: claimed.input,
        seed: claimed.seed,
        retries: claimed.retries,
        retry,
        terms: Arc::clone(&deployed.terms),
        created_at: claimed.created_at,
        labels: claimed.labels,
        changes,
        recorded: claimed.recorded,
    };
    session.grant_sql(SqlAccess {
        databases: Arc::clone(&stage.sql),
        grant: deployed.manifest.sql.clone(),
    });
    let journal: Arc<Session> = Arc::clone(session);
    Ok(
        match stage
            .sandbox
            .run(deployed.prepared(), workflow, spec, journal)
            .await
        {
            Ending::Completed(output) => Some(End::Completed(output)),
            Ending::Failed(failure) => Some(End::Failed(failure)),
            Ending::Cancelled(failure) => Some(End::Cancelled(Some(failure))),
            Ending::Suspended => None,
            Ending::Blocked(BlockReason {
                code,
                message,
                details,
            }) => {
                tracing::warn!(run = %session.run(), %code, %message, "run is blocked");
                Some(blocked(
                    code.as_str(),
                    &message,
                    details.as_ref().map(|details| details.as_str()),
                ))
            }
            Ending::Stopped(stop) => return Err(stop),
        },
    )
}

/// The reason of a blocked run as it is stored: `code`, `message`, `details`.
pub(crate) fn blocked(code: &str, message: &str, details: Option<&str>) -> End {
    let details = details.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    End::Blocked(
        serde_json::json!({ "code": code, "message": message, "details": details }).to_string(),
    )
}
