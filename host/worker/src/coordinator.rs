//! The worker's control loop: heartbeats, takeovers, timers and claims, one statement at a time on one connection.
//!
//! [`Coordinator::tick`] does whatever is due now and says how long it may rest; [`Coordinator::run`] only waits in between.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dacapo_model::{RunId, Timestamp};
use dacapo_sandbox::Stop;
use dacapo_store::{
    BeatScope, Claimed, LookBack, Store, StoreConnection, StoreError, Timers, in_time,
};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::WorkerConfig;
use crate::failpoint::Failpoint;
use crate::health::Health;
use crate::incarnation::Incarnation;
use crate::lines::Lines;
use crate::lookout::Lookout;
use crate::metrics::Counted;
use crate::play::{Left, Stage, blocked, deadline_passed, finish, play};
use crate::scheduler::Agenda;
use crate::session::Session;

/// Due runs woken by one statement, at most.
const WAKE_MAX: u32 = 500;
/// Runs that were put aside and are moved back by one statement, at most.
const TAKE_UP_MAX: u32 = 500;
/// Keys of singletons that one statement gives to runs that wait, at most.
const PROMOTE_MAX: u32 = 100;
/// Claims between two vacuums of the queue's tables.
const CLAIMS_PER_VACUUM: u64 = 5_000;

/// Timers that are due a little before the earliest that is known may be committed a little after it.
const LATE_TIMERS_MICROS: i64 = 200_000;

/// How long the database may take for all that is due at once before it is asked anew, by another connection; as long as the lease at least.
/// Twice as long each time after that, since every connection that is given up may still wait on the server.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const PATIENCE_MAX: Duration = Duration::from_secs(300);

/// Runs and queues that are remembered by name until the control loop takes them in, at most; with more it looks at all. Anybody who may
/// notify can name any number of them.
const NAMED_MAX: usize = 10_000;

/// What others tell the control loop.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Rung whenever there is something new below.
    pub(crate) bell: Notify,
    /// What the scheduler is told, beside this loop.
    pub(crate) agenda: Arc<Agenda>,
    /// Rung for whoever tells parents of their children.
    pub(crate) relatives: Arc<Notify>,
    /// Rung for whoever vacuums the tables of the queue.
    pub(crate) vacuum: Arc<Notify>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    ready: bool,
    look_at: BTreeSet<RunId>,
    /// More runs than that.
    look_at_all: bool,
    hand_back: Vec<RunId>,
    finished: Vec<RunId>,
    due: Option<Timestamp>,
    /// Runs may be ready in front of the place where the last claim looked.
    first: bool,
    held: BTreeSet<i32>,
    /// Queues, or what is paused, were changed.
    changed: bool,
    /// Nobody listened for a while.
    missed: bool,
}

impl Inbox {
    fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.notify_one();
    }

    /// Something may be ready to be claimed.
    pub(crate) fn ready(&self) {
        self.tell(|told| told.ready = true);
    }

    /// Something may be ready to be claimed, and stand in front of where the last claim looked.
    pub(crate) fn ready_first(&self) {
        self.tell(|told| {
            told.ready = true;
            told.first = true;
        });
    }

    /// Runs wait for their turn in these queues.
    pub(crate) fn held(&self, queues: &[i32]) {
        self.tell(|told| {
            told.held.extend(queues);
            if told.held.len() > NAMED_MAX {
                told.held.clear();
                told.changed = true;
            }
        });
    }

    /// Queues, or what is paused, were changed.
    pub(crate) fn queues_changed(&self) {
        self.tell(|told| told.changed = true);
    }

    /// Nobody has listened until now: whatever was said meanwhile.
    pub(crate) fn missed(&self) {
        self.tell(|told| {
            told.ready = true;
            told.changed = true;
            told.missed = true;
        });
    }

    /// A run has a signal.
    pub(crate) fn look_at(&self, run: RunId) {
        self.tell(|told| {
            if !told.look_at_all {
                told.look_at.insert(run);
            }
            if told.look_at.len() > NAMED_MAX {
                told.look_at.clear();
                told.look_at_all = true;
            }
        });
    }

    /// A run was suspended until this time.
    pub(crate) fn due(&self, at: Timestamp) {
        self.tell(|told| told.due = Some(told.due.map_or(at, |earlier| earlier.min(at))));
    }

    fn played(&self, run: RunId, left: Left) {
        self.tell(|told| {
            if left == Left::HandBack {
                told.hand_back.push(run);
            }
            told.finished.push(run);
        });
    }
}

