"""What another process begins while this one imports and builds networks."""

import subprocess
import sys
import time

import pytest

from benchmarks.begun import data_begun, home_of
from benchmarks.data import find_all_faces, identify_clips, read_clips
from benchmarks.machine import Machine
from benchmarks.suite import DataSettings
from extract.datasets.synthetic import SyntheticSettings
from extract.faces import FaceSettings
from extract.store import Store

TINY = SyntheticSettings(identities=4, real_clips=1, fake_clips=1, frames=2, size=160)


@pytest.fixture
def suite(write_suite, tmp_path):
    data = DataSettings(synthetic=TINY)
    return write_suite(tmp_path).model_copy(
        update={"data": data, "faces": FaceSettings(frames=1), "folds": 2}
    )


def wait_for(pattern, folder, *, seconds=60):
    deadline = time.monotonic() + seconds
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def faces(suite, machine):
    clips = identify_clips(read_clips(suite, machine=machine), suite, machine=machine)
    return find_all_faces(clips, suite, machine=machine).own.drop(columns=["path", "clip"])


def test_clips_and_faces_are_those_of_this_process(suite, tmp_path):
    ahead, alone = (Machine(Store(tmp_path / name), face_workers=2) for name in ("ahead", "alone"))
    with data_begun(suite, machine=ahead):
        wait_for("faces/*/*/index.json", tmp_path / "ahead")
        one = faces(suite, ahead)
    assert len(list(home_of(TINY, ahead).rglob("*.mp4"))) == 8
    assert one.equals(faces(suite, alone))


def test_nothing_is_begun_of_other_data(write_suite, tmp_path):
    suite, machine = write_suite(tmp_path), Machine(Store(tmp_path / "cache"), face_workers=2)
    with data_begun(suite, machine=machine):
        pass
    assert not (tmp_path / "cache").exists()


def test_what_the_other_process_imports_is_little():
    words = "import sys, benchmarks.begun; sys.exit(bool({'torch', 'sklearn', 'xgboost'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
