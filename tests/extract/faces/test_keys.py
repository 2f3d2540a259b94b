import dataclasses
import importlib.metadata

import pytest

from extract import media
from extract.errors import RequestError
from extract.faces import MTCNN, FaceSettings, crops, faces_key, keys

OTHER = {
    "frames": 31,
    "stride": 5,
    "every": "0.5s",
    "at": "keyframes",
    "max_pixels": 2_000_000,
    "damaged": "use",
    "upright": "try",
    "detector": "none",
    "detect_size": 320,
    "min_face": 0.1,
    "min_confidence": 0.95,
    "select": "all",
    "margin": 0.2,
    "size": 128,
    "perturb": "jpeg-30",
}


def test_every_setting_that_could_change_a_crop_is_tested():
    assert {field.name for field in dataclasses.fields(FaceSettings)} == {*OTHER, "no_face"}


@pytest.mark.parametrize("name", OTHER)
def test_the_key_changes_with_every_setting_that_could_change_a_crop(name):
    assert faces_key(FaceSettings(**{name: OTHER[name]})) != faces_key(FaceSettings())


def test_the_key_does_not_change_with_what_happens_to_clips_without_a_face():
    assert faces_key(FaceSettings(no_face="fail")) == faces_key(FaceSettings(no_face="skip"))


def test_the_key_changes_with_the_detector_itself(monkeypatch):
    before = faces_key(FaceSettings())
    monkeypatch.setattr(MTCNN, "fingerprint", "mtcnn facenet-pytorch 99")
    assert faces_key(FaceSettings()) != before


def test_every_choice_of_faces_has_its_own_key():
    keys = {faces_key(FaceSettings(select=one)) for one in ("largest", "track", "all")}
    assert len(keys) == 3


def test_the_key_changes_with_the_code_that_crops(monkeypatch):
    before = faces_key(FaceSettings())
    monkeypatch.setattr(keys, "CROPS", crops.CROPS + 1)
    assert faces_key(FaceSettings()) != before


def test_the_key_changes_with_opencv(monkeypatch):
    before = faces_key(FaceSettings())
    monkeypatch.setattr("cv2.__version__", "99")
    assert faces_key(FaceSettings()) != before


@pytest.mark.parametrize("settings", [FaceSettings(), FaceSettings(detector="none", perturb="blur-1")])
def test_the_key_changes_with_the_decoding_revision(monkeypatch, settings):
    before, known = faces_key(settings), media.DECODING
    monkeypatch.setattr(media, "DECODING", known + 1)
    assert faces_key(settings) != before
    assert faces_key(settings, decoding=known) == before


@pytest.mark.parametrize("package", ["av", "pillow", "pillow-heif"])
def test_the_key_does_not_change_with_a_decoders_release(monkeypatch, package):
    before, own = faces_key(FaceSettings()), importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99" if name == package else own(name))
    assert faces_key(FaceSettings()) == before


def test_the_key_is_the_same_however_a_duration_was_written():
    assert faces_key(FaceSettings(every="500ms")) == faces_key(FaceSettings(every="0.50 s"))


def test_the_key_is_the_same_however_a_number_was_written():
    assert faces_key(FaceSettings(margin=0, min_confidence=1)) == faces_key(
        FaceSettings(margin=0.0, min_confidence=1.0)
    )


def test_the_key_can_be_read():
    assert faces_key(FaceSettings(size=128)).startswith("mtcnn-128-")


def test_an_unknown_detector_is_refused():
    with pytest.raises(
        RequestError, match=r"Expected a known face detector; got 'mtccn'\. Did you mean 'mtcnn'"
    ):
        faces_key(FaceSettings(detector="mtccn"))
