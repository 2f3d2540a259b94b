"""A Dask cluster, whose workers do units in place of processes of this machine."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib

from extract.errors import RequestError
from extract.memory import available_memory

LOCAL = "local:"
PATIENCE = 30.0  # seconds that a scheduler, and then its first worker, may take to answer


@dataclass(frozen=True)
class Cluster:
    """Workers on machines that see this one's folders under the same paths.

    Attributes
    ----------
    client : dask.distributed.Client
    workers : int
        Processes, each of which does one unit at a time.
    threads : int
        What each may use: where they are started as many as cores, one.
    memory : int
        Bytes that each may take of what is free.
    killed : type of Exception
        Raised where a unit killed several workers.
    as_completed : callable
        Dask's.
    """

    client: Any
    workers: int
    threads: int
    memory: int
    killed: type[Exception]
    as_completed: Callable[[Sequence[Any]], Any]


@dataclass(frozen=True)
class _Worker:
    """What a worker says of itself."""

    cores: int
    memory: int
    versions: Mapping[str, str]
    blind: Sequence[str]  # folders that it does not see


@contextmanager
def connect(
    address: str, *, folders: Sequence[Path], versions: Callable[[], Mapping[str, str]]
) -> Iterator[Cluster]:
    """Connect with a cluster, and refuse one whose workers could not give this machine's results.

    Parameters
    ----------
    address : str
        Of a Dask scheduler, such as ``tcp://192.168.0.5:8786``; ``local:N`` starts one with N workers here.
    folders : sequence of Path
        What all workers must see, under the same paths.
    versions : callable
        Of a module; what it returns must be the same everywhere.

    Raises
    ------
    RequestError
        Dask is not installed; nobody answers; a worker has several threads, other versions, or does not see a folder.
    """
    try:
        dask = import_module("distributed")
    except ImportError as error:
        raise RequestError(
            "Expected Dask for --cluster; it is not installed. Install the extra: pip install "
            "'deepfake-transfer-bench[cluster]'."
        ) from error
    if address.startswith(LOCAL):
        here = dask.LocalCluster(
            n_workers=_count(address),
            threads_per_worker=1,
            dashboard_address=":0",
            memory_limit=0,  # what a search takes was reckoned before
            silence_logs="CRITICAL",
        )
        with here, dask.Client(here) as client:
            yield _check(client, dask, folders, versions)
        return
    try:
        client = dask.Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"Expected a Dask scheduler at {address}; none answered ({error}). Start one with `dask scheduler`, and "
            "give the address that it prints."
        ) from error
    with client:
        yield _check(client, dask, folders, versions)


def _count(address: str) -> int:
    number = address.removeprefix(LOCAL)
    if not number.isdecimal() or int(number) < 1:
        raise RequestError(
            f"Expected a number of workers in --cluster local:N; got {number!r}. Write local:2."
        )
    if int(number) > joblib.cpu_count():
        raise RequestError(
            f"Expected at most a worker a core in --cluster; got {number} for {joblib.cpu_count()} cores. Take fewer."
        )
    return int(number)


def _check(
    client: Any,
    dask: Any,
    folders: Sequence[Path],
    versions: Callable[[], Mapping[str, str]],
) -> Cluster:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise RequestError(
            "Expected workers of the cluster; it has none. Start some: dask worker ADDRESS --nworkers -1 --nthreads 1."
        ) from error
    known = client.scheduler_info(n_workers=-1)["workers"]
    several = [name for name, worker in known.items() if worker["nthreads"] > 1]
    if several:
        raise RequestError(
            f"Expected workers of one thread; {several[0]} has {known[several[0]]['nthreads']}. "
            "Start them with --nworkers -1 --nthreads 1: a process a core."
        )
    probes = [folder.resolve() / f".tmp-{uuid.uuid4().hex}" for folder in folders]
    for probe in probes:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
    try:
        found: dict[str, _Worker] = client.run(_describe, probes, versions)
    except (ImportError, AttributeError) as error:
        raise RequestError(
            f"Expected the same program on all workers; one cannot load it ({error}). Install this version there."
        ) from error
    finally:
        for probe in probes:
            probe.unlink(missing_ok=True)
    mine = versions()
    for name, worker in found.items():
        for what, here in mine.items():
            if worker.versions.get(what) != here:
                raise RequestError(
                    f"Expected the same versions everywhere; {name} has {what} {worker.versions.get(what)}, this "
                    f"machine {here}. Install the same there."
                )
        if worker.blind:
            raise RequestError(
                f"Expected {worker.blind[0]} to be seen by all workers; {name} does not see it. Put --cache, --out and "
                "the clips where all machines have them, under the same paths."
            )
    beside = Counter(worker["host"] for worker in known.values())
    each = [(found[name], beside[worker["host"]]) for name, worker in known.items()]
    return Cluster(
        client,
        len(known),
        min(max(1, worker.cores // count) for worker, count in each),
        min(worker.memory // (2 * count) for worker, count in each),
        dask.KilledWorker,
        dask.as_completed,
    )


def _describe(probes: Sequence[Path], versions: Callable[[], Mapping[str, str]]) -> _Worker:
    blind = [str(probe.parent) for probe in probes if not probe.is_file()]
    return _Worker(joblib.cpu_count(), available_memory(), versions(), blind)
