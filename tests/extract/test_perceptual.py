"""The perceptual hash: nearly the same pictures are near, others are far, and the store keeps it."""

import itertools

import cv2
import numpy as np
import pandas as pd
import pytest

from extract.datasets.drawing.persons import make_person, make_poses
from extract.datasets.filming import DrawnSubject, film
from extract.extractors import Extractor, features_key, title_of, weights_of
from extract.faces import FaceSettings, faces_key
from extract.manifest import make_manifest
from extract.perceptual import PerceptualHash
from extract.pipeline import find_faces, identify, load_features

NEAR = 0.1  # share of differing bits up to which faces count as near-duplicates


def head(frames):
    """Cut the head out of frames of a drawn person."""
    return frames[:, 56:184, 64:192]


@pytest.fixture(scope="module")
def faces():
    """Return the faces of eight drawn persons, one each: (8, 128, 128, 3) uint8."""
    return np.concatenate(
        [
            head(film(DrawnSubject("someone", make_person(rng)), make_poses(rng, 1), size=256, rng=rng))
            for rng in map(np.random.default_rng, range(8))
        ]
    )


@pytest.fixture(scope="module")
def bits(faces):
    return PerceptualHash()(faces)


def apart(one, other):
    """Return the share of bits in which each pair of rows differs."""
    return (one != other).mean(axis=1)


def test_it_has_the_form_of_an_extractor():
    extractor = PerceptualHash()
    assert isinstance(extractor, Extractor)
    assert (extractor.name, extractor.dim) == ("perceptual_hash", 256)
    assert len(extractor.fingerprint) == 64
    assert extractor.fingerprint == PerceptualHash().fingerprint
    assert title_of(extractor)
    assert weights_of(extractor)[0] != "random"


def test_faces_become_zeros_and_ones(bits):
    assert bits.shape == (8, 256)
    assert bits.dtype == np.float32
    assert set(np.unique(bits)) == {0.0, 1.0}


def test_no_face_gives_no_row():
    empty = PerceptualHash()(np.empty((0, 32, 32, 3), np.uint8))
    assert empty.shape == (0, 256)
    assert empty.dtype == np.float32


def test_the_same_face_has_the_same_hash_alone_and_among_others(faces, bits):
    np.testing.assert_array_equal(PerceptualHash()(faces[3:4]), bits[3:4])
    np.testing.assert_array_equal(PerceptualHash()(faces[::-1].copy()), bits[::-1])


def test_about_half_of_the_bits_are_set(bits):
    assert np.abs(bits.mean(axis=1) - 0.5).max() < 0.02


def jpeg(face, quality):
    done, data = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


NEARLY = {
    "brighter": lambda face: np.clip(face.astype(int) + 12, 0, 255).astype(np.uint8),
    "more contrast": lambda face: np.clip(face * 1.1, 0, 255).astype(np.uint8),
    "encoded again": lambda face: jpeg(face, 75),
    "encoded badly": lambda face: jpeg(face, 40),
    "smaller": lambda face: cv2.resize(face, (96, 96), interpolation=cv2.INTER_AREA),
    "noisy": lambda face: np.clip(face + np.random.default_rng(1).normal(0, 3, face.shape), 0, 255).astype(
        np.uint8
    ),
}


@pytest.mark.parametrize("change", NEARLY.values(), ids=NEARLY)
def test_nearly_the_same_face_is_near(change, faces, bits):
    changed = PerceptualHash()(np.stack([change(face) for face in faces]))
    assert apart(changed, bits).max() <= NEAR


def test_different_faces_are_far_apart(bits):
    pairs = np.array(list(itertools.combinations(range(8), 2)))
    assert apart(bits[pairs[:, 0]], bits[pairs[:, 1]]).min() > 2 * NEAR


def test_colour_alone_changes_little(faces, bits):
    grey = faces @ np.array([0.299, 0.587, 0.114])
    three = np.repeat(np.rint(grey)[..., None], 3, axis=-1).astype(np.uint8)
    assert apart(PerceptualHash()(three), bits).max() <= NEAR


def test_the_store_keeps_it_as_features(faces, bits, store, save_image, tmp_path, monkeypatch):
    for number, face in enumerate(faces):
        save_image(tmp_path / f"{number}.png", face)
    table = pd.DataFrame({"path": [f"{n}.png" for n in range(8)], "label": [0, 1] * 4})
    settings = FaceSettings(detector="none", size=128)
    rows, _ = find_faces(identify(make_manifest(table, base=tmp_path), store), settings, store=store)
    for _ in range(2):
        features = load_features(rows, PerceptualHash(), store=store, faces=faces_key(settings))
        np.testing.assert_array_equal(features.X, bits)
        monkeypatch.setattr(PerceptualHash, "__call__", None)  # would fail if it were called again
    assert store.has_features(features_key(PerceptualHash(), faces_key(settings)))
