import dataclasses

import pydantic
import pytest

from extract.faces import FaceSettings
from extract.media.frames import Sampling


@pytest.mark.parametrize(
    "wrong",
    [
        {"frame": 3},
        {"frames": 0},
        {"stride": 0},
        {"detect_size": 32},
        {"min_face": 0.6},
        {"min_confidence": 1.1},
        {"select": "smallest"},
        {"margin": -0.1},
        {"size": 8},
        {"no_face": "ignore"},
        {"at": "middle"},
        {"max_pixels": 999_999},
        {"damaged": "guess"},
        {"upright": "yes"},
        *(
            {"every": text}
            for text in ("1", "s", "0s", "0ms", "-1s", "1m", "1e3s", "", "nans", "9" * 400 + "s")
        ),
    ],
    ids=str,
)
def test_unknown_keys_and_values_out_of_range_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError, match=next(iter(wrong))):
        FaceSettings(**wrong)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"stride": 2, "every": "1s"}, "stride and every"),
        ({"stride": 2, "at": "keyframes"}, 'stride and at = "keyframes"'),
        ({"every": "1s", "at": "keyframes"}, 'every and at = "keyframes"'),
    ],
    ids=["stride, every", "stride, keyframes", "every, keyframes"],
)
def test_two_ways_to_choose_frames_are_refused_by_name(given, names):
    with pytest.raises(pydantic.ValidationError, match=rf"{names}.*E_FACES_SAMPLING"):
        FaceSettings(**given)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {}),
        ({"stride": 5}, {"stride": 5}),
        ({"stride": 5, "at": "spread"}, {"stride": 5}),
        ({"every": "1s"}, {"every": 1.0}),
        ({"every": "250ms"}, {"every": 0.25}),
        ({"at": "keyframes"}, {"keyframes": True}),
    ],
    ids=str,
)
def test_settings_choose_the_frames(given, wanted):
    assert FaceSettings(frames=7, **given).sampling == Sampling(count=7, **wanted)


def test_settings_read_what_they_write():
    settings = FaceSettings(every="1500 ms", upright="try", select="track")
    assert settings.every == "1.5s"
    assert FaceSettings(**dataclasses.asdict(settings)) == settings
