import cv2
import numpy as np
import pytest

from extract.faces import FaceSettings, crop_faces
from extract.faces.crops import WHOLE, crop, part_inside
from extract.faces.quality import (
    BLURRED,
    OUTSIDE,
    SHARPNESS_SIDE,
    SMALL,
    Quality,
    measure,
    say_faults,
    sharpness,
)


def test_sharpness_is_the_variance_of_the_laplacian(rng):
    face = rng.integers(0, 256, (SHARPNESS_SIDE, SHARPNESS_SIDE, 3), dtype=np.uint8)
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(float)
    inner = grey[1:-1, 1:-1]
    neighbours = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    # The rim, where neighbours are mirrored, is a fiftieth of the picture.
    assert sharpness(face) == pytest.approx((neighbours - 4 * inner).var(), rel=0.02)


def test_a_flat_picture_has_no_sharpness():
    assert sharpness(np.full((50, 50, 3), 90, np.uint8)) == 0


@pytest.mark.parametrize("size", [56, 112, 224, 448])
def test_sharpness_is_measured_at_one_size(size):
    scene = np.random.default_rng(3).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    large = cv2.resize(scene, (896, 896), interpolation=cv2.INTER_CUBIC)
    known = sharpness(cv2.resize(large, (112, 112), interpolation=cv2.INTER_AREA))
    found = sharpness(cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA))
    assert found == pytest.approx(known, rel=0.25)


def test_the_border_with_the_black_outside_is_no_detail():
    image = np.full((100, 100, 3), 200, np.uint8)
    box = np.array([-20, 10, 40, 70], np.float32)
    face = crop(image, box, margin=0, size=224)
    part = part_inside(image.shape, box, margin=0)
    assert sharpness(face, part) < BLURRED / 5  # what scaling leaves of the border
    assert sharpness(face, WHOLE) > BLURRED


def test_wholly_outside_there_is_nothing_to_measure():
    image, box = np.full((100, 100, 3), 200, np.uint8), np.array([200, 10, 240, 50], np.float32)
    part = part_inside(image.shape, box, margin=0)
    found = measure(crop(image, box, margin=0, size=64), part, size=40.0)
    assert found == Quality(40.0, 0.0, 1.0)


GOOD = {"size": SMALL, "sharpness": BLURRED, "outside": OUTSIDE}


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"size": 38.4}, "small", "38 pixels"),
        ({"sharpness": BLURRED - 1}, "blurred", "blurred"),
        ({"outside": 0.31}, "partly outside the frame", "31% outside"),
    ],
)
def test_what_is_poor_is_named_with_its_number(change, kind, text):
    assert Quality(**GOOD).faults == {}
    (found,) = Quality(**{**GOOD, **change}).faults.items()
    assert found[0] == kind
    assert text in found[1]


def test_poor_faces_of_a_clip_are_counted_by_kind():
    small, good = Quality(**{**GOOD, "size": 20.0}), Quality(**GOOD)
    both = Quality(20.0, 1.0, 0.0)
    assert say_faults([]) == say_faults([good]) == say_faults([good, good]) == ""
    assert say_faults([small]) == "small: 20 pixels"
    assert say_faults([small, good, both]) == "small: 2 of 3 faces, blurred: 1 of 3 faces"


@pytest.fixture(scope="module")
def faces_of(shared, mtcnn):
    """Find the faces of a dozen photographs after a change."""
    files = sorted(shared("data/portraits").glob("*.jpg"))[::17]

    def call(change, folder, save_image):
        for file in files:
            image = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
            yield crop_faces(save_image(folder / f"{file.stem}.png", change(image)), FaceSettings(), mtcnn)

    return call


def test_photographs_are_sharp_and_large_and_blurred_ones_are_not(faces_of, tmp_path, save_image):
    sharp = list(faces_of(lambda image: image, tmp_path / "a", save_image))
    assert len(sharp) >= 10
    for found in sharp:
        assert Quality(found.sizes[0], found.sharpness[0], found.outside[0]).faults == {}
    blurred = list(faces_of(lambda image: cv2.GaussianBlur(image, (0, 0), 5), tmp_path / "b", save_image))
    assert sum(float(found.sharpness[0]) < BLURRED for found in blurred) >= 0.9 * len(blurred)


def test_photographs_scaled_down_are_small(faces_of, tmp_path, save_image):
    for found in faces_of(lambda image: cv2.resize(image, (96, 96)), tmp_path, save_image):
        assert "small" in Quality(found.sizes[0], found.sharpness[0], found.outside[0]).faults
