"""Workflows of test:clashes: their types, and references to them. Written by `dacapo refs`."""

from collections.abc import Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict

from dacapo_client import EventRef, Ref, Some


# What "we" have.
StockItem = TypedDict(
    "StockItem",
    {
        "sku": str,
        # Where it is from: c:\shelf */
        "from": str,
        "class": NotRequired[Some[bool | None] | None],
    },
)


class StockRef(TypedDict):
    id: str


StockNone: TypeAlias = Literal["sold-out", "never-heard-of"]


TakeError = TypedDict(
    "TakeError",
    {
        "str": int,
        "text": str,
    },
)


class BillingItem(TypedDict):
    cents: int | str


class BillingLiteralSome(TypedDict):
    tag: Literal["some"]
    val: int


class BillingLiteralNone(TypedDict):
    tag: Literal["none"]


class BillingLiteralItem(TypedDict):
    tag: Literal["item"]
    val: BillingItem


BillingLiteral: TypeAlias = BillingLiteralSome | BillingLiteralNone | BillingLiteralItem


BillingSequence: TypeAlias = list[Literal["first", "last"]]


# The error of `test:clashes/stock.take`: the details of its failure.
StockTakeError: TypeAlias = StockNone

# Takes an item: one
# of many.
STOCK_TAKE = Ref[StockItem, StockRef]("test:clashes/stock.take")

WHY = Ref[TakeError, None]("test:clashes/stock.why")

BILLING_TAKE = Ref[BillingItem, BillingLiteral]("test:clashes/billing.take")
BILLING_TAKE_PAID = EventRef[BillingItem]("paid")
# Nobody did.
BILLING_TAKE_NOT_PAID = EventRef[None]("not-paid")

# The error of `test:clashes/billing.await`: the details of its failure.
AwaitError: TypeAlias = int | str

AWAIT = Ref[None, Sequence[BillingSequence | BillingLiteral | None]]("test:clashes/billing.await")
