"""How the process of a command ends."""

import os
import subprocess
import sys

import pytest

KEPT = """
import atexit, sys
from benchmarks.ending import end_with
atexit.register(lambda: print("exit function"))
class Kept:
    def __del__(self):
        print("taken apart")
kept = Kept()
"""


def ran(words, **options):
    return subprocess.run(
        [sys.executable, "-c", KEPT + words], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize("status", [0, 2])
def test_a_process_ends_as_soon_as_exit_functions_are_done(status):
    done = ran(f"print('written, not flushed'); end_with({status}); sys.exit(7)")
    assert (done.returncode, done.stdout) == (status, "written, not flushed\nexit function\n")


def test_without_a_status_it_ends_as_any_other():
    done = ran("sys.exit(7)")
    assert (done.returncode, done.stdout) == (7, "exit function\ntaken apart\n")


@pytest.mark.parametrize(("words", "expected"), [(["list"], 0), (["run", "--suite", "nothing"], 2)])
def test_the_command_ends_so(command, tmp_path, words, expected):
    words = [command[-1], *words]
    done = ran(
        f"import runpy; sys.argv = {words!r}; runpy.run_path({words[0]!r}, run_name='__main__')", cwd=tmp_path
    )
    assert done.returncode == expected
    assert "exit function" in done.stdout
    assert "taken apart" not in done.stdout


def test_an_error_is_told_and_status_1():
    done = ran("import run_benchmark; run_benchmark.main = lambda: 1 / 0; run_benchmark.command()")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_what_cannot_be_written_is_told_once_with_another_status():
    words = "from benchmarks.ending import end_with; print('lost'); end_with(0)"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", words],
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 120
    assert done.stderr.count("No space left") == 1


def test_a_closed_output_is_nothing_to_write_to():
    done = ran("sys.stdout = sys.stderr = None; end_with(3)")
    assert (done.returncode, done.stderr) == (3, "")
