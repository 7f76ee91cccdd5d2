"""The client for asyncio, against the Postgres of DATABASE_URL, where examples-guests/order is deployed and a worker takes runs."""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import sys
import unittest
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "examples")]

import psycopg
from dacapo_client import AsyncDacapo, Dacapo, DacapoError, Ref
from psycopg.rows import dict_row

from orders import PLACE, PLACE_PAID, SHIP, Order, Receipt

URL = os.environ["DATABASE_URL"]


def order(number: int) -> Order:
    return {"number": number, "customer": "Ada", "items": [{"sku": "tea", "quantity": 2}]}


class AsyncTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.connection = await psycopg.AsyncConnection.connect(URL, autocommit=True)
        self.dacapo = AsyncDacapo(self.connection)

    async def asyncTearDown(self) -> None:
        await self.connection.close()

    async def refused(self, code: str, says: str, doing: Awaitable[Any]) -> DacapoError:
        with self.assertRaisesRegex(DacapoError, says) as caught:
            await doing
        self.assertEqual(caught.exception.code, code)
        return caught.exception

    def test_both_clients_have_the_same_calls(self) -> None:
        def calls(client: type) -> dict[str, list[str]]:
            functions = inspect.getmembers(client, inspect.isfunction)
            return {name: list(inspect.signature(call).parameters) for name, call in functions if name[:2] != "_a"}

        self.assertEqual(calls(AsyncDacapo), calls(Dacapo))

    async def test_two_orders_are_awaited_at_the_same_time_over_one_connection(self) -> None:
        runs = [await self.dacapo.start(PLACE(order(number)), key=f"async-{number}") for number in (91, 92)]
        again = await self.dacapo.start(PLACE(order(91)), key="async-91")
        self.assertEqual(again, runs[0])
        outputs = asyncio.gather(*(self.dacapo.output(run, timeout=60) for run in runs))
        for run in reversed(runs):
            paid = PLACE_PAID({"reference": f"bank-{run.id}"})
            self.assertEqual(await self.dacapo.send_event(run, paid, id="paid"), "sent")
        receipts: list[Receipt] = await outputs
        payments = [(receipt["number"], receipt["payment"]) for receipt in receipts]
        self.assertEqual(payments, [(91, f"bank-{runs[0].id}"), (92, f"bank-{runs[1].id}")])

    async def test_a_run_of_a_transaction_that_is_rolled_back_never_was(self) -> None:
        async with await psycopg.AsyncConnection.connect(URL) as connection:
            run = await AsyncDacapo(connection).start(SHIP({"customer": "Ada", "lines": []}))
            self.assertEqual((await AsyncDacapo(connection).get(run)).status, "queued")
            await connection.rollback()
        await self.refused("not-found", "there is no run", self.dacapo.get(run))

    async def test_a_run_is_paused_resumed_and_cancelled(self) -> None:
        # It begins so late that no worker disturbs.
        run = await self.dacapo.start(SHIP({"customer": "Ada", "lines": []}), delay=timedelta(hours=1))
        await self.dacapo.pause(run)
        self.assertEqual((await self.dacapo.get(run)).status, "paused")
        await self.dacapo.resume(run)
        await self.refused("conflict", "cannot resume run", self.dacapo.resume(run))
        await self.refused("timed-out", "has not ended in 0.001 s", self.dacapo.wait(run, timeout=0.001))
        await self.dacapo.cancel(run)
        await self.refused("cancelled", "was cancelled", self.dacapo.output(run, timeout=60))

    async def test_what_is_wrong_is_said_as_the_other_client_says_it(self) -> None:
        anything: Ref[Any, Any] = Ref("shop:orders/orders.ship")
        await self.refused("bad-input", "orders.ship has no form in JSON", self.dacapo.start(anything(math.nan)))
        nothing: Ref[None, None] = Ref("shop:orders/orders.none")
        await self.refused("not-found", "there is no workflow", self.dacapo.start(nothing(None)))
        with self.assertRaisesRegex(TypeError, "unexpected keyword argument 'quue'"):
            await self.dacapo.start(nothing(None), quue="slow")  # type: ignore[call-arg]
        run = await self.dacapo.start(PLACE(order(93)), deadline=timedelta(milliseconds=1))
        error = await self.refused("failed", "deadline", self.dacapo.output(run, timeout=60))
        self.assertIsNotNone(error.failure)
        await self.refused("conflict", "", self.dacapo.send_event(run, PLACE_PAID({"reference": "x"})))
        await self.refused("bad-input", "UUID|uuid", self.dacapo.get(PLACE.run("7")))

    async def test_a_waiter_that_is_cancelled_leaves_its_run_and_its_connection_alone(self) -> None:
        run = await self.dacapo.start(SHIP({"customer": "Ada", "lines": []}), delay="1 hour")
        waiter = asyncio.create_task(self.dacapo.output(run))
        # It asks the database then.
        await asyncio.sleep(0)
        waiter.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await waiter
        self.assertEqual((await self.dacapo.get(run)).waiting_for, "delay")
        await self.dacapo.cancel(run)

    async def test_rows_may_be_dictionaries(self) -> None:
        async with await psycopg.AsyncConnection.connect(URL, autocommit=True, row_factory=dict_row) as connection:
            dacapo = AsyncDacapo(connection)
            run = await dacapo.start(SHIP({"customer": "Ada", "lines": []}), delay="1 hour")
            await dacapo.cancel(run)
            self.assertEqual((await dacapo.get(run)).status, "cancelled")


if __name__ == "__main__":
    unittest.main()
