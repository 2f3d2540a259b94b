import os

import numpy as np
import pytest

from extract.faces import FaceSettings
from extract.searching import Clip, search_clips

WHOLE = FaceSettings(detector="none", size=16)


@pytest.fixture
def clips(tmp_path, save_image, rng):
    """Three pictures, the second of which is no picture and the third gone."""
    save_image(tmp_path / "good.png", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no image")
    names = ["good.png", "broken.png", "gone.png"]
    return [Clip(str(tmp_path / name), f"{number}" * 64) for number, name in enumerate(names)]


@pytest.mark.parametrize("workers", [1, 2])
def test_one_file_never_ends_the_search(clips, store, workers):
    found = {one.clip: one for one in search_clips(clips, WHOLE, store=store, workers=workers)}
    good, broken, gone = (found[clip] for clip in clips)
    assert (good.index["searched"], good.reason, good.code) == (1, "", "")
    assert (broken.index, broken.code) == (None, "E_CLIP_UNREADABLE")
    assert (gone.index, gone.code) == (None, "E_CLIP_NOT_READ")
    assert "No such file" in gone.reason
    assert "E_" not in gone.reason + broken.reason


def test_what_cannot_be_stored_is_no_fault_of_the_clip(clips, store):
    store.root.mkdir(parents=True)
    (store.root / "faces").write_bytes(b"a file where a folder belongs")
    with pytest.raises(OSError, match="faces"):
        list(search_clips(clips[:1], WHOLE, store=store))


def test_a_file_that_changes_between_hashing_and_decoding_leaves_no_crop(tmp_path, store, save_image, rng):
    images = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    path = save_image(tmp_path / "a.png", images[0])
    clip = Clip(str(path), store.content(path))
    save_image(path, images[1])
    os.utime(path, ns=(0, 0))
    (found,) = search_clips([clip], WHOLE, store=store)
    assert (found.index, found.code) == (None, "E_CLIP_CHANGED")
    assert not list(store.root.glob("faces/*/*"))


def test_a_file_that_is_written_again_with_the_same_bytes_is_the_same(tmp_path, store, save_image, rng):
    path = save_image(tmp_path / "a.png", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    clip = Clip(str(path), store.content(path))
    os.utime(path, ns=(0, 0))
    (found,) = search_clips([clip], WHOLE, store=store)
    assert found.index["searched"] == 1