/// Why a tick did not go through.
pub(crate) enum TickError {
    /// The worker was fenced.
    Fenced,
    /// The database did not do it.
    Store(StoreError),
}

impl From<StoreError> for TickError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The control loop of one incarnation.
pub(crate) struct Coordinator {
    store: Store,
    config: WorkerConfig,
    incarnation: Arc<Incarnation>,
    stage: Arc<Stage>,
    inbox: Arc<Inbox>,
    health: Arc<Health>,
    guests: Handle,
    connection: Option<StoreConnection>,
    /// The fence that claims and hand-backs are made under.
    fence: i16,
    playing: BTreeMap<RunId, Playing>,
    lines: Lines,
    /// Runs that were put aside are to be moved back.
    take_up: bool,
    /// Nothing is to be claimed at all.
    standstill: bool,
    /// Runs that were claimed again before the task of their former stay was gone.
    again: BTreeSet<RunId>,
    tasks: TaskTracker,
    hand_back: Vec<RunId>,
    want_claim: bool,
    /// There may be more in the queue than the last claim had room for.
    more_ready: bool,
    next_heartbeat: Instant,
    next_due: Option<Timestamp>,
    next_deadline: Option<Timestamp>,
    /// No timer and no deadline is known to be before this; none: nobody has looked.
    timers_from: Option<Timestamp>,
    lookout: Lookout,
    claims_since_vacuum: u64,
    /// Takeovers wait until this worker has had its database for a while: after an outage every lease seems to be over.
    takeovers_from: Instant,
    took_over_once: bool,
}

/// A run that is being played.
struct Playing {
    session: Arc<Session>,
    queue: Option<i32>,
    namespace: String,
    workflow: String,
    _counted: Counted,
}

impl Coordinator {
    #[expect(clippy::too_many_arguments, reason = "put together in one place only")]
    pub(crate) fn new(
        store: Store,
        config: WorkerConfig,
        incarnation: Arc<Incarnation>,
        stage: Arc<Stage>,
        inbox: Arc<Inbox>,
        health: Arc<Health>,
        guests: Handle,
        connection: StoreConnection,
        fence: i16,
    ) -> Self {
        let now = Instant::now();
        let lines = Lines::new(config.queues.clone());
        Self {
            store,
            config,
            incarnation,
            stage,
            inbox,
            health,
            guests,
            connection: Some(connection),
            fence,
            playing: BTreeMap::new(),
            lines,
            take_up: false,
            standstill: false,
            again: BTreeSet::new(),
            tasks: TaskTracker::new(),
            hand_back: Vec::new(),
            want_claim: true,
            more_ready: false,
            next_heartbeat: now,
            next_due: None,
            next_deadline: None,
            timers_from: None,
            lookout: Lookout::new(now),
            claims_since_vacuum: 0,
            takeovers_from: now,
            took_over_once: false,
        }
    }

