//! The queues that a worker serves: where its next claim looks, and whose runs may have their turn.
//!
//! Nothing here knows the database; the control loop does what this decides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use dacapo_model::{DEFAULT_QUEUE, Timestamp};
use dacapo_store::{Admitted, Claim, ClaimedRuns, QueueBeat};

/// How long after another worker was found letting runs in it is worth looking again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Rows that became ready a little before the last claimed one may be committed a little after it.
const LATE_COMMITS_MICROS: i64 = 200_000;

/// The lines that a worker takes runs from.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Names of the queues that it serves; none: all.
    serves: Option<Vec<String>>,
    /// The named ones among them, as last heard of.
    named: Vec<QueueBeat>,
    /// By source: the place in line from which on it is looked at.
    floors: HashMap<Option<i32>, Timestamp>,
    /// The source that the next claim begins with.
    first: usize,
    /// Queues in which runs may have their turn.
    wanted: BTreeSet<i32>,
    /// When they may have it, where that is known.
    again: BTreeMap<i32, Timestamp>,
    has_paused_workflows: bool,
}

impl Lines {
    pub(crate) fn new(serves: Option<Vec<String>>) -> Self {
        Self {
            serves,
            named: Vec::new(),
            floors: HashMap::new(),
            first: 0,
            wanted: BTreeSet::new(),
            again: BTreeMap::new(),
            has_paused_workflows: false,
        }
    }

    /// What a heartbeat has brought.
    pub(crate) fn beat(&mut self, queues: Vec<QueueBeat>, has_paused_workflows: bool) {
        self.named = queues;
        self.has_paused_workflows = has_paused_workflows;
        if let Some(serves) = &self.serves {
            self.named.retain(|queue| serves.contains(&queue.name));
        }
        self.wanted.extend(
            self.named
                .iter()
                .filter(|queue| queue.has_held && !queue.paused)
                .map(|queue| queue.id),
        );
        let named = &self.named;
        self.again
            .retain(|id, _| named.iter().any(|queue| queue.id == *id));
        self.floors
            .retain(|source, _| source.is_none_or(|id| named.iter().any(|queue| queue.id == id)));
    }

    /// Whether nothing of this queue is to be played.
    pub(crate) fn is_paused(&self, queue: i32) -> bool {
        self.named
            .iter()
            .any(|known| known.id == queue && known.paused)
    }

    /// Runs wait for their turn in this queue, or a run of it has made room. Of queues that are not known yet the next heartbeat tells.
    pub(crate) fn look_at(&mut self, queue: i32) {
        if self
            .named
            .iter()
            .any(|known| known.id == queue && known.holds)
        {
            self.wanted.insert(queue);
        }
    }

    /// Queues in which runs may have their turn now.
    pub(crate) fn take_wanted(&mut self, now: Timestamp) -> BTreeSet<i32> {
        let mut wanted = std::mem::take(&mut self.wanted);
        self.again.retain(|queue, at| {
            let is_due = *at <= now;
            if is_due {
                wanted.insert(*queue);
            }
            !is_due
        });
        wanted
    }

