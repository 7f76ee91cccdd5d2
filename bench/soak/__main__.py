"""`bench/run soak`: Dacapo at work for a long time, and what grows meanwhile."""

import argparse
import gzip
import json
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from compare import catalogue, machine
from compare.engines import Dacapo
from compare.postgres import ROLE, Postgres, PostgresError
from compare.processes import EngineError, Program

from .load import OTHERS, THREE, Load, Waiting, send_due, start
from .plot import plot
from .sample import Sampler
from .verdict import Plan, Soak, verdict

REPOSITORY = Path(__file__).resolve().parent.parent.parent

DATABASE = "soak"

# As a server comes, but for who may connect.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "cluster_name": "soak",
}

SETUP_SECONDS = 120

# How long it is let run as fast as it can to learn its rate, of which the first part is not counted.
MOST_SECONDS = 30
MOST_UNCOUNTED_SECONDS = 10

# Runs that are kept ready meanwhile.
MOST_READY = 4_000


def main() -> int:
    arguments = parse(sys.argv[1:])
    if arguments.report:
        write(Soak.of_data(json.loads(kept(arguments.report))), arguments.to)
        return 0
    # So that everything is stopped by the same way out, and what was seen is kept.
    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)
    plan = Plan.of(arguments.minutes, arguments.snapshot_minutes)
    with tempfile.TemporaryDirectory() as directory, Postgres(arguments.data, SETTINGS) as postgres:
        dacapo = catalogue.dacapo(arguments.dacapo, arguments.client, arguments.component, Path(directory))
        dacapo.install()
        soak = Soak(
            {
                "when": datetime.now(UTC).strftime("%Y-%m-%d"),
                "machine": machine.description(),
                "postgres": postgres.version(),
                "fileSystem": machine.file_system(postgres.directory),
                "dacapo": dacapo.version(),
                "retentionSeconds": arguments.retention_seconds,
                "sweepSeconds": arguments.sweep_seconds or sweep_seconds(plan),
            },
            plan,
        )
        set_up(postgres, dacapo, arguments.retention_seconds, Path(directory))
        with worker(postgres, dacapo) as player:
            rate = arguments.rate
            if rate is None:
                soak.about["most"] = measure_most(postgres, dacapo, player, arguments.event_after)
                rate = soak.about["most"] / 2
            soak.about["rate"] = rate
            load = Load(
                lambda: postgres.connect(DATABASE),
                lambda: dacapo.client(postgres.url(DATABASE), "soak"),
                rate,
                arguments.event_after,
            )
            code = watch(soak, postgres, player, load, arguments.sample_seconds)
            write(soak, arguments.to)
    return code


def kept(file: Path) -> bytes:
    """What was kept of a sitting."""
    return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()


def sweep_seconds(plan: Plan) -> float:
    """As often as workers do it, or a tenth of a short sitting."""
    return min(600.0, max(60.0, plan.length / 10))


def set_up(postgres: Postgres, dacapo: Dacapo, retention_seconds: float, directory: Path) -> None:
    """A database with the bench's component, whose runs are kept for a short time."""
    with postgres.connect("postgres") as admin:
        admin.execute(f"create database {DATABASE} owner {ROLE}".encode())
    manifest = directory / "dacapo.toml"
    manifest.write_text(f'retention = "{retention_seconds:.0f}s"\n')
    for words in [["migrate"], ["deploy", str(dacapo.component), "--manifest", str(manifest)]]:
        with command(postgres, dacapo, words) as program:
            program.wait(SETUP_SECONDS)


def worker(postgres: Postgres, dacapo: Dacapo) -> Program:
    """A worker as it comes."""
    return command(postgres, dacapo, ["worker", "--no-migrate"])


