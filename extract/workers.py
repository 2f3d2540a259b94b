"""Work cut into units, in this process or in several: killed workers cost the units in hand, and no core is shared.

A unit is worth repeating: its work stores what it makes itself, whole or not at all, and returns little. What a
worker builds once and needs again, it keeps in a `functools.cache` of its own module.
"""

import gc
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar

import joblib
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

from extract.cluster import Cluster, Expected
from extract.errors import RequestError

U = TypeVar("U")
R = TypeVar("R")
Workers = int | Cluster  # how many processes of this machine, or whose workers
DEATHS = (
    3  # of workers, one after another without a unit finished between: then it is the work, not the machine
)
# Of loky's, for a pool that lost a worker: what was in hand is repeated.
warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
PATIENCE = 30.0  # seconds of work below which no other process need be started: to start takes some ten
SILENCE = 60.0  # seconds without a unit finished after which one looks whether a cluster has workers
# Of the process of `ahead`. The C library would hand back what a picture took, and ask for it again for the next one.
ALONE = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(256 << 20)),
}
# Objects between two searches for garbage in processes that import torch; at Python's 700, they take a fifth of the
# import's time, and find nothing.
GARBAGE = 50_000
_ahead: list[Future[None]] = []  # what `ahead` has begun
_allowed: dict[str, int] = {}  # threads of this process, where it is a worker


def cores() -> int:
    """Return how many cores this process may use."""
    return int(joblib.cpu_count())


def threads() -> int:
    """Return how many threads this process may use: all cores, or a worker's share of them."""
    return _allowed.get("threads", cores())