    /// Works until the incarnation is over. The caller rings `drain` to have all runs handed back first.
    pub(crate) async fn run(mut self, drain: &Notify) -> Result<(), StoreError> {
        let mut backoff = crate::backoff::Backoff::default();
        let mut deadline: Option<Instant> = None;
        let shortest = self.config.lease.max(PATIENCE);
        let mut patience = shortest;
        loop {
            let rest = match in_time(patience, self.tick()).await {
                Ok(rest) => {
                    patience = shortest;
                    backoff.reset();
                    rest
                }
                Err(TickError::Fenced) if self.incarnation.has_moved() => {
                    self.end_all().await;
                    // What cannot be handed back is taken over when the lease is over.
                    if let Err(error) = in_time(patience, self.leave_other()).await {
                        tracing::warn!(%error, cause = error.source(), "runs were not handed back");
                    }
                    return Ok(());
                }
                Err(TickError::Fenced) => {
                    self.incarnation.metrics.lease_losses.increment(1);
                    tracing::warn!(worker = %self.incarnation.id.0, "the lease was lost; stopping all runs and beginning anew");
                    self.end_all().await;
                    return Ok(());
                }
                Err(TickError::Store(error)) if error.is_transient() => {
                    self.incarnation.metrics.database_errors.increment(1);
                    if backoff.is_first() {
                        tracing::warn!(%error, cause = error.source(), "the worker waits for the database");
                    }
                    if error.is_late() {
                        patience = (patience * 2).min(shortest.max(PATIENCE_MAX));
                    }
                    self.health.failed();
                    self.connection = None;
                    self.takeovers_from = Instant::now() + 2 * self.config.heartbeat;
                    self.next_heartbeat = Instant::now();
                    // So that a claim whose answer was lost is found.
                    self.lookout.miss(self.next_heartbeat);
                    tokio::select! {
                        biased;
                        () = self.incarnation.over() => {}
                        () = backoff.wait() => {}
                    }
                    Duration::ZERO
                }
                Err(TickError::Store(error)) => {
                    self.end_all().await;
                    return Err(error);
                }
            };
            if let Some(deadline) = deadline
                && (self.playing.is_empty() || Instant::now() >= deadline)
            {
                return in_time(patience, self.leave()).await;
            }
            let rest = deadline.map_or(rest, |deadline| {
                rest.min(deadline.saturating_duration_since(Instant::now()))
            });
            tokio::select! {
                biased;
                () = self.incarnation.over() => {}
                () = drain.notified(), if deadline.is_none() => {
                    self.incarnation.drain();
                    deadline = Some(Instant::now() + self.config.drain_grace);
                }
                () = self.inbox.bell.notified() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Does all that is due. Answers how long there is nothing to do unless somebody rings.
    async fn tick(&mut self) -> Result<Duration, TickError> {
        if self.incarnation.is_over() {
            return Err(TickError::Fenced);
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.incarnation.connect().await?,
        };
        if self.incarnation.is_over() {
            return Err(TickError::Fenced);
        }
        let result = self.work(&mut connection).await;
        // After an error the connection may be in the middle of something; a new one is cheap.
        if result.is_ok() {
            self.connection = Some(connection);
        }
        result
    }

    async fn work(&mut self, connection: &mut StoreConnection) -> Result<Duration, TickError> {
        self.take_in(connection).await?;
        if Instant::now() >= self.next_heartbeat {
            self.heartbeat(connection).await?;
        }
        if self
            .next_due
            .is_some_and(|due| due <= self.incarnation.clock.now())
        {
            self.wake_due(connection).await?;
        }
        if self
            .next_deadline
            .is_some_and(|at| at <= self.incarnation.clock.now())
        {
            self.expire(connection).await?;
        }
        if self.incarnation.is_draining() {
            self.look_back();
            return Ok(self
                .next_heartbeat
                .saturating_duration_since(Instant::now()));
        }
        let mut again = false;
        if self.take_up {
            self.take_up = dacapo_store::take_up(connection, TAKE_UP_MAX).await?;
            again |= self.take_up;
        }
        again |= self.admit(connection).await?;
        self.want_claim |= self.lines.is_new() && !self.standstill;
        if self.want_claim {
            again |= self.claim(connection).await?;
        }
        // A claim that reads from the beginning spares one.
        self.look_back();
        let now = Instant::now();
        let mut rest = self.next_heartbeat.saturating_duration_since(now);
        if let Some(at) = self.next_look() {
            rest = rest.min(at.saturating_duration_since(now));
        }
        let next_turn = self.lines.next_at();
        for due in [self.next_due, self.next_deadline, next_turn]
            .into_iter()
            .flatten()
        {
            let micros = due
                .as_micros()
                .saturating_sub(self.incarnation.clock.now().as_micros());
            rest = rest.min(Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
        }
        Ok(if again { Duration::ZERO } else { rest })
    }

    /// What others have told since the last tick.
    async fn take_in(&mut self, connection: &mut StoreConnection) -> Result<(), TickError> {
        let told = std::mem::take(
            &mut *self
                .inbox
                .told
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.want_claim |= told.ready;
        self.due(told.due);
        if told.first {
            self.lines.look_first();
        }
        for queue in told.held {
            self.lines.look_at(queue);
        }
        if told.missed {
            self.lookout.miss(Instant::now());
        }
        if told.changed {
            // It tells how they stand.
            self.lines.look_everywhere();
            self.next_heartbeat = Instant::now();
        }
        self.looked_back();
        self.hand_back.extend(told.hand_back);
        for run in told.finished {
            if let Some(played) = self.playing.remove(&run)
                && let Some(queue) = played.queue
            {
                // It has made room for another one.
                self.lines.look_at(queue);
            }
            if self.again.remove(&run) {
                // The former stay may have ended it meanwhile; then there is nothing to hand back.
                self.hand_back.push(run);
            }
            // A place is free.
            self.want_claim |= self.more_ready;
        }
        let look_at = if told.look_at_all {
            self.playing.keys().copied().collect()
        } else {
            told.look_at
        };
        let mut looks = look_at.into_iter();
        while let Some(run) = looks.next() {
            if let Err(error) = self.look(run).await {
                // Nobody may say it again.
                for run in std::iter::once(run).chain(looks) {
                    self.inbox.look_at(run);
                }
                return Err(error);
            }
        }
        if !self.hand_back.is_empty() {
            dacapo_store::hand_back(connection, self.incarnation.id, self.fence, &self.hand_back)
                .await?;
            self.hand_back.clear();
        }
        Ok(())
    }

    async fn look(&self, run: RunId) -> Result<(), TickError> {
        if let Some(Playing { session, .. }) = self.playing.get(&run)
            && !session.look_again().await?
        {
            session.stop(Stop::LeaseLost);
        }
        Ok(())
    }

    async fn heartbeat(&mut self, connection: &mut StoreConnection) -> Result<(), TickError> {
        let asked_at = self.incarnation.clock.now();
        let scope = BeatScope {
            sources: self.lines.heard_from(),
            timers: Timers {
                from: self.timers_from,
                ahead: self.ahead(),
            },
        };
        let (id, lease) = (self.incarnation.id, self.config.lease);
        let beat = dacapo_store::heartbeat(connection, id, lease, &scope)
            .await?
            .ok_or(TickError::Fenced)?;
        self.next_heartbeat = Instant::now() + self.config.heartbeat;
        let earliest = [beat.next_due, beat.next_deadline].into_iter().flatten();
        let earliest = earliest.fold(asked_at, Timestamp::min).as_micros();
        self.timers_from = Some(Timestamp::from_micros(
            earliest.saturating_sub(LATE_TIMERS_MICROS),
        ));
        self.incarnation.clock.set(beat.now);
        self.inbox.agenda.beat(beat.now, beat.next_schedule);
        self.health.beat();
        // What a long step has logged so far is worth seeing before it ends.
        for playing in self.playing.values() {
            dacapo_sandbox::Journal::nudge(playing.session.as_ref());
        }
        self.lines
            .beat(beat.queues, !beat.paused_workflows.is_empty());
        if self.standstill && !beat.standstill {
            self.lines.look_everywhere();
        }
        self.standstill = beat.standstill;
        self.take_up |= beat.resumed;
        if beat.promotes {
            dacapo_store::promote_singletons(connection, PROMOTE_MAX).await?;
        }
        for playing in self.playing.values() {
            let is_paused = self.standstill
                || playing
                    .queue
                    .is_some_and(|queue| self.lines.is_paused(queue))
                || beat.paused_workflows.iter().any(|(namespace, workflow)| {
                    *namespace == playing.namespace && *workflow == playing.workflow
                });
            playing.session.give_back(is_paused);
        }
        self.want_claim |= beat.ready && !beat.standstill;
        if beat.children {
            self.inbox.relatives.notify_one();
        }
        self.due(beat.next_due);
        self.next_deadline = beat.next_deadline;
        if (beat.expired || !self.took_over_once) && Instant::now() >= self.takeovers_from {
            self.take_over(connection, beat.expired).await?;
        }
        Ok(())
    }

    /// Begins to look for what was missed, if that is due. See [`Lookout`].
    fn look_back(&mut self) {
        let now = Instant::now();
        let everything = self.lookout.wants_everything(now);
        let is_due = everything || self.next_look().is_some_and(|at| at <= now);
        if is_due && !self.lookout.is_under_way() {
            let looks = if everything {
                LookBack {
                    lines: self.lines.all_looks(),
                    everything: Some(self.ahead()),
                }
            } else {
                LookBack {
                    lines: self.lines.due_looks(now),
                    everything: None,
                }
            };
            self.lookout
                .begin(&self.incarnation, &self.store, &self.inbox, looks);
        }
    }

    /// What was found by the look that was under way, if it has ended.
    fn looked_back(&mut self) {
        let Some(look) = self.lookout.ended() else {
            return;
        };
        let now = Instant::now();
        let Some(found) = look.found else {
            self.lines.look_failed(&look.lines, now);
            return;
        };
        let took = (!look.everything).then_some(look.took);
        let has_found = self
            .lines
            .looked_back(&look.lines, &found.firsts, now, took);
        self.want_claim |= has_found && !self.standstill;
        if !look.everything {
            return;
        }
        self.due(found.next_due);
        self.next_deadline = earlier(self.next_deadline, found.next_deadline);
        if let Some(first) = earlier(found.next_due, found.next_deadline) {
            self.timers_from = self.timers_from.map(|from| from.min(first));
        }
        // Only this loop claims, so what is held and not played was claimed by a statement whose answer was lost.
        let held = found.held.into_iter();
        self.hand_back
            .extend(held.filter(|run| !self.playing.contains_key(run)));
        for run in found.signalled {
            self.inbox.look_at(run);
        }
    }

    async fn take_over(
        &mut self,
        connection: &mut StoreConnection,
        expired: bool,
    ) -> Result<(), TickError> {
        if expired {
            dacapo_store::close_expired_fences(connection).await?;
            Failpoint::FencedNotTaken.reach();
        }
        let takeovers_max = i32::from(self.config.takeovers_max);
        let reason = serde_json::json!({
            "code": "poison",
            "message": format!(
                "{takeovers_max} workers in a row died while they ran this run, and nothing new was recorded; it is kept from \
                 killing more. Find out why (memory, crashes of the host), then resume it"
            ),
        });
        let took = dacapo_store::take_over(connection, takeovers_max, &reason.to_string()).await?;
        self.took_over_once = true;
        if took.workers > 0 || took.runs > 0 {
            self.incarnation.metrics.taken_over.increment(took.runs);
            tracing::warn!(
                workers = took.workers,
                runs = took.runs,
                blocked = took.blocked.len(),
                "took the runs of dead workers over"
            );
            self.want_claim = true;
            self.lines.look_first();
        }
        Ok(())
    }

    async fn wake_due(&mut self, connection: &mut StoreConnection) -> Result<(), TickError> {
        let timers = self.timers(self.next_due);
        let woken = dacapo_store::wake_due(connection, WAKE_MAX, timers).await?;
        self.incarnation.clock.set(woken.now);
        self.want_claim |= woken.woken > 0;
        if woken.first {
            self.lines.look_first();
        }
        // A full batch means that there are more that are due.
        self.next_due = if woken.woken >= u64::from(WAKE_MAX) {
            Some(woken.now)
        } else {
            woken.next_due
        };
        Ok(())
    }

    async fn expire(&mut self, connection: &mut StoreConnection) -> Result<(), TickError> {
        let timers = self.timers(self.next_deadline);
        let lease = self.config.lease;
        let expired =
            dacapo_store::expire(connection, WAKE_MAX, &deadline_passed(), lease, timers).await?;
        // A full batch means that there are more.
        self.next_deadline = if expired.asked >= u64::from(WAKE_MAX) {
            Some(self.incarnation.clock.now())
        } else {
            expired.next
        };
        Ok(())
    }

    /// How far ahead timers are looked for: heartbeats come more often.
    fn ahead(&self) -> Duration {
        3 * self.config.heartbeat + Duration::from_secs(1)
    }

    /// Timers from the earliest on that is known, `due`: heartbeats tell of those before.
    fn timers(&self, due: Option<Timestamp>) -> Timers {
        Timers {
            from: self
                .timers_from
                .map(|from| due.map_or(from, |due| due.min(from))),
            ahead: self.ahead(),
        }
    }

    /// When it is to be looked in front of a line's floor, if nobody looks already. Also if there is no room now: whoever stands there comes first when there is.
    fn next_look(&self) -> Option<Instant> {
        if self.standstill || self.lookout.is_under_way() {
            return None;
        }
        self.lines.next_look(Instant::now())
    }

    /// How many more runs there is room for.
    fn room(&self) -> u32 {
        self.config
            .runs_max
            .saturating_sub(u32::try_from(self.playing.len()).unwrap_or(u32::MAX))
    }

    /// Lets runs have their turn that wait for it in queues, no more than this worker has room for. True: there may be more.
    async fn admit(&mut self, connection: &mut StoreConnection) -> Result<bool, TickError> {
        // No more than the next claim takes: whoever comes meanwhile may go first.
        let max = self.room().min(self.config.claim_max);
        // A place that becomes free brings the next tick.
        if max == 0 || self.standstill {
            return Ok(false);
        }
        for queue in self.lines.take_wanted(self.incarnation.clock.now()) {
            let admitted = dacapo_store::admit(connection, queue, max).await?;
            self.want_claim |= admitted.runs > 0;
            let now = self.incarnation.clock.now();
            self.lines.admitted(queue, admitted, now);
        }
        Ok(self.lines.is_wanted())
    }

    /// Claims as many runs as there is room for. True: there may be more.
    async fn claim(&mut self, connection: &mut StoreConnection) -> Result<bool, TickError> {
        let room = self.room();
        let limit = room.min(self.config.claim_max);
        if limit == 0 {
            self.more_ready = true;
            self.want_claim = false;
            return Ok(false);
        }
        let asked_at = self.incarnation.clock.now();
        let Some(claim) = self.lines.claim(limit) else {
            self.want_claim = false;
            return Ok(false);
        };
        let metrics = Arc::clone(&self.incarnation.metrics);
        let asked = Instant::now();
        let claimed =
            dacapo_store::claim(connection, self.incarnation.id, self.fence, &claim).await?;
        let took = asked.elapsed();
        metrics.claim_seconds.record(took);
        if claimed.leased.is_empty() {
            metrics.claims_none.increment(1);
        } else {
            metrics.claims_some.increment(1);
        }
        if !claimed.leased.is_empty() {
            Failpoint::Claimed.reach();
        }
        let found = claimed.leased.len() + claimed.put_aside.len();
        let full = found >= limit as usize;
        self.claims_since_vacuum += found as u64;
        if self.claims_since_vacuum >= CLAIMS_PER_VACUUM {
            self.claims_since_vacuum = 0;
            self.inbox.vacuum.notify_one();
        }
        self.lines
            .claimed(&claim, &claimed, asked_at, Instant::now(), took);
        // What was put aside has made room for another one.
        for queue in claimed.put_aside.iter().filter_map(|(queue, _)| *queue) {
            self.lines.look_at(queue);
        }
        for one in claimed.leased {
            self.incarnation
                .clock
                .set(one.claimed_at.max(self.incarnation.clock.now()));
            // The heartbeat might tell of it too late.
            self.next_deadline = earlier(self.next_deadline, one.deadline);
            self.start(one, asked_at);
        }
        self.want_claim = full;
        self.more_ready = full;
        Ok(full && limit < room)
    }

    /// Some run is due at this time.
    fn due(&mut self, at: Option<Timestamp>) {
        self.next_due = earlier(self.next_due, at);
    }

    /// Plays a run on the threads for guests.
    fn start(&mut self, mut claimed: Claimed, asked_at: Timestamp) {
        if self.playing.contains_key(&claimed.run) {
            // Suspended and ready again so quickly, or its flush's outcome is still being found out: two sessions of one run
            // would both go on with it.
            self.again.insert(claimed.run);
            return;
        }
        self.incarnation.metrics.claimed(&claimed);
        let session = Arc::new(Session::new(
            &mut claimed,
            Arc::clone(&self.incarnation),
            asked_at,
        ));
        let run = claimed.run;
        let playing = Playing {
            session: Arc::clone(&session),
            queue: claimed.queue,
            namespace: claimed.namespace.clone(),
            workflow: claimed.workflow.clone(),
            _counted: self.incarnation.metrics.plays(),
        };
        self.playing.insert(run, playing);
        let stage = Arc::clone(&self.stage);
        let incarnation = Arc::clone(&self.incarnation);
        let inbox = Arc::clone(&self.inbox);
        self.tasks.spawn_on(
            async move {
                // Whatever happens to the task, the control loop must learn that it is gone.
                let mut end = Ending {
                    inbox,
                    run,
                    left: Left::HandBack,
                };
                let played = AssertUnwindSafe(play(&stage, &incarnation, &session, claimed));
                tokio::select! {
                    biased;
                    () = incarnation.over() => end.left = Left::Nothing,
                    played = played.catch_unwind() => end.left = match played {
                        Ok(left) => left,
                        Err(panic) => block_after_panic(&session, panic).await,
                    },
                }
            },
            &self.guests,
        );
    }

    /// The worker was fenced: nothing of its runs may be written, and all of them must be gone before it begins anew.
    async fn end_all(&mut self) {
        self.incarnation.end();
        for playing in self.playing.values() {
            playing.session.stop(Stop::LeaseLost);
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Puts everything back into the queue and takes the worker's name off.
    async fn leave(mut self) -> Result<(), StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.store.connect().await?,
        };
        // What is still running has had its time; its steps are not recorded and will run again elsewhere.
        for playing in self.playing.values() {
            playing.session.stop(Stop::Drained);
        }
        // What it holds may be more than what it plays: claims whose answers were lost.
        let looks = LookBack {
            lines: Vec::new(),
            everything: Some(Duration::ZERO),
        };
        let worker = self.incarnation.id;
        let found = dacapo_store::look_back_on(&mut connection, worker, &looks).await?;
        let mut runs: BTreeSet<RunId> = self.playing.keys().copied().collect();
        runs.extend(self.hand_back.drain(..).chain(found.held));
        let runs: Vec<RunId> = runs.into_iter().collect();
        if !runs.is_empty() {
            // A flush that comes after the hand-back would write into a run that is somebody else's.
            dacapo_store::close_own_fences(&mut connection, self.incarnation.id, self.fence)
                .await?;
            let handed_back =
                dacapo_store::hand_back(&mut connection, self.incarnation.id, self.fence, &runs)
                    .await?;
            tracing::info!(runs = handed_back, "handed runs back");
        }
        dacapo_store::retire(&mut connection, self.incarnation.id).await?;
        self.end_all().await;
        Ok(())
    }

    /// The same on a server that has another history than the one that it has worked with.
    async fn leave_other(mut self) -> Result<(), StoreError> {
        self.connection = Some(self.store.connect().await?);
        self.leave().await
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A bug of ours in the task of a run: played again at once, the run would most likely meet it again, and again. It is kept for
/// somebody to look at, with all that it has recorded.
async fn block_after_panic(session: &Session, panic: Box<dyn Any + Send>) -> Left {
    let what = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned());
    drop(panic);
    tracing::error!(run = %session.run(), panic = what, "a bug in the worker; the run is blocked");
    let message = format!(
        "a bug in the worker stopped this run: {what}; nothing that is recorded is lost; report it, then resume the run"
    );
    finish(session.run(), session, blocked("internal", &message, None)).await
}

/// Tells the control loop, when it is dropped, that a run's task is gone; also when the task panicked.
struct Ending {
    inbox: Arc<Inbox>,
    run: RunId,
    left: Left,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.inbox.played(self.run, self.left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_queues_that_are_told_are_named_once_and_beyond_a_number_not_by_name() {
        let inbox = Inbox::default();
        let tell = |number: u32| {
            inbox.look_at(RunId(uuid::Uuid::from_u128(number.into())));
            inbox.held(&[i32::try_from(number).unwrap()]);
        };
        let told = || inbox.told.lock().unwrap();
        for number in (1..=5).chain(1..=5) {
            tell(number);
        }
        assert_eq!(told().look_at.len(), 5);
        assert_eq!(told().held.len(), 5);
        assert!(!told().look_at_all);
        assert!(!told().changed);
        for number in 0..100_000 {
            tell(number);
        }
        assert!(told().look_at_all);
        assert!(told().changed);
        assert!(told().look_at.len() <= NAMED_MAX);
        assert!(told().held.len() <= NAMED_MAX);
    }
}
