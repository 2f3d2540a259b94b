import numpy as np
import pytest

from extract.faces.crops import WHOLE, crop, part_inside, share_outside


def box(*values):
    return np.array(values, np.float32)


def test_a_margin_widens_the_square_around_the_centre(coordinates):
    image = coordinates(100, 120)
    np.testing.assert_array_equal(crop(image, box(10, 20, 30, 40), margin=0.5, size=30), image[15:45, 5:35])


def test_the_side_is_the_boxs_longer_one(coordinates):
    image = coordinates(100, 120)
    np.testing.assert_array_equal(crop(image, box(50, 20, 60, 60), margin=0, size=40), image[20:60, 35:75])
    np.testing.assert_array_equal(crop(image, box(30, 40, 70, 50), margin=0, size=40), image[25:65, 30:70])


@pytest.mark.parametrize(
    ("corners", "inside", "seen"),
    [
        ((-10, -10, 10, 10), np.s_[10:, 10:], np.s_[:10, :10]),
        ((90, 70, 110, 90), np.s_[:10, :10], np.s_[70:, 90:]),
        ((-5, 30, 15, 50), np.s_[:, 5:], np.s_[30:50, :15]),
        ((40, -15, 60, 5), np.s_[15:, :], np.s_[:5, 40:60]),
    ],
    ids=["top left", "bottom right", "left", "top"],
)
def test_outside_the_frame_is_black(coordinates, corners, inside, seen):
    image = coordinates(80, 100)
    expected = np.zeros((20, 20, 3), np.uint8)
    expected[inside] = image[seen]
    np.testing.assert_array_equal(crop(image, box(*corners), margin=0, size=20), expected)


@pytest.mark.parametrize("corners", [(200, 10, 220, 30), (10, -60, 30, -40), (-99, -99, -79, -79)])
def test_a_box_wholly_outside_gives_black(coordinates, corners):
    assert not crop(coordinates(80, 100), box(*corners), margin=0, size=20).any()


def test_a_box_larger_than_the_frame_holds_all_of_it(coordinates):
    image = coordinates(20, 30)
    expected = np.zeros((60, 60, 3), np.uint8)
    expected[20:40, 15:45] = image
    np.testing.assert_array_equal(crop(image, box(-15, -20, 45, 40), margin=0, size=60), expected)


def test_a_box_without_extent_gives_a_picture_all_the_same(coordinates):
    assert crop(coordinates(20, 30), box(5, 5, 5, 5), margin=0.3, size=16).shape == (16, 16, 3)


@pytest.mark.parametrize("size", [16, 37, 200])
def test_scaling_keeps_flat_colours_and_type(size):
    image = np.full((50, 50, 3), (10, 120, 250), np.uint8)
    scaled = crop(image, box(5, 5, 45, 45), margin=0, size=size)
    assert scaled.dtype == np.uint8
    np.testing.assert_array_equal(scaled, np.full((size, size, 3), (10, 120, 250), np.uint8))


def test_shrinking_averages_areas(rng):
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    means = image.reshape(20, 2, 20, 2, 3).mean(axis=(1, 3))
    assert np.abs(crop(image, box(0, 0, 40, 40), margin=0, size=20) - means).max() <= 0.5


@pytest.mark.parametrize(
    ("corners", "margin", "part"),
    [
        ((20, 20, 40, 40), 0.5, WHOLE),
        ((-10, 10, 10, 30), 0.0, (0.5, 0.0, 1.0, 1.0)),
        ((90, 75, 110, 95), 0.0, (0.0, 0.0, 0.5, 0.25)),
        ((-10, -10, 110, 90), 0.0, (1 / 12, 1 / 6, 11 / 12, 5 / 6)),
        ((0, 30, 20, 50), 0.5, (1 / 6, 0.0, 1.0, 1.0)),
        ((0, 0, 100, 80), 0.0, WHOLE),  # scaled to a square as it is
    ],
    ids=["inside", "left", "bottom right", "larger", "margin", "whole"],
)
def test_the_part_of_a_crop_inside_the_frame_is_what_is_not_black(corners, margin, part):
    image = np.full((80, 100, 3), 255, np.uint8)
    found = part_inside(image.shape, box(*corners), margin=margin)
    assert found == pytest.approx(part)
    cut = crop(image, box(*corners), margin=margin, size=120)
    assert share_outside(found) == pytest.approx(1 - cut.mean() / 255, abs=0.01)


def test_a_crop_wholly_outside_is_outside_by_all():
    assert share_outside(part_inside((80, 100), box(200, 10, 220, 30), margin=0)) == 1
