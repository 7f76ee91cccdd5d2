"""A tour of the kit: the same in each language that has one, and with the same journal."""

import json
import os
import random
import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from dacapo import (
    Attempt,
    Cancelled,
    Failure,
    Fatal,
    Retry,
    WorkflowError,
    changed,
    child,
    context,
    execute,
    fetch,
    idempotency_key,
    log,
    map_parallel,
    parallel,
    pause,
    placeholder,
    progress,
    query,
    race,
    reveal,
    sleep,
    sleep_until,
    step,
    wait_for,
    wait_for_any,
    workflows,
)
from landmarks import greeting
from wit_world.exports.tour import Luggage

HOUR = timedelta(hours=1)
MOMENT = timedelta(milliseconds=20)
TURNS = {"turn-left": int, "turn-right": int}


@workflows
class Tour:
    def see(self, service: str) -> list[str]:
        met: list[str] = []
        look(met)
        ask(service, met)
        book(met)
        progress(2, 4, "half of it")
        send(met)
        part(met)
        rest(met)
        progress(4, 4)
        return met

    def visit(self, place: str) -> str:
        if place == "nowhere":
            raise WorkflowError("there is no such place")
        if place == "far":
            sleep("way", HOUR)
        return step("look", lambda: f"seen {place}")

    def draw(self) -> str:
        before = sample()
        same("before", before)
        inside = step("inside", sample)
        sleep("rest", timedelta(milliseconds=5))
        after = sample()
        same("after", after)
        sleep("rest", timedelta(milliseconds=5))
        twice = map_parallel("twice", [1, 2], lambda _: sample())
        return f"[{','.join([before, inside, after, *twice])}]"

    def carry(self, luggage: Luggage) -> Luggage:
        return luggage

    def misread(self) -> None:
        step("read", lambda: "a text", returns=int)

    def greet(self, name: str) -> str:
        return greeting(name)


@dataclass
class About:
    """What a run knows about itself."""

    run: str
    workflow: str
    colour: str
    shape: str | None
    attempt: int
    key: str | None
    started: bool


def look(met: list[str]) -> None:
    """What the run knows about itself, its log, and attempts."""
    created_at, now, labels = context.created_at, context.now, context.labels
    started = created_at <= now and created_at.year > 2020 and abs(time.time() - now.timestamp()) < 0.001

    @step
    def about(attempt: Attempt) -> About:
        return About(
            context.run_id,
            context.workflow,
            labels["colour"],
            labels.get("shape"),
            attempt.number,
            idempotency_key(),
            started,
        )

    assert about.attempt == 1
    if changed("scenic-route"):
        met.append("scenic")
    for level in ("trace", "debug", "info", "warn", "error"):
        log(f"a line for {level}", level=level, place="tower", metres=300)

    @step("knock", attempts=3, backoff=timedelta(milliseconds=1), factor=1, backoff_max=timedelta(milliseconds=1))
    def knocked(attempt: Attempt) -> int:
        if attempt.number == 1:
            raise Retry("nobody is at home", code="closed", after=timedelta(milliseconds=40), details={"opens": "soon"})
        return attempt.number

    met.append(f"knock: {knocked}")

    def slow() -> None:
        while True:
            pass

    failing(met, "slow", lambda: step("slow", slow, attempts=1, timeout=timedelta(milliseconds=100)))


def ask(service: str, met: list[str]) -> None:
    """Requests and secrets."""

    @step("ask")
    def asked() -> dict:
        answer = fetch(
            f"{service}/echo",
            method="PUT",
            headers={"x-note": "noted", "authorization": f"Bearer {placeholder('key')}"},
            json={"stop": "tower", "cents": 42},
            timeout=timedelta(seconds=5),
            response_max=1_000,
            idempotency_header="x-key",
        )
        data = fetch(f"{service}/away", redirects=1).body
        return {
            "status": answer.status,
            "told": answer.header("X-Told"),
            "said": answer.json()["said"],
            "bytes": len(data),
            "sum": sum(data),
        }

    failing(met, "big", lambda: step("big", lambda: fetch(f"{service}/bytes", response_max=10).status, attempts=1))
    step("sign", lambda: len(reveal("pass")))