    /// Whether runs wait for their turn in queues that nobody has looked at.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// When runs may have their turn by the clock.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.again.values().min().copied()
    }

    /// What came of letting runs of a queue in.
    pub(crate) fn admitted(&mut self, queue: i32, admitted: Admitted, now: Timestamp) {
        let again_at = if admitted.is_busy {
            let micros = i64::try_from(BUSY_PAUSE.as_micros()).unwrap_or(0);
            Some(Timestamp::from_micros(
                now.as_micros().saturating_add(micros),
            ))
        } else {
            admitted.again_at
        };
        if let Some(at) = again_at {
            self.again.insert(queue, at);
        }
        if admitted.runs > 0 && admitted.is_more {
            self.wanted.insert(queue);
        }
    }

    /// The next claim; none if there is nothing to claim from.
    pub(crate) fn claim(&mut self, max: u32) -> Option<Claim> {
        let serves_default = self
            .serves
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == DEFAULT_QUEUE));
        let named = self
            .named
            .iter()
            .filter(|queue| !queue.paused)
            .map(|queue| Some(queue.id));
        let mut ids: Vec<Option<i32>> = serves_default
            .then_some(None)
            .into_iter()
            .chain(named)
            .collect();
        if ids.is_empty() {
            return None;
        }
        // Whoever comes first may take all the room, so everybody does in turn.
        let first = self.first % ids.len();
        self.first = first + 1;
        ids.rotate_left(first);
        let sources = ids
            .into_iter()
            .map(|id| (id, self.floors.get(&id).copied()))
            .collect();
        Some(Claim {
            max,
            sources,
            has_paused_workflows: self.has_paused_workflows,
        })
    }

    /// What a claim has brought. True: some source should be looked at from its beginning before the worker rests.
    pub(crate) fn claimed(&mut self, claim: &Claim, runs: &ClaimedRuns, now: Timestamp) -> bool {
        let mut newest: HashMap<Option<i32>, Timestamp> = HashMap::new();
        let leased = runs.leased.iter().map(|run| (run.queue, run.ready_at));
        for (source, place) in leased.chain(runs.put_aside.iter().copied()) {
            let newest = newest.entry(source).or_insert(place);
            *newest = place.max(*newest);
        }
        for (source, place) in &newest {
            // A run with a priority below zero stands further behind than those that come now.
            let floor = place.as_micros().min(now.as_micros()) - LATE_COMMITS_MICROS;
            self.floors.insert(*source, Timestamp::from_micros(floor));
        }
        if runs.leased.len() + runs.put_aside.len() >= claim.max as usize {
            return false;
        }
        let mut is_to_look = false;
        for (source, floor) in &claim.sources {
            if floor.is_some() && !newest.contains_key(source) {
                self.floors.remove(source);
                is_to_look = true;
            }
        }
        is_to_look
    }

    /// The next claim looks from the beginning of each line.
    pub(crate) fn forget_floors(&mut self) {
        self.floors.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(id: i32, name: &str) -> QueueBeat {
        QueueBeat {
            id,
            name: name.to_owned(),
            holds: true,
            paused: false,
            has_held: false,
        }
    }

    fn sources(lines: &mut Lines) -> Vec<Option<i32>> {
        let claim = lines.claim(10).unwrap();
        claim.sources.into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn each_line_comes_first_in_turn() {
        let mut lines = Lines::new(None);
        lines.beat(vec![queue(1, "a"), queue(2, "b")], false);
        assert_eq!(sources(&mut lines), [None, Some(1), Some(2)]);
        assert_eq!(sources(&mut lines), [Some(1), Some(2), None]);
        assert_eq!(sources(&mut lines), [Some(2), None, Some(1)]);
        assert_eq!(sources(&mut lines), [None, Some(1), Some(2)]);
    }

    #[test]
    fn only_what_is_served_and_not_paused_is_claimed() {
        let mut lines = Lines::new(Some(vec!["b".to_owned()]));
        assert!(lines.claim(10).is_none());
        lines.beat(vec![queue(1, "a"), queue(2, "b")], false);
        assert_eq!(sources(&mut lines), [Some(2)]);
        lines.look_at(1);
        assert!(!lines.is_wanted());
        let paused = QueueBeat {
            paused: true,
            ..queue(2, "b")
        };
        lines.beat(vec![queue(1, "a"), paused], false);
        assert!(lines.claim(10).is_none() && lines.is_paused(2));
    }

    #[test]
    fn a_line_that_gave_nothing_is_looked_at_from_its_beginning_before_the_worker_rests() {
        let mut lines = Lines::new(None);
        let at = Timestamp::from_micros(10_000_000);
        let found = ClaimedRuns {
            leased: Vec::new(),
            put_aside: vec![(None, at)],
        };
        let claim = lines.claim(10).unwrap();
        assert!(!lines.claimed(&claim, &found, at));
        let claim = lines.claim(10).unwrap();
        assert_eq!(
            claim.sources,
            [(None, Some(Timestamp::from_micros(9_800_000)))]
        );
        assert!(lines.claimed(&claim, &ClaimedRuns::default(), at));
        let claim = lines.claim(10).unwrap();
        assert_eq!(claim.sources, [(None, None)]);
        assert!(!lines.claimed(&claim, &ClaimedRuns::default(), at));
    }

    #[test]
    fn a_queue_is_looked_at_again_when_its_rate_allows_more() {
        let mut lines = Lines::new(None);
        lines.beat(vec![queue(1, "a")], false);
        lines.look_at(1);
        let now = Timestamp::from_micros(1_000);
        assert_eq!(lines.take_wanted(now), BTreeSet::from([1]));
        let later = Timestamp::from_micros(2_000);
        let held_up = Admitted {
            runs: 0,
            again_at: Some(later),
            is_more: true,
            is_busy: false,
        };
        lines.admitted(1, held_up, now);
        assert!(lines.take_wanted(now).is_empty());
        assert_eq!(lines.next_at(), Some(later));
        assert_eq!(lines.take_wanted(later), BTreeSet::from([1]));
    }
}
