"""The arithmetic of the bench, without a server: what a report says of figures that are given."""

import json
import unittest

from compare import plot, report
from compare.figures import BY_KEY
from compare.machine import Busy, ProcessTimes
from compare.measure import percentile
from compare.results import Load, PartResult, Results
from compare.targets import targets
from compare.workloads import flight_figures


def results(**engines: list[dict[str, float]]) -> Results:
    """Results in which these engines have these figures, one dictionary for each pass."""
    found = Results(
        about={
            "when": "2026-01-01",
            "quick": True,
            "priority": False,
            "stopped": False,
            "seconds": 60,
            "machine": {"processor": "one", "processors": 2, "memoryMiB": 2048, "system": "Linux 6"},
            "postgres": "15",
            "fileSystem": "ext4",
            "dacapo": "dacapo 0.1.0",
        },
        engines={
            name: {
                "title": name.title(),
                "peer": name not in ("dacapo", "commits", "queue"),
                "packages": [f"{name}@1.2.3"],
                "settings": {"pool": 16},
                "settingsFor": {"once": {"pool": 1}},
            }
            for name in engines
        },
    )
    for name, passes in engines.items():
        for turn, figures in enumerate(passes):
            found.parts.append(PartResult("drain", turn, name, 1.0, Load(0, 0, 0), figures))
    return found


class Figures(unittest.TestCase):
    def test_a_ratio_is_of_figures_of_the_same_pass(self) -> None:
        # The machine was twice as fast in the second pass, for both.
        found = results(
            dacapo=[{"drain.runs": 100}, {"drain.runs": 200}], slow=[{"drain.runs": 10}, {"drain.runs": 20}]
        )
        ratio = found.ratio("dacapo", "slow", "drain.runs")
        assert ratio
        self.assertEqual((ratio.least, ratio.middle, ratio.most), (10, 10, 10))

    def test_a_pass_that_one_of_them_lacks_is_left_out_of_the_ratio(self) -> None:
        found = results(dacapo=[{"drain.runs": 100}, {"drain.runs": 100}], slow=[{}, {"drain.runs": 20}])
        ratio = found.ratio("dacapo", "slow", "drain.runs")
        assert ratio
        self.assertEqual((ratio.middle, ratio.passes), (5, 1))

    def test_the_best_peer_is_neither_dacapo_nor_a_plain_queue(self) -> None:
        figures = {"drain.runs": 1.0, "drain.cpu": 1.0}
        found = results(
            dacapo=[{"drain.runs": 900, "drain.cpu": 0.1}],
            queue=[{"drain.runs": 800, "drain.cpu": 0.2}],
            quick=[{"drain.runs": 50, "drain.cpu": 9}],
            thrifty=[{"drain.runs": 40, "drain.cpu": 3}],
        )
        self.assertEqual([found.best_peer(key) for key in figures], ["quick", "thrifty"])

    def test_the_plot_shows_how_much_worse_others_are_whatever_the_direction(self) -> None:
        found = results(dacapo=[{"drain.runs": 100, "drain.cpu": 1}], slow=[{"drain.runs": 10, "drain.cpu": 10}])
        for key in ["drain.runs", "drain.cpu"]:
            by = plot.worse_by(found, "slow", BY_KEY[key])
            assert by
            self.assertAlmostEqual(by, 10)

    def test_a_percentile_is_a_value_that_occurred(self) -> None:
        values = [float(value) for value in range(1, 101)]
        self.assertEqual([percentile(values, share) for share in (0.5, 0.95)], [51, 96])
        self.assertEqual(percentile([7.0], 0.95), 7)


class Targets(unittest.TestCase):
    def test_targets_are_met_missed_or_not_measured(self) -> None:
        found = targets(
            results(dacapo=[{"drain.runs": 100, "drain.cpu": 1}], absurd=[{"drain.runs": 4, "drain.cpu": 10}])
        )
        by_what = {target.what: target for target in found}
        self.assertEqual(by_what["3-step runs drained, against the best peer"].met, True)
        self.assertEqual(by_what["CPU of engine and Postgres for a run, of the best peer's"].met, False)
        self.assertEqual(by_what["event to completed, p50, in single-row commits"].met, None)

    def test_runs_in_flight_are_taken_from_the_data_of_dacapo_bench(self) -> None:
        measures = [
            {"row": "in-flight", "name": "200-step runs, 64 at once", "value": 7.0},
            {"row": "in-flight", "name": "loop of inserts, 64 at once", "value": 10.0},
            {"row": "in-flight", "name": "the one over the other, 64 at once", "value": 0.7},
            {"row": "in-flight", "name": "the one over the other, 1024 at once", "value": 0.4},
            {"row": "flow", "name": "the one over the other, 64 at once", "value": 9.0},
        ]
        figures = {f"flight.{name}": value for name, value in flight_figures({"measures": measures}).items()}
        self.assertLessEqual(set(figures), set(BY_KEY))
        found = targets(results(dacapo=[figures]))
        self.assertEqual([target.met for target in found if "in flight" in target.what], [True, False])


class Text(unittest.TestCase):
    def test_numbers_show_what_matters(self) -> None:
        shown = [report.number(value) for value in [12_345.6, 123.4, 12.34, 1.234, 0.01234, 50, 0]]
        self.assertEqual(shown, ["12,346", "123", "12.3", "1.23", "0.012", "50", "0"])

    def test_a_table_is_one_in_markdown(self) -> None:
        self.assertEqual(
            report.table([["", "a"], ["longer", "1"]]), ["|        |  a |", "|--------|---:|", "| longer |  1 |"]
        )

    def test_a_failure_is_said_once_with_its_engine(self) -> None:
        found = results(dacapo=[{}])
        part = PartResult("once", 0, "dacapo", 1.0, Load(0, 0, 0), {}, [], "it ended")
        found.parts += [part, part]
        self.assertEqual(found.notes(), ["once, Dacapo: it ended"])

    def test_what_was_kept_makes_the_same_report_again(self) -> None:
        found = results(dacapo=[{"drain.runs": 100}, {"drain.runs": 120}], slow=[{"drain.runs": 10}])
        found.missing["Gone"] = "it could not be installed"
        kept = Results.of_data(json.loads(json.dumps(found.data(targets(found)))))
        text = report.report(found, targets(found))
        self.assertEqual(report.report(kept, targets(kept)), text)
        for said in ["100 to 120", "0.100 x", "**Gone is missing**", ">= 20 x", "dacapo@1.2.3", "pool = 16", "once: pool = 1"]:
            self.assertIn(said, text)


class Machine(unittest.TestCase):
    def test_processor_time_is_found_behind_any_name(self) -> None:
        times = ProcessTimes.parse("7 (da) capo) S 1 7 6 0 -1 4194304 100 0 0 0 250 50 30 20 20 0 9 0")
        self.assertEqual((times.pid, times.parent, times.session), (7, 1, 6))
        self.assertAlmostEqual(times.own / times.of_ended_children, 6)

    def test_time_that_was_waited_or_stolen_is_not_busy(self) -> None:
        busy = Busy.parse("cpu 100 10 50 999 70 5 5 30 0 0")
        self.assertAlmostEqual(busy.busy / busy.stolen, 170 / 30)


if __name__ == "__main__":
    unittest.main()