def threads_each(workers: int) -> int:
    """Return a worker's share of the cores, one at least.

    >>> threads_each(1) == cores()
    True
    """
    return max(1, cores() // workers)


def count(workers: Workers) -> int:
    """Return how many processes there are."""
    return workers.workers if isinstance(workers, Cluster) else workers


def run_units(
    work: Callable[[U], R],
    units: Sequence[U],
    *,
    workers: Workers,
    patience: float = 0.0,
) -> Iterator[tuple[int, R]]:
    """Yield the number and the result of each unit as it finishes.

    Parameters
    ----------
    work : callable
        Of a module, or a `functools.partial` of one; called again with the same unit where its worker was killed.
    units : sequence
        What `work` takes, one at a time; small, for it goes to another process.
    workers : int or Cluster
        Processes. One is this process itself, and units then come in their order. Each of several uses
        `threads_each` threads. They stop where the iterator is closed, and stay for the next call otherwise. Or the
        workers of a cluster.
    patience : float
        Seconds. Units are worked off in this process while they promise to be done in so many seconds: to start
        workers that import torch takes some, too.

    Raises
    ------
    RequestError
        Workers are killed, three one after another, while no unit finishes; one cannot read what it is given.
    Exception
        Whatever `work` raises, as it is.
    """
    if isinstance(workers, Cluster):
        return _on_cluster(work, units, workers)
    if workers < 1:
        raise ValueError(f"Expected at least 1 worker; got {workers}. Raise it.")
    workers = min(workers, len(units)) or 1
    if workers == 1:
        return ((number, work(unit)) for number, unit in enumerate(units))
    return _in_processes(work, dict(enumerate(units)), workers, patience)


def _patiently(work: Callable[[U], R], left: dict[int, U], patience: float) -> Iterator[tuple[int, R]]:
    """Work off units, taking them out, until the rest would take longer; the first one warms up and tells nothing."""
    for place, number in enumerate(list(left)):
        begun = time.perf_counter()
        result = work(left.pop(number))
        took = time.perf_counter() - begun
        yield number, result
        others = sum(not future.done() for future in _ahead)  # take their share
        if place and took * len(left) / (1 + others) > patience:
            return


def _in_processes(
    work: Callable[[U], R], left: dict[int, U], workers: int, patience: float
) -> Iterator[tuple[int, R]]:
    deaths = 0
    if patience:
        yield from _patiently(work, left, patience)
    while left:
        try:
            with _closed_in_silence(_round(work, left, workers)) as results:
                for number, result in results:
                    del left[number]
                    deaths = 0
                    yield number, result
        except BrokenProcessPool as error:
            if not isinstance(
                error, TerminatedWorkerError
            ):  # nobody was killed: it could not be read over there
                reason = str(error.__cause__).strip().strip("'\"").splitlines()[-1]
                raise RequestError(
                    f"Expected work that a worker can read; got {reason}. Run again, and leave cache and results alone "
                    "meanwhile.",
                    code="E_WORKERS",
                ) from error
            deaths += 1
            if deaths == DEATHS:
                raise RequestError(
                    f"Expected workers that live; got {deaths} killed one after another, with {len(left)} units "
                    "left. Memory may be short: take fewer workers.",
                    code="E_WORKERS",
                ) from error


def _round(work: Callable[[U], R], units: Mapping[int, U], workers: int) -> Any:
    """Start what is left in a pool, which joblib makes anew where the last one broke."""
    share = threads_each(workers)
    with joblib.parallel_config("loky", inner_max_num_threads=share):  # read here, not while results come
        pool = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
    # A list is consumed as workers ask for it; the dictionary changes meanwhile.
    return pool(
        [joblib.delayed(_one)(work, number, unit, share, os.getpid()) for number, unit in units.items()]
    )


@contextmanager
def _closed_in_silence(results: Any) -> Iterator[Any]:
    """Close the results of a pool, which stops its workers where some are left."""
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # joblib counts what was computed in vain
            results.close()


@contextmanager
def ahead(work: Callable[[], object]) -> Iterator[None]:
    """Let one other process begin with work that this one will do itself, while this one is busy elsewhere.

    It has one thread, and is ended with the block. Nobody asks what came of it: this process does what the other one
    left undone or failed at, and meets the same error there.

    Parameters
    ----------
    work : callable
        Of a module, or a `functools.partial` of one. It stores what it makes, each thing whole or not at all, and may
        be killed at any time.
    """
    pool = ProcessPoolExecutor(1, env=ALONE)
    try:
        _ahead.append(pool.submit(_alone, work, os.getpid()))
        yield
    finally:
        _ahead.pop()
        pool.shutdown(kill_workers=True)


def _alone(work: Callable[[], object], parent: int) -> None:
    _leave_with(parent)
    limit_threads(1)
    gc.set_threshold(GARBAGE)
    work()


def _one(work: Callable[[U], R], number: int, unit: U, share: int, parent: int) -> tuple[int, R]:
    _leave_with(parent)
    limit_threads(share)
    return number, work(unit)


def _on_cluster(work: Callable[[U], R], units: Sequence[U], cluster: Cluster) -> Iterator[tuple[int, R]]:
    """Let Dask's workers do units, those that join meanwhile too; what a killed one had in hand goes to another."""
    # Not by joblib's Dask backend, which does units in this process where there is one worker, and counts them once.
    one = partial(_one_far, work, cluster.threads, cluster.expected)
    waiting = set(cluster.client.map(one, range(len(units)), units, pure=False, key="unit"))
    try:
        while waiting:
            for done in _done(waiting, cluster):
                waiting.remove(done)
                yield done.result()
    except cluster.killed as error:
        raise RequestError(
            f"Expected workers that live; the cluster gave a unit up after it had killed several ({error}). Memory "
            "may be short: start fewer workers on each machine.",
            code="E_WORKERS",
        ) from error
    finally:
        cluster.client.cancel(list(waiting))


def _done(waiting: Collection[Any], cluster: Cluster) -> Iterator[Any]:
    """Yield what is finished, until nothing was for a while; say so where nobody is at work."""
    try:
        yield from cluster.as_completed(list(waiting), timeout=SILENCE)
    except TimeoutError:
        workers = cluster.client.scheduler_info(n_workers=-1)["workers"].values()
        if not any(worker["status"] == "running" for worker in workers):
            warnings.warn("No worker of the cluster is at work: waiting for one.", stacklevel=2)


def _one_far(work: Callable[[U], R], share: int, expected: Expected, number: int, unit: U) -> tuple[int, R]:
    _admit(expected)
    limit_threads(share)
    return number, work(unit)


@cache
def _admit(expected: Expected) -> None:
    """Refuse the worker that this is, unless it has what is expected; asked once a process."""
    expected.check()


def limit_threads(share: int) -> None:
    """Give this process `share` threads in whatever computes in it: OpenCV, torch, and by `threads` all who ask.

    BLAS and OpenMP know from the environment that the pool starts workers with, and so does torch where it is
    imported later.
    """
    _allowed["threads"] = share
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(share)
    if "torch" in sys.modules and sys.modules["torch"].get_num_threads() != share:
        sys.modules["torch"].set_num_threads(share)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch to one thread: small networks gain little from a second, and their bits never depend on it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _leave_with(parent: int) -> None:
    """End this worker when the process that started it is gone: nobody would hear of its results."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()
