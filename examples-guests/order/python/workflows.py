"""An order: the same in each language that has a kit, and with the same journal."""

from dataclasses import dataclass
from datetime import timedelta

from dacapo import Attempt, Failure, Retry, WorkflowError, child, map_parallel, step, wait_for, workflows
from wit_world.exports.orders import Item, Order, Parcel, Problem_Failed, Problem_NotPaid, Receipt


@dataclass
class Hold:
    """What is held for an order until it is paid."""

    id: str
    items: int


@dataclass
class Payment:
    """The payload of the event `paid`."""

    reference: str


@workflows
class Orders:
    def place(self, order: Order) -> Receipt:
        try:
            return place(order)
        except Failure as failure:
            raise WorkflowError(Problem_Failed(failure.message))

    def ship(self, parcel: Parcel) -> str:
        return step("label", lambda: f"{parcel.customer}-{len(parcel.lines)}")


def place(order: Order) -> Receipt:
    @step("reserve")
    def hold() -> Hold:
        return Hold(f"hold-{order.number}", sum(item.quantity for item in order.items))

    @step("charge", attempts=3, backoff=timedelta(seconds=1))
    def charge(attempt: Attempt) -> str:
        if attempt.number == 1:
            raise Retry("the bank is busy", code="busy")
        return f"charge-{order.number}"

    payment = wait_for("paid", Payment, timeout=timedelta(days=1))
    if payment is None:
        step("release", lambda: f"{hold.id} is released")
        raise WorkflowError(Problem_NotPaid())

    def pick(item: Item) -> str:
        return step("pick", lambda: f"{item.quantity} x {item.sku}")

    picked = map_parallel("pick", order.items, pick, max_parallel=2)
    parcel = {"customer": order.customer, "lines": picked}
    tracking = child("ship", "shop:orders/orders.ship", parcel).output(str)
    return Receipt(order.number, charge, payment.reference, picked, tracking)
