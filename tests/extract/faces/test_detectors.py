import cv2
import numpy as np
import pytest

from extract.faces import FaceSettings, crop_faces


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
