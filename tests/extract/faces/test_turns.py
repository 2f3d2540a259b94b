import numpy as np
import pytest

from extract.faces import Detection
from extract.faces.turns import TURNS, turn, turn_back


@pytest.mark.parametrize("degrees", [0, *TURNS])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (33, 33)])
def test_what_is_found_in_a_turned_frame_comes_back_to_its_place(degrees, shape, rng):
    image = np.zeros((*shape, 3), np.uint8)
    image[4:12, 20:25] = 255
    y, x = np.nonzero(turn(image, degrees)[..., 0])
    box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float32)
    corner = np.array([x[0], y[0]], np.float32) + 0.5
    found = Detection(box, 0.95, np.tile(corner, (5, 1)))
    back = turn_back(found, degrees, shape=image.shape)
    assert back.box.tolist() == [20, 4, 25, 12]
    assert back.box.dtype == back.landmarks.dtype == np.float32
    assert back.confidence == 0.95
    u, v = back.landmarks[0] - 0.5
    assert image[int(v), int(u), 0] == 255


def test_turns_are_clockwise():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = 1
    assert [tuple(np.argwhere(turn(image, d)[..., 0])[0]) for d in (0, *TURNS)] == [
        (0, 0),
        (0, 1),
        (1, 2),
        (2, 0),
    ]
    assert [turn(image, d).shape[:2] for d in (0, *TURNS)] == [(2, 3), (3, 2), (2, 3), (3, 2)]


def test_an_image_as_it_is_is_not_copied(rng):
    image = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    assert turn(image, 0) is image
