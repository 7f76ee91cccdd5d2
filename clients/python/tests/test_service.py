"""Against the Postgres of DATABASE_URL, where the component of examples-guests/order is deployed and a worker takes runs."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import unittest
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "examples")]

import psycopg
from dacapo_client import Dacapo, DacapoError, EventRef, Ref

from orders import PLACE, PLACE_PAID, SHIP, Order, Receipt
from service import service

URL = os.environ["DATABASE_URL"]


def order(number: int) -> Order:
    return {"number": number, "customer": "Ada", "items": [{"sku": "tea", "quantity": 2}]}


class ServiceTest(unittest.TestCase):
    def setUp(self) -> None:
        self.connection = psycopg.connect(URL, autocommit=True)
        self.dacapo = Dacapo(self.connection)

    def tearDown(self) -> None:
        self.connection.close()

    def refused(self, code: str, says: str, doing: Callable[[], object]) -> DacapoError:
        with self.assertRaisesRegex(DacapoError, says) as caught:
            doing()
        self.assertEqual(caught.exception.code, code)
        return caught.exception

    def post(self, server: Any, path: str, body: object) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.server_port}{path}", None if body is None else json.dumps(body).encode()
        )
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def test_an_order_goes_through_the_service(self) -> None:
        server = service(URL, 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        status, answer = self.post(server, "/orders", order(81))
        self.assertEqual(status, 201)
        id = answer["id"]
        self.assertEqual(self.post(server, "/orders", order(81)), (201, {"id": id}))
        self.assertEqual(self.post(server, f"/orders/{id}/payment", {"reference": "bank-1"})[0], 202)
        receipt: Receipt = self.dacapo.output(PLACE.run(id), timeout=60)
        self.assertEqual((receipt["number"], receipt["payment"]), (81, "bank-1"))
        shown = self.post(server, f"/orders/{id}", None)
        self.assertEqual(shown, (200, {"status": "completed", "receipt": receipt, "problem": None}))
        self.assertEqual(self.post(server, f"/orders/{id}/payment", {"reference": "bank-2"})[0], 409)
        # What it is given is checked, and the answer says where it is wrong.
        status, answer = self.post(server, "/orders", {**order(82), "number": "82"})
        self.assertEqual(status, 422)
        self.assertIn('input.number: expected u32, got "82"', answer["error"])
        self.assertEqual(self.post(server, "/orders/7/payment", {"reference": "x"})[0], 422)

    def test_a_run_of_a_transaction_that_is_rolled_back_never_was(self) -> None:
        with psycopg.connect(URL) as connection:
            run = Dacapo(connection).start(SHIP({"customer": "Ada", "lines": []}))
            self.assertEqual(Dacapo(connection).get(run).status, "queued")
            connection.rollback()
        self.refused("not-found", "there is no run", lambda: self.dacapo.get(run))

    def test_a_run_is_paused_resumed_and_cancelled(self) -> None:
        # It begins so late that no worker disturbs.
        run = self.dacapo.start(
            SHIP({"customer": "Ada", "lines": []}), delay=timedelta(hours=1), labels={"test": "pause"}
        )
        self.dacapo.pause(run)
        paused = self.dacapo.get(run)
        self.assertEqual((paused.status, paused.labels), ("paused", {"test": "pause"}))
        self.dacapo.resume(run)
        self.refused("conflict", "cannot resume run", lambda: self.dacapo.resume(run))
        self.dacapo.cancel(run)
        self.refused("cancelled", "was cancelled", lambda: self.dacapo.output(run, timeout=60))
        self.refused("conflict", "it is cancelled", lambda: self.dacapo.pause(run))

    def test_a_failed_runs_failure_comes_with_the_error(self) -> None:
        run = self.dacapo.start(PLACE(order(84)), deadline=timedelta(milliseconds=1))
        error = self.refused("failed", "deadline", lambda: self.dacapo.output(run, timeout=60))
        self.assertIsNotNone(error.failure)

    def test_waiting_ends_in_time(self) -> None:
        later = datetime.now(timezone.utc) + timedelta(hours=1)
        run = self.dacapo.start(SHIP({"customer": "Ada", "lines": []}), at=later)
        self.refused("timed-out", "has not ended in 0.001 s", lambda: self.dacapo.wait(run, timeout=0.001))
        self.dacapo.cancel(run)

    def test_events_with_one_id_are_one_event_and_starts_with_one_key_one_run(self) -> None:
        run = self.dacapo.start(PLACE(order(85)), delay="1 hour")
        paid = PLACE_PAID({"reference": "bank-1"})
        self.assertEqual(self.dacapo.send_event(run, paid, id="bank-1"), "sent")
        self.assertEqual(self.dacapo.send_event(run, paid, id="bank-1"), "duplicate")
        self.dacapo.cancel(run)
        often: dict[str, Any] = {
            "debounce": "py",
            "debounce_for": timedelta(minutes=10),
            "debounce_max": "1 hour",
            "priority": "high",
        }
        first = self.dacapo.start(SHIP({"customer": "Ada", "lines": []}), **often)
        second = self.dacapo.start(SHIP({"customer": "Ada", "lines": ["1"]}), **often)
        self.assertEqual(first, second)
        self.assertEqual(self.dacapo.get(second).input, {"customer": "Ada", "lines": ["1"]})
        self.dacapo.cancel(first)
        call = SHIP({"customer": "Ada", "lines": []})
        only = self.dacapo.start(call, singleton="py", delay="1 hour")
        self.refused(
            "conflict",
            'singleton "py" belongs to run',
            lambda: self.dacapo.start(call, singleton="py", delay="1 hour"),
        )
        next = self.dacapo.start(call, singleton="py", on_conflict="queue")
        self.assertEqual(self.dacapo.get(next).waiting_for, "singleton")
        self.dacapo.cancel(next)
        self.dacapo.cancel(only)

    def test_what_has_no_form_in_json_is_refused(self) -> None:
        anything: Ref[Any, Any] = Ref("shop:orders/orders.ship")
        cyclic: list[Any] = []
        cyclic.append(cyclic)
        for value in (math.nan, {1, 2}, {"a": object()}, cyclic):
            self.refused("bad-input", "orders.ship has no form in JSON", lambda: self.dacapo.start(anything(value)))

    def test_what_is_not_there_is_an_error(self) -> None:
        nothing: Ref[None, None] = Ref("shop:orders/orders.none")
        self.refused("not-found", "there is no workflow", lambda: self.dacapo.start(nothing(None)))
        run = self.dacapo.start(PLACE(order(83)), delay="1 hour")
        wrong: EventRef[Any] = EventRef("payed")
        self.refused("bad-input", "payed", lambda: self.dacapo.send_event(run, wrong({"reference": "x"})))
        loose: EventRef[Any] = EventRef(PLACE_PAID.name)
        self.refused("bad-input", "reference", lambda: self.dacapo.send_event(run, loose({"ref": 1})))
        self.dacapo.cancel(run)


if __name__ == "__main__":
    unittest.main()
