"""What this machine is, and who else uses it while something is measured. Linux only: it reads /proc."""

import os
import platform
import signal
from ctypes import CDLL
from dataclasses import dataclass
from pathlib import Path

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")

_PR_SET_PDEATHSIG = 1
_LIBC = CDLL(None)


def die_with_parent(by: signal.Signals) -> None:
    """To be called in a new process: it gets this signal when the one that started it ends, however that ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, by)


@dataclass(frozen=True)
class ProcessTimes:
    """What the kernel says of one process, in seconds."""

    pid: int
    parent: int
    session: int
    own: float
    of_ended_children: float

    @staticmethod
    def parse(stat: str) -> "ProcessTimes":
        """Reads a line of /proc/PID/stat. The second field is a name in brackets, which may hold anything."""
        pid, rest = stat.split(" (", 1)
        fields = rest.rsplit(")", 1)[1].split()
        user, system, children_user, children_system = (int(field) for field in fields[11:15])
        return ProcessTimes(
            pid=int(pid),
            parent=int(fields[1]),
            session=int(fields[3]),
            own=(user + system) * TICK_SECONDS,
            of_ended_children=(children_user + children_system) * TICK_SECONDS,
        )


def processes() -> list[ProcessTimes]:
    """All processes that there are."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                found.append(ProcessTimes.parse(Path(entry.path, "stat").read_text()))
            except (OSError, ValueError):
                continue
    return found


def process_seconds(pid: int) -> float:
    """Processor time of one process, without its children."""
    try:
        return ProcessTimes.parse(Path(f"/proc/{pid}/stat").read_text()).own
    except (OSError, ValueError):
        return 0.0


def resident_mib(pid: int) -> float:
    """Memory that a process holds, in MiB."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


@dataclass(frozen=True)
class Busy:
    """What all processors together have done since the machine started, in seconds."""

    busy: float
    waiting_for_disk: float
    stolen: float

    @staticmethod
    def now() -> "Busy":
        first = Path("/proc/stat").read_text().splitlines()[0]
        return Busy.parse(first)

    @staticmethod
    def parse(line: str) -> "Busy":
        user, nice, system, _idle, iowait, irq, softirq, steal = (int(n) * TICK_SECONDS for n in line.split()[1:9])
        return Busy(user + nice + system + irq + softirq, iowait, steal)


def load_average() -> float:
    """Processes that ran or wanted to, over the last minute."""
    return os.getloadavg()[0]


def description() -> dict[str, str | int]:
    """What the machine is, as far as figures depend on it, and nothing that names it."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": model,
        "processors": len(os.sched_getaffinity(0)),
        "memoryMiB": memory // 1024,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
    }


def file_system(path: Path) -> str:
    """The kind of file system that holds this path."""
    best, kind = "", "unknown"
    for line in _lines("/proc/mounts"):
        _, mount, this, *_ = line.split()
        inside = path.is_relative_to(mount)
        if inside and len(mount) >= len(best):
            best, kind = mount, this
    return kind


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
