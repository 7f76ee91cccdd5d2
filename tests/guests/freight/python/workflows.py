"""Integers of 64 bits and large texts from others: the same in each language whose kit reads them into types."""

from dataclasses import dataclass

from dacapo import child, step, wait_for, workflows


@dataclass
class Parcel:
    id: int
    others: list[int]


@workflows
class Freight:
    def count(self) -> str:
        most = child("most", "test:port/port.most", None).output(int)
        parcel = wait_for("parcel", Parcel)
        return f"{most} {parcel.id} {parcel.others}"

    def load(self, size: int, rounds: int) -> int:
        total = 0
        for _ in range(rounds):
            text = step("large", lambda: "x" * size)
            total += len(text) + len(child("load", "test:port/port.load", size).output(str))
        return total + len(wait_for("last", str))
