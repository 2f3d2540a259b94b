import hashlib
import os
import time

import numpy as np
import pytest

from extract import files
from extract.files import (
    STALE_SECONDS,
    digest,
    read_json,
    sweep,
    whole_directory,
    write_bytes,
    write_json,
)


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": [1, {"x": 1, "y": 2}], "b": 2}) == digest({"b": 2, "a": [1, {"y": 2, "x": 1}]})


@pytest.mark.parametrize(
    "other", [{"a": 2}, {"a": "1"}, {"a": [1]}, {"b": 1}, {"a": 1, "b": None}, [["a", 1]], {"a": 1.5}]
)
def test_digest_tells_values_apart(other):
    assert digest(other) != digest({"a": 1})


def test_digest_is_the_sha_256_of_the_compact_json():
    assert digest({"b": [1, None], "a": "ä"}) == hashlib.sha256(b'{"a":"\xc3\xa4","b":[1,null]}').hexdigest()


def test_json_round_trip(tmp_path):
    value = {"name": "Größe", "values": [1, 2.5, None], "nested": {"x": True}}
    write_json(tmp_path / "new" / "value.json", value)
    assert read_json(tmp_path / "new" / "value.json") == value


def test_a_json_file_that_is_not_there_reads_as_none(tmp_path):
    assert read_json(tmp_path / "nothing.json") is None


def test_writing_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    write_bytes(tmp_path / "file", b"old")
    write_bytes(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_failed_write_keeps_the_old_file_whole(tmp_path, monkeypatch):
    write_bytes(tmp_path / "file", b"old")

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "file", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_directory_appears_when_the_block_ends(tmp_path):
    final, scratch = tmp_path / "deep" / "final", tmp_path / "scratch"
    with whole_directory(final, scratch=scratch) as folder:
        (folder / "a").write_text("1")
        assert not final.exists()
        assert folder.parent == scratch
    assert [path.name for path in final.iterdir()] == ["a"]
    assert list(scratch.iterdir()) == []


def write_and_die(final, scratch):
    with whole_directory(final, scratch=scratch) as folder:
        (folder / "a").write_text("1")
        raise KeyboardInterrupt


def test_a_directory_does_not_appear_when_the_block_is_interrupted(tmp_path):
    final, scratch = tmp_path / "final", tmp_path / "scratch"
    with pytest.raises(KeyboardInterrupt):
        write_and_die(final, scratch)
    assert not final.exists()
    assert list(scratch.iterdir()) == []


def test_the_first_of_two_writers_stays(tmp_path):
    final, scratch = tmp_path / "final", tmp_path / "scratch"
    with whole_directory(final, scratch=scratch) as slow:
        (slow / "a").write_text("slow")
        with whole_directory(final, scratch=scratch) as fast:
            (fast / "a").write_text("fast")
    assert (final / "a").read_text() == "fast"
    assert list(scratch.iterdir()) == []


def test_a_file_in_the_place_of_the_directory_is_an_error(tmp_path):
    (tmp_path / "final").write_text("in the way")
    with (
        pytest.raises(OSError, match="final"),
        whole_directory(tmp_path / "final", scratch=tmp_path / "scratch"),
    ):
        pass


def test_sweeping_deletes_old_scratch_only(tmp_path):
    for name in ("old", "young"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "X.npy", np.zeros(3))
    age(tmp_path / "old", STALE_SECONDS + 60)
    age(tmp_path / "young", STALE_SECONDS - 60)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["young"]


def test_sweeping_what_is_not_there_does_nothing(tmp_path):
    sweep(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
