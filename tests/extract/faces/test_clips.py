import dataclasses

import cv2
import numpy as np
import pytest

from extract.errors import UnreadableClip
from extract.faces import Detection, FaceSettings, WholeFrame, crop_faces, whole_crops
from extract.faces.turns import turn, turn_back

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
def picture(tmp_path, save_image, coordinates):
    return save_image(tmp_path / "scene.png", coordinates(100, 200))


def test_boxes_and_crops_are_at_full_resolution_when_the_search_was_small(
    bright_patch, tmp_path, save_image, rng
):
    image = np.zeros((500, 1000, 3), np.uint8)
    image[100:300, 200:600] = rng.integers(200, 256, (200, 400, 3), dtype=np.uint8)
    path = save_image(tmp_path / "large.png", image)
    settings = FaceSettings(detect_size=100, margin=0, size=400)
    found = crop_faces(path, settings, bright_patch)
    np.testing.assert_allclose(found.boxes, [[200, 100, 600, 300]], atol=1e-3)
    np.testing.assert_array_equal(found.crops[0], image[0:400, 200:600])


@pytest.mark.parametrize(
    ("shape", "searched"),
    [((100, 200), (32, 64)), ((200, 100), (64, 32)), ((64, 30), (64, 30)), ((10, 12), (10, 12))],
)
def test_frames_are_scaled_down_to_the_search_size_and_never_up(
    fixed, coordinates, tmp_path, save_image, shape, searched
):
    detector = fixed()
    path = save_image(tmp_path / "scene.png", coordinates(*shape))
    crop_faces(path, dataclasses.replace(SEARCH, detect_size=64), detector)
    assert detector.shapes == [(*searched, 3)]


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, [0.95, 0.5, 0.4]), (0.5, [0.95, 0.5]), (0.96, [])])
def test_faces_below_the_confidence_are_not_used(fixed, detection, picture, threshold, kept):
    found = [detection(10, 10, 60, 60, confidence=c) for c in (0.95, 0.5, 0.4)]
    settings = dataclasses.replace(SEARCH, min_confidence=threshold, select="all")
    cropped = crop_faces(picture, settings, fixed(*found))
    np.testing.assert_allclose(cropped.confidences, kept)
    assert len(cropped.crops) == len(cropped.boxes) == len(cropped.frames) == len(kept)


def test_the_largest_face_is_the_largest_of_the_sure_ones(fixed, detection, picture):
    found = [
        detection(0, 0, 90, 90, confidence=0.2),
        detection(5, 5, 15, 45),
        detection(10, 10, 60, 60),
    ]
    cropped = crop_faces(picture, SEARCH, fixed(*found))
    assert cropped.boxes.tolist() == [[10, 10, 60, 60]]


def test_all_faces_are_cropped_in_the_detectors_order(fixed, detection, coordinates, picture):
    found = [detection(10, 10, 60, 60), detection(100, 20, 132, 52)]
    cropped = crop_faces(picture, dataclasses.replace(SEARCH, select="all"), fixed(*found))
    assert cropped.frames.tolist() == [0, 0]
    assert cropped.boxes.tolist() == [[10, 10, 60, 60], [100, 20, 132, 52]]
    np.testing.assert_array_equal(cropped.crops[1], coordinates(100, 200)[20:52, 100:132])


def test_no_face_gives_no_row_of_the_right_shapes(fixed, picture):
    found = crop_faces(picture, SEARCH, fixed())
    assert found.crops.shape == (0, 32, 32, 3)
    assert found.crops.dtype == np.uint8
    assert found.boxes.shape == (0, 4)
    assert found.landmarks.shape == (0, 5, 2)
    assert found.turned.shape == found.sizes.shape == found.sharpness.shape == found.outside.shape == (0,)
    assert found.frames.shape == found.confidences.shape == (0,)
    assert found.searched == 1


def test_each_face_knows_its_frame(bright_patch, tmp_path, save_video):
    dark, bright = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64, 3), np.uint8)
    bright[8:40, 16:48] = 250
    path = save_video(tmp_path / "clip.mp4", [dark, bright, dark, bright, bright, dark], "mp4v")
    found = crop_faces(path, SEARCH, bright_patch)
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


def test_an_unreadable_clip_is_no_clip_without_faces(fixed, tmp_path):
    (tmp_path / "a.mp4").write_text("no film")
    with pytest.raises(UnreadableClip):
        crop_faces(tmp_path / "a.mp4", SEARCH, fixed())


# -- what is known of each face ------------------------------------------------------------------------------


def test_landmarks_stay_beside_the_box_in_pixels_of_the_full_frame(tmp_path, save_image):
    points = np.arange(10, dtype=np.float32).reshape(5, 2)

    def find(frames):
        return [[Detection(np.array([0, 0, 20, 20], np.float32), 0.99, points)] for _ in frames]

    path = save_image(tmp_path / "large.png", np.zeros((256, 256, 3), np.uint8))
    found = crop_faces(path, dataclasses.replace(SEARCH, detect_size=64), find)
    np.testing.assert_array_equal(found.landmarks, [4 * points])


