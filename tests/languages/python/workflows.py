import json
import random

from dacapo import Failure, Fatal, step, workflows


def deep():
    raise TypeError("there is no such order")


def deeper():
    deep()


def unrecordable(what):
    cycle = {}
    cycle["itself"] = cycle
    return {"function": {"inner": deep}, "cycle": cycle, "nan": [float("nan")], "big": {1, 2}}[what]


@workflows
class Mistakes:
    def throws(self):
        step("first", lambda: 1)
        deeper()

    def throws_in_step(self):
        step("fragile", deeper, attempts=1)

    def records(self, what):
        step("record", lambda: unrecordable(what), attempts=1)

    def nests(self):
        step("outer", lambda: step("inner", lambda: 1))

    def draws(self):
        before = random.random()
        inside = step("draw", random.random)
        return [before, inside, random.random()]

    def declines(self):
        def charge():
            raise Fatal("no funds", code="declined", details={"missing": 5})

        try:
            step("charge", charge)
        except Failure as failure:
            details = json.dumps(failure.details, separators=(",", ":"))
            return f"{failure.code}: {failure.message} {details}"
        return "not declined"

    def rereads(self):
        step("count", lambda: "a text", returns=int)

    def keeps(self, number):
        return step("keep", lambda: number)
