import os
import signal
import subprocess
import sys
import time
from functools import cache, partial

import cv2
import joblib
import numpy as np
import pytest
import threadpoolctl

from extract import workers
from extract.errors import RequestError
from extract.workers import ahead, cores, limit_threads, run_units, threads, threads_each

try:
    import cloudpickle
except ImportError:  # joblib carried its own until 1.5
    from joblib.externals import cloudpickle

# What runs in workers is of modules that they can import; this one may have no importable name.
SQUARE, FAIL = partial(pow, exp=2), partial(int, base=10)


def by_value(function):
    """Send a function of this file to workers as it is, not by its name."""
    cloudpickle.register_pickle_by_value(sys.modules[function.__module__])
    return function


@by_value
def die_once(unit, *, folder, at, times=1):
    """Mark that a unit was begun; at some, kill the own process the first `times` times."""
    begun = len(list(folder.glob(f"{unit}-*")))
    (folder / f"{unit}-{begun}").touch()
    if unit in at and begun < times:
        time.sleep(0.2)  # others finish meanwhile
        os.kill(os.getpid(), signal.SIGKILL)
    return unit * 10


@by_value
def used_threads(unit):
    import torch

    from extract.workers import threads

    (np.ones((64, 64)) @ np.ones((64, 64))).sum()
    torch.ones(64, 64) @ torch.ones(64, 64)
    pools = {
        pool["user_api"] + pool["prefix"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()
    }
    return {"torch": torch.get_num_threads(), "cv2": cv2.getNumThreads(), "ours": threads(), **pools}


@by_value
@cache
def process_and_time():
    return os.getpid(), time.monotonic_ns()


@by_value
def what_was_built(unit):
    time.sleep(0.05)
    return process_and_time()


@by_value
def slow(unit, *, folder):
    (folder / f"{os.getpid()}").touch()
    time.sleep(0.2)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_unit_gives_its_result_once(count):
    assert dict(run_units(SQUARE, range(7), workers=count)) == {i: i * i for i in range(7)}
    assert sorted(run_units(SQUARE, range(7), workers=count)) == [(i, i * i) for i in range(7)]


@pytest.mark.parametrize("count", [1, 2])
def test_no_unit_gives_nothing(count):
    assert list(run_units(SQUARE, [], workers=count)) == []


def test_one_worker_is_this_process_and_keeps_the_order():
    results = list(run_units(lambda unit: os.getpid(), range(4), workers=1))
    assert results == [(i, os.getpid()) for i in range(4)]


def test_several_workers_are_other_processes_and_keep_what_they_built():
    built = {result for _, result in run_units(what_was_built, range(12), workers=2)}
    assert os.getpid() not in {process for process, _ in built}
    assert len(built) == len({process for process, _ in built}) <= 2


def test_fewer_than_one_worker_are_refused():
    with pytest.raises(ValueError, match=r"Expected at least 1 worker; got 0\. Raise it"):
        run_units(SQUARE, [1], workers=0)


@pytest.mark.parametrize("count", [1, 2])
def test_what_work_raises_comes_through(count):
    with pytest.raises(ValueError, match="invalid literal for int"):
        list(run_units(FAIL, ["1", "two", "3"], workers=count))


def test_a_killed_worker_costs_the_units_in_hand(tmp_path):
    work = partial(die_once, folder=tmp_path, at={2, 5})
    assert dict(run_units(work, range(8), workers=2)) == {i: i * 10 for i in range(8)}
    begun = [len(list(tmp_path.glob(f"{i}-*"))) for i in range(8)]
    assert begun[2] >= 2
    assert begun[5] >= 2
    assert begun[0] == 1  # it had finished


def test_work_that_always_kills_its_worker_is_refused(tmp_path):
    work = partial(die_once, folder=tmp_path, at={1}, times=99)
    with pytest.raises(
        RequestError, match=r"Expected workers that live; got 3 killed .* 1 units left\. Memory"
    ):
        list(run_units(work, range(4), workers=2))


@pytest.mark.parametrize("count", [2, 3])
def test_workers_share_the_cores(count):
    share = threads_each(count)
    for _, used in run_units(used_threads, range(3), workers=count):
        assert set(used.values()) <= {share}, used
        assert count <= cores() < 2 * count * share or share == 1


def test_the_cores_are_those_this_process_may_use():
    assert cores() == joblib.cpu_count() <= len(os.sched_getaffinity(0))


def test_a_share_is_at_least_one_thread():
    assert threads_each(10_000) == 1
    assert threads_each(1) == cores()


def test_a_process_that_is_no_worker_may_use_all_cores(monkeypatch):
    assert threads() == cores()
    monkeypatch.setattr(workers, "_allowed", {})
    before = cv2.getNumThreads()
    limit_threads(1)
    assert threads() == cv2.getNumThreads() == 1
    cv2.setNumThreads(before)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def none_alive(processes, *, seconds=10):
    deadline = time.monotonic() + seconds
    while any(alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(alive(process) for process in processes)


def test_an_iterator_that_is_closed_stops_its_workers(tmp_path):
    results = run_units(partial(slow, folder=tmp_path), range(200), workers=2)
    next(results)
    results.close()
    assert none_alive([int(file.name) for file in tmp_path.iterdir()])


PARENT = """
import sys, time
from functools import partial
from pathlib import Path
from extract.workers import run_units
def slow(unit, *, folder):
    import os, time
    from pathlib import Path
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(0.2)
for result in run_units(partial(slow, folder=sys.argv[1]), range(200), workers=2):
    pass
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(tmp_path, end):
    root = str(workers.__file__).rpartition("/extract/")[0]
    words = [sys.executable, "-c", PARENT, str(tmp_path)]
    process = subprocess.Popen(words, cwd=root, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(end)
    process.wait()
    assert none_alive([int(file.name) for file in tmp_path.iterdir()])


class Unreadable:
    def __reduce__(self):
        return int, ("what is gone",)


def test_what_a_worker_cannot_read_is_not_taken_for_killed():
    with pytest.raises(
        RequestError, match="Expected work that a worker can read; got ValueError: invalid literal"
    ):
        list(run_units(SQUARE, [Unreadable(), Unreadable()], workers=2))


def test_a_process_ahead_is_counted_on(tmp_path):
    with ahead(partial(time.sleep, 100)):
        found = dict(run_units(slow_here, [0.05] * 20, workers=2, patience=0.85))
    assert set(found.values()) == {os.getpid()}


# -- ahead ---------------------------------------------------------------------------------------------------


@by_value
def note_threads(folder):
    (folder / "threads").write_text(" ".join({str(count) for count in used_threads(0).values()}))
    (folder / f"{os.getpid()}").touch()
    time.sleep(100)


@by_value
def fail(folder):
    (folder / f"{os.getpid()}").touch()
    raise ValueError("work that this process will do itself")


def the_one_process(folder, *, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := [file for file in folder.iterdir() if file.name.isdigit()]:
            return int(found[0].name)
        time.sleep(0.05)
    raise AssertionError("no process has begun")


def test_work_ahead_is_done_by_one_thread_of_another_process_that_ends_with_the_block(tmp_path):
    with ahead(partial(note_threads, tmp_path)):
        process = the_one_process(tmp_path)
        assert process != os.getpid()
        assert alive(process)
    assert none_alive([process])
    assert (tmp_path / "threads").read_text() == "1"


def test_work_ahead_that_never_began_ends_with_the_block(tmp_path):
    begun = time.monotonic()
    with ahead(partial(time.sleep, 100)):
        pass
    assert time.monotonic() - begun < 10


def test_work_ahead_that_fails_is_left_to_this_process(tmp_path):
    with ahead(partial(fail, tmp_path)):
        the_one_process(tmp_path)


def test_an_error_ends_work_ahead_and_comes_through(tmp_path):
    def fail_ourselves():
        with ahead(partial(note_threads, tmp_path)):
            the_one_process(tmp_path)
            raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        fail_ourselves()
    assert none_alive([the_one_process(tmp_path)])


AHEAD = """
import sys, time
from functools import partial
from extract.workers import ahead
def slow(folder):
    import os, time
    from pathlib import Path
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(100)
with ahead(partial(slow, sys.argv[1])):
    time.sleep(100)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_work_ahead_ends_with_the_process_that_started_it(tmp_path, end):
    root = str(workers.__file__).rpartition("/extract/")[0]
    words = [sys.executable, "-c", AHEAD, str(tmp_path)]
    process = subprocess.Popen(words, cwd=root, stderr=subprocess.DEVNULL)
    other = the_one_process(tmp_path)
    process.send_signal(end)
    process.wait()
    assert none_alive([other])


def test_importing_workers_imports_neither_torch_nor_opencv():
    code = "import sys, extract.workers; sys.exit(bool({'torch', 'cv2'} & set(sys.modules)))"
    root = str(workers.__file__).rpartition("/extract/")[0]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# -- patience ------------------------------------------------------------------------------------------------


def slow_here(seconds):
    time.sleep(seconds)
    return os.getpid()


def test_little_work_starts_no_process():
    found = dict(run_units(slow_here, [0.0] * 20, workers=2, patience=5.0))
    assert found == dict.fromkeys(range(20), os.getpid())


def test_much_work_goes_on_in_other_processes():
    found = dict(run_units(slow_here, [0.05] * 20, workers=2, patience=0.5))
    assert sorted(found) == list(range(20))
    assert [found[0], found[1]] == [os.getpid()] * 2  # the first warms up, the second tells how long it takes
    assert os.getpid() not in {found[n] for n in range(2, 20)}


def test_the_first_unit_tells_nothing():
    found = dict(run_units(slow_here, [1.0, *[0.0] * 5], workers=2, patience=0.5))
    assert set(found.values()) == {os.getpid()}
