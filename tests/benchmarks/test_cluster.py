"""Runs on a cluster, interrupted runs, and those whose workers are killed: the same results, byte for byte."""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import classify.units
from benchmarks.machine import Machine
from benchmarks.results import versions
from benchmarks.runner import run
from extract.cluster import connect
from extract.store import Store

LONG = """
[classifiers.xgboost]
n_estimators = [200, 400]
max_depth = [2, 3, 4]
learning_rate = [0.1, 0.3]
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory, write_suite):
    return write_suite(tmp_path_factory.mktemp("suite"), sections=LONG)


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("caches"))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted((folder / "units").rglob("*.*"))}


@pytest.fixture(scope="module")
def whole(suite, caches, tmp_path_factory):
    """What a run in one process gives."""
    return contents(run(suite, machine=Machine(caches), out=tmp_path_factory.mktemp("whole") / "out"))


def test_a_run_on_a_cluster_has_the_same_results(suite, caches, whole, tmp_path):
    pytest.importorskip("distributed")
    with connect("local:2", folders=[tmp_path], versions=versions) as cluster:
        machine = Machine(caches, face_workers=cluster, feature_workers=cluster, cluster=cluster)
        assert contents(run(suite, machine=machine, out=tmp_path / "out")) == whole


def test_a_killed_worker_of_a_cluster_costs_no_result(suite, caches, whole, tmp_path):
    pytest.importorskip("distributed")
    killed = []
    with connect("local:2", folders=[tmp_path], versions=versions) as cluster:
        [victim, _] = cluster.client.run(os.getpid).values()

        def kill():
            while (
                not killed and len(list(tmp_path.glob("out/scratch/search-pixels-xgboost/*/units/*.npz"))) < 2
            ):
                time.sleep(0.001)
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

        threading.Thread(target=kill, daemon=True).start()
        found = contents(run(suite, machine=Machine(caches, cluster=cluster), out=tmp_path / "out"))
        assert killed == [victim]
        assert victim not in cluster.client.run(os.getpid).values()
    assert found == whole


class Interrupted(Exception):
    pass


@pytest.fixture
def fitted(monkeypatch):
    """The units that are fitted, in a list; the one of that place in it is interrupted."""
    units, real = [], classify.units.run_unit
    units_at = {"stop": -1}

    def run_unit(unit, *arguments, **options):
        if len(units) == units_at["stop"]:
            raise Interrupted
        units.append(unit.name)
        return real(unit, *arguments, **options)

    monkeypatch.setattr(classify.units, "run_unit", run_unit)
    return units, units_at


def test_a_search_interrupted_at_half_costs_half_when_resumed(suite, caches, whole, tmp_path, fitted):
    units, at = fitted
    suite = suite.model_copy(update={"classifiers": {"xgboost": suite.classifiers["xgboost"]}})
    run(suite, machine=Machine(caches), out=tmp_path / "all")
    [every, names] = [len(units), set(units)]
    assert every == len(names) == 6 * 3
    units.clear()
    at["stop"] = every // 2
    with pytest.raises(Interrupted):
        run(suite, machine=Machine(caches), out=tmp_path / "out")
    assert len(units) == every // 2
    at["stop"] = -1
    done = set(units)
    units.clear()
    run(suite, machine=Machine(caches), out=tmp_path / "out")
    assert set(units) == names - done  # at most half and the one in hand
    assert len(units) == every - every // 2
    assert contents(tmp_path / "out").items() <= whole.items()
    assert not (tmp_path / "out" / "scratch").exists()


def test_a_finished_search_is_not_kept(suite, caches, tmp_path):
    seen = []

    def say_what_is_there(items, description, total=None, note=None):
        seen.append(sorted(path.name for path in tmp_path.glob("out/scratch/*")))
        return items

    run(suite, machine=replace(Machine(caches), track=say_what_is_there), out=tmp_path / "out")
    assert seen[-1] == ["search-pixels-xgboost"]
    assert not Path(tmp_path / "out" / "scratch").exists()
