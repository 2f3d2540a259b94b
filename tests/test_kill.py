"""A run that is killed, wherever, continues and ends with the same tables."""

import os
import signal
import subprocess
import time

import pandas as pd
import pytest

# What appears on disk while a stage is under way; the kill follows at once.
STAGES = {
    "demo clips": "cache/synthetic/*/*/*.mp4",
    "faces": "cache/faces/*/*/index.json",
    "features": "cache/features/*/*/part-*/X.npy",
    "search": "results/*/scratch/search-*/*/units/*.npz",
    "tables": "results/*/tables/main.md",
}


def kill_when(pattern, *, process, folder, seconds=120):
    before = set(folder.glob(pattern))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if set(folder.glob(pattern)) - before:
            process.send_signal(signal.SIGKILL)
            break
        if process.poll() is not None:
            break
        time.sleep(0.002)
    process.wait()


def contents(folder, part):
    (run,) = (folder / "results").glob("tiny-*")
    return {path.name: path.read_bytes() for path in sorted((run / part).iterdir())}


SOME = pytest.param(("search",), id="search")
EVERY = pytest.param(tuple(STAGES), id="every", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[SOME, EVERY])
def killed_in_every_stage(request, tmp_path_factory, command, tiny_suite):
    folder = tmp_path_factory.mktemp("killed")
    words = [*command, "run", "--suite", str(tiny_suite)]
    statuses = {}
    for stage in request.param:
        pattern = STAGES[stage]
        process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        kill_when(pattern, process=process, folder=folder)
        statuses[stage] = process.returncode
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, statuses


def test_the_run_was_killed_in_every_stage(killed_in_every_stage):
    assert set(killed_in_every_stage[1].values()) == {-signal.SIGKILL}


@pytest.mark.parametrize("part", ["tables", "figures"])
def test_a_killed_run_ends_with_the_same_bytes(killed_in_every_stage, finished, part):
    assert contents(killed_in_every_stage[0], part) == contents(finished, part)


def test_a_killed_run_leaves_no_temporary_file_in_the_results(killed_in_every_stage):
    leftovers = [path for path in (killed_in_every_stage[0] / "results").rglob(".tmp-*")]
    assert leftovers == []


@pytest.fixture(scope="module")
def killed_amid_its_units(killed_in_every_stage, command, tiny_suite):
    """Compare on the finished run's caches, killed after the first unit; returns folder, words and exit status."""
    folder = killed_in_every_stage[0]
    words = [*command, "compare", "leakage", "--suite", str(tiny_suite), "--repeats", "1"]
    words += [
        "--extractor",
        "mobilenetv2",
        "--classifier",
        "logistic_regression",
        "--classifier",
        "random_forest",
    ]
    process = subprocess.Popen(
        [*words, "--out", "killed"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    kill_when("killed/units/*/*/trials.parquet", process=process, folder=folder)
    return folder, words, process.returncode


@pytest.mark.slow
def test_a_comparison_was_killed_amid_its_units(killed_amid_its_units):
    folder, _, status = killed_amid_its_units
    assert status == -signal.SIGKILL
    assert len(list((folder / "killed" / "units").glob("*/*"))) == 1
    assert not (folder / "killed" / "DONE").exists()


@pytest.mark.slow
def test_a_killed_comparison_ends_with_the_same_trials(killed_amid_its_units):
    folder, words, _ = killed_amid_its_units
    kept = next((folder / "killed" / "units").glob("*/*/trials.parquet")).read_bytes()
    for out in ("killed", "whole"):
        done = subprocess.run([*words, "--out", out], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    killed, whole = (
        {path.parent.name: pd.read_parquet(path) for path in sorted((folder / out).rglob("trials.parquet"))}
        for out in ("killed", "whole")
    )
    assert list(killed) == list(whole) == ["logistic_regression", "random_forest"]
    for classifier, trials in killed.items():
        pd.testing.assert_frame_equal(
            trials.drop(columns="seconds"), whole[classifier].drop(columns="seconds"), check_exact=True
        )
    assert kept in [path.read_bytes() for path in (folder / "killed").rglob("trials.parquet")]
    for table in ("leakage.md", "leakage.csv", "audit.csv"):
        assert (folder / "killed" / "tables" / table).read_bytes() == (
            folder / "whole" / "tables" / table
        ).read_bytes()


# -- on a cluster ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["features", "search"])
def test_a_run_whose_cluster_loses_a_machine_ends_with_the_same_bytes(
    stage, tmp_path, command, tiny_suite, finished, dask, scheduler
):
    options = ["--nworkers", "1", "--nthreads", "1"]
    with dask("worker", scheduler, *options) as lost, dask("worker", scheduler, *options):
        words = [*command, "run", "--suite", str(tiny_suite), "--cluster", scheduler]
        run = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob(STAGES[stage])) and run.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.killpg(lost.pid, signal.SIGKILL)
        _, said = run.communicate(timeout=600)
        assert run.returncode == 0, said.decode()
    for part in ("tables", "figures"):
        assert contents(tmp_path, part) == contents(finished, part)