def command(postgres: Postgres, dacapo: Dacapo, words: Sequence[str]) -> Program:
    env = {
        "DATABASE_URL": postgres.url(DATABASE),
        "DACAPO_LOG": "warn",
        "DACAPO_CACHE_DIR": str(dacapo.cache),
    }
    return Program(f"dacapo {words[0]}", [str(dacapo.command), *words], env)


def measure_most(postgres: Postgres, dacapo: Dacapo, player: Program, event_after: float) -> float:
    """Runs of the mix per second that are started and played if there are always some ready; children are not counted."""
    say("learning how fast it is")
    waiting: deque[Waiting] = deque()
    ended, ended_at = 0, 0.0
    with (
        dacapo.client(postgres.url(DATABASE), "soak") as client,
        postgres.connect(DATABASE) as connection,
    ):
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + MOST_SECONDS:
            player.check()
            if not ended_at and now > begin + MOST_UNCOUNTED_SECONDS:
                ended, ended_at = ends(connection), now
            if ready(connection) < MOST_READY:
                client.ask("start", workflow="three", n=round(MOST_READY * THREE.share))
                for kind in OTHERS:
                    ids = start(connection, kind, round(MOST_READY * kind.share))
                    waiting.append((time.monotonic() + event_after, kind, ids))
            elif not send_due(connection, waiting):
                time.sleep(0.02)
        most = (ends(connection) - ended) / (time.monotonic() - ended_at)
        while waiting:
            send_due(connection, waiting)
            time.sleep(0.02)
        while tasks(connection) > 0:
            player.check()
            time.sleep(0.2)
    say(f"{most:.0f} runs/s at most")
    return most


def ends(connection: psycopg.Connection) -> int:
    """Runs that have ended and are no other one's children."""
    row = connection.execute("select count(*) from dacapo.run where status <> 'active' and parent is null").fetchone()
    return int(row[0]) if row else 0


def ready(connection: psycopg.Connection) -> int:
    """Runs that a worker may play, or plays."""
    row = connection.execute(
        "select (select count(*) from dacapo.task_ready) + (select count(*) from dacapo.task_leased)"
    ).fetchone()
    return int(row[0]) if row else 0


def tasks(connection: psycopg.Connection) -> int:
    """Runs that have not ended."""
    row = connection.execute("select count(*) from dacapo.task_suspended").fetchone()
    return ready(connection) + (int(row[0]) if row else 0)


def watch(soak: Soak, postgres: Postgres, player: Program, load: Load, every: float) -> int:
    """Lets it work and looks at it. Whatever ends it, what was seen by then is kept; answers with what code to end."""
    plan = soak.plan
    sampler = Sampler(postgres, DATABASE, player)
    holder: psycopg.Connection | None = None
    sweep_every = soak.about["sweepSeconds"]
    next_sweep = sweep_every
    begin = time.monotonic()
    code = 0
    soak.costs.append(sampler.statements())
    load.start()
    try:
        sampler.take(load, snapshot=False)
        next_sample = begin + every
        while (now := time.monotonic() - begin) < plan.length:
            if holder is None and plan.phase(now) == "during":
                soak.costs.append(sampler.statements())
                holder = open_snapshot(postgres)
                say("a snapshot is open")
            elif holder is not None and plan.phase(now) == "after":
                holder.close()
                holder = None
                soak.costs.append(sampler.statements())
                say("the snapshot is closed")
            if now >= next_sweep:
                sampler.turn_of_sweeper()
                next_sweep += sweep_every
            time.sleep(max(0.0, next_sample - time.monotonic()))
            next_sample = max(next_sample + every, time.monotonic())
            player.check()
            load.check()
            sample = sampler.take(load, snapshot=holder is not None)
            if sample:
                soak.samples.append(sample)
                say_sample(soak)
        soak.costs.append(sampler.statements())
    except KeyboardInterrupt:
        soak.about["ended"] = "it was interrupted"
        code = 130
    except (EngineError, psycopg.Error) as error:
        soak.about["ended"] = str(error)
        say(f"error: {error}")
        code = 1
    finally:
        load.stop()
        if holder is not None:
            holder.close()
        sampler.close()
    return code


