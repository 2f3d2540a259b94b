"""A Dask cluster, whose workers do units in place of processes of this machine."""

import os
import platform
import time
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
COMMAND = "dask worker ADDRESS --nworkers -1 --nthreads 1 --memory-limit 0"
PATIENCE = 30.0  # seconds that a scheduler, and then its first worker, may take to answer
PROBE = ".tmp-"  # begins the name of a file that is there for a moment
STEADY = 3.0  # seconds without a new worker after which all that were started are taken to be there


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
    expected : Expected
        Of every worker, those that join later too.
    as_completed : callable
        Dask's.
    """

    client: Any
    workers: int
    threads: int
    memory: int
    killed: type[Exception]
    expected: "Expected"
    as_completed: Callable[..., Any]

    def everywhere(self, work: Callable[[], object]) -> None:
        """Call a function of a module once in every worker that answers."""
        self.client.run(work, on_error="ignore")


@dataclass(frozen=True)
class Expected:
    """What a worker must have, to give this machine's results.

    Attributes
    ----------
    versions : tuple of (name, version)
    ask : callable
        Of a module; returns the worker's own.
    seen : tuple of str
        Files and folders that are there under the same paths, and may be read; of a file that `PROBE` names its folder.
    """

    versions: tuple[tuple[str, str], ...]
    ask: Callable[[], Mapping[str, str]]
    seen: tuple[str, ...]

    def check(self) -> None:
        """Refuse the worker that this is called in.

        Raises
        ------
        RequestError
        """
        mine, name = self.ask(), f"a worker on {platform.node()}"
        for what, there in self.versions:
            if mine.get(what) != there:
                raise RequestError(
                    f"Expected the same versions everywhere; {name} has {what} {mine.get(what)}, the machine that "
                    f"asks {there}. Install the same there, and start the workers again.",
                    code="E_CLUSTER",
                )
        for path in self.seen:
            if not os.access(path, os.R_OK):
                raise RequestError(
                    f"Expected {path.split(f'/{PROBE}')[0]} to be seen by all workers; {name} does not see it. Put "
                    "clips, weights, --cache and --out where all machines have them, under the same paths.",
                    code="E_CLUSTER",
                )


@dataclass(frozen=True)
class _Worker:
    """What a worker says of itself; `refusal` is empty where it can be taken."""

    cores: int
    memory: int
    refusal: str


@contextmanager
def connect(
    address: str,
    *,
    folders: Sequence[Path],
    versions: Callable[[], Mapping[str, str]],
    inputs: Sequence[Path] = (),
) -> Iterator[Cluster]:
    """Connect with a cluster, and refuse one whose workers could not give this machine's results.

    Parameters
    ----------
    address : str
        Of a Dask scheduler, such as ``tcp://192.168.0.5:8786``; ``local:N`` starts one with N workers here.
    folders : sequence of Path
        Where results are written: all workers must see them, under the same paths.
    versions : callable
        Of a module; what it returns must be the same everywhere.
    inputs : sequence of Path
        What is read, files or folders: all workers must see them, too.

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
            "'deepfake-transfer-bench[cluster]'.",
            code="E_PACKAGE_MISSING",
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
            yield _check(client, dask, folders, versions, inputs)
        return
    try:
        client = dask.Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise RequestError(
            f"Expected a Dask scheduler at {address}; none answered ({error}). Start one with `dask scheduler`, and "
            "give the address that it prints.",
            code="E_CLUSTER",
        ) from error
    with client:
        _wait_for_all(client)
        yield _check(client, dask, folders, versions, inputs)


def _count(address: str) -> int:
    number = address.removeprefix(LOCAL)
    if not number.isdecimal() or int(number) < 1:
        raise RequestError(
            f"Expected a number of workers in --cluster local:N; got {number!r}. Write local:2.",
            code="E_OPTION",
        )
    if int(number) > joblib.cpu_count():
        raise RequestError(
            f"Expected at most a worker a core in --cluster; got {number} for {joblib.cpu_count()} cores. Take fewer.",
            code="E_OPTION",
        )
    return int(number)


def _wait_for_all(client: Any) -> None:
    """Wait for the workers that are being started: threads and memory are shared between all of a machine."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise RequestError(
            f"Expected workers of the cluster; it has none. Start some: {COMMAND}.", code="E_CLUSTER"
        ) from error
    there, since = 0, time.monotonic()
    while time.monotonic() - since < STEADY:
        if (now := len(client.scheduler_info(n_workers=-1)["workers"])) != there:
            there, since = now, time.monotonic()
        time.sleep(0.1)


def _check(
    client: Any,
    dask: Any,
    folders: Sequence[Path],
    versions: Callable[[], Mapping[str, str]],
    inputs: Sequence[Path],
) -> Cluster:
    known = client.scheduler_info(n_workers=-1)["workers"]
    several = [name for name, worker in known.items() if worker["nthreads"] > 1]
    if several:
        raise RequestError(
            f"Expected workers of one thread; {several[0]} has {known[several[0]]['nthreads']}. Start them as "
            f"processes, one a core: {COMMAND}.",
            code="E_CLUSTER",
        )
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    probes = [folder.resolve() / f"{PROBE}{uuid.uuid4().hex}" for folder in folders]
    mine, read = tuple(versions().items()), tuple(str(path.resolve()) for path in inputs)
    try:
        for probe in probes:
            probe.touch()
        asked = Expected(mine, versions, (*map(str, probes), *read))
        found: dict[str, _Worker] = client.run(_describe, asked)
    except (ImportError, AttributeError) as error:
        raise RequestError(
            f"Expected the same program on all workers; one cannot load it ({error}). Install this version there.",
            code="E_CLUSTER",
        ) from error
    finally:
        for probe in probes:
            probe.unlink(missing_ok=True)
    for worker in found.values():
        if worker.refusal:
            raise RequestError(worker.refusal, code="E_CLUSTER")
    hosts = {name: known[name]["host"] for name in found.keys() & known.keys()}
    beside = Counter(hosts.values())
    each = [(found[name], known[name].get("memory_limit"), beside[host]) for name, host in hosts.items()]
    return Cluster(
        client,
        len(each),
        min(max(1, worker.cores // count) for worker, _, count in each),
        # Half of what there is, or of what Dask itself lets a worker take before it ends it.
        min(min(worker.memory // count, limit or worker.memory) // 2 for worker, limit, count in each),
        dask.KilledWorker,
        Expected(mine, versions, (*(str(folder.resolve()) for folder in folders), *read)),
        dask.as_completed,
    )


def _describe(expected: Expected) -> _Worker:
    try:
        expected.check()
        refusal = ""
    except RequestError as error:
        refusal = error.message
    return _Worker(joblib.cpu_count(), available_memory(), refusal)
