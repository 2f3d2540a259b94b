"""Files with awkward names, from their folder to a verdict, a table and a purge."""

import errno
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from extract.manifest import read_manifest
from extract.names import as_text, file_of, printable

MAIN = Path(__file__).resolve().parents[1] / "run_benchmark.py"
FORGED = b"b\nreal        score -9.0000  threshold 0.0000  1 face  good.png"
NAMES = [
    *(b"a:b.png", b"100%d.png", b"-r.png", b" f  g .png", b"i\\xff.png"),
    *(FORGED, b"c\x1b[31mred.png", b"d\xff.png", "h\u202egnp.png".encode(), b"e" * 246 + b".png"),
]
SUITE = """
name = "names"
protocol = "target"
folds = 2
nested = false
weights = "auto"
extractors = ["colours.py"]
[faces]
detector = "none"
size = 32
[classifiers.logistic_regression]
C = [1.0]
"""
PLUGIN = """
import numpy as np

class Colours:
    name, dim, fingerprint = "colours", 6, "1"

    def __call__(self, faces):
        pixels = faces.reshape(len(faces), -1, 3).astype(np.float32) / 255
        return np.concatenate([pixels.mean(1), pixels.std(1)], axis=1)

def extractor():
    return Colours()
"""


def paint(path, rng):
    done, data = cv2.imencode(".png", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert done
    with open(path, "wb") as file:
        file.write(data)


def controls(text):
    return [char for char in text if unicodedata.category(char) in ("Cc", "Cs") and char != "\n"]


@pytest.fixture(scope="module")
def built(tmp_path_factory, command):
    """A folder with data, a finished run and its detector; the data's own name, too, is not UTF-8."""
    home, rng = tmp_path_factory.mktemp("names"), np.random.default_rng(0)
    root = os.path.join(os.fsencode(home), b"data\xfe")
    for half in (b"real", b"fake"):
        os.makedirs(os.path.join(root, half))
        for name in NAMES:
            paint(os.path.join(root, half, name), rng)
    (home / "colours.py").write_text(PLUGIN)
    (home / "names.toml").write_text(SUITE)
    run = ("run", "--suite", "names.toml", "--data", root, "--out", "out")
    for words in (run, ("export", "out", "--out", "detector")):
        done = subprocess.run([*command, *words], cwd=home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not controls(done.stdout)
    return home


@pytest.fixture
def home(built, tmp_path):
    """A copy of what was built, in which the command line is called; the data has another path in it."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def data(built):
    """The data of the run, for reading only."""
    return built / os.fsdecode(b"data\xfe")


@pytest.fixture
def results(home):
    return home / "out"


@pytest.fixture
def detector(home):
    return ("predict", "detector", "--extractor", "colours.py")


def test_a_run_reads_every_file(results, data):
    faces = pd.read_parquet(results / "faces.parquet")
    assert {file_of(path) for path in faces["path"]} == {
        data / half / os.fsdecode(name) for half in ("real", "fake") for name in NAMES
    }
    assert not any(map(controls, faces["path"]))
    assert pd.read_csv(results / "skipped.csv").empty


def test_the_same_command_again_and_its_suite_reuse_everything(cli, results, data):
    for words in (("--data", data, "--suite", "names.toml"), ("--suite", "out/suite.toml")):
        status, out, err = cli("run", *words, "--out", "out")
        assert (status, err) == (0, "")
        assert "Finished before" in out


def test_exported_faces_can_be_read_again(cli, home, data):
    status, out, err = cli("faces", "--suite", "names.toml", "--data", data, "--image-folder", "tree")
    assert status == 0, err
    assert not controls(out)
    names = [path.name for path in Path("tree").rglob("*.png")]
    assert len(names) == 20
    assert not any(map(controls, names))
    assert cli("prepare", "crops", "tree", "--out", "crops.csv")[0] == 0
    assert len(read_manifest(Path("crops.csv")).clips) == 20


@pytest.mark.parametrize("table", ["clips.csv", "clips.parquet"])
def test_a_prepared_manifest_names_the_same_files(cli, data, table):
    status, out, err = cli("prepare", "folder", data, "--out", table)
    assert status == 0, err
    assert not controls(out)
    paths = read_manifest(Path(table)).clips["path"]
    assert len(paths) == 20
    assert all(file_of(path).is_file() for path in paths)


def test_every_file_of_a_folder_has_a_line_that_no_name_forges(cli, detector, data):
    status, out, err = cli(*detector, data / "real", data / "fake")
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 20), err
    assert not controls(out)
    assert sum("  1 face  " in line.split(as_text(data))[0] for line in lines) == 20
    assert not any("note" in line for line in err.splitlines())


def test_json_names_the_files_as_they_are(cli, detector, data):
    status, out, _ = cli(*detector, data / "real", "--json")
    assert status == 0
    assert out.isascii()
    assert {json.loads(line)["name"] for line in out.splitlines()} == {
        str(data / "real" / os.fsdecode(name)) for name in NAMES
    }


def test_a_name_with_a_dash_is_a_file_behind_two(cli, detector, data, tmp_path):
    paint("-r.png", np.random.default_rng(1))
    status, out, _ = cli(*detector, "--", "-r.png")
    assert status == 0
    assert "  -r.png" in out


def test_pictures_of_frames_have_names_that_fit(cli, detector, data):
    status, _, err = cli(*detector, data / "real", "--frames", "pictures")
    assert status == 0, err
    names = [path.name for path in Path("pictures").iterdir()]
    assert len(names) == len(NAMES)
    assert not any(map(controls, names))


def test_a_terminal_of_another_encoding_gets_every_line(detector, data, tmp_path):
    paint(tmp_path / "ü€.png", np.random.default_rng(1))
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"}
    words = [sys.executable, MAIN, *detector, tmp_path / "ü€.png", data / "real"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert len(done.stdout.splitlines()) == 1 + len(NAMES)
    assert rb"\xfc\u20ac.png" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_of_any_name_is_forgotten(cli, results, data, name):
    clip = data / "real" / os.fsdecode(name)
    status, out, err = cli("purge", "--results", ".", "--", clip)
    assert status == 0, err
    assert printable(str(clip)) in out
    assert as_text(clip) not in pd.read_parquet(results / "faces.parquet")["path"].tolist()
    assert not [
        file
        for file in Path("cache/hashes").iterdir()
        if json.loads(file.read_text())["path"] == as_text(clip)
    ]


def test_an_error_is_one_line(cli, tmp_path):
    status, _, err = cli("prepare", "folder", "a\n\x1b[2Jb", "--out", "clips.csv")
    assert status == 2
    assert len(err.splitlines()) == 1
    assert not controls(err)
    assert err.rstrip().endswith("[E_LAYOUT_UNKNOWN]")


@pytest.mark.parametrize("words", [("predict", "detector", "-\x1b[2J.png"), ("purge", "a", "b\x1b[2J")])
def test_a_name_among_wrong_words_is_printed_escaped(cli, words):
    status, out, err = cli(*words)
    assert (status, out) == (2, "")
    assert not controls(err)
    assert "Usage: " in err


def test_a_name_that_no_system_takes_ends_nothing(cli, detector, data):
    status, out, _ = cli(*detector, "x" * 300 + ".png", data / "real" / "a:b.png")
    assert status == 0
    assert out.startswith("unreadable")
    assert len(out.splitlines()) == 2


# -- what a folder holds beside clips ------------------------------------------------------------------------


@pytest.fixture
def littered(home):
    """Put a text, two broken links, a link back and hidden files into a copy of the data; returns it."""
    data = home / os.fsdecode(b"data\xfe")
    real = data / "real"
    (real / "notes.txt").write_text("x")
    (real / "gone.png").symlink_to("nowhere")
    (real / "lost.txt").symlink_to("nowhere")
    (real / "back").symlink_to(data)
    (data / "fake" / "._x.jpg").write_bytes(b"x")
    (data / "fake" / ".hidden").mkdir()
    (data / "fake" / ".hidden" / "x.png").write_bytes(b"x")
    return data


PASSED = (
    "2 links to files that do not exist, 1 link back to a folder that it lies in, "
    "1 file that is neither an image nor a video by its name."
)


def test_run_faces_and_predict_see_the_same_files(cli, detector, littered):
    status, out, err = cli(*detector, littered)
    assert (status, len(out.splitlines())) == (0, 20)
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert notes == [f"note: Passed over in {as_text(littered)}: {PASSED}"]
    for words in (("run", "--out", "new"), ("faces", "--image-folder", "tree")):
        status, out, err = cli(*words, "--suite", "names.toml", "--data", littered)
        assert status == 0, err
        assert f"Passed over: {PASSED}" in out.splitlines()
    skipped = pd.read_csv("new/skipped.csv")
    assert list(skipped.columns) == ["path", "outcome", "code", "reason"]
    assert sorted(skipped["code"]) == ["E_FILE_KIND", "E_LINK_BROKEN", "E_LINK_BROKEN", "E_LINK_LOOP"]


def test_what_lies_beside_clips_makes_no_other_run(cli, home):
    data = home / os.fsdecode(b"data\xfe")
    (data / "clips.csv").write_text("x")
    (data / "real" / "notes.txt").write_text("x")
    status, out, _ = cli("run", "--suite", "names.toml", "--data", data, "--out", "out")
    assert status == 0
    assert "Finished before" in out


def test_a_folder_without_a_clip_is_refused(cli, detector, tmp_path):
    (tmp_path / "empty" / ".git").mkdir(parents=True)
    status, out, err = cli(*detector, "empty")
    assert (status, out) == (2, "")
    assert "[E_FOLDER_EMPTY]" in err


def test_a_full_disk_is_said_in_a_line(cli, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "cache/scratch/a")

    monkeypatch.setattr("benchmarks.export.export_faces", full)
    status, _, err = cli("faces", "--image-folder", "out")
    assert status == 1
    assert "cache/scratch/a" in err
    assert "[E_DISK_FULL]" in err
    assert len(err.splitlines()) == 1
