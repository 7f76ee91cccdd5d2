"""Workflows of shop:orders: their types, and references to them. Written by `dacapo refs`."""

from typing import Literal, TypeAlias, TypedDict

from dacapo_client import EventRef, Ref


class Item(TypedDict):
    sku: str
    quantity: int


class Order(TypedDict):
    number: int
    customer: str
    items: list[Item]


class Receipt(TypedDict):
    number: int
    charge: str
    payment: str
    picked: list[str]
    tracking: str


class ProblemNotPaid(TypedDict):
    """Nobody paid in time. What was held has been released."""

    tag: Literal["not-paid"]


class ProblemFailed(TypedDict):
    """A step failed for good."""

    tag: Literal["failed"]
    val: str


Problem: TypeAlias = ProblemNotPaid | ProblemFailed


class Payment(TypedDict):
    reference: str


class Parcel(TypedDict):
    customer: str
    lines: list[str]


# The error of `shop:orders/orders.place`: the details of its failure.
PlaceError: TypeAlias = Problem

# Holds the items, asks the bank for the money, waits a day for the payment, picks the items two at a time, and has them shipped.
PLACE = Ref[Order, Receipt]("shop:orders/orders.place")
PLACE_PAID = EventRef[Payment]("paid")

# The error of `shop:orders/orders.ship`: the details of its failure.
ShipError: TypeAlias = str

# Makes a label, and answers its tracking number.
SHIP = Ref[Parcel, str]("shop:orders/orders.ship")
