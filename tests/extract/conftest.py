"""Tiny clips for the tests of `extract`, which never ask the hub."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from extract import hub
from extract.store import Store

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    monkeypatch.setattr(hub, "answers", lambda: False)
    monkeypatch.setattr(hub, "cached", lambda repository: None)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def shared():
    """Return a path below `shared/`, or skip where this checkout has none."""

    def find(relative):
        if not (SHARED / relative).exists():
            pytest.skip(f"{SHARED / relative} is not on this machine")
        return SHARED / relative

    return find


@pytest.fixture(scope="session")
def save_image():
    """Write an RGB (or grey, RGBA, 16-bit) array in the format of the path's ending; returns the path."""

    def save(path, image):
        path.parent.mkdir(parents=True, exist_ok=True)
        orders = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
        pixels = cv2.cvtColor(image, orders[image.shape[2]]) if image.ndim == 3 else image
        done, data = cv2.imencode(path.suffix, pixels)
        assert done
        path.write_bytes(data.tobytes())
        return path

    return save


@pytest.fixture(scope="session")
def save_video():
    """Write RGB frames as a video; returns the path."""

    def save(path, frames, codec="mp4v"):
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = frames[0].shape[:2]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (width, height))
        assert writer.isOpened()
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()
        return path

    return save


@pytest.fixture(scope="session")
def numbered_frames():
    """Return up to 40 frames, 6 levels brighter each, textured so that they take bytes."""

    def make(count, height=48, width=64):
        texture = np.random.default_rng(1).integers(-6, 7, (count, height // 8, width // 8, 1))
        texture = texture - np.rint(texture.mean(axis=(1, 2, 3), keepdims=True))
        texture = texture.repeat(8, axis=1).repeat(8, axis=2).repeat(3, axis=3)
        levels = 6 * np.arange(count).reshape(-1, 1, 1, 1) + 12
        return list((levels + texture).astype(np.uint8))

    return make


@pytest.fixture(scope="session")
def frame_number():
    """Read the number back from a decoded frame of `numbered_frames`; codecs darken by up to 3 levels."""
    return lambda image: round((float(image.mean()) - 10.5) / 6)
