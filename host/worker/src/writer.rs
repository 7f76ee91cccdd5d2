//! The journal writer: group commit.
//!
//! Each writer has a connection with a fence of its own, and one flush under way at a time. While that is on its way, all runs' rows
//! gather for the next one; nothing waits for company, so a run that is alone commits at once.

use std::error::Error;
use std::sync::Arc;

use dacapo_sandbox::Stop;
use dacapo_store::{FlushResult, RenewedFence, RunWrites, StoreConnection, StoreError, in_time};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::coordinator::{PATIENCE, PATIENCE_MAX};
use crate::failpoint::Failpoint;
use crate::incarnation::Incarnation;

/// A flush takes no more runs in once it holds this much, in bytes: a statement of hundreds of payloads of the largest size would be
/// more than the server takes.
const FLUSH_MAX_BYTES: usize = 32 << 20;

/// Rows of one run for the next flush, and who waits for them.
pub(crate) struct Submission {
    pub(crate) writes: RunWrites,
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// What became of a submission.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Durable. `gone`: the run was given up as asked.
    Written { gone: bool },
    /// The database refuses these data, and says why.
    Refused(String),
    /// Not written, and never will be.
    Stopped(Stop),
}

/// Where all writers of a worker take from.
pub(crate) type Source = Arc<Mutex<UnboundedReceiver<Submission>>>;

/// One journal writer.
pub(crate) struct Writer {
    pub(crate) incarnation: Arc<Incarnation>,
    pub(crate) source: Source,
    pub(crate) fence: i16,
    pub(crate) flush_max: usize,
    pub(crate) connection: Option<StoreConnection>,
}

impl Writer {
    /// Writes until the worker's runs are gone or the incarnation is over.
    pub(crate) async fn run(mut self) {
        while self.tick().await {}
    }

    /// Gathers what is there and writes it. False: nothing will come any more.
    async fn tick(&mut self) -> bool {
        let mut gathered = Vec::new();
        {
            let mut source = self.source.lock().await;
            tokio::select! {
                biased;
                () = self.incarnation.over() => {
                    source.close();
                    while let Ok(submission) = source.try_recv() {
                        let _ = submission.reply.send(Reply::Stopped(Stop::LeaseLost));
                    }
                    return false;
                }
                count = source.recv_many(&mut gathered, self.flush_max) => if count == 0 { return false },
            }
        }
        let mut gathered = gathered.into_iter().peekable();
        while gathered.peek().is_some() {
            let (mut writes, mut replies) = (Vec::new(), Vec::new());
            let mut bytes = 0;
            // One run's rows are never divided, however large they are.
            while let Some(one) = gathered.next_if(|_| bytes < FLUSH_MAX_BYTES) {
                bytes += one.writes.bytes();
                writes.push(one.writes);
                replies.push(one.reply);
            }
            self.write(writes, replies).await;
        }
        true
    }

    async fn write(&mut self, writes: Vec<RunWrites>, replies: Vec<oneshot::Sender<Reply>>) {
        let mut work = vec![(writes, replies)];
        while let Some((writes, replies)) = work.pop() {
            match self.flush(&writes).await {
                Ok(FlushResult::Written { gone }) => {
                    Failpoint::Committed.reach();
                    let gone: std::collections::HashSet<_> = gone.into_iter().collect();
                    for (one, reply) in writes.iter().zip(replies) {
                        let _ = reply.send(Reply::Written {
                            gone: one.end.is_some() && gone.contains(&one.run),
                        });
                    }
                }
                Ok(FlushResult::Fenced) => {
                    self.incarnation.end();
                    for reply in replies {
                        let _ = reply.send(Reply::Stopped(Stop::LeaseLost));
                    }
                }
                Err(error) if writes.len() == 1 => {
                    tracing::error!(run = %writes[0].run, %error, cause = error.source(), "the database refuses a run's data");
                    let cause = error.reason();
                    for reply in replies {
                        let _ = reply.send(Reply::Refused(cause.clone()));
                    }
                }
                // One bad row must end one run and no other: halve until it stands alone. Both halves of one run's rows stay
                // in order, since a run has at most one submission under way.
                Err(_) => {
                    let (mut writes, mut replies) = (writes, replies);
                    let half = writes.len() / 2;
                    let rest = (writes.split_off(half), replies.split_off(half));
                    work.push(rest);
                    work.push((writes, replies));
                }
            }
        }
    }

