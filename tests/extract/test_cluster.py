import os
import platform
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import joblib
import pytest

from classify.units import forget
from extract import cluster as clusters
from extract.cluster import Expected, connect
from extract.errors import RequestError
from extract.workers import _done, cores, count, run_units, threads

distributed = pytest.importorskip("distributed")

try:
    import cloudpickle
except ImportError:
    from joblib.externals import cloudpickle

SQUARE, FAIL = partial(pow, exp=2), partial(int, base=10)


def by_value(function):
    """Send a function of this file to workers as it is, not by its name."""
    cloudpickle.register_pickle_by_value(sys.modules[function.__module__])
    return function


def versions():
    return {"python": "3"}


@by_value
def other_versions():
    return {"python": str(os.getpid())}


@by_value
def where(unit):
    time.sleep(0.05)
    nested = joblib.Parallel(n_jobs=1)(joblib.delayed(os.getpid)() for _ in range(3))
    return os.getpid(), threads(), set(nested)


@by_value
def die_once(unit, *, folder, at, times=1):
    begun = len(list(folder.glob(f"{unit}-*")))
    (folder / f"{unit}-{begun}").touch()
    if unit == at and begun < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return unit * 10


@by_value
def keep(unit):
    from classify.units import GRAM

    GRAM.get("a search", lambda: unit)


@by_value
def kept(unit):
    from classify.units import GRAM

    return GRAM.key


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(clusters, "STEADY", 0.5)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with connect("local:2", folders=[tmp_path_factory.mktemp("seen")], versions=versions) as found:
        yield found


def test_the_cluster_says_what_it_has(cluster):
    assert (cluster.workers, count(cluster)) == (2, 2)
    assert cluster.threads == max(1, cores() // 2)
    assert 0 < cluster.memory < 2**45


def test_units_are_done_by_its_workers(cluster):
    assert dict(run_units(SQUARE, range(7), workers=cluster)) == {i: i * i for i in range(7)}
    assert list(run_units(SQUARE, [], workers=cluster)) == []


def test_loops_inside_a_unit_stay_in_its_worker(cluster):
    found = [answer for _, answer in run_units(where, range(8), workers=cluster)]
    assert os.getpid() not in {pid for pid, _, _ in found}
    assert {share for _, share, _ in found} == {cluster.threads}
    assert all(nested == {pid} for pid, _, nested in found)


def test_every_worker_forgets_what_it_kept(cluster):
    list(run_units(keep, range(4), workers=cluster))
    cluster.everywhere(forget)
    assert set(dict(run_units(kept, range(4), workers=cluster)).values()) == {""}


def test_an_error_comes_as_it_is(cluster):
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_units(FAIL, ["1", "x"], workers=cluster))


def test_a_killed_worker_costs_the_unit_in_its_hand(cluster, tmp_path):
    work = partial(die_once, folder=tmp_path, at=3)
    assert dict(run_units(work, range(8), workers=cluster)) == {i: i * 10 for i in range(8)}
    assert len(list(tmp_path.glob("3-*"))) == 2


@pytest.mark.slow
def test_a_unit_that_kills_every_worker_is_given_up(tmp_path):
    work = partial(die_once, folder=tmp_path, at=1, times=99)
    with (
        connect("local:1", folders=[tmp_path], versions=versions) as one,
        pytest.raises(RequestError, match="Expected workers that live; the cluster gave a unit up"),
    ):
        list(run_units(work, range(3), workers=one))


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path):
    """Return why a cluster is refused."""

    def why(address, *, versions=versions, inputs=()):
        with (
            pytest.raises(RequestError) as raised,
            connect(address, folders=[tmp_path], versions=versions, inputs=inputs),
        ):
            pass
        assert list(tmp_path.iterdir()) == []
        return str(raised.value)

    return why


@pytest.mark.parametrize("number", ["", "0", "two", "-1"])
def test_a_number_of_workers_is_expected(number, refused):
    words = f"Expected a number of workers in --cluster local:N; got {number!r}"
    assert refused(f"local:{number}").startswith(words)


def test_more_workers_than_cores_are_refused(refused):
    words = f"Expected at most a worker a core in --cluster; got {cores() + 1}"
    assert refused(f"local:{cores() + 1}").startswith(words)


def test_an_address_where_nobody_answers_is_refused(refused, monkeypatch):
    monkeypatch.setattr(clusters, "PATIENCE", 0.5)
    assert refused("tcp://127.0.0.1:9").startswith(
        "Expected a Dask scheduler at tcp://127.0.0.1:9; none answered"
    )


def test_without_dask_the_extra_is_named(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'deepfake-transfer-bench[cluster]'" in refused("local:1")


@pytest.fixture(scope="module")
def address(cluster):
    return cluster.client.scheduler.address


def test_a_running_cluster_is_found_by_its_address(address, cluster, tmp_path):
    with connect(address, folders=[tmp_path], versions=versions) as found:
        assert (found.workers, found.threads) == (cluster.workers, cluster.threads)
        assert dict(run_units(SQUARE, range(3), workers=found)) == {0: 0, 1: 1, 2: 4}
    assert list(tmp_path.iterdir()) == []


def test_other_versions_are_refused(address, refused):
    why = refused(address, versions=other_versions)
    assert why.startswith(f"Expected the same versions everywhere; a worker on {platform.node()} has python ")
    assert why.endswith("Install the same there, and start the workers again. [E_CLUSTER]")


def test_data_that_a_worker_does_not_see_is_refused(address, refused, tmp_path):
    why = refused(address, inputs=[tmp_path / "clips"])
    assert why.startswith(f"Expected {tmp_path / 'clips'} to be seen by all workers; a worker on ")


def test_a_folder_that_a_worker_sees_another_of_is_refused(tmp_path):
    with pytest.raises(RequestError, match=f"Expected {tmp_path} to be seen by all workers; a worker on "):
        Expected((), dict, (str(tmp_path / f"{clusters.PROBE}1"),)).check()


def test_a_worker_that_joins_later_is_checked_too(cluster):
    later = replace(cluster, expected=replace(cluster.expected, versions=(("python", "2"),)))
    with pytest.raises(RequestError, match="has python 3, the machine that asks 2"):
        list(run_units(SQUARE, range(3), workers=later))


def test_that_nobody_is_at_work_is_said():
    def as_completed(futures, timeout):
        raise TimeoutError

    client = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": {"a": {"status": "paused"}}})
    with pytest.warns(UserWarning, match="No worker of the cluster is at work"):
        assert list(_done({1}, SimpleNamespace(client=client, as_completed=as_completed))) == []


def test_no_workers_and_workers_of_several_threads_are_refused(refused, dask, scheduler, monkeypatch):
    monkeypatch.setattr(clusters, "PATIENCE", 2.0)
    assert refused(scheduler).startswith("Expected workers of the cluster; it has none")
    monkeypatch.setattr(clusters, "PATIENCE", 60.0)
    with dask("worker", scheduler, "--nthreads", "2"):
        assert " has 2. Start them as processes, one a core: dask worker" in refused(scheduler)


def test_memory_is_no_more_than_dask_lets_a_worker_take(dask, scheduler, tmp_path):
    limits = ["--nthreads", "1", "--memory-limit", "300MB"]
    with (
        dask("worker", scheduler, *limits),
        connect(scheduler, folders=[tmp_path], versions=versions) as found,
    ):
        assert found.memory == 150_000_000
