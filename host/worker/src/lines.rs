//! The queues that a worker serves: where its next claim looks, and whose runs may have their turn.
//!
//! Nothing here knows the database; the control loop does what this decides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use dacapo_model::{DEFAULT_QUEUE, Timestamp};
use dacapo_store::{Admitted, Claim, ClaimedRuns, QueueBeat};
use tokio::time::Instant;

/// How long after another worker was found letting runs in it is worth looking again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Rows that became ready a little before the last claimed one may be committed a little after it.
const LATE_COMMITS_MICROS: i64 = 200_000;

/// How long a line is left alone after it was looked at in front of where claims begin. Such a look walks over all entries of rows that are gone but still
/// visible to somebody's old snapshot. Each one that finds nothing makes the rest twice as long, up to the longest.
const REST_MIN: Duration = Duration::from_millis(50);
/// So long, and as long as two looks take, a run may wait at most that became ready in front of where claims begin and of which somebody told so, while there
/// is room for it.
const REST_MAX: Duration = Duration::from_secs(1);
/// A look that took long is followed by a rest of so many times as long, whatever it found.
const REST_FOR_LOOK: u32 = 20;
/// But no longer than this, if nobody told of anything.
const REST_FOR_LOOK_MAX: Duration = Duration::from_secs(10);

/// A claim looks in front of its floor itself, where somebody said that something is there, if the last look took no longer than this.
const CHEAP: Duration = Duration::from_millis(10);

/// The lines that a worker takes runs from.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Names of the queues that it serves; none: all.
    serves: Option<Vec<String>>,
    /// The named ones among them, as last heard of.
    named: Vec<QueueBeat>,
    /// How far each source was looked at.
    places: HashMap<Option<i32>, Place>,
    /// The source that the next claim begins with.
    first: usize,
    /// Queues in which runs may have their turn.
    wanted: BTreeSet<i32>,
    /// When they may have it, where that is known.
    again: BTreeMap<i32, Timestamp>,
    has_paused_workflows: bool,
    /// How long the last claim took that began at the floors.
    usual: Duration,
}

/// How far a source was read. Most runs become ready behind all others; those with a priority, those whose start was committed late, and those of
/// a server whose clock was set back do not. So after each claim it is looked for those in front of the floor, when the rest is over. Of priorities it is
/// told: the next claim begins at the beginning then, unless it would walk over much that is gone.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The next claim begins here; none: at the beginning.
    floor: Option<Timestamp>,
    /// Something may stand in front of the floor.
    is_to_look: bool,
    /// Somebody said so.
    is_told: bool,
    /// When that was looked for.
    looked_at: Option<Instant>,
    /// How much longer than others it, or a claim that walked over what is in front, took.
    took: Duration,
    rest: Duration,
    /// Where the floor was before it was set back to what a look has found.
    set_back_from: Option<Timestamp>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            floor: None,
            is_to_look: false,
            is_told: false,
            looked_at: None,
            took: Duration::ZERO,
            rest: REST_MIN,
            set_back_from: None,
        }
    }
}

impl Place {
    /// When it may be looked in front of the floor again; none: at any time.
    fn look_after(&self) -> Option<Instant> {
        let longest = if self.is_told {
            REST_MAX
        } else {
            REST_FOR_LOOK_MAX
        };
        let rest = self.rest.max(self.took * REST_FOR_LOOK).min(longest);
        self.looked_at.map(|at| at + rest)
    }

    /// Where the next claim begins.
    fn from(&self) -> Option<Timestamp> {
        self.floor.filter(|_| !self.is_told || self.took > CHEAP)
    }

    /// When it is to be looked there; none: not as far as is known.
    fn next_look(&self, now: Instant) -> Option<Instant> {
        (self.is_to_look && self.floor.is_some()).then(|| self.look_after().unwrap_or(now))
    }
}

fn a_little_before(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_sub(LATE_COMMITS_MICROS))
}