def test_the_quality_of_each_face_is_measured(fixed, detection, picture):
    faces = [detection(10, 10, 60, 40), detection(-20, 20, 20, 60), detection(300, 0, 310, 10)]
    found = crop_faces(picture, dataclasses.replace(SEARCH, select="all"), fixed(*faces))
    assert found.sizes.tolist() == [50, 40, 10]
    assert found.outside.tolist() == pytest.approx(
        [0.0, 0.5, 1.0]
    )  # none outside: the square begins at row 0
    assert found.sharpness[0] > 0
    assert found.sharpness[2] == 0
    assert found.sizes.dtype == found.sharpness.dtype == found.outside.dtype == np.float32


@pytest.mark.parametrize(("select", "used"), [("largest", 1), ("track", 1), ("all", 2)])
def test_people_are_counted_whichever_are_used(fixed, detection, picture, select, used):
    faces = [detection(10, 10, 60, 60), detection(100, 20, 132, 52), detection(0, 0, 9, 9, confidence=0.1)]
    found = crop_faces(picture, dataclasses.replace(SEARCH, select=select), fixed(*faces))
    assert (found.people, len(found.frames)) == (2, used)


def test_nobody_is_no_person(fixed, picture):
    assert crop_faces(picture, SEARCH, fixed()).people == 0


def test_crops_of_turned_frames_are_upright_and_boxes_lie_in_the_frame(tmp_path, save_image):
    scene = np.zeros((100, 200, 3), np.uint8)
    scene[10:30, 20:40] = scene[10:20, 20:30] = 250
    scene[20:30, 20:40, 2] = 0  # the lower half of the face lacks blue

    def find(frames):  # a bright patch with blue above
        return [[_face(frame)] if _is_upright(frame) else [] for frame in frames]

    path = save_image(tmp_path / "turned.png", np.rot90(scene).copy())  # anticlockwise
    found = crop_faces(path, dataclasses.replace(SEARCH, upright="try", size=20), find)
    assert found.turned.tolist() == [90]
    np.testing.assert_array_equal(found.crops[0], scene[10:30, 20:40])
    assert found.boxes.tolist() == [[10, 160, 30, 180]]
    np.testing.assert_array_equal(found.landmarks[0], np.tile([10, 180], (5, 1)))
    assert found.note == "a face found only after turning the frame (1 of 1)"


def _face(frame):
    y, x = np.nonzero(frame[..., 0])
    corners = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float32)
    return Detection(corners, 0.99, np.tile(corners[:2], (5, 1)))


def _is_upright(frame):
    y, x = np.nonzero(frame[..., 0])
    top = frame[y.min() : y.min() + 10, x.min() : x.max() + 1, 2]
    return bool((top > 0).all())


def test_crops_that_were_not_searched_for_are_whole(rng):
    crops = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    found = whole_crops(crops)
    np.testing.assert_array_equal(found.crops, crops)
    assert found.frames.tolist() == [0, 1, 2]
    assert found.boxes.tolist() == [[0, 0, 8, 8]] * 3
    assert (found.searched, found.people) == (3, 1)
    assert whole_crops(crops[:0]).crops.shape == (0, 8, 8, 3)


# -- photographs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_portrait_is_found_upright(mtcnn, portrait, tmp_path, save_image, degrees):
    known = crop_faces(save_image(tmp_path / "a.png", portrait), FaceSettings(upright="try"), mtcnn)
    assert known.turned.tolist() == [0]
    turned = turn(portrait, 360 - degrees)
    found = crop_faces(save_image(tmp_path / "t.png", turned), FaceSettings(upright="try"), mtcnn)
    assert found.turned.tolist() == [degrees]
    np.testing.assert_array_equal(found.crops, known.crops)
    back = turn_back(Detection(known.boxes[0], 1.0, known.landmarks[0]), degrees, shape=turned.shape)
    np.testing.assert_allclose(found.boxes[0], back.box, atol=1e-3)
    np.testing.assert_allclose(found.landmarks[0], back.landmarks, atol=1e-3)
    assert "turning the frame (1 of 1)" in found.note


def test_few_turned_portraits_are_missed(mtcnn, shared, tmp_path, save_image):
    files = sorted(shared("data/portraits").glob("*.jpg"))[3::25]
    right = 0
    for number, file in enumerate(files):
        image = turn(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB), 180)
        path = save_image(tmp_path / f"{number}.png", image)
        right += crop_faces(path, FaceSettings(upright="try"), mtcnn).turned.tolist() == [180]
    assert right >= len(files) - 1
