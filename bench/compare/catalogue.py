"""Which engines are measured, in which versions and with which settings. README.md gives the reason for each setting."""

from pathlib import Path

from .engines import OURS, PLAIN_QUEUE, Absurd, Dacapo, Engine, Looks, Peer
from .install import DRIVER, Packages, Peers


def engines(peers: Peers, postgres_programs: Path, dacapo: Dacapo) -> list[Engine]:
    """All of them, Dacapo first."""
    spread = {"workers": 8, "processes": 8, "pool": 8}
    pg_workflows = Peer(
        name="pg-workflows",
        title="pg-workflows",
        program="pg_workflows.mjs",
        peers=peers,
        packages=Packages(npm=["pg-workflows@0.15.0", "pg-boss@12.38.0", DRIVER]),
        settings={"workers": 64, "pool": 32},
        settings_for={
            "drain": {"workers": 256},
            "once": spread,
            "event": spread,
            "idle": {"workers": 3},
        },
        runs_per_second=100,
        looks=Looks(
            ended="select count(*) from workflow_runs where status = 'completed'",
            waiting="select count(*) from workflow_runs where status = 'paused'",
        ),
    )
    dbos_looks = Looks(
        ended="select count(*) from dbos.workflow_status where status = 'SUCCESS'",
        # It has no such state: these are those that it holds in memory, all of which have come to their wait soon after.
        waiting="select count(*) from dbos.workflow_status where status = 'PENDING'",
        steps="select count(*) from dbos.operation_outputs",
    )
    dbos_embedded = {"embedded": True}
    dbos_python = Peer(
        name="dbos-python",
        title="DBOS (Python)",
        program="dbos_py.py",
        peers=peers,
        packages=Packages(pip=["dbos==3.4.0"]),
        settings={"concurrency": 32, "pool": 32, "pollSeconds": 0.1},
        settings_for={
            "drain": {"processes": 2},
            "once": dbos_embedded,
            "event": dbos_embedded,
            "steps": dbos_embedded,
            "waiting": {"concurrency": None},
            "idle": {"pollSeconds": 1.0},
        },
        runs_per_second=60,
        looks=dbos_looks,
    )
    dbos_node = Peer(
        name="dbos-node",
        title="DBOS (Node)",
        program="dbos.mjs",
        peers=peers,
        packages=Packages(npm=["@dbos-inc/dbos-sdk@5.3.0", DRIVER]),
        settings={"concurrency": 512, "pool": 32, "pollMilliseconds": 100},
        settings_for={
            "once": dbos_embedded,
            "event": dbos_embedded,
            "steps": dbos_embedded,
            "waiting": {"concurrency": None},
            "idle": {"pollMilliseconds": 1000},
        },
        runs_per_second=100,
        looks=dbos_looks,
    )
    eager = {"pollSeconds": 0.001}
    absurd_looks = Looks(
        ended="select count(*) from absurd.t_bench where state = 'completed'",
        waiting="select count(*) from absurd.t_bench where state = 'sleeping'",
        steps="select count(*) from absurd.c_bench",
    )
    absurd = Absurd(
        name="absurd",
        title="Absurd (Node)",
        program="absurd.mjs",
        peers=peers,
        postgres_programs=postgres_programs,
        packages=Packages(npm=["absurd-sdk@0.5.0", DRIVER], pip=["absurdctl==0.5.1"]),
        settings={"concurrency": 64, "batch": 32, "pool": 16, "pollSeconds": 0.05},
        settings_for={"once": eager, "event": eager, "idle": {"pollSeconds": 0.25}},
        runs_per_second=200,
        looks=absurd_looks,
    )
    absurd_python = Absurd(
        name="absurd-python",
        title="Absurd (Python)",
        program="absurd_py.py",
        peers=peers,
        postgres_programs=postgres_programs,
        packages=Packages(pip=["absurd-sdk==0.5.1", "absurdctl==0.5.1"]),
        settings={"workers": 4, "concurrency": 16, "pollSeconds": 0.05},
        settings_for={"drain": {"processes": 2}, "once": eager, "event": eager, "idle": {"workers": 1, "pollSeconds": 0.25}},
        runs_per_second=100,
        looks=absurd_looks,
    )
    graphile_worker = Peer(
        name="graphile-worker",
        title="graphile-worker",
        program="graphile_worker.mjs",
        peers=peers,
        workloads=PLAIN_QUEUE,
        packages=Packages(npm=["graphile-worker@0.18.0", DRIVER]),
        settings={"concurrency": 64, "pool": 16, "batch": 500, "pollMilliseconds": 2000},
        settings_for={"once": {"embedded": True, "batch": 1, "concurrency": 4}, "idle": {"batch": 1}},
        runs_per_second=5000,
        looks=Looks(ended="select %(started)s - count(*) from graphile_worker._private_jobs"),
    )
    pg_boss = Peer(
        name="pg-boss",
        title="pg-boss",
        program="pg_boss.mjs",
        peers=peers,
        workloads=PLAIN_QUEUE,
        packages=Packages(npm=["pg-boss@12.38.0"]),
        settings={"batch": 1000, "concurrency": 2, "pool": 16, "notify": False},
        settings_for={"once": {"batch": 1, "concurrency": 4, "notify": True}, "idle": {"batch": 1, "notify": True}},
        runs_per_second=5000,
        looks=Looks(ended="select count(*) from pgboss.job where state = 'completed'"),
    )
    return [dacapo, absurd, absurd_python, pg_workflows, dbos_node, dbos_python, graphile_worker, pg_boss]


def dacapo(command: Path, client: Path, component: Path, cache: Path) -> Dacapo:
    """Dacapo, of these files."""
    return Dacapo(
        name="dacapo",
        title="Dacapo",
        workloads=OURS,
        command=command,
        client_program=client,
        component=component,
        cache=cache,
        settings_for={"drain": {"runs-max": 1024, "claim-max": 256}},
        begins_at_once=True,
        runs_per_second=5000,
        looks=Looks(
            ended="select %(started)s - (select count(*) from dacapo.task_ready) - (select count(*) from dacapo.task_leased)"
            " - (select count(*) from dacapo.task_suspended)",
            waiting="select count(*) from dacapo.task_suspended",
            steps="select count(*) from dacapo.step",
        ),
    )
