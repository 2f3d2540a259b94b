"""Processes that are measured: workers that have started, and memory watched from outside (Linux)."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from classify.units import cut
from extract.workers import run_units

EVERY = 0.5  # seconds; counting pages holds up the process that is watched


def start_workers(count: int) -> None:
    """Start the processes that do units, and have them import what a search needs."""
    for _ in run_units(_settle, range(4 * count), workers=count):
        pass


def _settle(number: int) -> None:
    cut([], [], classifier="svc", seed=number)
    time.sleep(0.5)  # long enough that every worker gets one


def held(pid: int) -> int:
    """Return the bytes that a process and its descendants hold; what they share counts once."""
    total, waiting = 0, [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            lines = (process / "smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended
            continue
    return total


@contextmanager
def watch(pid: int) -> Iterator[Callable[[], int]]:
    """Watch while the block runs; gives a function that returns by how much the most was above the start."""
    start = most = held(pid)
    ended = threading.Event()

    def look() -> None:
        nonlocal most
        while not ended.wait(EVERY):
            most = max(most, held(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield lambda: most - start
    finally:
        ended.set()
        thread.join()
