//! The depths of queues over the last while, kept in memory: they are looked at again and again while somebody looks at them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dacapo_client::{Client, ClientError, QueueDepth};

/// How often it is looked.
pub(crate) const PERIOD: Duration = Duration::from_secs(5);

/// Samples that are kept of each queue: half an hour.
pub(crate) const SAMPLES: usize = 360;

/// Rows of a queue that are counted.
pub(crate) const DEPTH_MAX: u32 = 10_000;

/// How long it is looked after somebody has looked at a page that shows it.
const INTEREST: Duration = Duration::from_secs(3_600);

/// What was seen at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    /// How long the one that is next in line has waited, in milliseconds.
    pub(crate) age: i64,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    queues: BTreeMap<String, VecDeque<Sample>>,
    /// When somebody last looked.
    looked: Option<Instant>,
    /// When it was last sampled.
    sampled: Option<Instant>,
}

/// Looks from now on, until nobody has the samples any more.
pub(crate) fn begin(client: Client) -> Arc<Samples> {
    let samples = Arc::new(Samples::default());
    let weak = Arc::downgrade(&samples);
    // Whoever makes routes outside of a runtime has none that could be asked anything.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            let mut clock = tokio::time::interval(PERIOD);
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                let Some(samples) = weak.upgrade() else {
                    return;
                };
                if !samples.is_wanted() {
                    continue;
                }
                // A database that is away says so on the page.
                if let Err(error) = samples.tick(&client).await {
                    tracing::debug!(%error, "cannot look at the queues");
                }
            }
        });
    }
    samples
}

impl Samples {
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody has looked lately.
    fn is_wanted(&self) -> bool {
        let looked = self.lock().looked;
        looked.is_some_and(|at| at.elapsed() < INTEREST)
    }

    /// Looks once.
    async fn tick(&self, client: &Client) -> Result<(), ClientError> {
        let depths = client.queue_depths(DEPTH_MAX).await?;
        self.take(&depths);
        Ok(())
    }

    fn take(&self, depths: &[QueueDepth]) {
        let mut seen = self.lock();
        seen.sampled = Some(Instant::now());
        // A queue that was taken away is forgotten.
        seen.queues
            .retain(|name, _| depths.iter().any(|depth| depth.name == *name));
        for depth in depths {
            let line = seen.queues.entry(depth.name.clone()).or_default();
            line.push_back(Sample::of(depth));
            while line.len() > SAMPLES {
                line.pop_front();
            }
        }
    }

    /// What was seen of each queue, the newest last. Looks now if nobody has for a while.
    pub(crate) async fn of(
        &self,
        client: &Client,
    ) -> Result<Vec<(String, Vec<Sample>)>, ClientError> {
        // Queues hold everybody's runs; whoever is limited to some sees none.
        if client.scope().is_some_and(|scope| !scope.is_whole()) {
            return Ok(Vec::new());
        }
        let is_old = {
            let mut seen = self.lock();
            seen.looked = Some(Instant::now());
            let sampled = seen.sampled;
            sampled.is_none_or(|at| at.elapsed() > PERIOD * 2)
        };
        if is_old {
            self.tick(client).await?;
        }
        let seen = self.lock();
        let lines = seen.queues.iter();
        Ok(lines
            .map(|(name, line)| (name.clone(), line.iter().copied().collect()))
            .collect())
    }
}

impl Sample {
    fn of(depth: &QueueDepth) -> Self {
        let age = depth.oldest.map_or(0, |oldest| {
            (depth.now.as_micros() - oldest.as_micros()) / 1_000
        });
        Self {
            waiting: depth.waiting,
            running: depth.running,
            age: age.max(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use dacapo_client::Timestamp;

    use super::*;

    #[test]
    fn samples_are_kept_for_a_while_and_those_of_queues_that_are_gone_are_not() {
        let samples = Samples::default();
        let depth = |name: &str| QueueDepth {
            name: name.to_owned(),
            waiting: 3,
            running: 1,
            oldest: Some(Timestamp::from_millis(1_000)),
            now: Timestamp::from_millis(3_500),
        };
        for _ in 0..SAMPLES + 5 {
            samples.take(&[depth("a"), depth("b")]);
        }
        samples.take(&[depth("a")]);
        let seen = samples.lock();
        assert_eq!(seen.queues.len(), 1);
        assert_eq!(seen.queues["a"].len(), SAMPLES);
        assert_eq!(seen.queues["a"][0].age, 2_500);
    }
}
