"""The preprocessing as a module; what the settings do to it is in `test_extractors`."""

import pytest
import torch
from torch import nn

from extract.prepared import FacesToFeatures


def prepared(network=None, *, size=32, crop_fraction=1.0):
    module = FacesToFeatures(
        network or nn.Flatten(),
        size=size,
        crop_fraction=crop_fraction,
        mean=(0.5, 0.25, 0.125),
        std=(0.5, 0.25, 1.0),
    )
    return module.eval()


def some_faces(count, side):
    generator = torch.Generator().manual_seed(side)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("side", [16, 32, 33, 64])
@pytest.mark.parametrize(("size", "crop_fraction"), [(32, 1.0), (28, 0.875), (31, 0.9), (17, 0.5)])
def test_the_network_is_given_what_it_takes_whatever_the_faces(side, size, crop_fraction):
    module = prepared(size=size, crop_fraction=crop_fraction)
    x = module.preprocess(some_faces(2, side))
    assert x.shape == (2, 3, size, size)
    assert x.dtype == torch.float32
    assert torch.equal(module(some_faces(2, side)), x.flatten(1))


@pytest.mark.parametrize("side", [16, 31, 64])
def test_scaling_adds_no_colour_that_a_pixel_cannot_have(side):
    edges = some_faces(2, side) // 128 * 255  # bicubic interpolation would overshoot
    x = prepared().preprocess(edges)
    pixels = x * torch.tensor((0.5, 0.25, 1.0)).view(1, 3, 1, 1) + torch.tensor((0.5, 0.25, 0.125)).view(
        1, 3, 1, 1
    )
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6


def test_smaller_faces_are_blurred_before_they_are_sampled():
    stripes = torch.zeros((1, 64, 64, 3), dtype=torch.uint8)
    stripes[:, ::2] = 255
    x = prepared(size=16).preprocess(stripes)
    inside = x[..., 4:-4, 4:-4]
    assert (inside.amax(dim=(2, 3)) - inside.amin(dim=(2, 3))).max() < 0.05


def test_its_state_is_that_of_the_network_alone():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    assert list(prepared(network).state_dict()) == [f"network.{key}" for key in network.state_dict()]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_preprocessing_stays_in_float32_where_the_network_is_computed_in_half(dtype):
    module, faces = prepared(), some_faces(2, 40)
    with torch.autocast("cpu", dtype=dtype):
        half = module.preprocess(faces)
    assert torch.equal(half, module.preprocess(faces))
