"""How the process of a command ends."""

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