    /// Flushes until it is known what became of it. An error means that the database refuses these data.
    async fn flush(&mut self, writes: &[RunWrites]) -> Result<FlushResult, StoreError> {
        let mut backoff = Backoff::default();
        let mut patience = PATIENCE;
        loop {
            if self.incarnation.is_over() {
                return Ok(FlushResult::Fenced);
            }
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => match self.incarnation.connect().await {
                    // The life that it is for may have ended with that.
                    Ok(_) if self.incarnation.is_over() => continue,
                    Ok(connection) => connection,
                    Err(error) => {
                        if backoff.is_first() {
                            tracing::warn!(%error, cause = error.source(), "the journal writer waits for the database");
                        }
                        backoff.wait().await;
                        continue;
                    }
                },
            };
            #[cfg(feature = "failpoints")]
            if Failpoint::FlushSent.is_due() {
                // Long enough for the statement to be on the wire; whether it commits is left to chance, as in life.
                let sent = tokio::time::sleep(std::time::Duration::from_micros(300));
                tokio::select! {
                    biased;
                    _ = dacapo_store::flush(&mut connection, self.incarnation.id, self.fence, writes) => {}
                    () = sent => {}
                }
                crate::failpoint::armed::die();
            }
            let asked = Instant::now();
            let flush =
                dacapo_store::flush(&mut connection, self.incarnation.id, self.fence, writes);
            let flushed = tokio::select! {
                biased;
                // Nobody may wait for a connection that is dead: the worker begins anew once all its writers have ended.
                () = self.incarnation.over() => return Ok(FlushResult::Fenced),
                flushed = in_time(patience, flush) => flushed,
            };
            if flushed.as_ref().is_err_and(StoreError::is_late) {
                patience = (patience * 2).min(PATIENCE_MAX);
            }
            match flushed {
                Ok(result) => {
                    let metrics = &self.incarnation.metrics;
                    metrics.commit_seconds.record(asked.elapsed());
                    metrics.commit_runs.record(writes.len() as f64);
                    self.connection = Some(connection);
                    return Ok(result);
                }
                Err(StoreError::Collision(error)) => {
                    self.connection = Some(connection);
                    tracing::debug!(%error, "a flush collided and is repeated");
                    backoff.wait().await;
                }
                Err(StoreError::Unavailable(error)) => {
                    tracing::warn!(%error, "the connection was lost during a flush; finding out what became of it");
                    drop(connection);
                    if let Some(result) = self.find_out(writes).await? {
                        return Ok(result);
                    }
                }
                Err(error) => {
                    self.connection = Some(connection);
                    return Err(error);
                }
            }
        }
    }

    /// After a lost connection nobody knows whether the flush was committed, or will be. A new fence takes the place of the old
    /// one: that waits for the old statement, or keeps it from writing if it has not begun. Then the rows themselves tell.
    /// None: it was not written, and may be sent again.
    async fn find_out(&mut self, writes: &[RunWrites]) -> Result<Option<FlushResult>, StoreError> {
        let mut backoff = Backoff::default();
        let mut patience = PATIENCE;
        let fence = self.incarnation.next_fence();
        let incarnation = Arc::clone(&self.incarnation);
        loop {
            let found = tokio::select! {
                biased;
                () = incarnation.over() => return Ok(Some(FlushResult::Fenced)),
                found = in_time(patience, self.try_to_find_out(fence, writes)) => found,
            };
            match found {
                Err(error) if error.is_late() => patience = (patience * 2).min(PATIENCE_MAX),
                Err(error) if error.is_transient() => backoff.wait().await,
                other => return other,
            }
        }
    }

    async fn try_to_find_out(
        &mut self,
        fence: i16,
        writes: &[RunWrites],
    ) -> Result<Option<FlushResult>, StoreError> {
        let mut connection = self.incarnation.connect().await?;
        if self.incarnation.is_over() {
            return Ok(Some(FlushResult::Fenced));
        }
        if dacapo_store::renew_fence(&mut connection, self.incarnation.id, self.fence, fence)
            .await?
            == RenewedFence::Fenced
        {
            return Ok(Some(FlushResult::Fenced));
        }
        let outcome =
            dacapo_store::find_flush(&mut connection, self.incarnation.id, fence, writes).await?;
        self.fence = fence;
        self.connection = Some(connection);
        Ok(outcome)
    }
}