def open_snapshot(postgres: Postgres) -> psycopg.Connection:
    """A session that goes on seeing the database as it is now, until it is closed."""
    connection = postgres.connect(DATABASE)
    connection.execute("begin isolation level repeatable read")
    connection.execute("select 1")
    return connection


def say_sample(soak: Soak) -> None:
    sample = soak.samples[-1]
    claim = f"{sample.claim.p50:.1f}/{sample.claim.p99:.1f}" if sample.claim else "-"
    probe = f"{sample.probe.p50:.1f}/{sample.probe.p99:.1f}" if sample.probe else "-"
    say(
        f"{sample.at / 60:5.1f} min  {sample.started:5.0f} started/s {sample.ended:5.0f} ended/s {sample.swept:5.0f} deleted/s"
        f"  ready {sample.ready}  claim {claim} ms  probe {probe} ms  {sum(sample.sizes.values()) / 2**20:.0f} MiB"
        f"  worker {sample.worker_resident:.0f} MiB  others {sample.others_cpu:.1f}"
    )


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def write(soak: Soak, to: Path) -> None:
    """Prints the verdict, and writes it with its data and its plots."""
    to.mkdir(parents=True, exist_ok=True)
    (to / "soak.json").write_text(json.dumps(soak.data()) + "\n")
    text = verdict(soak)
    print(text)
    (to / "verdict.md").write_text(text)
    plot(soak, to)
    say(f"written to {to}")


def parse(words: Sequence[str]) -> argparse.Namespace:
    target = REPOSITORY / "target"
    parser = argparse.ArgumentParser(
        prog="bench/run soak",
        description=f"Dacapo at work for a long time, on a private Postgres: {THREE.share:.0%} of the runs have three steps,"
        " the others wait for events, sleep and have children.",
    )
    parser.add_argument("--minutes", type=float, default=60, help="how long [default: %(default)s]")
    parser.add_argument(
        "--rate",
        type=rate,
        default=None,
        metavar="R",
        help="runs per second, or `half` of what it does at most [default: half]",
    )
    parser.add_argument(
        "--snapshot-minutes",
        type=float,
        default=10,
        help="how long another session holds a snapshot open, half of the time at most [default: %(default)s]",
    )
    parser.add_argument(
        "--retention-seconds",
        type=float,
        default=120,
        help="how long runs are kept once they have ended, at least 60 [default: %(default)s]",
    )
    parser.add_argument(
        "--sweep-seconds",
        type=float,
        help="how often a worker may begin to delete, at least 60 [default: a tenth of the sitting, ten minutes at most]",
    )
    parser.add_argument(
        "--event-after",
        type=float,
        default=5,
        metavar="SECONDS",
        help="how long runs wait for events [default: %(default)s]",
    )
    parser.add_argument(
        "--sample-seconds", type=float, default=5, help="time between two samples [default: %(default)s]"
    )
    parser.add_argument(
        "--dacapo", type=Path, default=target / "release/dacapo", help="the command [default: %(default)s]"
    )
    parser.add_argument(
        "--client", type=Path, default=target / "release/dacapo-bench-client", help="the client [default: %(default)s]"
    )
    parser.add_argument(
        "--component", type=Path, default=REPOSITORY / "host/cli/assets/bench.wasm", help=argparse.SUPPRESS
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="measure nothing, but tell again what a soak.json has kept, or a soak.json.gz"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where the server's data go [default: %(default)s]",
    )
    parser.add_argument("--to", type=Path, default=target / "soak", help="where all goes [default: %(default)s]")
    return parser.parse_args(words)


def rate(text: str) -> float | None:
    if text == "half":
        return None
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if found <= 0:
        raise argparse.ArgumentTypeError(f"expected runs per second or `half`, got {text}")
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PostgresError, EngineError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
