import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from extract.datasets.drawing.persons import make_person, make_poses
from extract.datasets.filming import DrawnSubject, film
from extract.faces import MTCNN, FaceSettings, face_detector
from extract.faces.cascade import Cascade, _Summed, pyramid


@pytest.fixture(scope="module")
def cascade():
    return Cascade()


@pytest.fixture(scope="module")
def scenes():
    """Four frames 360 x 640 with a drawn person each, face heights from 40 to 150 pixels."""
    rng, frames = np.random.default_rng(4), []
    for side in (90, 150, 220, 330):
        frame = rng.normal(110, 12, (360, 640, 3)).clip(0, 255).astype(np.uint8)
        picture = film(DrawnSubject("x", make_person(rng)), make_poses(rng, 1), size=side, rng=rng)[0]
        frame[15 : 15 + side, 200 : 200 + side] = picture
        frames.append(frame)
    return frames


def reference(frames, smallest):
    from facenet_pytorch import MTCNN as Network

    network = Network(keep_all=True, post_process=False, min_face_size=smallest, device="cpu")
    return network.detect(np.stack(frames), landmarks=True)


def by_size(boxes):
    return np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))


@pytest.mark.parametrize(("smallest", "start"), [(20, 20), (28.8, 20), (30, 30)])
def test_boxes_chances_and_landmarks_are_those_of_facenet_pytorch(cascade, scenes, smallest, start):
    expected = zip(*reference(scenes, start), strict=True)
    for (boxes, chances, points), known in zip(
        cascade.detect(scenes, smallest=smallest, start=start), expected, strict=True
    ):
        order = by_size(boxes)
        for ours, theirs, tolerance in zip((boxes, chances, points), known, (0.05, 1e-3, 0.05), strict=True):
            np.testing.assert_allclose(ours[order], np.asarray(theirs, np.float32), atol=tolerance)


def test_a_frames_boxes_do_not_depend_on_other_frames(cascade, scenes):
    together = list(cascade.detect(scenes, smallest=20))
    for frame, known in zip(scenes, together, strict=True):
        (alone,) = cascade.detect([frame], smallest=20)
        for ours, theirs in zip(alone, known, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_no_bit_and_is_left_as_it_was(cascade, scenes, threads):
    before = torch.get_num_threads()
    (expected,) = cascade.detect(scenes[:1], smallest=20)
    torch.set_num_threads(threads)
    try:
        (found,) = cascade.detect(scenes[:1], smallest=20)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_batch_of_frames_gives_the_same_boxes(cascade, scenes, monkeypatch):
    single = list(cascade.detect(scenes, smallest=20))
    monkeypatch.setattr(cascade, "_batch", 4)  # as on a GPU
    for ours, theirs in zip(cascade.detect(scenes, smallest=20), single, strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], atol=0.05)


def test_faces_far_below_the_smallest_are_not_found(scenes):
    finds = {share: [len(faces) for faces in MTCNN(min_face=share)(scenes)] for share in (0.0, 0.3)}
    assert finds[0.0][0] == finds[0.0][3] == finds[0.3][3] == 1
    assert finds[0.3][0] == 0


def test_the_settings_reach_the_detector():
    assert face_detector(FaceSettings(min_face=0.2)).min_face == 0.2


def test_the_scales_are_those_from_twenty_pixels_without_the_first():
    whole = pyramid((360, 640, 3), 20)
    assert whole[0] == 12 / 20
    np.testing.assert_allclose(np.divide(whole[1:], whole[:-1]), 0.709)
    assert pyramid((360, 640, 3), 28) == whole
    assert pyramid((360, 640, 3), 28.8) == whole[1:]
    assert pyramid((360, 640, 3), 10_000) == whole[-1:]
    assert pyramid((360, 640, 3), 30, start=30)[0] == 12 / 30
    assert 360 * whole[-1] >= 12 > 360 * whole[-1] * 0.709


@pytest.mark.parametrize("scale", [0.6, 0.31, 0.05, 1.3])
def test_scaled_frames_are_pooled_adaptively(rng, scale):
    frame = rng.integers(0, 256, (61, 97, 3), dtype=np.uint8)
    size = (int(61 * scale + 1), int(97 * scale + 1))
    expected = adaptive_avg_pool2d(torch.from_numpy(frame).permute(2, 0, 1).float(), size)
    np.testing.assert_allclose(_Summed(frame).scaled(scale), expected.permute(1, 2, 0), rtol=1e-6)


def test_cut_out_boxes_are_pooled_adaptively(rng):
    frame = rng.integers(0, 256, (61, 97, 3), dtype=np.uint8)
    low, high = np.array([[0, 0], [5, 9], [30, 2]]), np.array([[97, 61], [17, 30], [95, 3]])
    views = _Summed(frame).cut(low, high, side=24)
    for view, (x1, y1), (x2, y2) in zip(views, low, high, strict=True):
        part = torch.from_numpy(frame[y1:y2, x1:x2].copy()).permute(2, 0, 1).float()
        np.testing.assert_allclose(view, adaptive_avg_pool2d(part, 24).permute(1, 2, 0), rtol=1e-6)
