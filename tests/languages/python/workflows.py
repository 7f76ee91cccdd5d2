import json
import random
import sys

from dacapo import Failure, Fatal, WorkflowError, log, step, workflows
from wit_world.exports.mistakes import Colour, Part_Counted, Part_Named, Report


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

    def returns(self, fields):
        if fields == "error":
            raise WorkflowError(Part_Counted("many"))
        right = {"total": 7, "name": "Ada", "colour": Colour.RED, "parts": [], "note": None}
        right |= {"place": (1, 2.5), "raw": b"", "from_": 3}
        if fields == "parts":
            right["parts"] = [Part_Named("tea"), Part_Counted(-1)]
        elif fields == "later":
            return self._later()
        else:
            right |= json.loads(fields)
        return Report(**right)

    async def _later(self):
        return 7

    def slips(self, how):
        async def later():
            return 7

        match how:
            case "level":
                log("listen", level="loud")
            case "exit":
                sys.exit(3)
            case "exit-in-step":
                step("leave", sys.exit, attempts=1)
            case "async":
                step("later", later, attempts=1)
            case "details":
                raise Fatal("no funds", details={"missing": {5}})
            case "path":
                step("record", lambda: {"items": [{"price": 1}, {"price": float("nan")}]}, attempts=1)