def book(met: list[str]) -> None:
    """Statements that are one transaction with their step."""

    @step("book")
    def booked() -> dict:
        touched = execute(
            "insert into stop values ($1, $2, $3, $4, $5, $6, $7, $8)",
            "tower",
            4200,
            0.5,
            True,
            {"stars": 5},
            bytes([1, 2, 255]),
            datetime.fromtimestamp(1_767_323_045.678, timezone.utc),
            None,
        )
        [row] = query("select * from stop where name = $1", "tower")
        return {
            "touched": touched,
            "name": row["name"],
            "cents": row["cents"],
            "score": row["score"],
            "open": row["is_open"],
            "stars": row["note"]["stars"],
            "photo": list(row["photo"]),
            "seen": round(row["seen_at"].timestamp() * 1_000),
            "closed": row["closed"],
        }

    try:
        step("book-again", lambda: execute("insert into stop (name) values ($1)", "tower"), attempts=1)
    except Failure as failure:
        met.append(f"book-again: {failure.code} {failure.details['sqlState']}")


def send(met: list[str]) -> None:
    """Children."""
    mail = child(
        "mail",
        "test:tour/tour.visit",
        "tower",
        labels={"kind": "mail"},
        deadline=2 * HOUR,
        detached=True,
        queue="slow",
        concurrency_key="ada",
        priority=7,
    )
    met.append(f"mail: {mail.output(str)}")
    lost = child("lost", "tour.visit", "nowhere")
    failing(met, "lost", lost.output)
    far = child("far", "tour.visit", "far").output(str, timeout=MOMENT)
    met.append(f"far: {far or 'not yet'}")


def part(met: list[str]) -> None:
    """Branches."""

    def tortoise() -> str:
        wait_for("whistle")
        return step("walk", lambda: "tortoise")

    def hare() -> str:
        try:
            sleep("nap", HOUR)
            return "hare"
        except Cancelled:
            step("wake", lambda: "too late")
            raise

    first = race("first", tortoise, hare)
    left, lunch, right = parallel(
        "three",
        lambda: step("left", lambda: 1),
        lambda: wait_for("lunch", str),
        lambda: step("right", lambda: ["a", "b"]),
    )
    met += [f"first: {first}", f"three: {left + 1} {lunch} {'+'.join(right)}"]

    def odd(number: int) -> int:
        def body() -> int:
            if number % 2 == 0:
                raise Fatal(f"{number} is even", code="even")
            return number * number

        return step("odd", body)

    for one in map_parallel("each", [1, 2, 3], odd, failures=True):
        met.append(f"each: {one.code}, {one.message}" if isinstance(one, Failure) else f"each: {one}")


def rest(met: list[str]) -> None:
    """Waits."""
    event, degrees = wait_for_any("turn", TURNS)
    met.append(f"turn: {event} {degrees + 1}")
    again = wait_for_any("turn-again", TURNS, timeout=MOMENT)
    met.append(f"turn-again: {again[0] if again else 'nothing'}")
    sleep_until("until", context.now + MOMENT)
    pause("look-around")


def failing(met: list[str], name: str, act) -> None:
    """Meets with the code of the failure."""
    try:
        act()
        met.append(f"{name}: done")
    except Failure as failure:
        met.append(f"{name}: {failure.code}")


def sample() -> str:
    """What clocks and generators say."""
    return json.dumps(
        {
            "clock: context.now": str(round(context.now.timestamp() * 1_000)),
            "clock: time.time": str(round(time.time() * 1_000)),
            "clock: datetime.now": str(round(datetime.now(timezone.utc).timestamp() * 1_000)),
            "monotonic: time.monotonic_ns": str(time.monotonic_ns()),
            "monotonic: time.perf_counter_ns": str(time.perf_counter_ns()),
            "random: random.random": str(random.random()),
            "random: uuid.uuid4": str(uuid.uuid4()),
            "random: os.urandom": os.urandom(8).hex(),
            "random: secrets.token_hex": secrets.token_hex(8),
            "random: random.Random()": str(random.Random().random()),
        }
    )


def same(name: str, now: str) -> None:
    """Fails if this is not what it was when it was first reached."""
    then = step(name, lambda: now)
    if then != now:
        raise WorkflowError(f"{name}: {then} has become {now}")
