"""What the end-to-end tests share: a tiny suite, a way to call the command line, and one finished run."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time, and no clock: a slow machine is not a defect.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parents[1]

SUITE = """
name = "tiny"
title = "Tiny"
protocol = "component"
folds = 3
nested = false
weights = "auto"
extractors = ["mobilenetv2", "timm:test_resnet"]
[data.synthetic]
identities = 8
frames = 3
size = 160
[faces]
frames = 2
[classifiers.logistic_regression]
C = [0.01, 1.0]
[classifiers.svc]
C = [1.0]
[classifiers.random_forest]
n_estimators = [10]
max_depth = ["none", 3]
[classifiers.xgboost]
n_estimators = [5]
"""


@pytest.fixture(scope="session")
def command():
    """The words that call the command line in a process of its own."""
    return [sys.executable, str(ROOT / "run_benchmark.py")]


@pytest.fixture(scope="session")
def tiny_suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "tiny.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory, command, tiny_suite):
    """A folder in which the tiny suite was run without interruption: cache/ and results/tiny-<key>/."""
    folder = tmp_path_factory.mktemp("finished")
    done = subprocess.run(
        [*command, "run", "--suite", str(tiny_suite)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Call the command line in this process, in an empty folder: (exit status, standard output, error)."""
    import run_benchmark

    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["run_benchmark.py", *map(str, words)])
        try:
            run_benchmark.main()
            status = 0
        except SystemExit as error:
            status = error.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def dask():
    """Start ``dask`` with some words, in a process group of its own that is killed when the block ends."""
    pytest.importorskip("distributed")

    @contextmanager
    def started(*words):
        words = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
        process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    return started


@pytest.fixture
def scheduler(dask, tmp_path_factory):
    """The address of a Dask scheduler without workers."""
    file = tmp_path_factory.mktemp("scheduler") / "scheduler.json"
    with dask("scheduler", "--port", "0", "--scheduler-file", str(file)):
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]
