"""A run that is killed, wherever, continues and ends with the same tables."""

import signal
import subprocess
import time

import pytest

# What appears on disk while a stage is under way; the kill follows at once.
STAGES = {
    "demo clips": "cache/synthetic/*/*/*.mp4",
    "faces": "cache/faces/*/*/index.json",
    "features": "cache/features/*/*/part-*/X.npy",
    "search": "results/*/units/*/*/unit.json",
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


@pytest.fixture(scope="module")
def killed_in_every_stage(tmp_path_factory, command, tiny_suite):
    folder = tmp_path_factory.mktemp("killed")
    words = [*command, "run", "--suite", str(tiny_suite)]
    statuses = {}
    for stage, pattern in STAGES.items():
        process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        kill_when(pattern, process=process, folder=folder)
        statuses[stage] = process.returncode
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, statuses


@pytest.mark.parametrize("stage", STAGES)
def test_the_run_was_killed_in_the_stage(killed_in_every_stage, stage):
    assert killed_in_every_stage[1][stage] == -signal.SIGKILL


@pytest.mark.parametrize("part", ["tables", "figures"])
def test_a_killed_run_ends_with_the_same_bytes(killed_in_every_stage, finished, part):
    assert contents(killed_in_every_stage[0], part) == contents(finished, part)


def test_a_killed_run_leaves_no_temporary_file_in_the_results(killed_in_every_stage):
    leftovers = [path for path in (killed_in_every_stage[0] / "results").rglob(".tmp-*")]
    assert leftovers == []
