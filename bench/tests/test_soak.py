"""The arithmetic of the soak, without a server: what a verdict says of samples that are given."""

import json
import unittest
from dataclasses import replace

from soak.load import TOGETHER, Pacer
from soak.sample import Cost, Sample, Spread
from soak.verdict import Plan, Soak, verdict

MIB = 1024 * 1024

PLAN = Plan.of(minutes=100, snapshot_minutes=10)


def sample(at: float, size: float = 10 * MIB, p99: float = 5, memory: float = 50) -> Sample:
    return Sample(
        at=at,
        snapshot=PLAN.phase(at) == "during",
        sizes={"run": int(size), "fence": 8192},
        dead={"run": 1},
        vacuums={"run": 1},
        ready=1,
        leased=1,
        suspended=1,
        kept=1,
        started=100,
        ended=100,
        swept=100,
        wal_bytes=MIB,
        claim=Spread(1, p99, p99, 100),
        whole=Spread(1, 5, 5, 100),
        probe=None,
        worker_resident=memory,
        worker_own=memory,
        postgres_own=20,
        worker_cpu=0.5,
        postgres_cpu=0.5,
        others_cpu=0,
        stolen=0,
    )


def soak(*samples: Sample) -> Soak:
    found = Soak(
        {
            "when": "2026-01-01",
            "machine": {"processor": "one", "processors": 2, "memoryMiB": 2048, "system": "Linux 6"},
            "postgres": "15",
            "fileSystem": "ext4",
            "dacapo": "dacapo 0.1.0",
            "rate": 100.0,
            "retentionSeconds": 120,
            "sweepSeconds": 600,
        },
        PLAN,
    )
    found.samples += samples
    return found


def row(text: str, begin: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {begin} |"))


class Verdicts(unittest.TestCase):
    def test_the_snapshot_is_open_for_half_of_a_short_sitting_at_most(self) -> None:
        self.assertEqual((PLAN.snapshot_begin, PLAN.snapshot_end), (1800, 2400))
        short = Plan.of(minutes=4, snapshot_minutes=10)
        self.assertEqual(short.snapshot_end - short.snapshot_begin, 120)

    def test_a_table_that_grew_only_under_the_snapshot_does_not_grow(self) -> None:
        text = verdict(soak(*(sample(at, 10 * MIB if at < 2400 else 30 * MIB) for at in range(0, 6000, 60))))
        self.assertIn("| 30.0 | 30.0 | 30.0 | 1.00 |", row(text, "run"))

    def test_what_grew_until_vacuum_came_after_the_snapshot_is_not_counted(self) -> None:
        plan = Plan.of(minutes=16, snapshot_minutes=4)
        found = soak(*(sample(at, 10 * MIB if at < plan.snapshot_end + 100 else 30 * MIB) for at in range(0, 960, 5)))
        found.plan = plan
        self.assertIn("| 30.0 | 30.0 | 30.0 | 1.00 |", row(verdict(found), "run"))

    def test_a_table_that_grows_in_the_second_half_is_told_of(self) -> None:
        text = verdict(soak(*(sample(at, (10 + at / 100) * MIB) for at in range(0, 6000, 60))))
        self.assertIn("**grows**", row(text, "run"))

    def test_memory_that_is_level_is_not_told_of_and_memory_that_grows_is(self) -> None:
        level = verdict(soak(*(sample(at) for at in range(0, 6000, 60))))
        self.assertNotIn("**grows**", level)
        text = verdict(soak(*(sample(at, memory=50 + at / 50) for at in range(0, 6000, 60))))
        self.assertIn("**grows**", row(text, "the worker, its own"))

    def test_a_latency_that_rises_with_the_snapshot_is_told_of(self) -> None:
        samples = [sample(at, p99=20 if PLAN.phase(at) == "during" else 5) for at in range(0, 6000, 60)]
        self.assertIn(
            "| 5.00 | 20.0 | 5.00 | 4.00 **slower** |", row(verdict(soak(*samples)), "ready to claimed, p99, ms")
        )
        self.assertNotIn("**slower**", verdict(soak(*(sample(at) for at in range(0, 6000, 60)))))

    def test_each_minute_has_its_latencies_and_those_of_a_long_sitting_go_together(self) -> None:
        short = soak(*(sample(at, p99=20 if PLAN.phase(at) == "during" else 5) for at in range(1700, 2500, 5)))
        text = verdict(short)
        self.assertIn("| 30 |  | 1.00 | 5.00 | 5.00 | 1 |", text)
        self.assertIn("| 31 | open | 1.00 | 20.0 | 5.00 | 1 |", text)
        long = verdict(soak(*(sample(at) for at in range(0, 6000, 60))))
        self.assertIn("| 3 |  | 1.00", long)
        self.assertNotIn("| 2 |  | 1.00", long)

    def test_the_better_quarter_is_told_of_where_others_were_on_the_machine(self) -> None:
        alone = soak(*(sample(at) for at in range(0, 6000, 60)))
        self.assertNotIn("better quarter", verdict(alone))
        disturbed = soak(*(replace(one, others_cpu=0.5) for one in alone.samples))
        self.assertIn("better quarter", verdict(disturbed))

    def test_a_sitting_that_was_broken_off_says_so(self) -> None:
        found = soak(*(sample(at) for at in range(0, 600, 60)))
        found.about["ended"] = "it was interrupted"
        text = verdict(found)
        self.assertIn("it was interrupted", text)
        self.assertIn("too few samples", row(text, "run"))

    def test_a_sitting_without_samples_has_a_verdict(self) -> None:
        self.assertIn("0 minutes", verdict(soak()))

    def test_what_is_kept_makes_the_same_verdict(self) -> None:
        found = soak(*(sample(at) for at in range(0, 6000, 60)))
        found.costs = [{"1": Cost("select 1", calls, float(calls), calls)} for calls in (0, 10, 30, 60)]
        self.assertIn("| `select 1` | 20 | 1000.00 |", verdict(found))
        self.assertEqual(verdict(Soak.of_data(json.loads(json.dumps(found.data())))), verdict(found))


class Pacing(unittest.TestCase):
    def test_a_rate_is_kept_whenever_it_is_asked_for(self) -> None:
        pacer = Pacer(10, begin=100)
        self.assertEqual([pacer.due(now) for now in (100, 100.0625, 100.125, 101, 101)], [0, 0, 1, 9, 0])

    def test_one_who_comes_late_is_not_given_all_at_once(self) -> None:
        pacer = Pacer(TOGETHER, begin=0)
        self.assertEqual([pacer.due(now) for now in (3, 3, 3, 3)], [TOGETHER, TOGETHER, TOGETHER, 0])
