import dataclasses

import cv2
import numpy as np
import pydantic
import pytest

from extract import faces
from extract.errors import RequestError
from extract.faces import MTCNN, Detection, FaceSettings, WholeFrame, crop, crop_faces, faces_key
from extract.video import UnreadableClip


def coordinates(height, width):
    """Make an image whose pixel (y, x) is (x, y, 255)."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 255)], axis=2).astype(np.uint8)


def box(*values):
    return np.array(values, np.float32)


def detection(*values, confidence=0.99):
    return Detection(box(*values), confidence, np.zeros((5, 2), np.float32))


class Fixed:
    """Finds the same faces in every frame."""

    fingerprint = "fixed"

    def __init__(self, *found):
        self.found, self.shapes = list(found), []

    def __call__(self, frames):
        self.shapes += [frame.shape for frame in frames]
        return [self.found for _ in frames]


class BrightPatch:
    """Finds the box around the bright pixels of a frame, and nothing in a dark one."""

    fingerprint = "bright"

    def __call__(self, frames):
        return [self._patch(frame.mean(axis=2) > 127) for frame in frames]

    @staticmethod
    def _patch(bright):
        if not bright.any():
            return []
        y, x = np.nonzero(bright)
        return [detection(x.min(), y.min(), x.max() + 1, y.max() + 1)]


# -- geometry ------------------------------------------------------------------------------------------------


def test_a_margin_widens_the_square_around_the_centre():
    image = coordinates(100, 120)
    np.testing.assert_array_equal(crop(image, box(10, 20, 30, 40), margin=0.5, size=30), image[15:45, 5:35])


def test_the_side_is_the_boxs_longer_one():
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
def test_outside_the_frame_is_black(corners, inside, seen):
    image = coordinates(80, 100)
    expected = np.zeros((20, 20, 3), np.uint8)
    expected[inside] = image[seen]
    np.testing.assert_array_equal(crop(image, box(*corners), margin=0, size=20), expected)


@pytest.mark.parametrize("corners", [(200, 10, 220, 30), (10, -60, 30, -40), (-99, -99, -79, -79)])
def test_a_box_wholly_outside_gives_black(corners):
    assert not crop(coordinates(80, 100), box(*corners), margin=0, size=20).any()


def test_a_box_larger_than_the_frame_holds_all_of_it():
    image = coordinates(20, 30)
    expected = np.zeros((60, 60, 3), np.uint8)
    expected[20:40, 15:45] = image
    np.testing.assert_array_equal(crop(image, box(-15, -20, 45, 40), margin=0, size=60), expected)


def test_a_box_without_extent_gives_a_picture_all_the_same():
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


# -- whole frames --------------------------------------------------------------------------------------------

WHOLE = FaceSettings(detector="none", size=20)


def test_without_a_detector_the_whole_frame_is_scaled_to_a_square(tmp_path, save_image, rng):
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    found = crop_faces(save_image(tmp_path / "face.png", image), WHOLE, WholeFrame())
    assert found.crops.shape == (1, 20, 20, 3)
    np.testing.assert_array_equal(found.crops[0], cv2.resize(image, (20, 20), interpolation=cv2.INTER_AREA))
    assert found.boxes.tolist() == [[0, 0, 60, 40]]
    assert found.confidences.tolist() == [1.0]
    assert (found.searched, found.note) == (1, "")


def test_without_a_detector_a_crop_of_the_right_size_stays_bit_for_bit(tmp_path, save_image, rng):
    image = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    settings = dataclasses.replace(WHOLE, margin=0.3)
    found = crop_faces(save_image(tmp_path / "face.png", image), settings, WholeFrame())
    np.testing.assert_array_equal(found.crops[0], image)


def test_without_a_detector_large_frames_are_not_searched_small(tmp_path, save_image, rng):
    image = rng.integers(0, 256, (70, 130, 3), dtype=np.uint8)
    path = save_image(tmp_path / "face.png", image)
    found = crop_faces(path, dataclasses.replace(WHOLE, detect_size=64), WholeFrame())
    assert found.boxes.tolist() == [[0, 0, 130, 70]]


# -- crop_faces ----------------------------------------------------------------------------------------------

SEARCH = FaceSettings(size=32, margin=0.0)


@pytest.fixture
def picture(tmp_path, save_image):
    return save_image(tmp_path / "scene.png", coordinates(100, 200))


def test_boxes_and_crops_are_at_full_resolution_when_the_search_was_small(tmp_path, save_image, rng):
    image = np.zeros((500, 1000, 3), np.uint8)
    image[100:300, 200:600] = rng.integers(200, 256, (200, 400, 3), dtype=np.uint8)
    path = save_image(tmp_path / "large.png", image)
    settings = FaceSettings(detect_size=100, margin=0, size=400)
    found = crop_faces(path, settings, BrightPatch())
    np.testing.assert_allclose(found.boxes, [[200, 100, 600, 300]], atol=1e-3)
    np.testing.assert_array_equal(found.crops[0], image[0:400, 200:600])


@pytest.mark.parametrize(
    ("shape", "searched"),
    [((100, 200), (32, 64)), ((200, 100), (64, 32)), ((64, 30), (64, 30)), ((10, 12), (10, 12))],
)
def test_frames_are_scaled_down_to_the_search_size_and_never_up(tmp_path, save_image, shape, searched):
    detector = Fixed()
    path = save_image(tmp_path / "scene.png", coordinates(*shape))
    crop_faces(path, dataclasses.replace(SEARCH, detect_size=64), detector)
    assert detector.shapes == [(*searched, 3)]


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, [0.95, 0.5, 0.4]), (0.5, [0.95, 0.5]), (0.96, [])])
def test_faces_below_the_confidence_are_not_used(picture, threshold, kept):
    found = [detection(10, 10, 60, 60, confidence=c) for c in (0.95, 0.5, 0.4)]
    settings = dataclasses.replace(SEARCH, min_confidence=threshold, select="all")
    cropped = crop_faces(picture, settings, Fixed(*found))
    np.testing.assert_allclose(cropped.confidences, kept)
    assert len(cropped.crops) == len(cropped.boxes) == len(cropped.frames) == len(kept)


def test_the_largest_face_is_the_largest_of_the_sure_ones(picture):
    found = [
        detection(0, 0, 90, 90, confidence=0.2),
        detection(5, 5, 15, 45),
        detection(10, 10, 60, 60),
    ]
    cropped = crop_faces(picture, SEARCH, Fixed(*found))
    assert cropped.boxes.tolist() == [[10, 10, 60, 60]]


def test_all_faces_are_cropped_in_the_detectors_order(picture):
    found = [detection(10, 10, 60, 60), detection(100, 20, 132, 52)]
    cropped = crop_faces(picture, dataclasses.replace(SEARCH, select="all"), Fixed(*found))
    assert cropped.frames.tolist() == [0, 0]
    assert cropped.boxes.tolist() == [[10, 10, 60, 60], [100, 20, 132, 52]]
    np.testing.assert_array_equal(cropped.crops[1], coordinates(100, 200)[20:52, 100:132])


def test_no_face_gives_no_row_of_the_right_shapes(picture):
    found = crop_faces(picture, SEARCH, Fixed())
    assert found.crops.shape == (0, 32, 32, 3)
    assert found.crops.dtype == np.uint8
    assert found.boxes.shape == (0, 4)
    assert found.frames.shape == found.confidences.shape == (0,)
    assert found.searched == 1


def test_each_face_knows_its_frame(tmp_path, save_video):
    dark, bright = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64, 3), np.uint8)
    bright[8:40, 16:48] = 250
    path = save_video(tmp_path / "clip.mp4", [dark, bright, dark, bright, bright, dark], "mp4v")
    found = crop_faces(path, SEARCH, BrightPatch())
    assert found.frames.tolist() == [1, 3, 4]
    assert found.searched == 6
    np.testing.assert_allclose(found.boxes, [[16, 8, 48, 40]] * 3, atol=2)
    assert found.crops.mean() > 200


def test_the_settings_choose_the_frames(tmp_path, save_video, numbered_frames, frame_number):
    path = save_video(tmp_path / "clip.avi", numbered_frames(30), "MJPG")
    settings = dataclasses.replace(WHOLE, frames=5, stride=4)
    found = crop_faces(path, settings, WholeFrame())
    assert len(found.frames) == 5
    assert all(found.frames % 4 == 0)
    assert [frame_number(face) for face in found.crops] == found.frames.tolist()


def test_an_unreadable_clip_is_no_clip_without_faces(tmp_path):
    (tmp_path / "a.mp4").write_text("no film")
    with pytest.raises(UnreadableClip):
        crop_faces(tmp_path / "a.mp4", SEARCH, Fixed())


# -- MTCNN ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mtcnn():
    return MTCNN()


@pytest.fixture(scope="module")
def portrait(shared):
    image = cv2.imread(str(shared("data/portraits/female_00.jpg")), cv2.IMREAD_COLOR_RGB)
    return cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("shape", [(10, 10), (19, 300), (300, 19), (1, 1), (20, 20), (21, 40)])
def test_mtcnn_finds_nothing_in_tiny_frames_and_survives_them(mtcnn, rng, shape):
    frame = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert mtcnn([frame, np.zeros_like(frame)]) == [[], []]


def test_mtcnn_of_no_frame_is_no_list(mtcnn):
    assert mtcnn([]) == []


def test_mtcnn_finds_the_face_of_a_portrait(mtcnn, portrait):
    ((face,),) = mtcnn([portrait])
    x1, y1, x2, y2 = face.box
    assert face.confidence > 0.95
    assert 0 < x1 < 128 < x2 < 256
    assert 0 < y1 < 128 < y2 < 256
    assert face.landmarks.shape == (5, 2)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert x1 < left_eye[0] < nose[0] < right_eye[0] < x2
    assert left_eye[1] < nose[1] < left_mouth[1] < y2
    assert left_mouth[0] < right_mouth[0]


def test_mtcnn_takes_frames_of_mixed_shapes_in_their_order(mtcnn, portrait):
    framed = np.zeros((300, 400, 3), np.uint8)
    framed[20:276, 100:356] = portrait
    frames = [np.zeros((300, 400, 3), np.uint8), portrait, framed, np.zeros((8, 8, 3), np.uint8), portrait]
    found = mtcnn(frames)
    assert [len(faces) for faces in found] == [0, 1, 1, 0, 1]
    np.testing.assert_allclose(found[2][0].box - found[1][0].box, [100, 20, 100, 20], atol=12)
    np.testing.assert_allclose(found[4][0].box, found[1][0].box, atol=0.01)


def test_mtcnn_gives_the_larger_of_two_faces_first(mtcnn, portrait):
    frame = np.zeros((256, 400, 3), np.uint8)
    frame[60:188, :128] = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
    frame[:, 144:] = portrait
    (found,) = mtcnn([frame])
    assert len(found) == 2
    assert found[0].box[0] > 128 > found[1].box[2]


def test_a_crop_of_a_portrait_is_the_face_with_its_margin(mtcnn, portrait, tmp_path, save_image):
    path = save_image(tmp_path / "portrait.png", portrait)
    found = crop_faces(path, FaceSettings(size=64), mtcnn)
    x1, y1, x2, y2 = found.boxes[0].tolist()
    side = round(1.3 * max(x2 - x1, y2 - y1))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    assert min(left, top) >= 0
    square = portrait[top : top + side, left : left + side]
    expected = cv2.resize(square, (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(found.crops, expected[None])


# -- keys ----------------------------------------------------------------------------------------------------

OTHER = {
    "frames": 31,
    "stride": 5,
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
    monkeypatch.setattr(faces.MTCNN, "fingerprint", "mtcnn facenet-pytorch 99")
    assert faces_key(FaceSettings()) != before


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
    ],
    ids=str,
)
def test_unknown_keys_and_values_out_of_range_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError, match=next(iter(wrong))):
        FaceSettings(**wrong)