impl Lines {
    pub(crate) fn new(serves: Option<Vec<String>>) -> Self {
        Self {
            serves,
            named: Vec::new(),
            places: HashMap::new(),
            first: 0,
            wanted: BTreeSet::new(),
            again: BTreeMap::new(),
            has_paused_workflows: false,
            usual: Duration::ZERO,
        }
    }

    /// What a heartbeat has brought.
    pub(crate) fn beat(&mut self, queues: Vec<QueueBeat>, has_paused_workflows: bool) {
        let known = std::mem::replace(&mut self.named, queues);
        if self.has_paused_workflows && !has_paused_workflows {
            self.look_everywhere();
        }
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
        // Of what was paused meanwhile, nobody knows where it stands.
        self.places.retain(|source, _| {
            source.is_none_or(|id| {
                let is_served = |queue: &&QueueBeat| queue.id == id && !queue.paused;
                named.iter().any(|queue| is_served(&queue))
                    && known.iter().any(|queue| is_served(&queue))
            })
        });
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

    /// The sources that runs are claimed from.
    fn served(&self) -> impl Iterator<Item = Option<i32>> {
        let serves_default = self
            .serves
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == DEFAULT_QUEUE));
        let named = self
            .named
            .iter()
            .filter(|queue| !queue.paused)
            .map(|queue| Some(queue.id));
        serves_default.then_some(None).into_iter().chain(named)
    }

    fn place(&self, source: Option<i32>) -> Place {
        self.places.get(&source).copied().unwrap_or_default()
    }

    /// From where on a heartbeat looks whether anything is ready.
    pub(crate) fn heard_from(&self) -> Vec<(Option<i32>, Option<Timestamp>)> {
        self.served()
            .map(|source| (source, self.place(source).floor))
            .collect()
    }

    /// Some line was not read yet at all.
    pub(crate) fn is_new(&self) -> bool {
        self.served()
            .any(|source| self.place(source).floor.is_none())
    }

    /// When it is to be looked in front of the floors next; none: not as far as is known.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Instant> {
        self.served()
            .filter_map(|source| self.place(source).next_look(now))
            .min()
    }

    /// The lines that are to be looked at in front of their floors now, with these.
    pub(crate) fn due_looks(&mut self, now: Instant) -> Vec<(Option<i32>, Timestamp)> {
        self.looks(|place| place.next_look(now).is_some_and(|at| at <= now))
    }

    /// All lines that have floors, with these.
    pub(crate) fn all_looks(&mut self) -> Vec<(Option<i32>, Timestamp)> {
        self.looks(|_| true)
    }

    fn looks(&mut self, which: impl Fn(&Place) -> bool) -> Vec<(Option<i32>, Timestamp)> {
        let served: Vec<Option<i32>> = self.served().collect();
        let mut looks = Vec::new();
        for source in served {
            if let Some(place) = self.places.get_mut(&source)
                && let Some(floor) = place.floor
                && which(place)
            {
                // Whatever comes from now on may be missed.
                place.is_to_look = false;
                place.is_told = false;
                looks.push((source, floor));
            }
        }
        looks
    }

    /// What was found there, by line the first place that a run stands at, by a look that took so long (none: it has looked at more than that). True: there
    /// is something to claim.
    pub(crate) fn looked_back(
        &mut self,
        looks: &[(Option<i32>, Timestamp)],
        firsts: &[Option<Timestamp>],
        now: Instant,
        took: Option<Duration>,
    ) -> bool {
        let mut has_found = false;
        for ((source, _), first) in looks.iter().zip(firsts) {
            // What was paused meanwhile is read from its beginning when it goes on.
            let Some(place) = self.places.get_mut(source) else {
                continue;
            };
            place.looked_at = Some(now);
            place.took = took.unwrap_or(place.took);
            // A claim that finds it makes the rest short again. It may be locked, and be there for long.
            place.rest = (place.rest * 2).min(REST_MAX);
            if let (Some(first), Some(floor)) = (*first, place.floor) {
                has_found = true;
                if first < floor {
                    place.floor = Some(first);
                    place.set_back_from = Some(floor);
                }
            }
        }
        has_found
    }

    /// Nobody knows what stands there: a look has failed.
    pub(crate) fn look_failed(&mut self, looks: &[(Option<i32>, Timestamp)], now: Instant) {
        for (source, _) in looks {
            if let Some(place) = self.places.get_mut(source) {
                place.is_to_look = true;
                place.looked_at = Some(now);
                place.rest = REST_MAX;
            }
        }
    }

    /// The next claim; none if there is nothing to claim from.
    pub(crate) fn claim(&mut self, max: u32) -> Option<Claim> {
        let mut ids: Vec<Option<i32>> = self.served().collect();
        if ids.is_empty() {
            return None;
        }
        // Whoever comes first may take all the room, so everybody does in turn.
        let first = self.first % ids.len();
        self.first = first + 1;
        ids.rotate_left(first);
        let sources = ids
            .into_iter()
            .map(|id| (id, self.place(id).from()))
            .collect();
        Some(Claim {
            max,
            sources,
            has_paused_workflows: self.has_paused_workflows,
        })
    }

    /// What a claim has brought that was made at `asked_at` by the database's clock and answered `now`, which took so long.
    pub(crate) fn claimed(
        &mut self,
        claim: &Claim,
        runs: &ClaimedRuns,
        asked_at: Timestamp,
        now: Instant,
        took: Duration,
    ) {
        let walks = |(source, from): &(Option<i32>, Option<Timestamp>)| {
            from.is_none() || self.place(*source).set_back_from.is_some()
        };
        if !claim.sources.iter().any(walks) {
            self.usual = took;
        }
        let took = took.saturating_sub(self.usual);
        let leased = runs.leased.iter().map(|run| (run.queue, run.ready_at));
        // By source, the first and the last place in line that something was found at.
        let mut found: HashMap<Option<i32>, (Timestamp, Timestamp)> = HashMap::new();
        for (source, at) in leased.chain(runs.put_aside.iter().copied()) {
            let (first, last) = found.entry(source).or_insert((at, at));
            *first = at.min(*first);
            *last = at.max(*last);
        }
        let is_full = runs.leased.len() + runs.put_aside.len() >= claim.max as usize;
        // Behind the one that took the last room none was read.
        let read = if is_full {
            let mut sources = claim.sources.iter();
            let last = sources.rposition(|(source, _)| found.contains_key(source));
            last.map_or(0, |last| last + 1)
        } else {
            claim.sources.len()
        };
        for (source, from) in claim.sources.iter().take(read) {
            let place = self.places.entry(*source).or_default();
            let found = found.get(source);
            let set_back_from = place.set_back_from.take();
            let usual_floor = set_back_from.or(place.floor.filter(|_| from.is_none()));
            if from.is_none() || set_back_from.is_some() {
                place.looked_at = Some(now);
                place.took = took;
            }
            if found
                .zip(usual_floor)
                .is_some_and(|((first, _), floor)| *first < floor)
            {
                place.rest = REST_MIN;
            }
            place.is_to_look |= from.is_some() || place.is_told;
            place.is_told &= from.is_some();
            // A run with a priority below zero stands further behind than those that come now.
            let end = found.filter(|_| is_full);
            let end = end.map_or(asked_at, |(_, last)| asked_at.min(*last));
            place.floor = Some(a_little_before(end));
        }
    }

    /// Something has become ready that may stand in front of others.
    pub(crate) fn look_first(&mut self) {
        for place in self.places.values_mut() {
            place.is_to_look = true;
            place.is_told = true;
            place.rest = REST_MIN;
        }
    }

    /// Nobody knows how the lines stand.
    pub(crate) fn look_everywhere(&mut self) {
        self.places.clear();
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

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

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    /// A claim of up to ten at this time, which finds runs in no named queue at these places. Answers where it began.
    fn claim_at(lines: &mut Lines, now: Instant, asked_at: i64, found: &[i64]) -> Option<i64> {
        let claim = lines.claim(10).unwrap();
        let put_aside = found.iter().map(|place| (None, at(*place))).collect();
        let found = ClaimedRuns {
            leased: Vec::new(),
            put_aside,
        };
        lines.claimed(&claim, &found, at(asked_at), now, Duration::ZERO);
        let from = claim.sources.iter().find(|(source, _)| source.is_none());
        from.unwrap().1.map(Timestamp::as_micros)
    }

    /// A look in front of the floor of the runs in no named queue, that finds this. Answers in front of what it looked.
    fn look(lines: &mut Lines, now: Instant, took: Duration, first: Option<i64>) -> Option<i64> {
        let looks = lines.due_looks(now);
        let firsts = [first.map(at)];
        let has_found = lines.looked_back(&looks, &firsts, now, Some(took));
        assert_eq!(has_found, !looks.is_empty() && first.is_some());
        looks.first().map(|(_, floor)| floor.as_micros())
    }

    #[test]
    fn it_is_looked_in_front_of_a_line_after_rests_that_grow_while_nothing_is_found() {
        let mut lines = Lines::new(None);
        let mut now = Instant::now();
        assert!(lines.is_new());
        assert_eq!(claim_at(&mut lines, now, 10_000_000, &[9_000_000]), None);
        // All of it was read, and nothing has happened since.
        assert!(!lines.is_new());
        assert_eq!(lines.next_look(now), None);
        for rest in [50, 100, 200, 400, 800, 1000, 1000] {
            let rest = Duration::from_millis(rest);
            assert_eq!(claim_at(&mut lines, now, 10_000_000, &[]), Some(9_800_000));
            assert_eq!(lines.next_look(now), Some(now + rest));
            let almost = now + rest - Duration::from_millis(1);
            assert_eq!(look(&mut lines, almost, Duration::ZERO, None), None);
            now += rest;
            let floor = look(&mut lines, now, Duration::ZERO, None);
            assert_eq!(floor, Some(9_800_000));
            assert_eq!(lines.next_look(now), None);
        }
        // What stands in front is claimed next, and only once.
        claim_at(&mut lines, now, 12_000_000, &[]);
        now += REST_MAX;
        look(&mut lines, now, Duration::ZERO, Some(500));
        assert_eq!(claim_at(&mut lines, now, 12_000_000, &[500]), Some(500));
        assert_eq!(claim_at(&mut lines, now, 12_000_000, &[]), Some(11_800_000));
        assert_eq!(lines.next_look(now), Some(now + REST_MIN));
    }

    #[test]
    fn what_becomes_ready_while_it_is_looked_is_looked_for_again() {
        let mut lines = Lines::new(None);
        let now = Instant::now();
        claim_at(&mut lines, now, 10_000_000, &[]);
        claim_at(&mut lines, now, 10_000_000, &[]);
        let looks = lines.due_looks(now);
        lines.look_first();
        lines.looked_back(&looks, &[None], now, None);
        assert!(lines.next_look(now).is_some());
        // Nobody knows what a look would have found that has failed.
        let looks = lines.due_looks(now + REST_MAX);
        assert_eq!(lines.next_look(now), None);
        lines.look_failed(&looks, now);
        assert_eq!(lines.next_look(now), Some(now + REST_MAX));
        // One at everything asks for no reason.
        let looks = lines.all_looks();
        lines.looked_back(&looks, &[None], now, None);
        assert_eq!(lines.due_looks(now + REST_MAX), []);
        assert_eq!(lines.all_looks(), looks);
    }

    #[test]
    fn what_may_stand_in_front_of_others_is_looked_for_after_the_shortest_rest() {
        let mut lines = Lines::new(None);
        let mut now = Instant::now();
        claim_at(&mut lines, now, 10_000_000, &[]);
        for _ in 0..5 {
            claim_at(&mut lines, now, 10_000_000, &[]);
            now = lines.next_look(now).unwrap();
            look(&mut lines, now, Duration::ZERO, None);
        }
        lines.look_first();
        assert_eq!(lines.next_look(now), Some(now + REST_MIN));
        // One that comes alone is not kept waiting at all.
        now += REST_MAX;
        assert!(look(&mut lines, now, Duration::ZERO, None).is_some());
        assert_eq!(lines.next_look(now), None);
        now += REST_MIN * 2;
        lines.look_first();
        assert!(lines.next_look(now).is_some_and(|at| at <= now));
    }

    #[test]
    fn a_claim_reads_from_the_beginning_if_somebody_stands_in_front_and_the_walk_is_short() {
        let mut lines = Lines::new(None);
        let now = Instant::now();
        let floor = Some(9_800_000);
        claim_at(&mut lines, now, 10_000_000, &[]);
        lines.look_first();
        assert_eq!(claim_at(&mut lines, now, 10_000_000, &[]), None);
        assert_eq!(claim_at(&mut lines, now, 10_000_000, &[]), floor);
        // How long the walk is by now is found out all the same.
        assert!(look(&mut lines, now + REST_MIN, CHEAP * 2, None).is_some());
        lines.look_first();
        assert_eq!(claim_at(&mut lines, now, 10_000_000, &[]), floor);
        look(&mut lines, now + REST_MAX * 2, CHEAP * 2, Some(500));
        assert_eq!(claim_at(&mut lines, now, 10_000_000, &[]), Some(500));
    }

    #[test]
    fn a_look_that_took_long_is_followed_by_a_rest_whatever_was_found() {
        let mut lines = Lines::new(None);
        let mut now = Instant::now();
        claim_at(&mut lines, now, 10_000_000, &[]);
        let mut rest = |took: u64| {
            now += REST_MAX;
            lines.look_first();
            look(&mut lines, now, Duration::from_millis(took), Some(500));
            lines.look_first();
            lines.next_look(now).unwrap() - now
        };
        assert_eq!(rest(1), REST_MIN);
        assert_eq!(rest(10), Duration::from_millis(200));
        assert_eq!(rest(100), REST_MAX);
        // If nobody has told of anything.
        claim_at(&mut lines, now, 10_000_000, &[]);
        now += REST_MAX;
        assert!(look(&mut lines, now, Duration::from_millis(100), None).is_some());
        assert!(claim_at(&mut lines, now, 10_000_000, &[]).is_some());
        assert_eq!(lines.next_look(now), Some(now + REST_MAX * 2));
    }

    #[test]
    fn lines_behind_the_one_that_took_all_room_are_still_to_be_read() {
        let mut lines = Lines::new(None);
        lines.beat(vec![queue(1, "a")], false);
        let claim = lines.claim(1).unwrap();
        assert_eq!(claim.sources, [(None, None), (Some(1), None)]);
        let found = ClaimedRuns {
            leased: Vec::new(),
            put_aside: vec![(None, at(10_000_000))],
        };
        lines.claimed(
            &claim,
            &found,
            at(11_000_000),
            Instant::now(),
            Duration::ZERO,
        );
        assert!(lines.is_new());
        // What was read up to here goes on here.
        let claim = lines.claim(1).unwrap();
        let floor = Some(at(9_800_000));
        assert_eq!(claim.sources, [(Some(1), None), (None, floor)]);
    }

    #[test]
    fn a_queue_that_is_new_or_goes_on_is_read_from_its_beginning_at_once() {
        let mut lines = Lines::new(None);
        let now = Instant::now();
        claim_at(&mut lines, now, 10_000_000, &[]);
        assert!(!lines.is_new());
        lines.beat(vec![queue(1, "a")], false);
        assert!(lines.is_new());
        claim_at(&mut lines, now, 10_000_000, &[]);
        lines.beat(vec![queue(1, "a")], false);
        let floor = Some(at(9_800_000));
        assert_eq!(lines.heard_from(), [(None, floor), (Some(1), floor)]);
        let paused = QueueBeat {
            paused: true,
            ..queue(1, "a")
        };
        lines.beat(vec![paused], false);
        assert_eq!(lines.heard_from(), [(None, floor)]);
        lines.beat(vec![queue(1, "a")], false);
        assert_eq!(lines.heard_from(), [(None, floor), (Some(1), None)]);
        assert!(lines.is_new());
    }

    type Looks = Vec<(Option<i32>, Timestamp)>;

    /// Runs that become ready anywhere in line, and are notified, sometimes also as those that stand in front, are claimed within the longest rest that they are
    /// to wait and two looks, whatever else is claimed meanwhile.
    #[test]
    fn no_run_waits_for_longer_than_the_longest_rest_wherever_it_stands() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let begin = Instant::now();
            let mut lines = Lines::new(None);
            // Since when, and how long at most.
            let mut ready: BTreeMap<i64, (Instant, Duration)> = BTreeMap::new();
            let mut now = begin;
            let (mut want_claim, mut count) = (true, 0);
            let walk = [0, 5, 20, 300].map(Duration::from_millis)[(seed % 4) as usize];
            // The loop below may come by a little late, when a look begins and when it ends.
            let late = 2 * walk + 3 * Duration::from_millis(20);
            let told = REST_MAX + late;
            let untold = (walk * REST_FOR_LOOK).clamp(REST_MAX, REST_FOR_LOOK_MAX) + late;
            // Where claims have begun that did not walk over much.
            let mut usual_floor = 0;
            let mut looking: Option<(Looks, [Option<Timestamp>; 1], Instant)> = None;
            while now < begin + Duration::from_secs(20) {
                let micros = 1_000_000_000 + i64::try_from((now - begin).as_micros()).unwrap();
                if rng.random_ratio(1, 6) {
                    let behind = [0, 0, 0, 1_000, 300_000, 60_000_000][rng.random_range(0..6)];
                    want_claim = true;
                    let is_told = behind > 1_000 && rng.random_ratio(1, 2);
                    if is_told {
                        lines.look_first();
                    }
                    let longest = if is_told { told } else { untold };
                    ready.entry(micros - behind).or_insert((now, longest));
                }
                if let Some((looks, firsts, begun)) =
                    looking.take_if(|(_, _, begun)| *begun + walk <= now)
                {
                    want_claim |= lines.looked_back(&looks, &firsts, now, Some(now - begun));
                }
                // A claim that took all it had room for is followed by another at once.
                while want_claim || lines.is_new() {
                    let claim = lines.claim(3).unwrap();
                    let from = claim.sources[0].1.map_or(0, Timestamp::as_micros);
                    let took = if from < usual_floor {
                        walk
                    } else {
                        Duration::ZERO
                    };
                    usual_floor = from.max(usual_floor);
                    let found: Vec<i64> = ready
                        .range(from..)
                        .map(|(place, _)| *place)
                        .take(3)
                        .collect();
                    for place in &found {
                        let (since, longest) = ready.remove(place).unwrap();
                        assert!(now - since <= longest, "seed {seed}: {:?}", now - since);
                    }
                    want_claim = found.len() == 3;
                    let found = ClaimedRuns {
                        leased: Vec::new(),
                        put_aside: found.into_iter().map(|place| (None, at(place))).collect(),
                    };
                    lines.claimed(&claim, &found, at(micros), now, took);
                }
                if looking.is_none() && lines.next_look(now).is_some_and(|at| at <= now) {
                    let looks = lines.due_looks(now);
                    let (_, floor) = looks[0];
                    let first = ready.range(..floor.as_micros()).next();
                    let firsts = [first.map(|(place, _)| at(*place))];
                    looking = Some((looks, firsts, now));
                    count += 1;
                }
                for (since, longest) in ready.values() {
                    assert!(now - *since <= *longest, "seed {seed}: {:?}", now - *since);
                }
                now += Duration::from_millis(rng.random_range(1..20));
            }
            let rest = (walk * REST_FOR_LOOK).clamp(REST_MIN, REST_MAX);
            let most = 20_000 / rest.as_millis() + 2;
            assert!(count <= most, "seed {seed}: {count} looks, each {walk:?}");
        }
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
